import { execFile } from 'node:child_process'
import { rename } from 'node:fs/promises'
import { promisify } from 'node:util'
import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { silentLog } from '../../src/log.ts'
import { findEnvironment } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { bareClone, testRepository } from '../support/repository.ts'
import type { TestRepository } from '../support/repository.ts'
import { importHistory } from '../git/object-support.ts'
import type { MadeCommit } from '../git/object-support.ts'
import { clear, scene, workflow } from './scene.ts'

beforeEach<{ database: Database }>(({ database }) => clear(database))

/** Waits for what somebody else does; the test's own time-out ends it. */
async function untilObserved(database: Database, revision: string): Promise<void> {
  for (;;) {
    const found = await findEnvironment(database, 'production')
    if (found?.observedRevision === revision && found.state === 'ready') return
    await new Promise((resolve) => setImmediate(resolve))
  }
}

async function pushed(made: TestRepository, text: string): Promise<string> {
  const tip = await made.commit({ 'workflows/a1/workflow.yaml': workflow(text) })
  // Git itself may lose what it is sent while it removes what nobody names; whoever pushes does it again.
  for (let attempt = 1; ; attempt += 1) {
    try {
      await made.git('push', '--quiet', '--force', 'origin', 'main')
      return tip
    } catch (error) {
      if (attempt === 3) throw error
    }
  }
}

async function followed(made: TestRepository): Promise<TestRepository> {
  await made.commit({
    'environments/production.yaml': '{ ref: main }\n',
    'workflows/a1/workflow.yaml': workflow('First'),
  })
  const bare = await bareClone(made)
  await made.git('remote', 'add', 'origin', bare.path)
  return bare
}

describe('the upkeep of a repository', () => {
  test('changes nothing about what is applied, and keeps no push from it', async ({ database }) => {
    await using made = await testRepository()
    await using bare = await followed(made)
    const { reconciler } = await scene(database, bare.path)
    await using running = reconciler
    await running.start()
    const upkeep = [
      ['pack-refs', '--all'],
      ['gc', '--quiet', '--prune=now'],
      ['repack', '-adfq'],
      ['prune-packed', '--quiet'],
      ['reflog', 'expire', '--expire=now', '--all'],
    ]
    for (const [at, command] of upkeep.entries()) {
      const before = await pushed(made, `Before ${at}`)
      await untilObserved(database, before)
      await bare.git(...command)
      await running.pass()
      await untilObserved(database, before)
      const during = bare.git(...command)
      const after = await pushed(made, `During ${at}`)
      await during
      await untilObserved(database, after)
    }
    const rows = await database.query<{ revision: string }>(
      sql`select revision from revisions where environment = 'production' order by sequence`,
    )
    expect(new Set(rows.map(({ revision }) => revision)).size).toBe(rows.length)
  })

  test('a repository that was put in the place of the followed one is followed', async ({
    database,
  }) => {
    await using made = await testRepository()
    await using bare = await followed(made)
    const { reconciler } = await scene(database, bare.path, { pollMs: 50 })
    await using running = reconciler
    await running.start()
    await untilObserved(database, await pushed(made, 'Into the first'))
    for (let round = 0; round < 3; round += 1) {
      // A restore from a backup: written beside it, and moved into its place.
      await promisify(execFile)('cp', ['-R', bare.path, `${bare.path}-new`])
      await rename(bare.path, `${bare.path}-old-${round}`)
      await rename(`${bare.path}-new`, bare.path)
      await untilObserved(database, await pushed(made, `Into another ${round}`))
    }
    expect(await findEnvironment(database, 'production')).toMatchObject({ reason: 'applied' })
  })
})

/** One commit a pack. */
function packs(from: number, to: number): MadeCommit[] {
  return Array.from({ length: to - from }, (_, at) => ({
    files: {
      'environments/production.yaml': `{ ref: main, variables: { at: { value: "${from + at}" } } }\n`,
    },
    isLastOfPack: true,
  }))
}

test('more than 200 packs are told of once, by the process that reads them', async ({
  database,
}) => {
  await using made = await testRepository()
  const warnings: string[] = []
  const log = { ...silentLog, warn: (message: string) => void warnings.push(message) }
  const advice = () => warnings.filter((message) => message.includes('packs'))
  await importHistory(made.gitDir, packs(0, 200))
  const few = await scene(database, made.path, { log })
  await few.reconciler.pass()
  await few.reconciler.close()
  expect(advice()).toEqual([])
  await importHistory(made.gitDir, packs(200, 201))
  const many = await scene(database, made.path, { log })
  await many.reconciler.pass()
  await many.reconciler.pass()
  await many.reconciler.close()
  expect(advice()).toEqual([
    `the repository ${made.path} has 201 packs, which makes each read slower: run \`git gc\` in it`,
  ])
  expect(await findEnvironment(database, 'production')).toMatchObject({
    observedRevision: await made.tip('main'),
  })
})

test('what is applied never goes back while refs are moved and packed all the time', async ({
  database,
}) => {
  await using made = await testRepository()
  await using bare = await followed(made)
  const commits: string[] = []
  for (let index = 0; index < 60; index += 1) {
    commits.push(await made.commit({ 'workflows/a1/workflow.yaml': workflow(`${index}`) }))
  }
  await made.git('push', '--quiet', 'origin', 'main:refs/heads/kept')
  const { reconciler } = await scene(database, bare.path, { debounceMs: 0 })
  await using running = reconciler
  await running.start()
  const progress = { isOver: false }
  const moving = (async () => {
    for (const commit of commits) {
      await bare.git('update-ref', 'refs/heads/main', commit)
      await bare.git('pack-refs', '--all')
    }
    progress.isOver = true
  })()
  while (!progress.isOver) await running.pass()
  await moving
  await untilObserved(database, commits.at(-1) ?? '')
  const rows = await database.query<{ revision: string }>(
    sql`select revision from revisions where environment = 'production' order by sequence`,
  )
  const places = rows.map(({ revision }) => commits.indexOf(revision))
  expect(places.length).toBeGreaterThan(5)
  expect(places).toEqual(places.toSorted((one, other) => one - other))
  expect(new Set(places).size).toBe(places.length)
})
