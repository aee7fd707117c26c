import { beforeEach, describe, expect } from 'vitest'
import { locateRepository } from '../../src/git/location.ts'
import type { WorkingSource } from '../../src/git/source.ts'
import { WorkingTree } from '../../src/git/working-tree.ts'
import { silentLog } from '../../src/log.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'

beforeEach<{ database: Parameters<typeof clear>[0] }>(({ database }) => clear(database))

describe('development', () => {
  test('follows the working tree of a repository without a commit or an environment file', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.write({ 'workflows/welcome/workflow.yaml': workflow('Hello') })
    const { reconciler } = await scene(database, made.path, { development: true })
    await reconciler.pass()
    const shown = await environment(database, 'development')
    expect(shown).toMatchObject({ state: 'ready', workflows: 1 })
    expect(shown.observedRevision).toMatch(/^0{40}\+[0-9a-f]{12}$/)
  })

  test('makes a save live, and the commit of it changes only the revision', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/development.yaml': 'locale: de\n',
      'workflows/welcome/workflow.yaml': workflow('One'),
    })
    const { reconciler } = await scene(database, made.path, { development: true })
    await reconciler.pass()
    const before = await live(database, 'development')
    await made.write({ 'workflows/welcome/workflow.yaml': workflow('Two') })
    await reconciler.pass()
    const saved = await live(database, 'development')
    expect(saved).not.toEqual(before)
    const tip = await made.commit({})
    await reconciler.pass()
    expect(await live(database, 'development')).toEqual(saved)
    const { observedRevision } = await environment(database, 'development')
    expect(observedRevision?.startsWith(`${tip}+`)).toBe(true)
  })

  test('shows what is broken and keeps the last good', async ({ database }) => {
    await using made = await testRepository()
    await made.write({ 'workflows/welcome/workflow.yaml': workflow('One') })
    const { reconciler } = await scene(database, made.path, { development: true })
    await reconciler.pass()
    const before = await live(database, 'development')
    await made.write({ 'workflows/welcome/workflow.yaml': 'name: [' })
    await reconciler.pass()
    expect(await environment(database, 'development')).toMatchObject({
      state: 'stalled',
      reason: 'invalid_files',
      diagnostics: [{ path: 'workflows/welcome/workflow.yaml', line: 1 }],
    })
    expect(await live(database, 'development')).toEqual(before)
    await made.write({ 'workflows/welcome/workflow.yaml': workflow('Two') })
    await reconciler.pass()
    expect(await environment(database, 'development')).toMatchObject({
      state: 'ready',
      diagnostics: [{ code: 'channel_missing' }],
    })
  })

  test('reads a half-saved file again before it takes it at its word', async ({ database }) => {
    await using made = await testRepository()
    const path = 'workflows/welcome/workflow.yaml'
    await made.write({ [path]: workflow('One').slice(0, 30) })
    const { workTree, ...location } = await locateRepository(made.path)
    const inner = new WorkingTree({ ...location, workTree: workTree ?? '' })
    let looks = 0
    const workingTree: WorkingSource = {
      kind: 'working_tree',
      note: (place) => inner.note(place),
      async look(head) {
        looks += 1
        // The editor writes the second half after the first look.
        if (looks === 2) await made.write({ [path]: workflow('One') })
        return inner.look(head)
      },
    }
    const warnings: string[] = []
    const log = { ...silentLog, warn: (message: string) => void warnings.push(message) }
    const { reconciler } = await scene(database, made.path, { workingTree, log })
    await reconciler.pass()
    expect(await environment(database, 'development')).toMatchObject({
      state: 'ready',
      workflows: 1,
    })
    expect(warnings).toEqual([])
  })

  test('leaves the other environments to their branches', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/welcome/workflow.yaml': workflow('One'),
    })
    await made.write({ 'workflows/second/workflow.yaml': workflow('Two') })
    const { reconciler } = await scene(database, made.path, { development: true })
    await reconciler.pass()
    expect(Object.keys(await live(database, 'development'))).toEqual(['second', 'welcome'])
    expect(Object.keys(await live(database, 'production'))).toEqual(['welcome'])
    await made.git('checkout', '--quiet', '-b', 'feature')
    await made.commit({ 'environments/production.yaml': null })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      workflows: 1,
    })
  })

  test('is undeclared once the mode is left, and keeps its last good', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/welcome/workflow.yaml': workflow('One'),
    })
    const first = await scene(database, made.path, { development: true })
    await first.reconciler.pass()
    await first.reconciler.close()
    const second = await scene(database, made.path)
    await second.reconciler.pass()
    expect(await environment(database, 'development')).toMatchObject({
      reason: 'undeclared',
      workflows: 1,
    })
  })
})
