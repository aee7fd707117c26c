import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { listBrakeEvents } from '../../src/reconcile/brake-store.ts'
import { confirm as confirmRevision } from '../../src/reconcile/brakes.ts'
import { requestReconcile } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import type { Files } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'

const ALLOW = 'Drop old workflows\n\nBelfry-Allow-Prune: true'
const PRODUCTION = 'production' as EnvironmentName
const NOW = new Date('2026-03-01T12:00:00Z')

beforeEach<{ database: Database }>(({ database }) => clear(database))

const key = (index: number) => `w${String(index).padStart(2, '0')}`

/** Workflows from the first number to before the last. */
function workflows(from: number, to: number): Files {
  const numbers = Array.from({ length: to - from }, (_, index) => from + index)
  return Object.fromEntries(
    numbers.map((index) => [`workflows/${key(index)}/workflow.yaml`, workflow(key(index))]),
  )
}

function gone(from: number, to: number): Files {
  return Object.fromEntries(Object.keys(workflows(from, to)).map((path) => [path, null]))
}

/** Twenty workflows in production, which follows its own branch; main declares it so. */
async function twenty(database: Database, declaration = '{}\n') {
  const made = await testRepository()
  await made.commit({ 'environments/production.yaml': declaration, ...workflows(0, 20) })
  await made.checkout('production')
  const { reconciler } = await scene(database, made.path)
  await reconciler.pass()
  return { made, reconciler }
}

async function confirm(database: Database, named: string): Promise<void> {
  await database.transaction(async (tx) => {
    const view = await environment(tx, PRODUCTION)
    await confirmRevision(tx, view, {
      kind: 'allow_prune',
      environment: PRODUCTION,
      named,
      actor: 'ada',
      now: NOW,
    })
    await requestReconcile(tx, PRODUCTION, NOW)
  })
}

describe('the prune guard', () => {
  test('applies nothing of a revision that archives too much, and says what to do', async ({
    database,
  }) => {
    const { made, reconciler } = await twenty(database)
    await using _ = made
    const before = await live(database, 'production')
    const first = await made.tip('production')
    const tip = await made.commit({
      ...gone(0, 5),
      'workflows/w19/workflow.yaml': workflow('changed'),
    })
    await reconciler.pass()
    const stalled = await environment(database, 'production')
    expect(stalled).toMatchObject({
      state: 'stalled',
      reason: 'prune_guard',
      observedRevision: first,
      attemptedRevision: tip,
    })
    expect(stalled.message).toContain('would archive 5 of 20 live workflows: w00, w01')
    expect(stalled.message).toContain(
      `belfry reconcile production --allow-prune ${tip.slice(0, 12)}`,
    )
    expect(stalled.message).toContain('"Belfry-Allow-Prune: true"')
    expect(await live(database, 'production')).toEqual(before)

    // Bringing one back is enough: four are too few to judge.
    const mended = await made.commit(workflows(0, 1))
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      observedRevision: mended,
      workflows: 16,
    })
  })

  test('lets pass what the policy allows, and not one more', async ({ database }) => {
    const { made, reconciler } = await twenty(database, 'policy: {prune_max_percent: 50}\n')
    await using _ = made
    await made.commit(gone(0, 11))
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'prune_guard' })
    await made.commit(workflows(0, 1))
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'applied' })
  })

  test('holds back a revision without any workflow, even of two, and even at 100 percent', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'policy: {prune_max_percent: 100}\nref: main\n',
      ...workflows(0, 2),
    })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    await made.commit({ workflows: null })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'prune_guard',
      workflows: 2,
    })
    await made.commit(workflows(0, 1))
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
    // One alone may go.
    await made.commit({ workflows: null })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      workflows: 0,
    })
  })

  test('believes the trailer of the tip, and not that of an older commit', async ({ database }) => {
    const { made, reconciler } = await twenty(database)
    await using _ = made
    await made.commit(gone(0, 10), ALLOW)
    await made.commit({}, 'Say nothing of it')
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'prune_guard' })
    const tip = await made.commit({}, ALLOW)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      observedRevision: tip,
      workflows: 10,
    })
  })

  test('believes an operator about that revision alone, and keeps who it was', async ({
    database,
  }) => {
    const { made, reconciler } = await twenty(database)
    await using _ = made
    const tip = await made.commit(gone(0, 10))
    await reconciler.pass()
    await expect(confirm(database, 'f'.repeat(40))).rejects.toMatchObject({ status: 422 })
    await expect(confirm(database, tip.slice(0, 6))).rejects.toMatchObject({ status: 422 })
    await confirm(database, tip.slice(0, 12))
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      observedRevision: tip,
      workflows: 10,
    })
    expect(await listBrakeEvents(database, PRODUCTION)).toMatchObject([
      { kind: 'allow_prune', revision: tip, actor: 'ada', insertedAt: NOW },
    ])
    await expect(confirm(database, tip)).rejects.toMatchObject({ status: 422 })
    await made.commit(gone(10, 19))
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'prune_guard' })
  })

  test('stays when the process is another one', async ({ database }) => {
    const { made, reconciler } = await twenty(database)
    await using _ = made
    await made.commit(gone(0, 10))
    await reconciler.pass()
    await reconciler.close()
    const next = await scene(database, made.path)
    await next.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'prune_guard',
      workflows: 20,
    })
  })

  test('is off for the working tree in development', async ({ database }) => {
    await using made = await testRepository()
    await made.commit(workflows(0, 10))
    const { reconciler } = await scene(database, made.path, { development: true })
    await reconciler.pass()
    expect(await environment(database, 'development')).toMatchObject({ workflows: 10 })
    await made.write({ workflows: null })
    await reconciler.pass()
    expect(await environment(database, 'development')).toMatchObject({
      state: 'ready',
      workflows: 0,
    })
  })
})

/** The declaration of production on main, with this policy. */
function allowing(percent: number): Files {
  return {
    'environments/production.yaml': `ref: main\npolicy: {prune_max_percent: ${percent}}\n`,
  }
}

describe('the policy of the prune guard', () => {
  const loose = { 'environments/production.yaml': 'policy: {prune_max_percent: 100}\n' }

  test('is not loosened by the branch that it guards', async ({ database }) => {
    const { made, reconciler } = await twenty(database)
    await using _ = made
    await made.commit({ ...gone(0, 10), ...loose })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'prune_guard' })
    await made.commit({}, 'Try again')
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'prune_guard',
      workflows: 20,
    })
    await made.checkout('main')
    await made.commit(loose)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      workflows: 10,
    })
  })

  test('holds a revision of the default branch to what was before it', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ 'environments/production.yaml': 'ref: main\n', ...workflows(0, 20) })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    await made.commit({ ...allowing(60), ...gone(0, 10) })
    await reconciler.pass()
    await reconciler.close()
    const next = await scene(database, made.path)
    await next.reconciler.pass()
    const held = await environment(database, 'production')
    expect(held).toMatchObject({ reason: 'prune_guard' })
    expect(held.message).toContain(
      'The policy that is declared now counts once a revision with it is applied',
    )

    // Neither what is committed on top of it, nor another commit in its place, nor another change of the policy.
    await made.commit({}, 'Go on')
    await next.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'prune_guard' })
    await made.git('commit', '--quiet', '--amend', '--allow-empty', '--message', 'Go on, please')
    await next.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'prune_guard' })
    await made.commit(allowing(70))
    await next.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'prune_guard' })

    // By itself the policy is applied, and holds from then on.
    await made.commit(workflows(0, 10))
    await next.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'applied' })
    await made.commit(gone(0, 10))
    await next.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'applied',
      workflows: 10,
    })
  })
})
