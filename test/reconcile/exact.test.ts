import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import type { Files, TestRepository } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'

beforeEach<{ database: Database }>(({ database }) => clear(database))

const FILES: Files = {
  'README.md': 'About it\n',
  'environments/production.yaml':
    'ref: main\nchannels: { feed: { type: in_app, provider: in_app } }\n',
  'workflows/a1/workflow.yaml': workflow('{{> sign}} One'),
  'workflows/a1/note.txt': 'a note',
  'workflows/b1/workflow.yaml': workflow('Two'),
  'workflows/_partials/sign.hbs': 'Yours',
}

/** What one commit costs: the paths that were read for it, and the rows that it wrote. */
async function costOf(
  database: Database,
  change: (made: TestRepository) => Promise<unknown>,
): Promise<{
  readonly read: readonly string[]
  readonly versions: number
  readonly changed: readonly string[]
}> {
  await using made = await testRepository()
  await made.commit(FILES)
  const { reconciler, source } = await scene(database, made.path)
  await using running = reconciler
  await running.pass()
  expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
  const count = async () => (await database.query(sql`select id from versions`)).length
  const [versions, reads, before] = [
    await count(),
    source.blobs.length,
    await live(database, 'production'),
  ]
  await change(made)
  await running.pass()
  const tip = await made.tip('main')
  expect(await environment(database, 'production')).toMatchObject({
    state: 'ready',
    observedRevision: tip,
  })
  const names = new Map(
    (await made.git('ls-tree', '-r', 'HEAD')).split('\n').map((line) => {
      const [, id = '', path = ''] = /^\S+ \S+ (\S+)\t(.*)$/.exec(line) ?? []
      return [id, path] as const
    }),
  )
  const after = await live(database, 'production')
  return {
    read: source.blobs
      .slice(reads)
      .map((id) => names.get(id) ?? id)
      .toSorted(),
    versions: (await count()) - versions,
    changed: Object.keys({ ...before, ...after }).filter((key) => before[key] !== after[key]),
  }
}

describe('one commit costs what it changes:', () => {
  test('nothing, where it is only about the README', async ({ database }) => {
    const cost = await costOf(database, (made) => made.commit({ 'README.md': 'More about it\n' }))
    expect(cost).toEqual({ read: [], versions: 0, changed: [] })
  })

  test('nothing, where it changes nothing at all', async ({ database }) => {
    const cost = await costOf(database, (made) => made.commit({}))
    expect(cost).toEqual({ read: [], versions: 0, changed: [] })
  })

  test('the one workflow that it changes', async ({ database }) => {
    const cost = await costOf(database, (made) =>
      made.commit({ 'workflows/b1/workflow.yaml': workflow('Three') }),
    )
    expect(cost).toEqual({
      read: ['workflows/_partials/sign.hbs', 'workflows/b1/workflow.yaml'],
      versions: 1,
      changed: ['b1'],
    })
  })

  test('the one workflow of which a file is renamed', async ({ database }) => {
    const cost = await costOf(database, async (made) => {
      await made.git('mv', 'workflows/a1/note.txt', 'workflows/a1/about.txt')
      await made.commit({})
    })
    expect(cost).toEqual({
      read: [
        'workflows/_partials/sign.hbs',
        'workflows/a1/about.txt',
        'workflows/a1/workflow.yaml',
      ],
      versions: 1,
      changed: ['a1'],
    })
  })

  test('no new version, where only the mode of a file is another', async ({ database }) => {
    const cost = await costOf(database, async (made) => {
      await made.git('update-index', '--chmod=+x', 'workflows/a1/note.txt')
      await made.git('commit', '--quiet', '--message', 'Make it executable')
      await made.git('reset', '--quiet', '--hard')
    })
    expect(cost.versions).toBe(0)
    expect(cost.changed).toEqual([])
    expect(cost.read).not.toContain('workflows/b1/workflow.yaml')
  })

  test('a new workflow and an old one, where a directory is renamed', async ({ database }) => {
    const cost = await costOf(database, async (made) => {
      await made.git('mv', 'workflows/b1', 'workflows/c1')
      await made.commit({})
    })
    expect(cost.read).toEqual(['workflows/_partials/sign.hbs', 'workflows/c1/workflow.yaml'])
    expect(cost.changed.toSorted()).toEqual(['b1', 'c1'])
  })
})
