import { beforeEach, describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { findWorkflow, requestReconcile } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import type { Files } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'

const TWO: Files = {
  'environments/staging.yaml': 'timezone: Europe/Berlin\n',
  'environments/production.yaml': 'ref: production\n',
}

beforeEach<{ database: Parameters<typeof clear>[0] }>(({ database }) => clear(database))

/** Fifty workflows that differ by `text`. */
function fifty(text: string): Files {
  const numbers = Array.from({ length: 50 }, (_, index) => index)
  return Object.fromEntries(
    numbers.map((n) => [`workflows/number-${n}/workflow.yaml`, workflow(`${text} ${n}`)]),
  )
}

describe('promotion', () => {
  test('makes a workflow live in production after the merge and not before, as the same version', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit(TWO)
    await made.git('branch', 'production')
    await made.checkout('staging')
    const { reconciler } = await scene(database, made.path)
    await made.commit({ 'workflows/welcome/workflow.yaml': workflow('Hello') })
    await reconciler.pass()
    const staging = await live(database, 'staging')
    expect(Object.keys(staging)).toEqual(['welcome'])
    expect(await live(database, 'production')).toEqual({})
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      workflows: 0,
    })

    await made.git('checkout', '--quiet', 'main')
    const tip = await made.merge('staging', 'production')
    await reconciler.pass()
    expect(await live(database, 'production')).toEqual(staging)
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      reason: 'applied',
      observedRevision: tip,
      attemptedRevision: tip,
      workflows: 1,
    })
    const versions = await database.query(sql`select id from versions`)
    expect(versions).toHaveLength(1)
  })

  test('goes back with a revert, and keeps the history', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/welcome/workflow.yaml': workflow('One'),
    })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    const before = await live(database, 'production')
    await made.commit({ 'workflows/welcome/workflow.yaml': workflow('Two') })
    await reconciler.pass()
    expect(await live(database, 'production')).not.toEqual(before)
    await made.revert()
    await reconciler.pass()
    expect(await live(database, 'production')).toEqual(before)
    const history = await database.query(
      sql`select sequence::integer, added, changed, archived from revisions order by sequence`,
    )
    expect(history).toEqual([
      { sequence: 1, added: ['welcome'], changed: [], archived: [] },
      { sequence: 2, added: [], changed: ['welcome'], archived: [] },
      { sequence: 3, added: [], changed: ['welcome'], archived: [] },
    ])
  })

  test('archives a workflow whose directory is gone, and brings it back in the same row', async ({
    database,
  }) => {
    await using made = await testRepository()
    const files = { 'workflows/welcome/workflow.yaml': workflow('One') }
    await made.commit({
      ...files,
      'environments/production.yaml': 'ref: main\n',
      'workflows/other/workflow.yaml': workflow('Other'),
    })
    const { reconciler, clock } = await scene(database, made.path)
    await reconciler.pass()
    const name = 'production' as EnvironmentName
    const before = await findWorkflow(database, name, 'welcome')
    clock.advance(1000)
    await made.commit({ 'workflows/welcome': null })
    await reconciler.pass()
    expect(Object.keys(await live(database, 'production'))).toEqual(['other'])
    expect((await findWorkflow(database, name, 'welcome'))?.archivedAt).toEqual(clock.now())
    await made.commit(files)
    await reconciler.pass()
    const after = await findWorkflow(database, name, 'welcome')
    expect(after).toMatchObject({
      archivedAt: null,
      createdAt: before?.createdAt,
      versionId: before?.versionId,
    })
  })
})

describe('a bad revision', () => {
  test('changes nothing when one of fifty files is broken, and the next good one applies', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({ ...fifty('Good'), 'environments/production.yaml': 'ref: main\n' })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    const before = await live(database, 'production')
    const good = await made.tip('main')
    const bad = await made.commit({
      ...fifty('Better'),
      'workflows/number-25/workflow.yaml': 'name: Broken\nsteps: [\n',
    })
    await reconciler.pass()
    expect(await live(database, 'production')).toEqual(before)
    const stalled = await environment(database, 'production')
    expect(stalled).toMatchObject({
      state: 'stalled',
      reason: 'invalid_files',
      observedRevision: good,
      attemptedRevision: bad,
      workflows: 50,
    })
    const errors = stalled.diagnostics.filter(({ severity }) => severity === 'error')
    expect(errors.map(({ path }) => path)).toEqual(['workflows/number-25/workflow.yaml'])
    expect(stalled.message).toContain('workflows/number-25/workflow.yaml:')
    const mended = await made.commit(fifty('Best'))
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      observedRevision: mended,
    })
    expect(await live(database, 'production')).not.toEqual(before)
  })

  test('is read once, and again when somebody asks or the process is a new one', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': 'nope',
    })
    const { reconciler, source } = await scene(database, made.path)
    await reconciler.pass()
    const reads = source.blobs.length
    await reconciler.pass()
    expect(source.blobs).toHaveLength(reads)
    const id = await database.transaction((tx) =>
      requestReconcile(tx, 'production' as EnvironmentName, new Date('2026-03-01')),
    )
    await reconciler.pass()
    expect(source.blobs.length).toBeGreaterThan(reads)
    expect((await environment(database, 'production')).lastHandledRequest).toBe(id)
    await reconciler.close()
    const next = await scene(database, made.path)
    await next.reconciler.pass()
    expect(next.source.blobs.length).toBeGreaterThan(0)
    expect(await environment(database, 'production')).toMatchObject({ reason: 'invalid_files' })
  })

  test('is one whose symbolic link stands for a workflow, or for all of them', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': workflow('One'),
    })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    const before = await live(database, 'production')
    await made.commit({ 'workflows/b1': { link: 'a1' } })
    await reconciler.pass()
    expect((await environment(database, 'production')).diagnostics).toMatchObject([
      { path: 'workflows/b1', code: 'symlink', severity: 'error' },
      { path: 'workflows/a1/workflow.yaml', code: 'channel_missing', severity: 'warning' },
    ])
    await made.git('mv', 'workflows', 'elsewhere')
    await made.commit({ workflows: { link: 'elsewhere' } })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'invalid_files' })
    expect(await live(database, 'production')).toEqual(before)
  })

  test('does not leave the settings file out', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ 'workflows/a1/workflow.yaml': workflow('One') })
    await made.git('branch', 'production')
    await made.commit(TWO)
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'invalid_files',
      diagnostics: [{ path: 'environments/production.yaml', code: 'environment_file_missing' }],
    })
  })
})
