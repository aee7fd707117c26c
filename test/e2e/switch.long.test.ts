import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { cloneBlank, type TestDatabase } from '../support/database.ts'
import { activate, call, flowFiles, flowRepository, names, trigger } from '../support/flow.ts'
import { startHttp } from '../support/http.ts'
import { openFleet } from '../support/served.ts'

// The switch over HTTP, against processes that are in the middle of what it stops.

let clone: TestDatabase

beforeEach(async () => {
  clone = await cloneBlank()
})
afterEach(() => clone.drop())

test('nothing is handed over later than a second after the switch has answered', async () => {
  const begun: number[] = []
  await using hook = await startHttp((_request, response) => {
    begun.push(performance.now())
    setTimeout(() => response.writeHead(200).end(), 120)
  })
  await using repository = await flowRepository(hook.url)
  await using fleet = openFleet()
  const options = { repo: repository.path, databaseUrl: clone.database.url }
  // A second process has claims of its own.
  const [first, second] = await Promise.all([fleet.serve(options), fleet.serve(options)])
  await trigger(first.url, 'direct', names('many', 300))
  await expect.poll(() => begun.length, { timeout: 10_000, interval: 20 }).toBeGreaterThan(30)
  await activate(second.url, 'direct', false)
  const answeredAt = performance.now()
  await expect
    .poll(() => countMessages(clone.database, 'open'), { timeout: 10_000, interval: 50 })
    .toBe(0)
  const latestMs = Math.round(Math.max(...begun) - answeredAt)
  console.log(`${begun.length} handed over, the last one ${latestMs} ms after the answer`)
  expect(latestMs).toBeLessThan(1_000)
  expect(begun.length).toBeLessThan(300)
  expect(await countMessages(clone.database, 'delivered')).toBe(begun.length)
  expect(await countMessages(clone.database, 'not_sent workflow_inactive')).toBe(300 - begun.length)
  const refused = await call(first.url, {
    method: 'POST',
    path: '/v1/workflows/direct/trigger',
    body: { recipients: ['many-0'] },
  })
  expect([refused.status, refused.body['code']]).toEqual([422, 'workflow_inactive'])

  await activate(first.url, 'direct', true)
  await trigger(second.url, 'direct', ['again'])
  await expect.poll(() => hook.requests.at(-1)?.path, { timeout: 5_000 }).toBe('/again')
}, 60_000)

test('a run that wakes while its workflow is off ends, and one that wakes in time goes on', async () => {
  await using hook = await startHttp()
  await using repository = await flowRepository(hook.url, '4s')
  await using fleet = openFleet()
  const options = { repo: repository.path, databaseUrl: clone.database.url }
  const first = await fleet.serve(options)
  await trigger(first.url, 'slow', names('lost', 20))
  await expect.poll(() => outcomes(clone.database), { timeout: 5_000 }).toEqual({ paused: 20 })
  await activate(first.url, 'slow', false)
  // It is no part of the process, nor of what Git says.
  await first.stop('SIGTERM')
  const second = await fleet.serve(options)
  await repository.checkout('change')
  await repository.commit(flowFiles(hook.url, '3s'))
  await repository.checkout('main')
  const merged = await repository.merge('change', 'main')
  await expect
    .poll(() => workflow(second.url), { timeout: 15_000 })
    .toMatchObject({ revision: merged, active: false })
  await expect
    .poll(() => outcomes(clone.database), { timeout: 10_000 })
    .toEqual({ 'cancelled cancelled workflow_inactive': 20 })
  expect(hook.requests).toEqual([])

  await activate(second.url, 'slow', true)
  const id = await trigger(second.url, 'slow', names('kept', 20))
  await expect.poll(() => outcomes(clone.database, id)).toEqual({ paused: 20 })
  await activate(second.url, 'slow', false)
  await activate(second.url, 'slow', true)
  await expect
    .poll(() => outcomes(clone.database, id), { timeout: 10_000 })
    .toEqual({ 'completed completed': 20 })
  await expect.poll(() => hook.requests.length, { timeout: 5_000 }).toBe(20)
}, 60_000)

/** Messages in a state: `open`, or the status and the reason. */
async function countMessages(database: Database, state: string): Promise<number> {
  const rows = await database.query<{ status: string; reason: string | null }>(sql`
    select status, reason from messages where environment = 'production'`)
  const words = rows.map(({ status, reason }) =>
    ['queued', 'delivery_attempted'].includes(status) ? 'open' : [status, reason ?? ''].join(' '),
  )
  return words.filter((word) => word.trim() === state).length
}

/** How many runs have come to which state. */
async function outcomes(database: Database, workflowRunId: string | null = null) {
  const rows = await database.query<{ state: string; count: number }>(sql`
    select concat_ws(' ', status, outcome, reason) as state, count(*)::integer as count
    from runs
    where environment = 'production'
      and (${workflowRunId}::uuid is null or workflow_run_id = ${workflowRunId}::uuid)
    group by 1`)
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]))
}

async function workflow(url: string) {
  return (await call(url, { path: '/v1/workflows/slow' })).body
}
