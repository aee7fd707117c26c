import { rename } from 'node:fs/promises'
import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { Sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { pin, resume, suspend } from '../../src/reconcile/brakes.ts'
import { listDriftEvents } from '../../src/reconcile/drift-store.ts'
import { requestReconcile } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import type { TestRepository } from '../support/repository.ts'
import { clear, environment, scene, workflow } from './scene.ts'
import type { Scene } from './scene.ts'

const PRODUCTION = 'production' as EnvironmentName
const NOW = new Date('2026-03-01T12:00:00Z')
const ACTING = { environment: PRODUCTION, actor: 'ada', now: NOW }

beforeEach<{ database: Database }>(({ database }) => clear(database))

const file = (key: string) => `workflows/${key}/workflow.yaml`

interface Applied extends Scene {
  readonly made: TestRepository
  readonly first: string
  readonly second: string
}

/** Two revisions: `a1`, `b1`, `old`; then `a1` changed, `old` gone, other settings. Nothing has drifted. */
async function applied(database: Database): Promise<Applied> {
  const made = await testRepository()
  const at = await scene(database, made.path)
  const first = await made.commit({
    'environments/production.yaml': 'ref: main\nlocale: de\n',
    [file('a1')]: workflow('A 1'),
    [file('b1')]: workflow('B 1'),
    [file('old')]: workflow('Old'),
  })
  await at.reconciler.pass()
  const second = await made.commit({
    'environments/production.yaml': 'ref: main\nlocale: fr\n',
    [file('a1')]: workflow('A 2'),
    [file('old')]: null,
  })
  await at.reconciler.pass()
  expect(await at.reconciler.mend()).toBe(false)
  return { ...at, made, first, second }
}

/** All that the applied revisions have left behind, without the times of writing. */
async function rows(database: Database) {
  const [found] = await database.query(sql`
    select
      (select jsonb_agg(jsonb_build_array(e.name, e.sequence, e.observed_revision, e.applied_at, e.settings, e.parts, e.followed_sequence))
       from environments e) as environments,
      (select jsonb_agg(jsonb_build_array(environment, key, version_id, tree, sequence, archived_at is null) order by key)
       from workflows) as workflows,
      (select jsonb_agg(jsonb_build_array(environment, key, sequence, version_id, tree) order by key, sequence)
       from revision_workflows) as history,
      (select jsonb_agg(jsonb_build_array(environment, sequence, revision, settings, parts) order by sequence)
       from revisions) as revisions,
      (select jsonb_agg(jsonb_build_array(id, key, workflow, files, blobs, channel_uses, variable_uses, digest) order by id)
       from versions) as versions`)
  return found
}

const A1 = sql`(select version_id from workflows where environment = 'production' and key = 'a1')`
  .text

const CHANGES: Readonly<Record<string, { readonly change: Sql; readonly found: object }>> = {
  'the version of a workflow': {
    change: sql`
      update workflows set version_id = (select version_id from revision_workflows where environment = 'production' and key = 'old' and version_id is not null)
      where environment = 'production' and key = 'a1'`,
    found: { what: 'workflow', key: 'a1', fields: ['version_id'] },
  },
  'the tree of a workflow': {
    change: sql`update workflows set tree = 'x' where environment = 'production' and key = 'a1'`,
    found: { what: 'workflow', key: 'a1', fields: ['tree'] },
  },
  'the sequence of a workflow': {
    change: sql`update workflows set sequence = 99 where environment = 'production' and key = 'b1'`,
    found: { what: 'workflow', key: 'b1', fields: ['sequence'] },
  },
  'a live workflow that is archived': {
    change: sql`update workflows set archived_at = now() where environment = 'production' and key = 'b1'`,
    found: { what: 'workflow', key: 'b1', fields: ['archived_at'] },
  },
  'an archived workflow that is brought back': {
    change: sql`update workflows set archived_at = null where environment = 'production' and key = 'old'`,
    found: { what: 'workflow', key: 'old', fields: ['archived_at'] },
  },
  'a workflow whose row is gone': {
    change: sql`delete from workflows where environment = 'production' and key = 'b1'`,
    found: { what: 'workflow', key: 'b1', fields: ['missing'] },
  },
  'an archived workflow whose row is gone': {
    change: sql`delete from workflows where environment = 'production' and key = 'old'`,
    found: { what: 'workflow', key: 'old', fields: ['missing'] },
  },
  'a workflow that no revision declared': {
    change: sql`
      insert into workflows (environment, key, version_id, tree, sequence, created_at, updated_at)
      select environment, 'stranger', version_id, tree, sequence, now(), now()
      from workflows where environment = 'production' and key = 'b1'`,
    found: { what: 'workflow', key: 'stranger', fields: ['added'] },
  },
  'the settings': {
    change: sql`update environments set settings = '{"locale": "es"}' where name = 'production'`,
    found: { what: 'environment', key: 'production', fields: ['settings'] },
  },
  'the shared parts': {
    change: sql`update environments set parts = '{}' where name = 'production'`,
    found: { what: 'environment', key: 'production', fields: ['parts'] },
  },
  'the observed revision': {
    change: sql`update environments set observed_revision = repeat('a', 40) where name = 'production'`,
    found: { what: 'environment', key: 'production', fields: ['observed_revision'] },
  },
  'the sequence': {
    change: sql`update environments set sequence = 40, followed_sequence = 40 where name = 'production'`,
    found: {
      what: 'environment',
      key: 'production',
      fields: ['sequence', 'followed_sequence'],
    },
  },
  'what a version says': {
    change: {
      text: `update versions set workflow = '{"steps": []}' where id = ${A1}`,
      values: [],
    },
    found: { what: 'version', fields: ['content'] },
  },
  'the files of a version': {
    change: { text: `update versions set files = '{}', blobs = '{}' where id = ${A1}`, values: [] },
    found: { what: 'version', fields: ['content'] },
  },
}

describe('drift', () => {
  for (const [name, { change, found }] of Object.entries(CHANGES)) {
    test(`is found and repaired from Git: ${name}`, async ({ database }) => {
      const { reconciler, made, second } = await applied(database)
      await using _ = made
      const before = await rows(database)
      await database.query(change)
      expect(await rows(database)).not.toEqual(before)

      expect(await reconciler.mend()).toBe(true)
      expect(await rows(database)).toEqual(before)
      expect(await listDriftEvents(database, PRODUCTION)).toMatchObject([
        { revision: second, outcome: 'repaired', count: 1, found: [found], insertedAt: NOW },
      ])
      // Nothing is found in what was repaired, neither by this process nor by a new one.
      expect(await reconciler.mend()).toBe(false)
      const other = await scene(database, made.path)
      await reconciler.close()
      expect(await other.reconciler.mend()).toBe(false)
      await other.reconciler.pass()
      expect(await environment(database, PRODUCTION)).toMatchObject({
        state: 'ready',
        reason: 'applied',
        drift: { outcome: 'repaired', found: [found] },
      })
      await other.reconciler.close()
    })
  }

  test('is repaired from the kept history while Git cannot be read', async ({ database }) => {
    const { reconciler, made } = await applied(database)
    await using _ = made
    const before = await rows(database)
    await rename(made.path, `${made.path}-away`)
    for (const name of Object.keys(CHANGES).filter((one) => !/version|no revision/.test(one))) {
      await database.query(CHANGES[name]!.change)
      const isFound = await reconciler.mend()
      expect({ name, isFound, rows: await rows(database) }).toEqual({
        name,
        isFound: true,
        rows: before,
      })
      // Otherwise it would be a fight.
      await database.query(sql`update environments set drift = null`)
    }
    await rename(`${made.path}-away`, made.path)
  })

  test('is a matter for a person where neither Git nor the history can say what was there', async ({
    database,
  }) => {
    const { reconciler, made } = await applied(database)
    await using _ = made
    const before = await rows(database)
    await rename(made.path, `${made.path}-away`)
    await database.query(CHANGES['what a version says']!.change)
    expect(await reconciler.mend()).toBe(true)
    expect(await reconciler.mend()).toBe(false)
    const events = await listDriftEvents(database, PRODUCTION)
    expect(events.map(({ outcome }) => outcome)).toEqual(['unrepairable'])

    await rename(`${made.path}-away`, made.path)
    expect(await reconciler.mend()).toBe(true)
    expect(await rows(database)).toEqual(before)
  })

  test('of the history itself is put right by what Git says', async ({ database }) => {
    const { reconciler, made } = await applied(database)
    await using _ = made
    const before = await rows(database)
    const changes = [
      sql`delete from revision_workflows where environment = 'production' and key = 'a1' and sequence = 2`,
      sql`update revision_workflows set tree = 'x' where environment = 'production' and key = 'b1'`,
      sql`update revisions set settings = '{"locale": "es"}' where environment = 'production' and sequence = 2`,
    ]
    for (const change of changes) {
      await database.query(change)
      expect(await rows(database)).not.toEqual(before)
      expect(await reconciler.mend()).toBe(true)
      expect(await rows(database)).toEqual(before)
    }
  })

  test('is not repaired in a suspended environment before that is resumed', async ({
    database,
  }) => {
    const { reconciler, made } = await applied(database)
    await using _ = made
    const before = await rows(database)
    await database.transaction(async (tx) =>
      suspend(tx, await environment(tx, PRODUCTION), { ...ACTING, reason: 'Incident' }),
    )
    await reconciler.pass()
    await database.query(CHANGES['the tree of a workflow']!.change)
    const changed = await rows(database)
    expect(await reconciler.mend()).toBe(true)
    expect(await reconciler.mend()).toBe(false)
    await reconciler.pass()
    expect(await rows(database)).toEqual(changed)
    expect(await environment(database, PRODUCTION)).toMatchObject({
      state: 'suspended',
      drift: { outcome: 'suspended', count: 1 },
    })

    await database.transaction(async (tx) => resume(tx, await environment(tx, PRODUCTION), ACTING))
    await reconciler.pass()
    expect(await rows(database)).toEqual(before)
  })

  test('of a pinned environment is repaired to the pinned revision', async ({ database }) => {
    const { reconciler, made, first } = await applied(database)
    await using _ = made
    await database.transaction(async (tx) =>
      pin(tx, await environment(tx, PRODUCTION), {
        ...ACTING,
        named: first,
        reason: 'Wrong link',
        expiresAt: null,
      }),
    )
    await reconciler.pass()
    expect(await reconciler.mend()).toBe(false)
    const before = await rows(database)
    await database.query(sql`
      update workflows w set version_id = h.version_id, tree = h.tree
      from revision_workflows h
      where w.environment = 'production' and w.key = 'a1' and h.environment = 'production'
        and h.key = 'a1' and h.sequence = 2`)
    expect(await reconciler.mend()).toBe(true)
    expect(await rows(database)).toEqual(before)
    await reconciler.pass()
    expect(await environment(database, PRODUCTION)).toMatchObject({
      state: 'ready',
      reason: 'pinned',
      observedRevision: first,
    })
  })

  test('that comes again and again is a fight: it is reported, and repair rests longer each time', async ({
    database,
  }) => {
    const { reconciler, made, clock } = await applied(database)
    await using _ = made
    const outcomes: string[] = []
    const spoil = () => database.query(CHANGES['the tree of a workflow']!.change)
    const turn = async (seconds: number) => {
      await spoil()
      clock.advance(seconds * 1_000)
      await reconciler.mend()
      const { drift } = await environment(database, PRODUCTION)
      outcomes.push(drift?.outcome ?? 'none')
      return drift
    }
    for (let count = 0; count < 5; count += 1) await turn(10)
    expect(outcomes).toEqual(Array.from({ length: 5 }, () => 'repaired'))
    expect((await turn(10))?.pausedUntil).toBe('2026-03-01T12:02:00.000Z')
    await reconciler.pass()
    expect(await environment(database, PRODUCTION)).toMatchObject({
      state: 'stalled',
      reason: 'drift',
      message: expect.stringContaining('workflow a1 (tree)'),
    })
    await turn(30)
    expect(outcomes.slice(5)).toEqual(['fought', 'fought'])
    // One try after the pause, then a longer one.
    await turn(40)
    expect((await turn(10))?.pausedUntil).toBe('2026-03-01T12:04:20.000Z')
    expect(outcomes.slice(7)).toEqual(['repaired', 'fought'])
    const events = await listDriftEvents(database, PRODUCTION)
    expect(events).toHaveLength(8)

    // A new revision is applied meanwhile, and a person who asks ends the pause.
    const next = await made.commit({ [file('c1')]: workflow('C') })
    await reconciler.pass()
    expect(await environment(database, PRODUCTION)).toMatchObject({ observedRevision: next })
    await spoil()
    await database.transaction((tx) => requestReconcile(tx, PRODUCTION, NOW))
    await reconciler.pass()
    expect(await environment(database, PRODUCTION)).toMatchObject({
      state: 'ready',
      reason: 'applied',
      drift: { outcome: 'repaired' },
    })
  })

  test('is found by a running process, with nothing else to wake it', async ({ database }) => {
    const { reconciler, made } = await applied(database)
    await using _ = made
    await reconciler.close()
    const before = await rows(database)
    const other = await scene(database, made.path, { driftMs: 50 })
    await using running = other.reconciler
    await running.start()
    await database.query(CHANGES['the tree of a workflow']!.change)
    await expect.poll(() => rows(database), { timeout: 5_000 }).toEqual(before)
    // The state is told anew, too.
    const drift = { outcome: 'repaired', count: 1 }
    await expect
      .poll(() => environment(database, PRODUCTION))
      .toMatchObject({ state: 'ready', reason: 'applied', drift })
  })

  test('is not looked for by a process that does not lead', async ({ database }) => {
    const { reconciler, made } = await applied(database)
    await using _ = made
    const other = await scene(database, made.path)
    await database.query(CHANGES['the tree of a workflow']!.change)
    expect(await other.reconciler.mend()).toBe(false)
    expect(await listDriftEvents(database, PRODUCTION)).toEqual([])
    expect(await reconciler.mend()).toBe(true)
    await other.reconciler.close()
  })
})
