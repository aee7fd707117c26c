import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, Revision } from '../../src/ids.ts'
import { listBrakeEvents, saveBrakeEvent } from '../../src/reconcile/brake-store.ts'
import { confirm, pin, unpin } from '../../src/reconcile/brakes.ts'
import { requestReconcile } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { git, temporaryDirectory, testRepository } from '../support/repository.ts'
import { clear, environment, scene, workflow } from './scene.ts'

const PRODUCTION = 'production' as EnvironmentName
const NOW = new Date('2026-03-01T12:00:00Z')

beforeEach<{ database: Database }>(({ database }) => clear(database))

const text = (content: string) => ({ 'workflows/a1/workflow.yaml': workflow(content) })

/** Two applied revisions of production. */
async function two(database: Database, policy: string) {
  const made = await testRepository()
  const declaration = `policy: {history: ${policy}}\n`
  await made.commit({ 'environments/production.yaml': declaration, ...text('One') })
  await made.checkout('production')
  const first = await made.commit(text('Two'))
  const { reconciler } = await scene(database, made.path)
  await reconciler.pass()
  const second = await made.commit(text('Three'))
  await reconciler.pass()
  const look = async () => {
    await reconciler.pass()
    return environment(database, 'production')
  }
  return { made, reconciler, first, second, look }
}

/** Sequence → what the branch had before, where it was rewritten. */
async function rewrites(database: Database): Promise<readonly (string | null)[]> {
  const rows = await database.query<{ from: string | null }>(
    sql`select rewritten_from as "from" from revisions where environment = ${PRODUCTION} order by sequence`,
  )
  return rows.map(({ from }) => from)
}

async function allow(database: Database, named: string): Promise<void> {
  await database.transaction(async (tx) => {
    const acting = { environment: PRODUCTION, actor: 'ada', now: NOW }
    const view = await environment(tx, PRODUCTION)
    await confirm(tx, view, { kind: 'allow_rewrite', named, ...acting })
    await requestReconcile(tx, PRODUCTION, NOW)
  })
}

describe('a force-push', () => {
  test('is applied where nothing else is said, and recorded', async ({ database }) => {
    const { made, first, second, look } = await two(database, 'apply')
    await using _ = made
    await made.git('reset', '--quiet', '--hard', first)
    const tip = await made.commit(text('Other'))
    expect(await look()).toMatchObject({
      reason: 'applied',
      observedRevision: tip,
      diagnostics: {},
    })
    expect(await rewrites(database)).toEqual([null, null, second])
    await made.commit(text('More'))
    await look()
    expect(await rewrites(database)).toEqual([null, null, second, null])
  })

  test('waits for an operator under "confirm", who confirms that revision alone', async ({
    database,
  }) => {
    const { made, first, second, look } = await two(database, 'confirm')
    await using _ = made
    await made.git('reset', '--quiet', '--hard', first)
    const tip = await made.commit(text('Other'))
    const held = await look()
    expect(held).toMatchObject({
      state: 'stalled',
      reason: 'history_rewritten',
      observedRevision: second,
      attemptedRevision: tip,
    })
    expect(held.message).toBe(
      `Revision ${tip.slice(0, 12)} does not descend from ${second.slice(0, 12)}, which was applied before it: the branch was rewritten. If this is meant, confirm it with "belfry reconcile production --allow-rewrite ${tip.slice(0, 12)}". Or push a branch that goes on from ${second.slice(0, 12)}. Revision ${second.slice(0, 12)} stays live.`,
    )
    await expect(allow(database, second)).rejects.toMatchObject({ status: 422 })
    await allow(database, tip.slice(0, 7))
    expect(await look()).toMatchObject({ reason: 'applied', observedRevision: tip })
    expect(await rewrites(database)).toEqual([null, null, second])
    expect(await listBrakeEvents(database, PRODUCTION)).toMatchObject([
      { kind: 'allow_rewrite', revision: tip, actor: 'ada' },
    ])
    await made.git('reset', '--quiet', '--hard', first)
    await made.commit(text('Again'))
    expect(await look()).toMatchObject({ reason: 'history_rewritten', observedRevision: tip })
  })

  test('is taken back by a branch that goes on from what was applied', async ({ database }) => {
    const { made, first, second, look } = await two(database, 'confirm')
    await using _ = made
    await made.git('reset', '--quiet', '--hard', first)
    await made.commit(text('Other'))
    expect(await look()).toMatchObject({ reason: 'history_rewritten' })
    // A merge descends from both.
    await made.git('merge', '--quiet', '--no-edit', '--strategy', 'ours', second)
    expect(await look()).toMatchObject({ reason: 'applied' })
    expect((await rewrites(database)).at(-1)).toBeNull()
  })

  test('stays out under "refuse", whoever confirms it; also one that only goes back', async ({
    database,
  }) => {
    const { made, first, second, look } = await two(database, 'refuse')
    await using _ = made
    await made.git('reset', '--quiet', '--hard', first)
    const held = await look()
    expect(held).toMatchObject({ reason: 'history_rewritten', observedRevision: second })
    expect(held.message).toContain(
      `Its policy refuses that. Push a branch that goes on from ${second.slice(0, 12)}. Revision`,
    )
    expect(held.message).not.toContain('--allow-rewrite')
    await expect(allow(database, first)).rejects.toMatchObject({
      status: 422,
      message: `the policy of production refuses a rewritten branch, whoever confirms it: push a branch that goes on from ${second.slice(0, 12)}, or set its policy.history to "confirm" first`,
    })
    expect(await listBrakeEvents(database, PRODUCTION)).toEqual([])
    // One that was confirmed under another policy does not count either.
    const kept = { revision: first as Revision, reason: null, expiresAt: null }
    const event = { environment: PRODUCTION, actor: 'ada', now: NOW, ...kept }
    await database.transaction(async (tx) => {
      await saveBrakeEvent(tx, { ...event, kind: 'allow_rewrite' })
      await requestReconcile(tx, PRODUCTION, NOW)
    })
    expect(await look()).toMatchObject({ reason: 'history_rewritten', observedRevision: second })
    await made.git('reset', '--quiet', '--hard', second)
    expect(await look()).toMatchObject({ reason: 'applied', observedRevision: second })
  })

  test('is one where the old commits are gone', async ({ database }) => {
    const { made, first, second, look } = await two(database, 'confirm')
    await using _ = made
    await made.git('reset', '--quiet', '--hard', first)
    await made.git('reflog', 'expire', '--expire=now', '--all')
    await made.git('gc', '--quiet', '--prune=now')
    await expect(made.git('cat-file', '-e', second)).rejects.toThrow('cat-file')
    const tip = await made.commit(text('Other'))
    expect(await look()).toMatchObject({ reason: 'history_rewritten', observedRevision: second })
    await allow(database, tip)
    expect(await look()).toMatchObject({ reason: 'applied', observedRevision: tip })
    expect(await rewrites(database)).toEqual([null, null, second])
  })

  test('is one where nothing that was applied is there any more', async ({ database }) => {
    const { made, second, reconciler } = await two(database, 'confirm')
    await using _ = made
    await reconciler.close()
    await made.git('checkout', '--quiet', '--orphan', 'fresh')
    const tip = await made.commit(text('Other'))
    await made.git('branch', '--quiet', '--force', 'production', 'fresh')
    await made.git('branch', '--quiet', '--force', 'main', 'fresh')
    await made.git('reflog', 'expire', '--expire=now', '--all')
    await made.git('gc', '--quiet', '--prune=now')
    await expect(made.git('cat-file', '-e', second)).rejects.toThrow('cat-file')
    // Another process has not read them before.
    const { reconciler: next } = await scene(database, made.path)
    const look = async () => {
      await next.pass()
      return environment(database, 'production')
    }
    expect(await look()).toMatchObject({ reason: 'history_rewritten', observedRevision: second })
    await allow(database, tip)
    expect(await look()).toMatchObject({ reason: 'applied', observedRevision: tip })
    expect(await rewrites(database)).toEqual([null, null, second])
  })

  test('is compared with what the branch had, not with a revision that was pinned', async ({
    database,
  }) => {
    const { made, first, second, look } = await two(database, 'refuse')
    await using _ = made
    const acting = { environment: PRODUCTION, actor: 'ada', now: NOW }
    await database.transaction(async (tx) => {
      const pinning = { named: first, reason: 'Bad', expiresAt: null }
      await pin(tx, await environment(tx, PRODUCTION), { ...acting, ...pinning })
    })
    expect(await look()).toMatchObject({ reason: 'pinned', observedRevision: first })
    await made.git('reset', '--quiet', '--hard', first)
    const tip = await made.commit(text('Other'))
    await database.transaction(async (tx) => unpin(tx, await environment(tx, PRODUCTION), acting))
    expect(await look()).toMatchObject({
      reason: 'history_rewritten',
      attemptedRevision: tip,
      message: expect.stringContaining(`does not descend from ${second.slice(0, 12)}`) as string,
    })
  })

  test.for([
    ['apply', { reason: 'applied' }],
    ['confirm', { reason: 'retrying' }],
  ] as const)(
    'that a shallow clone cannot tell is, under "%s", nothing that is guessed',
    async ([policy, state], { database }) => {
      const { made, reconciler } = await two(database, policy)
      await using _ = made
      await reconciler.close()
      await clear(database)
      const parent = await temporaryDirectory()
      await using stack = new AsyncDisposableStack()
      stack.defer(() => rm(parent, { recursive: true, force: true }))
      const path = join(parent, 'shallow.git')
      const depth = ['--quiet', '--depth', '1']
      await git(
        parent,
        'clone',
        ...depth,
        '--bare',
        '--no-single-branch',
        `file://${made.path}`,
        path,
      )
      const shallow = await scene(database, path, { defaultBranch: 'main' })
      await shallow.reconciler.pass()
      expect(await environment(database, 'production')).toMatchObject({ reason: 'applied' })
      await made.commit(text('Four'))
      await made.commit(text('Five'))
      await git(path, 'fetch', ...depth, 'origin', '+refs/heads/*:refs/heads/*')
      await shallow.reconciler.pass()
      expect(await environment(database, 'production')).toMatchObject(state)
      expect((await rewrites(database)).at(-1)).toBeNull()
    },
  )
})
