import { rm } from 'node:fs/promises'
import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { RemoteRepository } from '../../src/git/remote.ts'
import type { RemoteLimits } from '../../src/git/remote.ts'
import type { EnvironmentName, Revision } from '../../src/ids.ts'
import { pin, suspend } from '../../src/reconcile/brakes.ts'
import { requestReconcile } from '../../src/reconcile/read.ts'
import { parseRemoteAddress } from '../../src/remote-address.ts'
import { test as withDatabase } from '../support/database.ts'
import { serveRepository } from '../support/git-server.ts'
import type { ServedRepository } from '../support/git-server.ts'
import { temporaryDirectory } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'
import type { Scene } from './scene.ts'

interface Remote extends Scene {
  readonly served: ServedRepository
  readonly remote: RemoteRepository
}

type Follow = (database: Database, limits?: Partial<RemoteLimits>) => Promise<Remote>

const test = withDatabase.extend<{ follow: Follow }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the pattern
  follow: async ({}, use) => {
    await using stack = new AsyncDisposableStack()
    const directory = await temporaryDirectory()
    stack.defer(() => rm(directory, { recursive: true, force: true }))
    await use(async (database, limits = {}) => {
      const served = stack.use(await serveRepository(FILES, ['staging', 'production']))
      const address = parseRemoteAddress(served.server.url, {})
      const remote = stack.use(await RemoteRepository.open({ address, directory, limits }))
      const made = await scene(database, served.work.path, { repository: remote })
      return { ...made, served, remote }
    })
  },
})

const FILES = {
  'environments/staging.yaml': 'timezone: Europe/Berlin\n',
  'environments/production.yaml': 'locale: en\n',
  'workflows/a1/workflow.yaml': workflow('One'),
}
const PRODUCTION = 'production' as EnvironmentName

beforeEach<{ database: Database }>(({ database }) => clear(database))

describe('a remote', () => {
  test('is applied, each environment from its own branch, with one fetch for all', async ({
    database,
    follow,
  }) => {
    const { reconciler, served } = await follow(database)
    expect(await reconciler.pass()).toEqual({ kind: 'leading', failed: false })
    expect(await environment(database, 'staging')).toMatchObject({ reason: 'applied' })
    expect(Object.keys(await live(database, 'production'))).toEqual(['a1'])
    await served.work.checkout('production')
    const tip = await served.push({ 'workflows/b1/workflow.yaml': workflow('Two') })
    served.server.forget()
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ observedRevision: tip })
    expect(Object.keys(await live(database, 'staging'))).toEqual(['a1'])
    expect(served.server.requests.map(({ step }) => step)).toEqual(['advertise', 'list', 'fetch'])
    served.server.forget()
    await reconciler.pass()
    expect(served.server.requests.map(({ step }) => step)).toEqual(['advertise', 'list'])
  })

  test('is read for the first time with one fetch for the default branch and one for all others', async ({
    database,
    follow,
  }) => {
    const { reconciler, served } = await follow(database)
    for (const branch of ['staging', 'production']) {
      await served.work.checkout(branch)
      await served.push({ [`workflows/${branch}/workflow.yaml`]: workflow(branch) })
    }
    served.server.forget()
    await reconciler.pass()
    expect(Object.keys(await live(database, 'staging'))).toEqual(['a1', 'staging'])
    expect(Object.keys(await live(database, 'production'))).toEqual(['a1', 'production'])
    expect(served.server.count('fetch')).toBe(2)
  })

  test('without a branch archives nothing, and goes on when it is back', async ({
    database,
    follow,
  }) => {
    const { reconciler, served } = await follow(database)
    await reconciler.pass()
    const before = await live(database, 'production')
    await served.server.bare.git('branch', '--quiet', '-D', 'production')
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'waiting',
      reason: 'ref_missing',
    })
    expect(await live(database, 'production')).toEqual(before)
    await served.server.bare.git('branch', 'production', 'main')
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'applied' })
  })

  test('that was emptied, or answers half, archives nothing', async ({ database, follow }) => {
    const { reconciler, served } = await follow(database)
    await reconciler.pass()
    const before = await live(database, 'production')
    const { bare } = served.server
    for (const branch of ['staging', 'production', 'main']) {
      await bare.git('update-ref', '-d', `refs/heads/${branch}`)
    }
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'ref_missing' })
    served.server.trouble = ({ step }) =>
      step === 'list' ? { kind: 'body', body: Buffer.from('') } : undefined
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ reason: 'retrying' })
    expect(await live(database, 'production')).toEqual(before)
  })

  test('that refuses us stalls, is asked slowly, and heals', async ({ database, follow }) => {
    const { reconciler, served } = await follow(database)
    await reconciler.pass()
    const before = await live(database, 'production')
    for (const [status, reason, advice] of [
      [401, 'authentication', 'set BELFRY_GIT_USERNAME and BELFRY_GIT_PASSWORD'],
      [403, 'authentication', 'asks for credentials'],
      [404, 'repository_missing', 'check the address'],
    ] as const) {
      served.server.trouble = () => ({ kind: 'status', status })
      // No failure: nothing is gained by asking again before the next poll.
      expect(await reconciler.pass()).toEqual({ kind: 'leading', failed: false })
      const { state, message, ...row } = await environment(database, 'production')
      expect({ state, reason: row.reason }).toEqual({ state: 'stalled', reason })
      expect(message).toContain(advice)
      expect(message).toContain('stays live')
      expect(await live(database, 'production')).toEqual(before)
      served.server.trouble = () => undefined
      await reconciler.pass()
      expect(await environment(database, 'production')).toMatchObject({ reason: 'applied' })
    }
  })

  test('that fails is asked again, and a request meanwhile is answered', async ({
    database,
    follow,
  }) => {
    const { reconciler, served, clock } = await follow(database)
    await reconciler.pass()
    served.server.trouble = () => ({ kind: 'status', status: 500 })
    const id = await database.transaction((tx) => requestReconcile(tx, PRODUCTION, clock.now()))
    expect(await reconciler.pass()).toEqual({ kind: 'leading', failed: true })
    expect(await environment(database, 'production')).toMatchObject({
      reason: 'retrying',
      lastHandledRequest: id,
    })
  })

  test('that is silent holds no brake back', async ({ database, follow }) => {
    const { reconciler, served, clock } = await follow(database, { patienceMs: 50 })
    served.server.trouble = () => undefined
    await expect.poll(async () => (await reconciler.pass()).failed, { timeout: 10_000 }).toBe(false)
    const first = (await environment(database, 'production')).observedRevision as Revision
    await served.work.checkout('production')
    const second = await served.push({ 'workflows/b1/workflow.yaml': workflow('Two') })
    await expect
      .poll(async () => {
        await reconciler.pass()
        return (await environment(database, 'production')).observedRevision
      })
      .toBe(second)
    served.server.trouble = () => ({ kind: 'silence' })
    const by = { reason: 'wrong', actor: 'operator', now: clock.now() }
    const [production, staging] = await Promise.all(
      ['production', 'staging'].map((name) => environment(database, name)),
    )
    await database.transaction(async (tx) => {
      const how = { ...by, environment: PRODUCTION, named: first, expiresAt: null }
      await pin(tx, production!, how)
      await suspend(tx, staging!, { ...by, environment: 'staging' as EnvironmentName })
    })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      reason: 'pinned',
      observedRevision: first,
    })
    expect(await environment(database, 'staging')).toMatchObject({ state: 'suspended' })
    expect(Object.keys(await live(database, 'production'))).toEqual(['a1'])
  })

  test('that is closed during a look leaves the states as they are', async ({
    database,
    follow,
  }) => {
    const { reconciler, served, remote } = await follow(database)
    await reconciler.pass()
    served.server.trouble = () => ({ kind: 'silence' })
    const passing = reconciler.pass()
    await remote.close()
    expect(await passing).toEqual({ kind: 'leading', failed: false })
    expect(await environment(database, 'production')).toMatchObject({ reason: 'applied' })
  })
})
