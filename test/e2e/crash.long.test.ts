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
  await using hook = await startHttp((request, response) => {
    if (request.path.startsWith('/hang') && !dead.isDead) return
    const isFirst = !failed.has(request.path)
    failed.add(request.path)
    response.writeHead(request.path.startsWith('/fail') && isFirst ? 500 : 200).end()
  })
  await using repository = await flowRepository(hook.url, '2s')
  await using fleet = openFleet()
  const options = { repo: repository.path, databaseUrl: database.url }
  const first = await fleet.serve(options)
  // Some whose hand-over hangs, some that are to be repeated, and some whose runs are to wake.
  await trigger(first.url, 'direct', names('fail', 60))
  await expect.poll(() => count(database, 'delivery_attempted')).toBe(60)
  await trigger(first.url, 'slow', names('sleep', 300))
  await trigger(first.url, 'direct', names('hang', 5))
  await expect
    .poll(() => hook.requests.filter(({ path }) => path.startsWith('/hang')).length)
    .toBe(5)

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
    .toBe(365)
  const tookMs = Math.round(performance.now() - deadAt)
  console.log(`taken over and done ${tookMs} ms after the end of the process`)
  expect(tookMs).toBeLessThan(10_000)
  expect(second.isRunning()).toBe(true)
}, 40_000)

async function count(database: Database, status: string, step = 'call'): Promise<number> {
  const [row] = await database.query<{ count: number }>(sql`
    select count(*)::integer as count from messages
    where environment = 'production' and step_ref = ${step} and status = ${status}`)
  return row?.count ?? 0
}
