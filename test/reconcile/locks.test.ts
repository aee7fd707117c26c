import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { pin } from '../../src/reconcile/brakes.ts'
import { requestReconcile } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { holdLock } from './locks-support.ts'
import type { HeldLock } from './locks-support.ts'
import { clear, counting, environment, live, scene, workflow } from './scene.ts'

beforeEach<{ database: Database }>(({ database }) => clear(database))

const PRODUCTION = 'production' as EnvironmentName
const FILE = 'workflows/a1/workflow.yaml'
const NOW = new Date('2026-03-01T12:00:00Z')
const ROW = `select from environments where name = 'production' for update`

/** Two environments of one branch, the one that is locked here comes first. Nobody is waited for long. */
async function two(database: Database) {
  const made = await testRepository()
  const at = await scene(database, made.path, { lockWaitMs: 50 })
  const first = await made.commit({
    'environments/production.yaml': 'ref: main\n',
    'environments/staging.yaml': 'ref: main\n',
    [FILE]: workflow('One'),
  })
  await at.reconciler.pass()
  const observed = async () => {
    const [production, staging] = await Promise.all([
      environment(database, 'production'),
      environment(database, 'staging'),
    ])
    return { production: production.observedRevision, staging: staging.observedRevision }
  }
  return { made, ...at, first, observed }
}

describe('a lock that another session holds', () => {
  test('on the row of an environment leaves the others alone, new ones included', async ({
    database,
  }) => {
    const { made, reconciler, first, observed } = await two(database)
    await using _ = made
    await using lock = await holdLock(database, ROW)
    const tip = await made.commit({
      'environments/third.yaml': 'ref: main\n',
      [FILE]: workflow('Two'),
    })
    expect(await reconciler.pass()).toEqual({ kind: 'leading', failed: true })
    expect(await observed()).toEqual({ production: first, staging: tip })
    expect(await environment(database, 'third')).toMatchObject({ observedRevision: tip })

    await lock.release()
    expect(await reconciler.pass()).toEqual({ kind: 'leading', failed: false })
    expect(await observed()).toEqual({ production: tip, staging: tip })
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
  })

  test('keeps no other environment from being answered, nor a pin elsewhere from ending', async ({
    database,
  }) => {
    const { made, reconciler, clock, first, observed } = await two(database)
    await using _ = made
    const tip = await made.commit({ [FILE]: workflow('Two') })
    await reconciler.pass()
    const expiresAt = new Date('2026-03-01T13:00:00Z')
    for (const name of ['production', 'staging'] as const) {
      const acting = { environment: name as EnvironmentName, actor: 'ada', now: NOW }
      await database.transaction(async (tx) =>
        pin(tx, await environment(tx, name), { ...acting, named: first, reason: 'Bad', expiresAt }),
      )
    }
    expect(await reconciler.pass()).toMatchObject({ dueAt: expiresAt })
    expect(await observed()).toEqual({ production: first, staging: first })
    const ask = (name: string) =>
      database.transaction((tx) => requestReconcile(tx, name as EnvironmentName, NOW))
    const asked = { production: await ask('production'), staging: await ask('staging') }

    clock.set(expiresAt)
    await using lock = await holdLock(database, ROW)
    // What is over and cannot be ended is repeated with growing pauses, and not at once.
    expect(await reconciler.pass()).toEqual({ kind: 'leading', failed: true })
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'pinned',
      observedRevision: first,
      lastHandledRequest: expect.not.stringMatching(asked.production),
    })
    expect(await environment(database, 'staging')).toMatchObject({
      reason: 'applied',
      observedRevision: tip,
      pin: null,
      lastHandledRequest: asked.staging,
    })

    await lock.release()
    expect(await reconciler.pass()).toEqual({ kind: 'leading', failed: false })
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'applied',
      observedRevision: tip,
      pin: null,
      lastHandledRequest: asked.production,
    })
  })

  test('on what an environment has is told in its state', async ({ database }) => {
    const { made, reconciler, first, observed } = await two(database)
    await using _ = made
    const before = await live(database, 'production')
    await using lock = await holdLock(
      database,
      `select from workflows where environment = 'production' for update`,
    )
    const tip = await made.commit({ [FILE]: workflow('Two') })
    expect(await reconciler.pass()).toMatchObject({ failed: true })
    expect(await observed()).toEqual({ production: first, staging: tip })
    expect(await live(database, 'production')).toEqual(before)
    expect(await environment(database, 'production')).toMatchObject({
      state: 'reconciling',
      reason: 'retrying',
      message: `The last look failed and is repeated with growing pauses: another session of Postgres holds a lock on what is to be written; pg_locks and pg_stat_activity say which one. Revision ${first.slice(0, 12)} stays live.`,
    })
    await lock.release()
    expect(await reconciler.pass()).toMatchObject({ failed: false })
    expect(await observed()).toEqual({ production: tip, staging: tip })
  })

  test('on a pin whose end cannot be written down is told there, and the pin still holds', async ({
    database,
  }) => {
    const { made, reconciler, clock, first } = await two(database)
    await using _ = made
    await made.commit({ [FILE]: workflow('Two') })
    await reconciler.pass()
    const expiresAt = new Date('2026-03-01T13:00:00Z')
    const acting = { environment: PRODUCTION, actor: 'ada', now: NOW }
    await database.transaction(async (tx) =>
      pin(tx, await environment(tx, PRODUCTION), {
        ...acting,
        named: first,
        reason: 'Bad',
        expiresAt,
      }),
    )
    await reconciler.pass()
    clock.set(expiresAt)
    await using lock = await holdLock(database, 'lock table brake_events in share mode')
    expect(await reconciler.pass()).toMatchObject({ failed: true })
    expect(await environment(database, PRODUCTION)).toMatchObject({
      reason: 'retrying',
      observedRevision: first,
      message: expect.stringContaining('another session of Postgres holds a lock'),
    })
    await lock.release()
    await reconciler.pass()
    expect(await environment(database, PRODUCTION)).toMatchObject({ reason: 'applied', pin: null })
  })

  test('on the lead lets nothing be written, and the lead may change hands meanwhile', async ({
    database,
  }) => {
    const { made, source, reconciler, first, observed } = await two(database)
    await using _ = made
    await reconciler.close()
    const inner = counting(source)
    let lock: HeldLock | undefined
    // Between the beat and the first write, another process takes the lead without committing it.
    const slow = await scene(database, made.path, {
      lockWaitMs: 50,
      repository: {
        kind: 'repository',
        location: inner.location,
        refs: () => inner.refs(),
        commit: (id) => inner.commit(id),
        async tree(revision) {
          lock ??= await holdLock(
            database,
            `update reconcilers set process = gen_random_uuid(), fence = fence + 1, expires_at = clock_timestamp()`,
          )
          return inner.tree(revision)
        },
      },
    })
    const tip = await made.commit({ [FILE]: workflow('Two') })
    expect(await slow.reconciler.pass()).toEqual({ kind: 'leading', failed: true })
    expect(await observed()).toEqual({ production: first, staging: first })
    expect(lock).toBeDefined()
    await lock?.release('commit')
    const [before] = await database.query<{ fence: string }>(sql`select fence from reconcilers`)
    // The lead that it had is gone: it has to take it again, with a number of its own.
    expect(await slow.reconciler.pass()).toEqual({ kind: 'leading', failed: false })
    const [after] = await database.query<{ fence: string }>(sql`select fence from reconcilers`)
    expect(Number(after?.fence)).toBe(Number(before?.fence) + 1)
    expect(await observed()).toEqual({ production: tip, staging: tip })
  })
})
