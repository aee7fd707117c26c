import { rename } from 'node:fs/promises'
import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { openSources } from '../../src/git/open.ts'
import type { CommitSource } from '../../src/git/source.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { listBrakeEvents } from '../../src/reconcile/brake-store.ts'
import { resume, suspend } from '../../src/reconcile/brakes.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'

const PRODUCTION = 'production' as EnvironmentName
const NOW = new Date('2026-03-01T12:00:00Z')
const ACTING = { environment: PRODUCTION, actor: 'ada', now: NOW }

beforeEach<{ database: Database }>(({ database }) => clear(database))

async function one(database: Database) {
  const made = await testRepository()
  const first = await made.commit({
    'environments/production.yaml': 'ref: main\n',
    'workflows/a1/workflow.yaml': workflow('One'),
  })
  const at = await scene(database, made.path)
  await at.reconciler.pass()
  return { made, first, ...at }
}

async function turnOff(database: Database, reason = 'A freeze'): Promise<void> {
  await database.transaction(async (tx) =>
    suspend(tx, await environment(tx, PRODUCTION), { ...ACTING, reason }),
  )
}

async function turnOn(database: Database): Promise<void> {
  await database.transaction(async (tx) => resume(tx, await environment(tx, PRODUCTION), ACTING))
}

describe('a suspended environment', () => {
  test('says at once who, when and why, and applies nothing until it is resumed', async ({
    database,
  }) => {
    const { made, first, reconciler } = await one(database)
    await using _ = made
    const before = await live(database, 'production')
    await turnOff(database)
    expect(await environment(database, 'production')).toMatchObject({
      state: 'suspended',
      suspension: { actor: 'ada', reason: 'A freeze', since: NOW.toISOString() },
      message: `Suspended by ada at 2026-03-01T12:00:00.000Z: A freeze. Nothing is applied until "belfry suspend production --resume". Revision ${first.slice(0, 12)} stays live.`,
    })
    const tip = await made.commit({ 'workflows/a1/workflow.yaml': workflow('Two') })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'suspended',
      reason: 'suspended',
      observedRevision: first,
    })
    expect(await live(database, 'production')).toEqual(before)
    await turnOn(database)
    expect(await environment(database, 'production')).toMatchObject({
      state: 'reconciling',
      suspension: null,
    })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      observedRevision: tip,
    })
    expect(await listBrakeEvents(database, PRODUCTION)).toMatchObject([
      { kind: 'resume', actor: 'ada', revision: first },
      { kind: 'suspend', actor: 'ada', reason: 'A freeze', revision: first },
    ])
  })

  test('stays so over a restart, and while its branch or the repository is gone', async ({
    database,
  }) => {
    const { made, reconciler } = await one(database)
    await using _ = made
    await turnOff(database)
    await made.commit({ 'workflows/b1/workflow.yaml': workflow('Two') })
    await reconciler.close()
    const next = await scene(database, made.path)
    await next.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'suspended',
      workflows: 1,
    })
    await rename(made.gitDir, `${made.gitDir}-away`)
    await next.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ state: 'suspended' })
    await rename(`${made.gitDir}-away`, made.gitDir)
    await made.checkout('elsewhere')
    await made.git('branch', '--quiet', '-D', 'main')
    await next.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'suspended',
      workflows: 1,
    })
  })

  test('takes nothing over that was being read when it was suspended', async ({ database }) => {
    const { made, first, reconciler } = await one(database)
    await using _ = made
    await reconciler.close()
    let isFirst = true
    const { repository: plain } = await openSources(made.path, { development: false })
    // The brake is used after the look has read the row, and before it applies the revision.
    const repository: CommitSource = {
      kind: 'repository',
      location: plain.location,
      refs: () => plain.refs(),
      commit: (id) => plain.commit(id),
      async tree(revision) {
        const tree = await plain.tree(revision)
        return {
          ...tree,
          async list(directory) {
            if (isFirst) await turnOff(database)
            isFirst = false
            return tree.list(directory)
          },
        }
      },
    }
    const next = await scene(database, made.path, { repository })
    await made.commit({ 'workflows/b1/workflow.yaml': workflow('Two') })
    expect(await next.reconciler.pass()).toMatchObject({ failed: false })
    expect(isFirst).toBe(false)
    expect(await environment(database, 'production')).toMatchObject({
      state: 'suspended',
      observedRevision: first,
      workflows: 1,
    })
  })

  test('goes back to ready where nothing was pushed, and is not resumed twice', async ({
    database,
  }) => {
    const { made, first, reconciler } = await one(database)
    await using _ = made
    await turnOff(database)
    await turnOff(database, 'Another freeze!')
    expect((await environment(database, 'production')).message).toContain(
      ': Another freeze! Nothing',
    )
    await turnOn(database)
    await turnOn(database)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      observedRevision: first,
    })
    const kinds = (await listBrakeEvents(database, PRODUCTION)).map(({ kind }) => kind)
    expect(kinds).toEqual(['resume', 'suspend', 'suspend'])
  })

  test('is no other one', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'environments/staging.yaml': 'ref: main\n',
    })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    await turnOff(database)
    await made.commit({ 'workflows/a1/workflow.yaml': workflow('One') })
    await reconciler.pass()
    expect(await environment(database, 'staging')).toMatchObject({ state: 'ready', workflows: 1 })
    expect(await environment(database, 'production')).toMatchObject({ workflows: 0 })
  })

  test('may be the one of the working tree', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ 'workflows/a1/workflow.yaml': workflow('One') })
    const { reconciler } = await scene(database, made.path, { development: true })
    await reconciler.pass()
    const acting = { ...ACTING, environment: 'development' as EnvironmentName, reason: 'Wait' }
    await database.transaction(async (tx) =>
      suspend(tx, await environment(tx, 'development'), acting),
    )
    await made.write({ 'workflows/b1/workflow.yaml': workflow('Two') })
    await reconciler.pass()
    expect(await environment(database, 'development')).toMatchObject({
      state: 'suspended',
      workflows: 1,
    })
  })
})

test('what was suspended keeps its audit, also where it never was more than a broken file', async ({
  database,
}) => {
  await using made = await testRepository()
  await made.commit({ 'environments/production.yaml': 'nonsense: true\n' })
  const { reconciler } = await scene(database, made.path)
  await reconciler.pass()
  await turnOff(database)
  await turnOn(database)
  await made.commit({ 'environments/production.yaml': null })
  await reconciler.pass()
  expect(await environment(database, 'production')).toMatchObject({ reason: 'undeclared' })
  expect(await listBrakeEvents(database, PRODUCTION)).toHaveLength(2)
})
