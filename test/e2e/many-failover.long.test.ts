import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { cloneBlank, type TestDatabase } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import { testRepository } from '../support/repository.ts'
import { openFleet } from '../support/served.ts'
import { countOpen, expectNothingLostOrDoubled, triggerAll } from './crash-scene.ts'
import {
  expectAppliedOnce,
  loadFence,
  pushMarked,
  startReader,
  startThree,
  waitForRevision,
  type Marks,
} from './many-scene.ts'

// Three real processes on one Postgres and one repository.

/** From the end of a leader until what was pushed after it is live. */
const FAILOVER_MS_MAX = 10_000

let clone: TestDatabase

beforeEach(async () => {
  clone = await cloneBlank()
})
afterEach(() => clone.drop())

/** Whether somebody waits for a lock to write an environment. */
async function isWriterWaiting(database: Database): Promise<boolean> {
  const waiting = await database.query(sql`
    select pid from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query like '%environments%'`)
  return waiting.length > 0
}

test('a leader that is killed is followed by another one within ten seconds; nothing is applied or run twice, and readers see whole revisions', async () => {
  const { database } = clone
  await using hook = await startHttp()
  await using repository = await testRepository()
  await using fleet = openFleet()
  const marks: Marks = new Map()
  await pushMarked(repository, hook.url, marks)
  const { all, leader } = await startThree(fleet, database, repository)
  const reader = startReader(database, marks)
  const others = all.filter((one) => one !== leader)
  let calls = 0
  const triggers = [40, 30, 20, 20, 10, 10]
  const triggering = triggerAll(
    () => others[(calls += 1) % 2]!.url,
    { triggers, pauseMsMax: 500 },
    Math.random,
  )
  for (let count = 0; count < 5; count += 1) {
    await waitForRevision(database, await pushMarked(repository, hook.url, marks))
  }
  const killedAt = performance.now()
  await leader.kill()
  const revision = await pushMarked(repository, hook.url, marks)
  await waitForRevision(database, revision)
  const tookMs = performance.now() - killedAt
  const { reads, revisions } = await reader.end()
  console.log(`failover after SIGKILL: ${tookMs.toFixed()} ms; ${reads} reads of ${revisions}`)
  expect(tookMs).toBeLessThan(FAILOVER_MS_MAX)
  expect(revisions).toBeGreaterThan(3)
  expect(await expectAppliedOnce(database)).toBe(7)
  const answered = await triggering
  await expect.poll(() => countOpen(database, 130), { timeout: 20_000, interval: 50 }).toBe(0)
  await expectNothingLostOrDoubled(database, hook, { answered, triggers })
}, 60_000)

test('a leader that stands still in the middle of a write is followed by another one, and writes nothing when it goes on', async () => {
  const { database } = clone
  await using hook = await startHttp()
  await using repository = await testRepository()
  await using fleet = openFleet()
  const marks: Marks = new Map()
  const first = await pushMarked(repository, hook.url, marks)
  const { all, leader } = await startThree(fleet, database, repository)
  await waitForRevision(database, first)
  const fence = await loadFence(database)
  let revision = ''
  let frozenAt = 0
  // The leader comes to write, waits for this lock, and is given it while it stands still.
  await database.transaction(async (tx) => {
    await tx.query(sql`select name from environments where name = 'production' for update`)
    revision = await pushMarked(repository, hook.url, marks)
    await expect.poll(() => isWriterWaiting(database), { timeout: 10_000, interval: 10 }).toBe(true)
    leader.freeze()
    frozenAt = performance.now()
  })
  await waitForRevision(database, revision)
  const tookMs = performance.now() - frozenAt
  console.log(`failover after SIGSTOP in a transaction: ${tookMs.toFixed()} ms`)
  expect(tookMs).toBeLessThan(FAILOVER_MS_MAX)
  const taken = await loadFence(database)
  expect(Number(taken)).toBeGreaterThan(Number(fence))

  const next = await pushMarked(repository, hook.url, marks)
  await waitForRevision(database, next)
  const before = await rows()
  leader.thaw()
  // It has come back to its senses when it takes up what is pushed next, or leaves that to the other one.
  await expect
    .poll(() => fetch(`${leader.url}/readyz`).then(({ status }) => status), { timeout: 10_000 })
    .toBe(200)
  expect(await rows()).toEqual(before)
  await waitForRevision(database, await pushMarked(repository, hook.url, marks))
  await expectAppliedOnce(database)
  expect(await loadFence(database)).toBe(taken)
  expect(all.every((one) => one.isRunning())).toBe(true)

  function rows() {
    return database.query(sql`
      select e.sequence, e.observed_revision, e.applied_at, w.key, w.version_id, w.sequence as changed, w.updated_at
      from environments e join workflows w on w.environment = e.name
      order by w.key`)
  }
}, 60_000)
