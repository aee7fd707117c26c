import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { ProcessId } from '../../src/ids.ts'
import { newId } from '../../src/ids.ts'
import {
  assertLead,
  keepLead,
  leaveLead,
  LEASE_MS,
  LeadershipLost,
  takeLead,
} from '../../src/reconcile/leader-store.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { clear, counting, environment, live, scene, workflow } from './scene.ts'

/** Lets so much of the lease pass, by the clock of the database. */
async function elapse(database: Database, ms: number): Promise<void> {
  await database.query(sql`
    update reconcilers set expires_at = expires_at - ${ms} * interval '1 millisecond'`)
}

beforeEach<{ database: Parameters<typeof clear>[0] }>(({ database }) => clear(database))

describe('the lead', () => {
  test('belongs to one process until its lease ends, and the number grows with each change', async ({
    database,
  }) => {
    const one = newId<ProcessId>()
    const two = newId<ProcessId>()
    const first = await takeLead(database, one)
    expect(first?.fence).toBe('1')
    await elapse(database, LEASE_MS / 2)
    expect(await takeLead(database, two)).toBeUndefined()
    if (!first) return
    expect(await keepLead(database, first)).toBe(true)
    await elapse(database, LEASE_MS / 2)
    expect(await takeLead(database, two)).toBeUndefined()
    await elapse(database, LEASE_MS / 2)
    const second = await takeLead(database, two)
    expect(second?.fence).toBe('2')
    expect(await keepLead(database, first)).toBe(false)
    const stale = database.transaction((tx) => assertLead(tx, first))
    await expect(stale).rejects.toThrow(LeadershipLost)
  })

  test('is free at once when it is given up', async ({ database }) => {
    const first = await takeLead(database, newId<ProcessId>())
    if (first) await leaveLead(database, first)
    expect(await takeLead(database, newId<ProcessId>())).toMatchObject({ fence: '2' })
  })

  test('goes to one of many that ask at the same time', async ({ database }) => {
    const asked = await Promise.all(
      Array.from({ length: 5 }, () => takeLead(database, newId<ProcessId>())),
    )
    expect(asked.filter((lead) => lead !== undefined)).toHaveLength(1)
  })
})

describe('two reconcilers', () => {
  test('work one at a time, and the second takes over when the first is gone', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': workflow('One'),
    })
    const first = await scene(database, made.path)
    const second = await scene(database, made.path)
    expect((await first.reconciler.pass()).kind).toBe('leading')
    expect((await second.reconciler.pass()).kind).toBe('standby')
    // The first is killed: nothing is given up, and the lease runs out.
    const tip = await made.commit({ 'workflows/b1/workflow.yaml': workflow('Two') })
    await elapse(database, LEASE_MS)
    expect((await second.reconciler.pass()).kind).toBe('leading')
    expect(await environment(database, 'production')).toMatchObject({ observedRevision: tip })
    expect((await first.reconciler.pass()).kind).toBe('standby')
  })

  test('agree when the lead ends although the clock of one of them is an hour ahead', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': workflow('One'),
    })
    const ahead = await scene(database, made.path)
    const second = await scene(database, made.path)
    ahead.clock.advance(60 * 60 * 1000)
    expect((await ahead.reconciler.pass()).kind).toBe('leading')
    expect((await second.reconciler.pass()).kind).toBe('standby')
    // It is killed.
    await elapse(database, LEASE_MS)
    expect((await second.reconciler.pass()).kind).toBe('leading')
    expect((await ahead.reconciler.pass()).kind).toBe('standby')
  })

  test('never both write: what a leader of yesterday has read is refused', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': workflow('One'),
    })
    const second = await scene(database, made.path)
    const first = await scene(database, made.path)
    await first.reconciler.pass()
    await first.reconciler.close()
    await made.commit({ 'workflows/a1/workflow.yaml': workflow('Two') })

    // The slow leader has read its revision, and stands still while the other one takes over.
    const inner = counting(first.source)
    let isTaken = false
    const slow = await scene(database, made.path, {
      repository: {
        kind: 'repository',
        location: inner.location,
        refs: () => inner.refs(),
        commit: (id) => inner.commit(id),
        async tree(revision) {
          const tree = await inner.tree(revision)
          return {
            ...tree,
            async read(blobs) {
              const contents = await tree.read(blobs)
              if (!isTaken) {
                isTaken = true
                await made.commit({ 'workflows/a1/workflow.yaml': workflow('Three') })
                await elapse(database, LEASE_MS)
                await second.reconciler.pass()
              }
              return contents
            },
          }
        },
      },
    })
    expect((await slow.reconciler.pass()).kind).toBe('standby')
    const history = await database.query<{ revision: string }>(
      sql`select revision from revisions order by sequence`,
    )
    expect(history.at(-1)?.revision).toBe(await made.tip('main'))
    expect(history).toHaveLength(2)
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
  })

  test('one that was killed in the middle of a revision leaves nothing half applied', async ({
    database,
  }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': 'ref: main\n',
      'workflows/a1/workflow.yaml': workflow('One'),
    })
    const first = await scene(database, made.path)
    await first.reconciler.pass()
    const before = await live(database, 'production')
    await made.commit({
      'workflows/a1/workflow.yaml': workflow('Two'),
      'workflows/b1/workflow.yaml': workflow('Two'),
    })
    // The connection is cut by the last statement of the revision.
    await database.query(sql`alter table revisions add constraint cut check (sequence < 2)`)
    expect(await first.reconciler.pass()).toEqual({ kind: 'leading', failed: true })
    expect(await live(database, 'production')).toEqual(before)
    expect(await environment(database, 'production')).toMatchObject({ reason: 'retrying' })
    await database.query(sql`alter table revisions drop constraint cut`)
    const second = await scene(database, made.path)
    await elapse(database, LEASE_MS)
    await second.reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      workflows: 2,
    })
  })
})
