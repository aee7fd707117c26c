import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { pin, unpin } from '../../src/reconcile/brakes.ts'
import { findEnvironment, requestReconcile } from '../../src/reconcile/read.ts'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { clearForge, forgeScene, statusRows } from './forge-scene.ts'
import { clear, scene, workflow } from './scene.ts'

const announcing = { instance: 'eu-1' }
const PRODUCTION = 'production' as EnvironmentName
const FILE = '{ ref: main, channels: { feed: { type: in_app, provider: in_app } } }\n'
const DECLARED = { 'environments/production.yaml': FILE }

beforeEach<{ database: Database }>(async ({ database }) => {
  await clear(database)
  await clearForge(database)
})

async function said(database: Database, sha: string): Promise<Readonly<Record<string, string>>> {
  const rows = await statusRows(database, sha)
  return Object.fromEntries(
    rows.map(({ context, state, description }) => [context, `${state} ${description}`]),
  )
}

describe('a revision', () => {
  test('that is applied is valid and applied, for every environment that has it', async ({
    database,
  }) => {
    await using made = await testRepository()
    const sha = await made.commit({
      ...DECLARED,
      'environments/eu.yaml': FILE,
      'workflows/a1/workflow.yaml': workflow('one'),
    })
    const { reconciler, clock } = await scene(database, made.path, { announcing })
    await using _ = reconciler
    await reconciler.pass()
    await using forge = await forgeScene(database, clock)
    await forge.drain()
    for (const environment of ['production', 'eu']) {
      expect(forge.posts(sha, `eu-1/${environment}/validate`)).toEqual([
        'success The files are valid.',
      ])
      expect(forge.posts(sha, `eu-1/${environment}/applied`)).toEqual([
        'success The revision was applied.',
      ])
    }
  })

  test('is pending while it is read', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ ...DECLARED, 'workflows/a1/workflow.yaml': workflow('one') })
    const { reconciler, source, clock } = await scene(database, made.path, { announcing })
    await using _ = reconciler
    await reconciler.pass()
    await using forge = await forgeScene(database, clock)
    const sha = await made.commit({ 'workflows/a1/workflow.yaml': workflow('two') })
    const tree = source.tree.bind(source)
    source.tree = async (revision) => {
      const found = await tree(revision)
      return {
        ...found,
        async read(ids) {
          await forge.drain()
          return found.read(ids)
        },
      }
    }
    await reconciler.pass()
    await forge.drain()
    expect(forge.posts(sha, 'eu-1/production/applied')).toEqual([
      'pending The revision is being read and checked.',
      'success The revision was applied.',
    ])
    expect(forge.posts(sha, 'eu-1/production/validate')).toHaveLength(1)
  })

  test('that is not valid says where, and the next one that it is', async ({ database }) => {
    await using made = await testRepository()
    const bad = await made.commit({
      ...DECLARED,
      'workflows/a1/workflow.yaml': 'name: one\nsteps:\n  - ref: feed\n    type: none\n',
    })
    const { reconciler } = await scene(database, made.path, { announcing })
    await using _ = reconciler
    await reconciler.pass()
    const refused = await said(database, bad)
    expect(refused['eu-1/production/validate']).toMatch(
      /^failure workflows\/a1\/workflow\.yaml:4:11 /,
    )
    expect(refused['eu-1/production/applied']).toBe('failure Refused: it is not valid.')
    const good = await made.commit({ 'workflows/a1/workflow.yaml': workflow('one') })
    await reconciler.pass()
    expect(await said(database, bad)).toEqual(refused)
    expect(await said(database, good)).toEqual({
      'eu-1/production/applied': 'success The revision was applied.',
      'eu-1/production/validate': 'success The files are valid.',
    })
  })

  test('that would archive too much is valid and refused', async ({ database }) => {
    await using made = await testRepository()
    const names = Array.from({ length: 10 }, (_, index) => `workflows/w${index}x/workflow.yaml`)
    await made.commit({
      ...DECLARED,
      ...Object.fromEntries(names.map((name) => [name, workflow('one')])),
    })
    const { reconciler } = await scene(database, made.path, { announcing })
    await using _ = reconciler
    await reconciler.pass()
    const sha = await made.commit(Object.fromEntries(names.slice(1).map((name) => [name, null])))
    await reconciler.pass()
    const refused = await said(database, sha)
    expect(refused['eu-1/production/validate']).toBe('success The files are valid.')
    expect(refused['eu-1/production/applied']).toMatch(
      /^failure Refused: Revision \w{12} would archive 9 of 10 live workflows: /,
    )
  })

  test('that has to stay elsewhere first is pending, and then applied', async ({ database }) => {
    await using made = await testRepository()
    const channels = 'channels: { feed: { type: in_app, provider: in_app } }\n'
    const policy = 'promotes_from: staging\npolicy: { promotion: enforce, soak: 1h }\n'
    await made.commit({
      'environments/production.yaml': `${policy}${channels}`,
      'environments/staging.yaml': channels,
      'workflows/a1/workflow.yaml': workflow('one'),
    })
    await made.git('branch', 'production')
    await made.checkout('staging')
    const { reconciler, clock } = await scene(database, made.path, { announcing })
    await using _ = reconciler
    await reconciler.pass()
    const sha = await made.commit({ 'workflows/a1/workflow.yaml': workflow('two') })
    await made.git('branch', '-f', 'production', sha)
    await reconciler.pass()
    expect(await said(database, sha)).toMatchObject({
      'eu-1/production/validate': 'success The files are valid, with a warning.',
      'eu-1/production/applied':
        'pending It waits until its content was live long enough where it comes from.',
    })
    clock.advance(3_600_000)
    await reconciler.pass()
    expect(await said(database, sha)).toMatchObject({
      'eu-1/production/applied': 'success The revision was applied.',
    })
  })

  test('that is read a hundred times, by many processes, is told once', async ({ database }) => {
    await using made = await testRepository()
    const sha = await made.commit({ ...DECLARED, 'workflows/a1/workflow.yaml': 'name: one\n' })
    await using forge = await forgeScene(database, (await scene(database, made.path)).clock)
    for (let process = 0; process < 5; process += 1) {
      const { reconciler } = await scene(database, made.path, { announcing })
      await using _ = reconciler
      await reconciler.pass()
      for (let pass = 0; pass < 20; pass += 1) {
        await database.transaction((tx) => requestReconcile(tx, PRODUCTION, new Date()))
        await reconciler.pass()
        if (pass % 10 === 0) await forge.drain()
      }
    }
    await forge.drain()
    expect(forge.posts(sha, 'eu-1/production/applied')).toEqual([
      'failure Refused: it is not valid.',
    ])
    expect(forge.posts(sha, 'eu-1/production/validate')).toHaveLength(1)
  })

  test('that a pin takes back says so until it is live again', async ({ database }) => {
    await using made = await testRepository()
    const old = await made.commit({ ...DECLARED, 'workflows/a1/workflow.yaml': workflow('one') })
    const { reconciler, clock } = await scene(database, made.path, { announcing })
    await using _ = reconciler
    await reconciler.pass()
    const bad = await made.commit({ 'workflows/a1/workflow.yaml': workflow('two') })
    await reconciler.pass()
    const acting = { environment: PRODUCTION, actor: 'operator', now: clock.now() }
    const view = async () => (await findEnvironment(database, 'production'))!
    const pinning = { ...acting, named: old, reason: 'wrong text', expiresAt: null }
    const before = await view()
    await database.transaction((tx) => pin(tx, before, pinning))
    await reconciler.pass()
    const context = 'eu-1/production/applied'
    expect((await said(database, old))[context]).toMatch(/^success /)
    expect((await said(database, bad))[context]).toBe(
      'failure Taken back: an earlier revision is pinned in its place.',
    )
    const held = await view()
    await database.transaction((tx) => unpin(tx, held, acting))
    await reconciler.pass()
    expect((await said(database, bad))[context]).toMatch(/^success /)
  })

  test('that was applied before a forge was set is told it as well', async ({ database }) => {
    await using made = await testRepository()
    const sha = await made.commit({ ...DECLARED, 'workflows/a1/workflow.yaml': workflow('one') })
    {
      const { reconciler } = await scene(database, made.path)
      await using _ = reconciler
      await reconciler.pass()
    }
    expect(await statusRows(database, sha)).toEqual([])
    const { reconciler } = await scene(database, made.path, { announcing })
    await using _ = reconciler
    await reconciler.pass()
    expect((await said(database, sha))['eu-1/production/applied']).toMatch(/^success /)
  })

  test('stays applied while somebody fights the repair of what it left', async ({ database }) => {
    await using made = await testRepository()
    const sha = await made.commit({ ...DECLARED, 'workflows/a1/workflow.yaml': workflow('one') })
    const { reconciler, clock } = await scene(database, made.path, { announcing })
    await using _ = reconciler
    await reconciler.pass()
    const drift = {
      foundAt: clock.now().toISOString(),
      outcome: 'fought',
      count: 1,
      found: [],
      repairs: [],
      pauses: 1,
      pausedUntil: new Date(clock.now().getTime() + 60_000).toISOString(),
    }
    await database.query(sql`
      update environments set drift = ${JSON.stringify(drift)}::jsonb where name = 'production'`)
    const { reconciler: next } = await scene(database, made.path, { announcing })
    await reconciler.close()
    await using following = next
    await following.pass()
    expect((await findEnvironment(database, 'production'))?.reason).toBe('drift')
    expect((await said(database, sha))['eu-1/production/applied']).toMatch(/^success /)
  })

  test('of a working tree is told nobody', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ 'environments/development.yaml': '{}\n' })
    await made.write({ 'workflows/a1/workflow.yaml': workflow('one') })
    const { reconciler } = await scene(database, made.path, { announcing, development: true })
    await using _ = reconciler
    await reconciler.pass()
    expect((await findEnvironment(database, 'development'))?.observedRevision).toMatch(/\+/)
    expect(await database.query(sql`select environment from commit_statuses`)).toEqual([])
  })

  test('is told nobody where no forge is set', async ({ database }) => {
    await using made = await testRepository()
    const sha = await made.commit({ ...DECLARED, 'workflows/a1/workflow.yaml': workflow('one') })
    const { reconciler } = await scene(database, made.path)
    await using _ = reconciler
    await reconciler.pass()
    expect(await statusRows(database, sha)).toEqual([])
  })
})
