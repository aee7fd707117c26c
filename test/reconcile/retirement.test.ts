import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { listBrakeEvents } from '../../src/reconcile/brake-store.ts'
import { listEnvironments } from '../../src/reconcile/read.ts'
import { retire, revive } from '../../src/reconcile/retirement.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'

const OLD = 'old' as EnvironmentName
const NOW = new Date('2026-03-01T12:00:00Z')
const ACTING = { environment: OLD, actor: 'ada', now: NOW }
const MANY = Object.fromEntries(
  ['a1', 'b1', 'c1'].map((key) => [`workflows/${key}/workflow.yaml`, workflow(key)]),
)

beforeEach<{ database: Database }>(({ database }) => clear(database))

function turnOff(database: Database): Promise<void> {
  return database.transaction((tx) => retire(tx, { ...ACTING, reason: 'Moved' }))
}

/** An environment that has archived a workflow, and is not declared any more. */
async function undeclared(database: Database) {
  await using stack = new AsyncDisposableStack()
  const made = stack.use(await testRepository())
  await made.commit({ 'environments/old.yaml': '{}\n', 'environments/new.yaml': '{}\n', ...MANY })
  await made.checkout('old')
  const at = await scene(database, made.path)
  stack.use(at.reconciler)
  await at.reconciler.pass()
  const last = await made.commit({ 'workflows/c1': null })
  await at.reconciler.pass()
  await made.git('checkout', '--quiet', 'main')
  await made.commit({ 'environments/old.yaml': null })
  await at.reconciler.pass()
  expect(await environment(database, 'old')).toMatchObject({ reason: 'undeclared', workflows: 2 })
  const opened = stack.move()
  return { made, last, ...at, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

describe('a retired environment', () => {
  test('has nothing live, at once and whatever looks follow, and is not among the others', async ({
    database,
  }) => {
    await using at = await undeclared(database)
    await turnOff(database)
    const retired = {
      state: 'suspended',
      reason: 'retired',
      retirement: { actor: 'ada', reason: 'Moved', since: NOW.toISOString() },
      message:
        'Retired by ada at 2026-03-01T12:00:00.000Z: Moved. None of its workflows is live; its data is kept. It comes back as it was once environments/old.yaml is on the default branch again.',
      observedRevision: at.last,
      workflows: 0,
    }
    expect(await environment(database, 'old')).toMatchObject(retired)
    await at.reconciler.pass()
    // What was archived is no drift.
    expect(await at.reconciler.mend()).toBe(false)
    await at.reconciler.pass()
    expect(await environment(database, 'old')).toMatchObject(retired)
    const names = async (withRetired: boolean) =>
      (await listEnvironments(database, withRetired)).map(({ name }) => name)
    expect(await names(false)).toEqual(['new'])
    expect(await names(true)).toEqual(['new', 'old'])
  })

  test('has what it had once it is declared again, and goes on from there', async ({
    database,
  }) => {
    await using at = await undeclared(database)
    const before = await live(database, 'old')
    await turnOff(database)
    at.clock.advance(1_000)
    await at.made.commit({ 'environments/old.yaml': '{}\n' })
    await at.reconciler.pass()
    expect(await environment(database, 'old')).toMatchObject({
      reason: 'applied',
      retirement: null,
      observedRevision: at.last,
    })
    // The workflow that Git had archived stays archived.
    expect(await live(database, 'old')).toEqual(before)
    expect(await at.reconciler.mend()).toBe(false)
    expect(await listBrakeEvents(database, OLD)).toMatchObject([
      { kind: 'revive', actor: 'belfry', reason: 'declared again' },
      { kind: 'retire', actor: 'ada', reason: 'Moved', revision: at.last },
    ])
    await at.made.git('checkout', '--quiet', 'old')
    const tip = await at.made.commit({ 'workflows/d1/workflow.yaml': workflow('d') })
    await at.reconciler.pass()
    expect(await environment(database, 'old')).toMatchObject({
      observedRevision: tip,
      workflows: 3,
    })
  })

  test('may be retired once more, and is back when that is undone', async ({ database }) => {
    await using at = await undeclared(database)
    const before = await live(database, 'old')
    await turnOff(database)
    const later = { ...ACTING, now: new Date(NOW.getTime() + 1_000), reason: 'Really' }
    await database.transaction((tx) => retire(tx, later))
    await database.transaction((tx) => revive(tx, ACTING))
    await database.transaction((tx) => revive(tx, ACTING))
    await at.reconciler.pass()
    expect(await environment(database, 'old')).toMatchObject({ reason: 'undeclared' })
    expect(await live(database, 'old')).toEqual(before)
    expect(await listBrakeEvents(database, OLD)).toHaveLength(3)
  })

  test('is none that is declared', async ({ database }) => {
    await using at = await undeclared(database)
    await at.made.commit({ 'environments/old.yaml': '{}\n' })
    await at.reconciler.pass()
    await expect(turnOff(database)).rejects.toMatchObject({
      code: 'environment_declared',
      message: expect.stringContaining('remove environments/old.yaml from the default branch'),
    })
    expect(await environment(database, 'old')).toMatchObject({ state: 'ready', workflows: 2 })
  })
})
