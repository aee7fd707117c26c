import { setTimeout as pause } from 'node:timers/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { openDatabase, type Database } from '../../src/db/database.ts'
import { startEmbedded } from '../../src/db/embedded.ts'
import { sql } from '../../src/db/sql.ts'
import { cloneBlank, setReachable } from '../support/database.ts'
import { administer } from '../support/setup.ts'
import { call, flowFiles, flowRepository, names, trigger } from '../support/flow.ts'
import { activeJobs, lockSwitches } from '../support/locks.ts'
import { startHttp } from '../support/http.ts'
import { openFleet } from '../support/served.ts'

const CUTS = 15
const BETWEEN_CUTS_MS = 250
const AWAY_MS = 2_000

test('every connection to Postgres cut again and again does no lasting harm', async () => {
  await using hook = await startHttp()
  await using repository = await flowRepository(hook.url)
  await using fleet = openFleet()
  const dataDir = path.join(fleet.directory, 'data')
  const served = await fleet.serve({ repo: repository.path, dataDir })
  const server = await startEmbedded(dataDir)
  await using stack = new AsyncDisposableStack()
  stack.defer(async () => void (await server.stop()))

  const triggering = triggerThrough(served.url)
  let cut = 0
  for (let count = 0; count < CUTS; count += 1) {
    cut += await cutAll(server.adminUrl)
    await pause(BETWEEN_CUTS_MS)
  }
  const from = performance.now()
  await triggering
  console.log(`${cut} connections cut in ${CUTS} goes`)
  await expect
    .poll(() => call(served.url, { path: '/readyz' }).then(({ status }) => status))
    .toBe(200)

  const revision = await repository.commit(flowFiles(hook.url, '3s'))
  await expect.poll(() => revisionOf(served.url), { timeout: 10_000, interval: 50 }).toBe(revision)
  console.log(`reconciled ${Math.round(performance.now() - from)} ms after the last cut`)

  await using database = openDatabase(server.url)
  const runs = () => database.query(sql`select id from runs where environment = 'production'`)
  await expect.poll(runs, { timeout: 20_000 }).toHaveLength(320)
  await expect.poll(() => listOpen(database), { timeout: 20_000 }).toEqual([])
  console.log(`all done ${Math.round(performance.now() - from)} ms after the last cut`)
  expect(served.isRunning()).toBe(true)
  const kinds = await database.query<{ name: string; count: number }>(sql`
    select application_name as name, count(*)::integer as count from pg_stat_activity
    where application_name = 'belfry-keeper' group by 1`)
  // Ours and the one of the process.
  expect(kinds).toEqual([{ name: 'belfry-keeper', count: 2 }])
}, 60_000)

test('a database that is away for a while is worked with again as soon as it is back', async () => {
  const clone = await cloneBlank()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => clone.drop())
  const { database } = clone
  // Those under way when it goes want to be settled while it is away.
  await using hook = await startHttp((_request, response) => {
    setTimeout(() => response.writeHead(200).end(), 200)
  })
  await using repository = await flowRepository(hook.url)
  await using fleet = openFleet()
  const served = await fleet.serve({ repo: repository.path, databaseUrl: database.url })
  await trigger(served.url, 'slow', names('sleeping', 60))
  await trigger(served.url, 'direct', names('waiting', 60))
  await expect.poll(() => hook.requests.length, { interval: 5 }).toBeGreaterThan(0)
  // And the transactions of some jobs end in the middle.
  stack.use(await lockSwitches(database))
  await expect.poll(() => activeJobs(database), { timeout: 5_000 }).toContain('run')
  await setReachable(database, false)
  await pause(AWAY_MS)
  await setReachable(database, true)
  const from = performance.now()
  await expect.poll(() => listOpen(database), { timeout: 15_000 }).toEqual([])
  console.log(`all done ${Math.round(performance.now() - from)} ms after the database was back`)
  expect(new Set(hook.requests.map((request) => request.path)).size).toBe(120)
  expect(served.isRunning()).toBe(true)
}, 60_000)

/** Runs and messages that have not come to their end. */
async function listOpen(database: Database) {
  return database.query(sql`
    select r.recipient, r.status, m.status as message, m.claimed_by, m.enqueued_at
    from runs r
    left join messages m on m.environment = r.environment and m.run_id = r.id and m.step_ref = 'call'
    where r.environment = 'production'
      and (r.status <> 'completed' or m.status is distinct from 'delivered')`)
}

/** Ends every connection but its own; says how many. */
async function cutAll(adminUrl: string): Promise<number> {
  return administer(adminUrl, async (admin) => {
    const { rows } = await admin.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where backend_type = 'client backend' and pid <> pg_backend_pid()`,
    )
    return rows.length
  })
}

/** Sixteen triggers for twenty people each, called again until they are answered. */
async function triggerThrough(url: string): Promise<void> {
  for (let index = 0; index < 16; index += 1) {
    const attempt = () =>
      trigger(url, 'slow', names(`t${index}`, 20), { idempotencyKey: `t${index}` })
    await expect.poll(attempt, { timeout: 10_000, interval: 20 }).toMatch(/^[0-9a-f-]{36}$/)
    await pause(150)
  }
}

async function revisionOf(url: string): Promise<unknown> {
  const { body } = await call(url, { path: '/v1/workflows/slow' })
  return body['revision']
}
