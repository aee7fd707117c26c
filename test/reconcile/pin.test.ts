import { rename } from 'node:fs/promises'
import { beforeEach, describe, expect } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { listBrakeEvents } from '../../src/reconcile/brake-store.ts'
import { pin, resume, suspend, unpin } from '../../src/reconcile/brakes.ts'
import { findWorkflow } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'

const PRODUCTION = 'production' as EnvironmentName
const NOW = new Date('2026-03-01T12:00:00Z')
const ACTING = { environment: PRODUCTION, actor: 'ada', now: NOW }

beforeEach<{ database: Database }>(({ database }) => clear(database))

const file = (key: string) => `workflows/${key}/workflow.yaml`

/** Three revisions: `a1`, `b1`; then `a1` changed, `b1` gone, `c1` new, other settings; then `a1` changed again. */
async function three(database: Database) {
  const made = await testRepository()
  const { reconciler, ...at } = await scene(database, made.path)
  const first = await made.commit({
    'environments/production.yaml': 'ref: main\nlocale: de\n',
    [file('a1')]: workflow('A 1'),
    [file('b1')]: workflow('B 1'),
  })
  await reconciler.pass()
  const atFirst = await live(database, 'production')
  const second = await made.commit({
    'environments/production.yaml': 'ref: main\nlocale: fr\n',
    [file('a1')]: workflow('A 2'),
    [file('b1')]: null,
    [file('c1')]: workflow('C 2'),
  })
  await reconciler.pass()
  const atSecond = await live(database, 'production')
  const tip = await made.commit({ [file('a1')]: workflow('A 3') })
  await reconciler.pass()
  const atTip = await live(database, 'production')
  return { made, reconciler, ...at, first, second, tip, atFirst, atSecond, atTip }
}

async function pinTo(
  database: Database,
  named: string,
  { expiresAt = null }: { readonly expiresAt?: Date | null } = {},
): Promise<void> {
  await database.transaction(async (tx) =>
    pin(tx, await environment(tx, PRODUCTION), {
      ...ACTING,
      named,
      reason: 'Wrong link',
      expiresAt,
    }),
  )
}

async function release(database: Database): Promise<void> {
  await database.transaction(async (tx) => unpin(tx, await environment(tx, PRODUCTION), ACTING))
}

async function locale(database: Database): Promise<string | undefined> {
  const [row] = await database.query<{ locale: string }>(
    sql`select settings->>'locale' as locale from environments where name = 'production'`,
  )
  return row?.locale
}

describe('a pin', () => {
  test('brings back the workflows, versions and settings of an applied revision, and goes back to the tip', async ({
    database,
  }) => {
    const at = await three(database)
    await using made = at.made
    await pinTo(database, at.first.slice(0, 7))
    expect(await environment(database, 'production')).toMatchObject({
      state: 'reconciling',
      observedRevision: at.tip,
    })
    await at.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      reason: 'pinned',
      observedRevision: at.first,
      message: `Pinned to revision ${at.first.slice(0, 12)} by ada at 2026-03-01T12:00:00.000Z: Wrong link. The branch is not followed until "belfry pin production --release".`,
      pin: { revision: at.first, actor: 'ada', reason: 'Wrong link', expiresAt: null },
    })
    expect(await live(database, 'production')).toEqual(at.atFirst)
    expect(await locale(database)).toBe('de')
    expect(await findWorkflow(database, PRODUCTION, 'b1')).toMatchObject({ revision: at.first })

    // The branch moves on, and nothing of it is applied.
    const next = await made.commit({ [file('d1')]: workflow('D 4') })
    await at.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'pinned',
      observedRevision: at.first,
    })
    expect(await live(database, 'production')).toEqual(at.atFirst)

    await release(database)
    await at.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      reason: 'applied',
      observedRevision: next,
      pin: null,
    })
    const { d1, ...others } = await live(database, 'production')
    expect(d1).toBeDefined()
    expect(others).toEqual(at.atTip)
    expect(await locale(database)).toBe('fr')
    const history = await database.query(
      sql`select revision, added, changed, archived from revisions order by sequence offset 3`,
    )
    expect(history).toEqual([
      { revision: at.first, added: ['b1'], changed: ['a1'], archived: ['c1'] },
      { revision: next, added: ['c1', 'd1'], changed: ['a1'], archived: ['b1'] },
    ])
    expect(await listBrakeEvents(database, PRODUCTION)).toMatchObject([
      { kind: 'unpin', actor: 'ada', revision: at.first },
      { kind: 'pin', actor: 'ada', revision: at.first, reason: 'Wrong link' },
    ])
  })

  test('may be moved to another revision, and to one that a pin has brought', async ({
    database,
  }) => {
    const at = await three(database)
    await using _ = at.made
    for (const [revision, workflows] of [
      [at.first, at.atFirst],
      [at.second, at.atSecond],
      [at.first, at.atFirst],
      [at.tip, at.atTip],
    ] as const) {
      await pinTo(database, revision)
      await at.reconciler.pass()
      expect(await environment(database, 'production')).toMatchObject({
        reason: 'pinned',
        observedRevision: revision,
      })
      expect(await live(database, 'production')).toEqual(workflows)
    }
    await release(database)
    await at.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'applied' })
    expect(await live(database, 'production')).toEqual(at.atTip)
  })

  test('outlives the process, and works while the repository cannot be read', async ({
    database,
  }) => {
    const at = await three(database)
    await using made = at.made
    await at.reconciler.close()
    const next = await scene(database, made.path)
    await rename(made.gitDir, `${made.gitDir}-away`)
    await pinTo(database, at.first)
    await next.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'pinned' })
    expect(await live(database, 'production')).toEqual(at.atFirst)
    await rename(`${made.gitDir}-away`, made.gitDir)
    await next.reconciler.close()
    const third = await scene(database, made.path)
    await third.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'pinned' })
    expect(await live(database, 'production')).toEqual(at.atFirst)
  })

  test('ends by itself when its time is over', async ({ database }) => {
    const at = await three(database)
    await using _ = at.made
    await pinTo(database, at.first, { expiresAt: new Date('2026-03-01T13:00:00Z') })
    await at.reconciler.pass()
    expect((await environment(database, 'production')).message).toContain(
      ', until 2026-03-01T13:00:00.000Z: Wrong link.',
    )
    at.clock.set('2026-03-01T12:59:59Z')
    await at.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'pinned' })
    at.clock.set('2026-03-01T13:00:00Z')
    await at.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'applied',
      observedRevision: at.tip,
      pin: null,
    })
    expect(await live(database, 'production')).toEqual(at.atTip)
    expect(await listBrakeEvents(database, PRODUCTION)).toMatchObject([
      { kind: 'unpin', actor: 'belfry', reason: 'expired', revision: at.first },
      { kind: 'pin' },
    ])
  })

  test('ends in a running process when its time is over, with nothing else to wake it', async ({
    database,
  }) => {
    const at = await three(database)
    await using made = at.made
    const expiresAt = new Date(systemClock.now().getTime() + 1_000)
    await pinTo(database, at.first, { expiresAt })
    await at.reconciler.pass()
    await at.reconciler.close()
    // What is kept is all that the next process knows of it. Its own poll is an hour away.
    const next = await scene(database, made.path, { clock: systemClock })
    await using running = next.reconciler
    await running.start()
    await expect
      .poll(() => environment(database, 'production'), { timeout: 5_000 })
      .toMatchObject({ reason: 'applied', observedRevision: at.tip, pin: null })
    const [ended] = await listBrakeEvents(database, PRODUCTION)
    expect(ended).toMatchObject({ kind: 'unpin', reason: 'expired' })
    expect(ended?.insertedAt.getTime()).toBeGreaterThanOrEqual(expiresAt.getTime())
  })

  test('is refused for what was never applied here, and for a time that is over', async ({
    database,
  }) => {
    const at = await three(database)
    await using made = at.made
    const unapplied = await made.commit({ [file('a1')]: 'broken' })
    await at.reconciler.pass()
    await expect(pinTo(database, unapplied)).rejects.toMatchObject({ status: 422 })
    await expect(pinTo(database, at.first.slice(0, 6))).rejects.toMatchObject({ status: 422 })
    const expiresAt = NOW
    await expect(pinTo(database, at.first, { expiresAt })).rejects.toMatchObject({
      errors: [{ field: '/expires_at' }],
    })
    await database.query(sql`update revisions set parts = null where revision = ${at.first}`)
    await expect(pinTo(database, at.first)).rejects.toThrow('before the content of revisions')
    expect(await environment(database, 'production')).toMatchObject({ pin: null })

    // The live revision may be pinned: a bad tip is then nobody's business for a while.
    await pinTo(database, at.tip)
    await at.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'pinned',
      observedRevision: at.tip,
      attemptedRevision: at.tip,
      diagnostics: [{ severity: 'warning' }, { severity: 'warning' }],
    })
  })

  test('on a suspended environment is applied when that is resumed, and the tip never', async ({
    database,
  }) => {
    const at = await three(database)
    await using made = at.made
    await database.transaction(async (tx) =>
      suspend(tx, await environment(tx, PRODUCTION), { ...ACTING, reason: 'An incident' }),
    )
    const bad = await made.commit({ [file('a1')]: workflow('Bad') })
    await pinTo(database, at.first)
    await at.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'suspended',
      observedRevision: at.tip,
      pin: { revision: at.first },
    })
    expect(await live(database, 'production')).toEqual(at.atTip)
    await database.transaction(async (tx) => resume(tx, await environment(tx, PRODUCTION), ACTING))
    await at.reconciler.pass()
    expect(await live(database, 'production')).toEqual(at.atFirst)
    const applied = await database.query(
      sql`select revision from revisions where revision = ${bad}`,
    )
    expect(applied).toEqual([])
  })

  test('may be to an earlier state of the working tree', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ [file('a1')]: workflow('One') })
    const { reconciler } = await scene(database, made.path, { development: true })
    await reconciler.pass()
    const before = await live(database, 'development')
    const { observedRevision } = await environment(database, 'development')
    await made.write({ [file('a1')]: workflow('Two') })
    await reconciler.pass()
    const development = { ...ACTING, environment: 'development' as EnvironmentName }
    const [commit = '', tree = ''] = (observedRevision ?? '').split('+')
    const say = { ...development, reason: 'Compare', expiresAt: null }
    const pinning = (named: string) =>
      database.transaction(async (tx) =>
        pin(tx, await environment(tx, 'development'), { ...say, named }),
      )
    await expect(pinning(commit)).rejects.toThrow('several revisions')
    await pinning(`${commit.slice(0, 12)}+${tree}`)
    await reconciler.pass()
    expect(await live(database, 'development')).toEqual(before)
    await database.transaction(async (tx) =>
      unpin(tx, await environment(tx, 'development'), development),
    )
    await reconciler.pass()
    expect(await live(database, 'development')).not.toEqual(before)
  })
})

const many = (count: number) =>
  Object.fromEntries(
    Array.from({ length: count }, (_, index) => [file(`w${index}`), workflow(`W ${index}`)]),
  )
const none = (count: number) =>
  Object.fromEntries(Object.keys(many(count)).map((path) => [path, null]))

/** Ten workflows, and then, as was meant, one. */
async function pruned(database: Database) {
  const made = await testRepository()
  const { reconciler } = await scene(database, made.path)
  const before = await made.commit({ 'environments/production.yaml': 'ref: main\n', ...many(10) })
  await reconciler.pass()
  const meant = 'Keep one\n\nBelfry-Allow-Prune: true'
  const after = await made.commit({ ...none(10), [file('one')]: workflow('One') }, meant)
  await reconciler.pass()
  return { made, reconciler, before, after }
}

describe('a pin and the prune guard', () => {
  test('do not meet: neither the pin nor its release waits for a confirmation', async ({
    database,
  }) => {
    const { made, reconciler, before } = await pruned(database)
    await using _ = made
    const tip = await made.commit({ [file('one')]: workflow('One more') }, 'No trailer')
    await reconciler.pass()
    await pinTo(database, before)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ workflows: 10 })
    await release(database)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      observedRevision: tip,
      workflows: 1,
    })
  })

  test('do meet where the branch itself has dropped too much meanwhile', async ({ database }) => {
    await using made = await testRepository()
    const { reconciler } = await scene(database, made.path)
    const small = await made.commit({
      'environments/production.yaml': 'ref: main\n',
      [file('one')]: workflow('One'),
    })
    await reconciler.pass()
    await made.commit(many(10))
    await reconciler.pass()
    await pinTo(database, small)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ workflows: 1 })
    await made.commit(none(10))
    await release(database)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'prune_guard' })
    await made.commit(many(10))
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      workflows: 11,
    })
  })

  test('a branch that was reset to the pinned revision is guarded from there on', async ({
    database,
  }) => {
    const { made, reconciler, before } = await pruned(database)
    await using _ = made
    await pinTo(database, before)
    await reconciler.pass()
    await made.git('reset', '--quiet', '--hard', before)
    await release(database)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'applied',
      observedRevision: before,
    })
    await made.commit(none(9))
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'prune_guard',
      workflows: 10,
    })
  })
})
