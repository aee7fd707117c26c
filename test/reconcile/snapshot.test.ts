import { execFileSync } from 'node:child_process'
import { beforeEach, describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { requestReconcile } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { makeKeys } from '../support/client-keys.ts'
import { testRepository } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'

beforeEach<{ database: Parameters<typeof clear>[0] }>(({ database }) => clear(database))

describe('only what changed is read', () => {
  test('no blob at all after a restart on an unchanged repository', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': workflow('One'),
    })
    const first = await scene(database, made.path)
    await first.reconciler.pass()
    expect(first.source.blobs.length).toBeGreaterThan(0)
    await first.reconciler.close()
    const second = await scene(database, made.path)
    await second.reconciler.pass()
    expect(second.source.blobs).toEqual([])
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
  })

  test('one directory of many, across a restart', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': workflow('One'),
      'workflows/b1/workflow.yaml': workflow('Two'),
    })
    const first = await scene(database, made.path)
    await first.reconciler.pass()
    await first.reconciler.close()
    await made.commit({ 'workflows/b1/workflow.yaml': workflow('Three'), 'README.md': 'x' })
    const second = await scene(database, made.path)
    await second.reconciler.pass()
    expect(second.source.blobs).toEqual([
      await made.git('rev-parse', 'HEAD:workflows/b1/workflow.yaml'),
    ])
  })

  test('the workflows that use a partial when it changes, and no others', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': workflow('One {{> sign}}'),
      'workflows/b1/workflow.yaml': workflow('Two'),
      'workflows/_partials/sign.hbs': 'Yours',
    })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
    const before = await live(database, 'production')
    await made.commit({ 'workflows/_partials/sign.hbs': 'Truly yours' })
    await reconciler.pass()
    const after = await live(database, 'production')
    expect(after['a1']).not.toBe(before['a1'])
    expect(after['b1']).toBe(before['b1'])
    await made.commit({ 'workflows/_partials/sign.hbs': null })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'invalid_files' })
    expect(await live(database, 'production')).toEqual(after)
  })

  test('new settings are checked against every workflow without reading one', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\nvariables: { app: { value: one } }\n',
      'workflows/a1/workflow.yaml': workflow('{{vars.app}}'),
    })
    const { reconciler, source } = await scene(database, made.path)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
    const reads = source.blobs.length
    await made.commit({
      'environments/production.yaml': 'ref: main\nvariables: { app: { secret: APP } }\n',
    })
    await reconciler.pass()
    const own = await made.git('rev-parse', 'HEAD:workflows/a1/workflow.yaml')
    expect(source.blobs.slice(reads)).not.toContain(own)
    const stalled = await environment(database, 'production')
    expect(stalled.reason).toBe('invalid_files')
    expect(stalled.diagnostics).toContainEqual(
      expect.objectContaining({ path: 'workflows/a1/workflow.yaml', code: 'secret_in_template' }),
    )
  })
})

describe('secrets', () => {
  const FILE = 'ref: main\nvariables:\n  app: { secret: APP }\n'
  const missing = {
    path: 'environments/production.yaml',
    line: 3,
    column: 18,
    code: 'missing_secret',
    severity: 'error',
  }

  test('are looked for at each new revision, whether or not it names them anew', async ({
    database,
  }) => {
    await using made = await testRepository()
    const first = await made.commit({ 'environments/production.yaml': FILE })
    let isSet = true
    const { reconciler } = await scene(database, made.path, { hasSecret: () => isSet })
    await reconciler.pass()
    isSet = false
    const second = await made.commit({ 'workflows/a1/workflow.yaml': workflow('One') })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'stalled',
      reason: 'invalid_files',
      observedRevision: first,
      attemptedRevision: second,
      diagnostics: [missing],
    })
    expect(await live(database, 'production')).toEqual({})
  })

  test('are looked for again when a process starts and when somebody asks', async ({
    database,
  }) => {
    await using made = await testRepository()
    const tip = await made.commit({
      'environments/production.yaml': FILE,
      'workflows/a1/workflow.yaml': workflow('One'),
    })
    let isSet = true
    const hasSecret = () => isSet
    const ask = () =>
      database.transaction((tx) =>
        requestReconcile(tx, 'production' as EnvironmentName, new Date('2026-03-01')),
      )
    const before = await scene(database, made.path, { hasSecret })
    await before.reconciler.pass()
    await before.reconciler.close()
    const good = await live(database, 'production')
    isSet = false
    const { reconciler } = await scene(database, made.path, { hasSecret })
    await reconciler.pass()
    const stalled = {
      state: 'stalled',
      reason: 'invalid_files',
      observedRevision: tip,
      diagnostics: [missing],
    }
    expect(await environment(database, 'production')).toMatchObject(stalled)
    expect(await live(database, 'production')).toEqual(good)
    isSet = true
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject(stalled)
    await ask()
    await reconciler.pass()
    const ready = { state: 'ready', observedRevision: tip, diagnostics: [] }
    expect(await environment(database, 'production')).toMatchObject(ready)
    isSet = false
    await ask()
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject(stalled)
    isSet = true
    await reconciler.close()
    const after = await scene(database, made.path, { hasSecret })
    await after.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject(ready)
    expect(await database.query(sql`select revision from revisions`)).toHaveLength(1)
  })
})

test('more workflows than an environment may have are refused, whole and unread', async ({
  database,
}) => {
  await using made = await testRepository()
  const first = await made.commit({
    'environments/production.yaml': 'ref: main\n',
    'workflows/a1/workflow.yaml': workflow('One'),
  })
  const { reconciler, source } = await scene(database, made.path)
  await reconciler.pass()
  const good = await live(database, 'production')
  const reads = source.blobs.length
  const tree = (lines: readonly string[]) =>
    execFileSync('git', ['mktree'], { cwd: made.path, input: lines.join('\n') })
      .toString()
      .trim()
  const own = await made.git('rev-parse', 'HEAD:workflows/a1')
  const keys = Array.from({ length: 50_001 }, (_, index) => `k${index}`)
  const all = tree(keys.map((key) => `040000 tree ${own}\t${key}`))
  const environments = await made.git('rev-parse', 'HEAD:environments')
  const root = tree([`040000 tree ${environments}\tenvironments`, `040000 tree ${all}\tworkflows`])
  await made.git('update-ref', 'refs/heads/main', await made.git('commit-tree', root, '-m', 'Many'))
  await reconciler.pass()
  expect(await environment(database, 'production')).toMatchObject({
    state: 'stalled',
    reason: 'invalid_files',
    observedRevision: first,
    diagnostics: [{ path: 'workflows', line: 1, column: 1, code: 'too_many_workflows' }],
  })
  expect(await live(database, 'production')).toEqual(good)
  expect(source.blobs.slice(reads)).toEqual([])
})

test('preferences for a category that no workflow has are a warning, until one has it', async ({
  database,
}) => {
  await using made = await testRepository()
  await made.commit({
    'environments/production.yaml': 'ref: main\npreferences: { categories: { news: false } }\n',
    'workflows/a1/workflow.yaml': workflow('One'),
    'workflows/b1/workflow.yaml': workflow('Two'),
  })
  const { reconciler } = await scene(database, made.path)
  await reconciler.pass()
  const codes = async () => {
    const { state, diagnostics } = await environment(database, 'production')
    return [state, ...diagnostics.map(({ code }) => code)].filter((code) =>
      /ready|unknown/.test(code),
    )
  }
  expect(await codes()).toEqual(['ready', 'unknown_category'])
  await made.commit({ 'README.md': 'x' })
  await reconciler.pass()
  expect(await codes()).toEqual(['ready', 'unknown_category'])
  await made.commit({ 'workflows/b1/workflow.yaml': `categories: [news]\n${workflow('Two')}` })
  await reconciler.pass()
  expect(await codes()).toEqual(['ready'])
})

test('another key in the file that an environment names is another setting', async ({
  database,
}) => {
  const keys = () =>
    database.query<{ keys: unknown }>(sql`
      select settings -> 'client_keys' as keys from environments where name = 'production'
    `)
  const [one, two] = [makeKeys().pem, makeKeys().pem]
  await using made = await testRepository()
  await made.commit({
    'environments/production.yaml': 'ref: main\nclient_keys: { feed: { file: feed.pem } }\n',
    'environments/feed.pem': one,
    'workflows/a1/workflow.yaml': workflow('One'),
  })
  const { reconciler, source } = await scene(database, made.path)
  const file = 'environments/feed.pem'
  await reconciler.pass()
  expect(await keys()).toEqual([{ keys: { feed: { pem: one, file } } }])
  await made.commit({ 'environments/other.pem': two })
  await reconciler.pass()
  expect(source.blobs).not.toContain(await made.git('rev-parse', 'HEAD:environments/other.pem'))
  await made.commit({ [file]: two })
  await reconciler.pass()
  expect(await keys()).toEqual([{ keys: { feed: { pem: two, file } } }])
  await made.commit({ [file]: null })
  await reconciler.pass()
  expect(await environment(database, 'production')).toMatchObject({ reason: 'invalid_files' })
  expect(await keys()).toEqual([{ keys: { feed: { pem: two, file } } }])
})
