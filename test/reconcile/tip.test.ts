import { setTimeout as pause } from 'node:timers/promises'
import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { openSources } from '../../src/git/open.ts'
import type { CommitSource, RevisionTree } from '../../src/git/source.ts'
import { findEnvironment } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import type { Files } from '../support/repository.ts'
import { clear, environment, scene, workflow } from './scene.ts'

beforeEach<{ database: Database }>(({ database }) => clear(database))

/** Waits for what somebody else does; the test's own time-out ends it. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve))
}

/** A source that tells when the content of one revision is read, and does something else in its place. */
function watched(source: CommitSource, read: (tree: RevisionTree) => RevisionTree['read']) {
  const state = { at: '', isReading: false, reads: 0 }
  const wrapped: CommitSource = {
    kind: 'repository',
    get location() {
      return source.location
    },
    refs: () => source.refs(),
    commit: (id) => source.commit(id),
    async tree(revision) {
      const tree = await source.tree(revision)
      if (revision !== state.at) return tree
      return {
        ...tree,
        read(blobs) {
          state.isReading = true
          state.reads += 1
          return read(tree)(blobs)
        },
      }
    },
  }
  return { state, wrapped }
}

/** A source in which the content of one revision is never read to its end. */
function stuck(source: CommitSource) {
  return watched(source, () => () => new Promise(() => {}))
}

/** A workflow of as many steps as there may be, each with a template as large as it may be. */
function largeWorkflow(): Files {
  const steps = Array.from({ length: 100 }, (_, index) =>
    [`  - ref: s${index}`, '    type: in_app', `    body: {file: ${index}.md.hbs}`].join('\n'),
  )
  const tags = '{{#if data.a}}{{data.b.c}}{{/if}}{{#each data.list}}{{this.name}}{{/each}}\n'
  const text = tags.repeat(Math.floor((64 * 1024) / tags.length))
  return {
    'workflows/large/workflow.yaml': `name: Large\nsteps:\n${steps.join('\n')}\n`,
    ...Object.fromEntries(steps.map((_, index) => [`workflows/large/${index}.md.hbs`, text])),
  }
}

describe('a newer revision', () => {
  test('ends the reading of an older one, of which nothing is applied', async ({ database }) => {
    await using made = await testRepository()
    const first = await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': workflow('One'),
    })
    const { repository } = await openSources(made.path, { development: false })
    const { state, wrapped } = stuck(repository)
    const { reconciler } = await scene(database, made.path, { repository: wrapped })
    await using running = reconciler
    await running.start()
    const observed = async () => (await findEnvironment(database, 'production'))?.observedRevision
    await until(async () => (await observed()) === first)

    await made.git('checkout', '--quiet', '--detach')
    const slow = await made.commit({
      'workflows/a1/workflow.yaml': workflow('Slow'),
      'workflows/b1/workflow.yaml': workflow('Slow'),
    })
    const quick = await made.commit({ 'workflows/a1/workflow.yaml': workflow('Quick') })
    state.at = slow
    await made.git('update-ref', 'refs/heads/main', slow)
    await until(() => state.isReading)
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'progressing',
      attemptedRevision: slow,
    })
    const pushedAt = process.uptime()
    await made.git('update-ref', 'refs/heads/main', quick)
    await until(async () => (await observed()) === quick)
    expect(process.uptime() - pushedAt).toBeLessThan(2)
    await running.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      workflows: 2,
    })
    expect(
      await database.query(
        sql`select revision from revisions where environment = 'production' order by sequence`,
      ),
    ).toEqual([{ revision: first }, { revision: quick }])
  })

  test('ends the reading of an older one in the middle of a directory that takes half a minute', async ({
    database,
  }) => {
    await using made = await testRepository()
    const first = await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': workflow('One'),
    })
    const { repository } = await openSources(made.path, { development: false })
    const { state, wrapped } = watched(repository, (tree) => (blobs) => tree.read(blobs))
    const { reconciler } = await scene(database, made.path, { repository: wrapped })
    await using running = reconciler
    await running.start()
    const observed = async () => (await findEnvironment(database, 'production'))?.observedRevision
    await until(async () => (await observed()) === first)

    await made.git('checkout', '--quiet', '--detach')
    const quick = await made.commit({ 'workflows/a1/workflow.yaml': workflow('Quick') })
    await made.git('checkout', '--quiet', first)
    const slow = await made.commit(largeWorkflow())
    state.at = slow
    await made.git('update-ref', 'refs/heads/main', slow)
    await until(() => state.isReading)
    const before = process.cpuUsage()
    await made.git('update-ref', 'refs/heads/main', quick)
    while ((await observed()) !== quick) await pause(20)
    const { user, system } = process.cpuUsage(before)
    // What it takes of the processor is the same on a busy machine; the directory takes five times as much.
    expect((user + system) / 1000).toBeLessThan(2_000)
    expect(
      await database.query(
        sql`select revision from revisions where environment = 'production' order by sequence`,
      ),
    ).toEqual([{ revision: first }, { revision: quick }])
  }, 60_000)

  test('is no reason to begin again where the branch has not moved', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ 'environments/production.yaml': 'ref: main\n' })
    const { repository } = await openSources(made.path, { development: false })
    const { state, wrapped } = stuck(repository)
    const { reconciler } = await scene(database, made.path, { repository: wrapped })
    await reconciler.pass()
    const slow = await made.commit({ 'workflows/a1/workflow.yaml': workflow('Slow') })
    state.at = slow
    void reconciler.pass()
    await until(() => state.isReading)
    await made.git('branch', 'another')
    reconciler.wake()
    await made.git('branch', 'one-more')
    expect(state.reads).toBe(1)
    // Only a branch that moves lets go of it.
    state.at = ''
    await made.commit({ 'workflows/a1/workflow.yaml': workflow('Quick') })
    reconciler.wake()
    await until(async () => (await findEnvironment(database, 'production'))?.state === 'ready')
    await reconciler.close()
  })
})
