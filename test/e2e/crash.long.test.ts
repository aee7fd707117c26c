import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { cloneBlank, type TestDatabase } from '../support/database.ts'
import { flowRepository, names, trigger } from '../support/flow.ts'
import { startHttp } from '../support/http.ts'
import { activeJobs, lockSwitches } from '../support/locks.ts'
import { openFleet } from '../support/served.ts'
import { crashAndRecover, faultSeed } from './crash-scene.ts'

let clone: TestDatabase

beforeEach(async () => {
  clone = await cloneBlank()
})
afterEach(() => clone.drop())

const seed = faultSeed()

const digest = `name: Digest
steps:
  - { ref: digest, type: batch, window: 3s }
  - ref: call
    type: webhook
    url: "{{vars.hook_url}}/{{recipient.id}}"
    body: { total: "{{total_activities}}" }
`

test(`nothing of two thousand is lost or doubled by eight crashes (seed ${seed})`, async () => {
  const report = await crashAndRecover(clone.database, {
    seed,
    kills: 8,
    triggers: [800, 20, 300, 1, 400, 50, 29, 250, 150],
    pauseMsMax: 4_500,
    lifeMsMax: 2_500,
    recoveryMsMax: 60_000,
  })
  expect(report.recipients).toBe(2_000)
  expect(report.recoveredMs).toBeLessThan(20_000)
}, 180_000)

test('what a dead process held is taken over by a living one within ten seconds', async () => {
  const { database } = clone
  const dead = { isDead: false }
  const failed = new Set<string>()
  const arrivals: { readonly kind: string; readonly at: number }[] = []
  await using hook = await startHttp((request, response) => {
    const [kind = ''] = request.path.split('-')
    arrivals.push({ kind, at: performance.now() })
    if (request.path.startsWith('/hang') && !dead.isDead) return
    const isFirst = !failed.has(request.path)
    failed.add(request.path)
    response.writeHead(request.path.startsWith('/fail') && isFirst ? 500 : 200).end()
  })
  const called = (kind: string) => arrivals.filter((one) => one.kind === kind).length
  await using repository = await flowRepository(hook.url, '2s')
  await repository.commit({ 'workflows/digest/workflow.yaml': digest })
  await using fleet = openFleet()
  const options = { repo: repository.path, databaseUrl: database.url }
  const first = await fleet.serve(options)
  // Some whose hand-over hangs, some that are to be repeated, and some whose runs are to wake.
  await trigger(first.url, 'direct', names('fail', 60))
  await expect.poll(() => called('/fail'), { timeout: 10_000 }).toBe(60)
  await trigger(first.url, 'slow', names('sleep', 300))
  // And batches that are to close, each with three activities.
  for (let time = 0; time < 3; time += 1) await trigger(first.url, 'digest', names('batch', 200))
  await trigger(first.url, 'direct', names('hang', 5))
  await expect.poll(() => called('/hang'), { timeout: 10_000 }).toBe(5)

  // With this table locked, jobs are fetched and their transactions come to no end.
  await using lock = await lockSwitches(database)
  await expect
    .poll(() => activeJobs(database), { timeout: 10_000 })
    .toEqual(['deliver', 'run_bulk'])
  const second = await fleet.serve(options)
  const deadAt = performance.now()
  await first.kill()
  dead.isDead = true
  await lock.release()

  await expect
    .poll(() => count(database, 'delivered', 'call'), { timeout: 12_000, interval: 50 })
    .toBe(565)
  const tookMs = Math.round(performance.now() - deadAt)
  const firsts = ['/hang', '/fail', '/sleep', '/batch'].map((kind) => {
    const arrival = arrivals.find((one) => one.kind === kind && one.at > deadAt)
    return [kind.slice(1), Math.round((arrival?.at ?? Infinity) - deadAt)] as const
  })
  console.log(
    `taken over and done ${tookMs} ms after the end of the process, the first ones: ${firsts.map(([kind, ms]) => `${kind} ${ms} ms`).join(', ')}`,
  )
  for (const [, ms] of firsts) expect(ms).toBeLessThan(10_000)
  expect(tookMs).toBeLessThan(10_000)
  expect(second.isRunning()).toBe(true)
  const told = hook.requests.filter(({ path }) => path.startsWith('/batch'))
  expect(new Set(told.map(({ body }) => body))).toEqual(new Set(['{"total":3}']))
}, 90_000)

async function count(database: Database, status: string, step = 'call'): Promise<number> {
  const [row] = await database.query<{ count: number }>(sql`
    select count(*)::integer as count from messages
    where environment = 'production' and step_ref = ${step} and status = ${status}`)
  return row?.count ?? 0
}
