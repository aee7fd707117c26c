import { rename, rm } from 'node:fs/promises'
import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { openTopics } from '../../src/db/topics.ts'
import { openSources } from '../../src/git/open.ts'
import { RemoteRepository } from '../../src/git/remote.ts'
import type { CommitSource, WatchSettings } from '../../src/git/source.ts'
import type { EnvironmentName, Revision } from '../../src/ids.ts'
import { silentLog } from '../../src/log.ts'
import { requestLook } from '../../src/reconcile/hint-store.ts'
import { requestReconcile } from '../../src/reconcile/read.ts'
import { parseRemoteAddress } from '../../src/remote-address.ts'
import { serveRepository } from '../support/git-server.ts'
import { test } from '../support/database.ts'
import { recorder } from '../support/metrics.ts'
import { temporaryDirectory, testRepository } from '../support/repository.ts'
import { clear, environment, scene, workflow } from './scene.ts'

beforeEach<{ database: Database }>(({ database }) => clear(database))

const LABELS = { env: 'production' }
const file = (key: string) => `workflows/${key}/workflow.yaml`
const FILES = { 'environments/production.yaml': 'ref: main\n', [file('a1')]: workflow('A') }

describe('what reconciling counts', () => {
  test('is its looks, its phases, and how late a revision is that it saw come', async ({
    database,
  }) => {
    const metrics = recorder()
    await using made = await testRepository()
    const { reconciler, clock } = await scene(database, made.path, { metrics })
    await made.commit(FILES)
    await reconciler.pass()
    expect(reconciler.polledAt).toEqual(clock.now())
    const phase = (name: string) =>
      metrics.observed('reconcile_seconds', { ...LABELS, phase: name })
    // Each time that one is entered takes a quarter of a second here.
    expect(phase('resolve')).toEqual([0.5])
    expect(phase('diff')).toEqual([0.75])
    expect(phase('read')).toEqual([0.75])
    expect(phase('compile')).toEqual([1])
    expect(phase('guard')).toEqual([0.25])
    expect(phase('apply')).toEqual([0.25])
    // Nobody knows since when the first one was there.
    const since = (from: string) =>
      metrics.observed('push_to_applied_seconds', { ...LABELS, since: from })
    expect(since('first_sight')).toEqual([])

    const tip = await made.commit({ [file('a1')]: 'name: [' })
    await reconciler.pass()
    // It was read, and not applied.
    expect(phase('compile')).toHaveLength(2)
    expect(phase('guard')).toHaveLength(1)
    expect(phase('apply')).toHaveLength(1)
    // Nothing is left to do about it.
    await reconciler.pass()
    expect(phase('resolve')).toHaveLength(2)
    expect(since('first_sight')).toEqual([])
    const mended = await made.commit({ [file('a1')]: workflow('B') })
    const committed = Number(await made.git('show', '--no-patch', '--format=%ct', mended))
    await reconciler.pass()
    expect(tip).not.toBe(mended)
    expect(since('first_sight')).toEqual([0])
    expect(since('commit')).toEqual([clock.now().getTime() / 1000 - committed])

    const ok = { trigger: 'start', result: 'ok' }
    const polls = metrics.counted('poll_total', ok)
    await rename(made.gitDir, `${made.gitDir}-away`)
    await reconciler.pass()
    expect(metrics.counted('poll_total', ok)).toBe(polls)
    expect(metrics.counted('poll_total', { trigger: 'start', result: 'failed' })).toBe(1)
    await reconciler.close()
  })

  test('is what a revision archives, and a branch that goes back', async ({ database }) => {
    const metrics = recorder()
    await using made = await testRepository()
    const { reconciler } = await scene(database, made.path, { metrics })
    await made.commit({ ...FILES, [file('b1')]: workflow('B'), [file('c1')]: workflow('C') })
    await reconciler.pass()
    await made.commit({ [file('b1')]: null })
    await reconciler.pass()
    expect(metrics.counted('pruned_total', LABELS)).toBe(1)
    expect(metrics.counted('ref_regressions_total', LABELS)).toBe(0)
    await made.git('reset', '--quiet', '--hard', 'HEAD~1')
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ workflows: 3 })
    expect(metrics.counted('ref_regressions_total', LABELS)).toBe(1)
    await reconciler.close()
  })

  test('is what others changed, and what of it was put back', async ({ database }) => {
    const metrics = recorder()
    await using made = await testRepository()
    const { reconciler } = await scene(database, made.path, { metrics })
    await made.commit({ ...FILES, [file('b1')]: workflow('B') })
    await reconciler.pass()
    await database.query(sql`update workflows set tree = 'x' where environment = 'production'`)
    await reconciler.mend()
    expect(metrics.counted('drift_detected_total', LABELS)).toBe(2)
    expect(metrics.counted('drift_repaired_total', LABELS)).toBe(2)
    await reconciler.close()
  })

  test('is a change that only the poll has found, apart from one that showed itself', async ({
    database,
  }) => {
    const metrics = recorder()
    await using made = await testRepository()
    await using other = await testRepository()
    await made.commit(FILES)
    const { repository } = await openSources(made.path, { development: false })
    const elsewhere = await openSources(other.path, { development: false })
    // Watched in the wrong place, so that nothing shows itself.
    const blind = {
      kind: 'repository',
      location: elsewhere.repository.location,
      refs: () => repository.refs(),
      commit: (id: Parameters<typeof repository.commit>[0]) => repository.commit(id),
      tree: (revision: Parameters<typeof repository.tree>[0]) => repository.tree(revision),
    } as const
    const options = { metrics, repository: blind, pollMs: 50 }
    const { reconciler } = await scene(database, made.path, options)
    await reconciler.start()
    const isLive = async (tip: string) =>
      (await environment(database, 'production')).observedRevision === tip
    const first = await made.tip('main')
    await expect.poll(() => isLive(first).catch(() => false), { timeout: 5_000 }).toBe(true)
    expect(metrics.counted('watch_missed_total')).toBe(0)
    const tip = await made.commit({ [file('a1')]: workflow('B') })
    await expect.poll(() => isLive(tip), { timeout: 5_000 }).toBe(true)
    expect(metrics.counted('watch_missed_total')).toBe(1)
    expect(metrics.counted('watch_events_total')).toBe(0)

    // Now it does: something moves where it is watched.
    await other.git('commit', '--quiet', '--allow-empty', '--message', 'Empty')
    await expect.poll(() => metrics.counted('watch_events_total'), { timeout: 5_000 }).not.toBe(0)
    await reconciler.close()
  })

  test('is who asked for each look', async ({ database }) => {
    const metrics = recorder()
    await using made = await testRepository()
    await made.commit(FILES)
    await using topics = openTopics(database.url, { log: silentLog })
    const { repository } = await openSources(made.path, { development: false })
    let watched: WatchSettings | undefined
    const notice = (isPoll: boolean) => watched?.onChange(null, isPoll)
    let meanwhile: (() => Promise<unknown>) | undefined
    const source: CommitSource = {
      kind: 'repository',
      location: repository.location,
      refs: () => repository.refs(),
      commit: (id) => repository.commit(id),
      async tree(revision) {
        const work = meanwhile
        meanwhile = undefined
        await work?.()
        return repository.tree(revision)
      },
      watch(settings) {
        watched = settings
        return { start: () => Promise.resolve(), close: () => Promise.resolve() }
      },
    }
    const { reconciler, clock } = await scene(database, made.path, {
      metrics,
      repository: source,
      topics,
    })
    await using running = reconciler
    const looks = (trigger: string, result = 'ok') =>
      metrics.counted('poll_total', { trigger, result })
    const comes = (trigger: string, result = 'ok') =>
      expect.poll(() => looks(trigger, result), { timeout: 5_000 }).toBeGreaterThan(0)
    await running.start()
    await comes('start')
    notice(true)
    await comes('poll')
    notice(false)
    await comes('watch')
    const name = 'production' as EnvironmentName
    await database.transaction((tx) => requestReconcile(tx, name, clock.now()))
    await comes('request')
    expect([looks('webhook'), looks('again'), looks('retry')]).toEqual([0, 0, 0])

    meanwhile = () => made.commit({ [file('b1')]: workflow('B') })
    notice(false)
    await comes('again')
    const hint = { branch: 'main', revision: 'f'.repeat(40) as Revision }
    await database.transaction((tx) => requestLook(tx, [hint], clock.now()))
    // Once for the call, and then for the commit that does not show.
    await expect.poll(() => looks('webhook'), { timeout: 5_000 }).toBeGreaterThan(1)
    expect(looks('request')).toBe(1)
    await database.query(sql`truncate git_hints`)
    await rename(made.gitDir, `${made.gitDir}-away`)
    notice(true)
    await comes('retry', 'failed')
  })

  test('is what is fetched from a remote', async ({ database }) => {
    const metrics = recorder()
    await using stack = new AsyncDisposableStack()
    const directory = await temporaryDirectory()
    stack.defer(() => rm(directory, { recursive: true, force: true }))
    const served = stack.use(await serveRepository(FILES))
    const address = parseRemoteAddress(served.server.url, {})
    const remote = stack.use(await RemoteRepository.open({ address, directory, metrics }))
    const { reconciler } = await scene(database, served.work.path, { repository: remote, metrics })
    stack.use(reconciler)
    await reconciler.pass()
    expect(metrics.observed('fetch_seconds', { result: 'ok' })).toEqual([0.25])
    const [bytes] = metrics.observed('fetch_bytes')
    expect(bytes).toBeGreaterThan(100)
  })
})
