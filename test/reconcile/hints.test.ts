import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { openTopics } from '../../src/db/topics.ts'
import { openSources } from '../../src/git/open.ts'
import type { CommitSource } from '../../src/git/source.ts'
import type { Revision } from '../../src/ids.ts'
import { silentLog } from '../../src/log.ts'
import { dropHints, HINT_MS_MAX, listHints, requestLook } from '../../src/reconcile/hint-store.ts'
import { test } from '../support/database.ts'
import { testRepository, type TestRepository } from '../support/repository.ts'
import { clear, environment, scene, workflow } from './scene.ts'

beforeEach<{ database: Database }>(async ({ database }) => {
  await clear(database)
  await database.query(sql`truncate git_hints`)
})

const NOW = new Date('2026-03-01T12:00:00Z')
const NEVER = 'f'.repeat(40)

function hint(database: Database, branch: string, revision: string, at = NOW): Promise<void> {
  const hints = [{ branch, revision: revision as Revision }]
  return database.transaction((tx) => requestLook(tx, hints, at))
}

/** Commits once more, and leaves the branch where it was. */
async function commitAhead(made: TestRepository, text: string): Promise<string> {
  const before = await made.tip('main')
  // On a branch of its own, so that no look can find it at the one that is followed.
  await made.git('checkout', '-q', '-b', `ahead-${before}`)
  const next = await made.commit({ 'workflows/a1/workflow.yaml': workflow(text) })
  await made.git('checkout', '-q', 'main')
  return next
}

async function begin(): Promise<TestRepository> {
  const made = await testRepository()
  await made.commit({
    'environments/production.yaml': '{ ref: main }\n',
    'workflows/a1/workflow.yaml': workflow('One'),
  })
  return made
}

/** The repository, with its files where no change is noticed: as on a disk of another machine. */
function unwatched(source: CommitSource, other: CommitSource): CommitSource {
  return {
    kind: 'repository',
    location: other.location,
    refs: () => source.refs(),
    commit: (id) => source.commit(id),
    tree: (revision) => source.tree(revision),
  }
}

describe('a hint', () => {
  test('is done with when its commit is at the branch', async ({ database }) => {
    await using made = await begin()
    const { reconciler } = await scene(database, made.path)
    await using running = reconciler
    await hint(database, 'main', await made.tip('main'))
    expect(await running.pass()).toEqual({ kind: 'leading', failed: false })
    expect(await listHints(database)).toEqual([])
  })

  test('is done with when the branch has gone on from its commit', async ({ database }) => {
    await using made = await begin()
    const { reconciler } = await scene(database, made.path)
    await using running = reconciler
    await hint(database, 'main', await made.tip('main'))
    await made.commit({ 'workflows/a1/workflow.yaml': workflow('Two') })
    expect(await running.pass()).toEqual({ kind: 'leading', failed: false })
    expect(await listHints(database)).toEqual([])
  })

  test('that runs ahead of its branch is waited for, soon and then less often, and not for long', async ({
    database,
  }) => {
    await using made = await begin()
    const { reconciler, clock } = await scene(database, made.path)
    await using running = reconciler
    await hint(database, 'main', NEVER)
    const pauses: (number | undefined)[] = []
    for (const age of [0, 100, 1000, 3000, 10_000, HINT_MS_MAX - 1, HINT_MS_MAX]) {
      clock.set(new Date(NOW.getTime() + age))
      pauses.push((await running.pass()).againMs)
    }
    expect(pauses).toEqual([100, 100, 500, 1500, 2000, 2000, undefined])
    expect(await listHints(database)).toEqual([])
    expect((await environment(database, 'production')).state).toBe('ready')
  })

  test('from a process whose clock is far ahead is not waited for until that time has come', async ({
    database,
  }) => {
    await using made = await begin()
    const { reconciler } = await scene(database, made.path)
    await using running = reconciler
    await hint(database, 'main', NEVER, new Date(NOW.getTime() + 3_600_000))
    expect(await running.pass()).toEqual({ kind: 'leading', failed: false })
    expect(await listHints(database)).toEqual([])
  })

  test('whose objects are there before the ref has moved is applied when it has', async ({
    database,
  }) => {
    await using made = await begin()
    const next = await commitAhead(made, 'Two')
    const { reconciler } = await scene(database, made.path)
    await using running = reconciler
    await hint(database, 'main', next)
    expect((await running.pass()).againMs).toBe(100)
    await made.git('update-ref', 'refs/heads/main', next)
    expect((await running.pass()).againMs).toBeUndefined()
    expect((await environment(database, 'production')).observedRevision).toBe(next)
  })

  test('about what is no commit, or no branch, breaks nothing', async ({ database }) => {
    await using made = await begin()
    const { reconciler } = await scene(database, made.path)
    await using running = reconciler
    const blob = await made.git('rev-parse', 'main:environments/production.yaml')
    await hint(database, 'main', blob)
    await hint(database, 'main', 'e'.repeat(64))
    await hint(database, 'gone', await made.tip('main'))
    await hint(database, 'a..b', NEVER)
    expect(await running.pass()).toEqual({ kind: 'leading', failed: false, againMs: 100 })
    expect((await environment(database, 'production')).state).toBe('ready')
    expect(await listHints(database)).toHaveLength(4)
  })

  test('that does not show is looked for again only where the branch has moved', async ({
    database,
  }) => {
    await using made = await begin()
    const { repository } = await openSources(made.path, { development: false })
    const asked: string[] = []
    const counted: CommitSource = {
      ...unwatched(repository, repository),
      commit(id) {
        if (id === NEVER) asked.push(id)
        return repository.commit(id)
      },
    }
    const { reconciler } = await scene(database, made.path, { repository: counted })
    await using running = reconciler
    await hint(database, 'main', NEVER)
    for (let passes = 0; passes < 5; passes += 1) await running.pass()
    expect(asked).toEqual([NEVER])
    await made.commit({ 'workflows/a1/workflow.yaml': workflow('Two') })
    for (let passes = 0; passes < 5; passes += 1) await running.pass()
    expect(asked).toEqual([NEVER, NEVER])
  })

  test('that was given anew meanwhile is not forgotten with the old one', async ({ database }) => {
    await hint(database, 'main', NEVER)
    const before = await listHints(database)
    await hint(database, 'main', NEVER, new Date(NOW.getTime() + 1))
    await database.transaction((tx) => dropHints(tx, before))
    const after = await listHints(database)
    expect(after).toHaveLength(1)
    await database.transaction((tx) => dropHints(tx, after))
    expect(await listHints(database)).toEqual([])
  })
})

test('a running reconciler that notices no change follows a hint, also one that came too early', async ({
  database,
}) => {
  await using made = await begin()
  await using elsewhere = await testRepository()
  await using topics = openTopics(database.url, { log: silentLog })
  const sources = await openSources(made.path, { development: false })
  const other = await openSources(elsewhere.path, { development: false })
  const repository = unwatched(sources.repository, other.repository)
  const { reconciler } = await scene(database, made.path, { repository, topics })
  await using running = reconciler
  await running.start()
  await running.pass()
  const observed = async () => (await environment(database, 'production')).observedRevision
  const next = await commitAhead(made, 'Two')
  await hint(database, 'main', next)
  // It has looked, and found the branch where it was.
  await running.pass()
  expect(await listHints(database)).toHaveLength(1)
  await made.git('update-ref', 'refs/heads/main', next)
  await expect.poll(observed, { timeout: 2_000, interval: 10 }).toBe(next)
  await expect.poll(() => listHints(database)).toEqual([])
})
