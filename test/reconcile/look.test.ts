import { appendFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { findEnvironment, listEnvironments, requestReconcile } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { bareClone, git, testRepository } from '../support/repository.ts'
import type { Files } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'

const TWO: Files = {
  'environments/staging.yaml': 'timezone: Europe/Berlin\n',
  'environments/production.yaml': 'ref: production\n',
}

beforeEach<{ database: Parameters<typeof clear>[0] }>(({ database }) => clear(database))

test('a look says that a branch or the head of a pull request has moved, and only then', async ({
  database,
}) => {
  await using made = await testRepository()
  const first = await made.commit({ ...TWO, 'workflows/a1/workflow.yaml': workflow('One') })
  let moves = 0
  const { reconciler } = await scene(database, made.path, { onMoved: () => void (moves += 1) })
  const movesOf = async (work: () => Promise<unknown>) => {
    await work()
    const before = moves
    await reconciler.pass()
    return moves - before
  }
  expect(await movesOf(async () => {})).toBe(1)
  expect(await movesOf(async () => {})).toBe(0)
  expect(await movesOf(() => made.git('update-ref', 'refs/pull/7/head', first))).toBe(1)
  expect(await movesOf(() => made.commit({ 'README.md': 'More.' }))).toBe(1)
  expect(await movesOf(() => made.git('tag', 'v1'))).toBe(0)
})

describe('what is not there or cannot be read', () => {
  test('archives nothing when the branch is deleted', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ ...TWO, 'workflows/a1/workflow.yaml': workflow('One') })
    await made.git('branch', 'production')
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    const before = await live(database, 'production')
    expect(Object.keys(before)).toEqual(['a1'])
    await made.git('branch', '--quiet', '-D', 'production')
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'waiting',
      reason: 'ref_missing',
    })
    expect(await live(database, 'production')).toEqual(before)
    await made.git('branch', 'production')
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
  })

  test('archives nothing while a tree cannot be read, and applies it when it can', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': workflow('One'),
    })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    const tip = await made.commit({
      'workflows/a1': null,
      'workflows/b1/workflow.yaml': workflow('b'),
    })
    const tree = await made.git('rev-parse', 'HEAD:workflows')
    const object = join(made.gitDir, 'objects', tree.slice(0, 2), tree.slice(2))
    await rename(object, `${object}-away`)
    expect(await reconciler.pass()).toEqual({ kind: 'leading', failed: true })
    expect(await environment(database, 'production')).toMatchObject({
      state: 'reconciling',
      reason: 'retrying',
    })
    expect(Object.keys(await live(database, 'production'))).toEqual(['a1'])
    await rename(`${object}-away`, object)
    expect(await reconciler.pass()).toEqual({ kind: 'leading', failed: false })
    expect(await environment(database, 'production')).toMatchObject({ observedRevision: tip })
    expect(Object.keys(await live(database, 'production'))).toEqual(['b1'])
  })

  test('refuses a repository that became reftable, and goes on when it is converted back', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': workflow('One'),
    })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    const config = join(made.gitDir, 'config')
    const before = await git(made.path, 'config', '--list', '--local')
    await appendFile(config, '[extensions]\n\trefStorage = reftable\n')
    await rm(join(made.gitDir, 'refs/heads/main'))
    const request = await database.transaction((tx) =>
      requestReconcile(tx, 'production' as EnvironmentName, new Date('2026-03-01')),
    )
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'stalled',
      reason: 'unsupported_repository',
      lastHandledRequest: request,
      workflows: 1,
    })
    expect(before).not.toContain('reftable')
    await writeFile(config, '[core]\n\trepositoryformatversion = 0\n')
    await made.git(
      'update-ref',
      'refs/heads/main',
      (await environment(database, 'production')).observedRevision ?? '',
    )
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
  })

  test('goes on with a repository that was put in the place of the old one', async ({
    database,
  }) => {
    await using made = await testRepository()
    const files = { 'environments/production.yaml': 'ref: main\n' }
    await made.commit({ ...files, 'workflows/a1/workflow.yaml': workflow('One') })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    await rename(made.gitDir, `${made.path}-old`)
    expect(await reconciler.pass()).toEqual({ kind: 'leading', failed: true })
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'retrying',
      workflows: 1,
    })
    await git(made.path, 'init', '--quiet', '--initial-branch=main')
    const tip = await made.commit({ 'workflows/b1/workflow.yaml': workflow('Two') })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      observedRevision: tip,
      workflows: 2,
    })
  })
})

describe('declarations', () => {
  test('come from the default branch, and everything else from the own branch', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({ 'environments/staging.yaml': 'locale: de\n' })
    await made.checkout('staging')
    await made.commit({
      'environments/staging.yaml': 'ref: elsewhere\nlocale: fr\n',
      'environments/rogue.yaml': 'locale: en\n',
    })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    const all = await listEnvironments(database)
    expect(all.map(({ name, ref, state }) => ({ name, ref, state }))).toEqual([
      { name: 'staging', ref: 'staging', state: 'ready' },
    ])
    const [row] = await database.query<{ locale: string }>(
      sql`select settings->>'locale' as locale from environments`,
    )
    expect(row?.locale).toBe('fr')
  })

  test('keep the last good of an environment that is gone, and bring it back', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({ ...TWO, 'workflows/a1/workflow.yaml': workflow('One') })
    await made.git('branch', 'production')
    await made.git('branch', 'staging')
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    await made.commit({ 'environments/staging.yaml': null })
    await reconciler.pass()
    expect(await environment(database, 'staging')).toMatchObject({
      state: 'stalled',
      reason: 'undeclared',
      workflows: 1,
    })
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
    await made.commit(TWO)
    await reconciler.pass()
    expect(await environment(database, 'staging')).toMatchObject({ state: 'ready', workflows: 1 })
  })

  test('that are broken keep the known set and are shown', async ({ database }) => {
    await using made = await testRepository()
    await made.commit(TWO)
    await made.git('branch', 'production')
    await made.git('branch', 'staging')
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    await made.commit({
      'environments/staging.yaml': 'ref: [\n',
      'environments/production.yaml': null,
      'environments/third.yaml': 'nonsense: true\n',
      'environments/Fourth.yaml': 'locale: en\n',
    })
    await reconciler.pass()
    // What can be no environment's is shown at all of them.
    const fourth = { path: 'environments/Fourth.yaml', code: 'declaration_invalid' }
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      diagnostics: [fourth],
    })
    expect(await environment(database, 'staging')).toMatchObject({
      state: 'ready',
      diagnostics: [
        fourth,
        { path: 'environments/staging.yaml', code: 'declaration_invalid', severity: 'warning' },
      ],
    })
    expect(await environment(database, 'third')).toMatchObject({
      state: 'stalled',
      reason: 'invalid_files',
    })
    await reconciler.pass()
    expect(await environment(database, 'third')).toMatchObject({
      state: 'stalled',
      reason: 'invalid_files',
    })
    await made.commit({ ...TWO, 'environments/third.yaml': null, 'environments/Fourth.yaml': null })
    await reconciler.pass()
    expect(await environment(database, 'staging')).toMatchObject({
      state: 'ready',
      diagnostics: [],
    })
  })

  test('that were broken from the first and are removed leave nothing behind', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'environments/third.yaml': 'nonsense: true\n',
      'environments/Bad Name.yaml': 'locale: en\n',
    })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    expect(await environment(database, 'third')).toMatchObject({ reason: 'invalid_files' })
    await database.transaction((tx) =>
      requestReconcile(tx, 'third' as EnvironmentName, new Date('2026-03-01')),
    )
    await made.commit({ 'environments/third.yaml': null })
    await reconciler.pass()
    expect(await findEnvironment(database, 'third')).toBeUndefined()
    await made.commit({
      'environments/third.yaml': 'ref: main\n',
      'environments/Bad Name.yaml': null,
    })
    await reconciler.pass()
    expect(await environment(database, 'third')).toMatchObject({ state: 'ready' })
  })

  test('with a file that can be no environment’s are not said to be broken by it', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/third.yaml': 'nonsense: true\n',
      'environments/Bad Name.yaml': 'locale: en\n',
    })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    const third = await environment(database, 'third')
    expect(third.message).toMatch(
      /^The file on the default branch has a problem at environments\/third\.yaml:1:1 /,
    )
    expect(third.diagnostics).toMatchObject([
      { path: 'environments/third.yaml', code: 'unknown_key', severity: 'error' },
      { path: 'environments/Bad Name.yaml', code: 'declaration_invalid', severity: 'warning' },
    ])
  })

  test('that would read the secrets of each other are refused', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ 'environments/eu-prod.yaml': 'ref: main\n' })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    await made.commit({ 'environments/eu_prod.yaml': 'ref: main\n' })
    await reconciler.pass()
    expect(await environment(database, 'eu_prod')).toMatchObject({
      state: 'stalled',
      reason: 'invalid_files',
      observedRevision: null,
      diagnostics: [{ path: 'environments/eu_prod.yaml', code: 'same_secrets' }],
    })
  })

  test('of another default branch stall until it is confirmed', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ 'environments/production.yaml': 'ref: main\n' })
    await using bare = await bareClone(made)
    const { reconciler } = await scene(database, bare.path)
    await reconciler.pass()
    await bare.git('branch', 'trunk')
    await bare.git('symbolic-ref', 'HEAD', 'refs/heads/trunk')
    await reconciler.pass()
    const stalled = await environment(database, 'production')
    expect(stalled).toMatchObject({ state: 'stalled', reason: 'default_branch_changed' })
    expect(stalled.message).toContain('--default-branch trunk')
    await reconciler.close()
    const confirmed = await scene(database, bare.path, { defaultBranch: 'trunk' })
    await confirmed.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
    await confirmed.reconciler.close()
    const after = await scene(database, bare.path)
    await after.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
  })
})
