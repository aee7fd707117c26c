import { appendFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { openSources } from '../../src/git/open.ts'
import { RemoteRepository } from '../../src/git/remote.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { pin, suspend } from '../../src/reconcile/brakes.ts'
import { retire } from '../../src/reconcile/retirement.ts'
import { REASONS } from '../../src/reconcile/status.ts'
import type { Reason } from '../../src/reconcile/status.ts'
import { parseRemoteAddress } from '../../src/remote-address.ts'
import { test } from '../support/database.ts'
import { serveRepository } from '../support/git-server.ts'
import { temporaryDirectory, testRepository } from '../support/repository.ts'
import type { Files } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'
import type { SceneOptions } from './scene.ts'

const PRODUCTION = 'production' as EnvironmentName
const ACTING = { environment: PRODUCTION, actor: 'ada', now: new Date('2026-03-01T12:00:00Z') }
const FEED = 'channels:\n  feed: {type: in_app, provider: in_app}\n'

beforeEach<{ database: Database }>(({ database }) => clear(database))

const text = (content: string): Files => ({ 'workflows/a1/workflow.yaml': workflow(content) })

function files(policy: string): Files {
  return {
    'environments/production.yaml': `${policy}${FEED}`,
    'environments/staging.yaml': FEED,
    ...text('Start'),
    'workflows/b1/workflow.yaml': workflow('Steady'),
  }
}

/** Production, which follows a branch of its own, with one applied revision. */
async function begin(database: Database, policy = '', options: SceneOptions = {}) {
  await using stack = new AsyncDisposableStack()
  const made = stack.use(await testRepository())
  await made.commit(files(policy))
  await made.git('branch', 'staging')
  await made.checkout('production')
  const first = await made.commit(text('One'))
  const { reconciler, clock } = await scene(database, made.path, options)
  stack.use(reconciler)
  await reconciler.pass()
  const before = await live(database, 'production')
  expect(await environment(database, 'production')).toMatchObject({ reason: 'applied' })
  const opened = stack.move()
  return {
    made,
    reconciler,
    clock,
    first,
    before,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

type Begun = Awaited<ReturnType<typeof begin>>

/** What the state is to say beside the reason, and which revisions. */
interface Driven {
  readonly observed: string
  readonly attempted: string
  /** What was live before; absent where something else may be by now. */
  readonly before?: Readonly<Record<string, string>>
}

/** Nothing of the tip is applied. */
function heldBack({ first, before }: Begun, tip: string): Driven {
  return { observed: first, attempted: tip, before }
}

/** Nothing of any tip was looked at. */
function unread({ first, before }: Begun): Driven {
  return { observed: first, attempted: first, before }
}

type Drive = (database: Database, check: (driven: Driven) => Promise<void>) => Promise<void>

/** Leads to a reason by what a person, or the world, does. `check` is called while it holds. */
const DRIVES: Readonly<Record<Reason, Drive>> = {
  async applied(database, check) {
    await using at = await begin(database)
    const tip = await at.made.commit(text('Two'))
    await at.reconciler.pass()
    await check({ observed: tip, attempted: tip })
  },
  async pinned(database, check) {
    await using at = await begin(database)
    await at.made.commit(text('Two'))
    await at.reconciler.pass()
    await database.transaction(async (tx) => {
      const pinning = { named: at.first, reason: 'Bad', expiresAt: null }
      await pin(tx, await environment(tx, 'production'), { ...ACTING, ...pinning })
    })
    await at.reconciler.pass()
    await check(unread(at))
  },
  async progressing(database, check) {
    const held = Promise.withResolvers<undefined>()
    const reading = Promise.withResolvers<undefined>()
    await using at = await begin(database)
    const { repository } = await openSources(at.made.path, { development: false })
    await at.reconciler.close()
    const slow = await scene(database, at.made.path, {
      repository: {
        kind: 'repository',
        location: repository.location,
        refs: () => repository.refs(),
        commit: (id) => repository.commit(id),
        async tree(revision) {
          const tree = await repository.tree(revision)
          const read = async (blobs: Iterable<string>) => {
            reading.resolve(undefined)
            await held.promise
            return tree.read(blobs)
          }
          return { ...tree, read }
        },
      },
    })
    const tip = await at.made.commit(text('Two'))
    const passing = slow.reconciler.pass()
    await reading.promise
    await check(heldBack(at, tip))
    held.resolve(undefined)
    await passing
    await slow.reconciler.close()
  },
  async retrying(database, check) {
    await using at = await begin(database)
    await rename(at.made.gitDir, `${at.made.gitDir}-away`)
    await at.reconciler.pass()
    await check(unread(at))
  },
  async invalid_files(database, check) {
    await using at = await begin(database)
    const tip = await at.made.commit({ 'workflows/a1/workflow.yaml': 'name: [' })
    await at.reconciler.pass()
    await check(heldBack(at, tip))
  },
  async prune_guard(database, check) {
    await using at = await begin(database)
    const tip = await at.made.commit({ workflows: null })
    await at.reconciler.pass()
    await check(heldBack(at, tip))
  },
  async drift(database, check) {
    await using at = await begin(database)
    // Somebody writes it again as often as it is repaired.
    for (let turns = 0; turns < 6; turns += 1) {
      await database.query(sql`
        update workflows set tree = 'other' where environment = 'production' and key = 'a1'`)
      at.clock.advance(10_000)
      await at.reconciler.mend()
    }
    await at.reconciler.pass()
    await check(unread(at))
  },
  async out_of_order(database, check) {
    const policy = 'promotes_from: staging\npolicy: {promotion: enforce}\n'
    await using at = await begin(database, policy)
    const tip = await at.made.commit(text('Hotfix'))
    await at.reconciler.pass()
    await check(heldBack(at, tip))
  },
  async history_rewritten(database, check) {
    await using at = await begin(database, 'policy: {history: confirm}\n')
    await at.made.git('reset', '--quiet', '--hard', 'main')
    const tip = await at.made.commit(text('Other'))
    await at.reconciler.pass()
    await check(heldBack(at, tip))
  },
  async unsigned(database, check) {
    await using at = await begin(database)
    await at.made.git('checkout', '--quiet', 'main')
    await at.made.commit(files('policy: {signatures: enforce}\n'))
    await at.made.git('checkout', '--quiet', 'production')
    const tip = await at.made.commit(text('Two'))
    await at.reconciler.pass()
    await check(heldBack(at, tip))
  },
  async soaking(database, check) {
    const policy = 'promotes_from: staging\npolicy: {promotion: enforce, soak: 1h}\n'
    await using at = await begin(database, policy)
    await at.made.git('checkout', '--quiet', 'staging')
    await at.made.commit(text('Two'))
    await at.reconciler.pass()
    await at.made.git('checkout', '--quiet', 'production')
    const tip = await at.made.commit(text('Two'))
    await at.reconciler.pass()
    await check(heldBack(at, tip))
  },
  async undeclared(database, check) {
    await using at = await begin(database)
    await at.made.git('checkout', '--quiet', 'main')
    await at.made.commit({ 'environments/production.yaml': null })
    await at.reconciler.pass()
    await check(unread(at))
  },
  async unsupported_repository(database, check) {
    await using at = await begin(database)
    await appendFile(join(at.made.gitDir, 'config'), '[extensions]\n\trefStorage = reftable\n')
    await at.reconciler.pass()
    await check(unread(at))
  },
  authentication: (database, check) => refused(database, 401, check),
  repository_missing: (database, check) => refused(database, 404, check),
  async default_branch_changed(database, check) {
    await using at = await begin(database)
    await at.made.git('update-ref', 'refs/remotes/origin/trunk', 'main')
    await at.made.git('symbolic-ref', 'refs/remotes/origin/HEAD', 'refs/remotes/origin/trunk')
    await at.reconciler.pass()
    await check(unread(at))
  },
  async retired(database, check) {
    await using at = await begin(database)
    await at.made.git('checkout', '--quiet', 'main')
    await at.made.commit({ 'environments/production.yaml': null })
    await at.reconciler.pass()
    await database.transaction((tx) => retire(tx, { ...ACTING, reason: 'Moved' }))
    await at.reconciler.pass()
    await check({ ...unread(at), before: {} })
  },
  async suspended(database, check) {
    await using at = await begin(database)
    await database.transaction(async (tx) =>
      suspend(tx, await environment(tx, 'production'), { ...ACTING, reason: 'A freeze' }),
    )
    await at.made.commit(text('Two'))
    await at.reconciler.pass()
    await check(unread(at))
  },
  async ref_missing(database, check) {
    await using at = await begin(database)
    await at.made.git('checkout', '--quiet', 'main')
    await at.made.git('branch', '--quiet', '-D', 'production')
    await at.reconciler.pass()
    await check(unread(at))
  },
}

/** A remote that answers all that it is asked with this status. */
async function refused(
  database: Database,
  status: number,
  check: (driven: Driven) => Promise<void>,
): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const directory = await temporaryDirectory()
  stack.defer(() => rm(directory, { recursive: true, force: true }))
  const served = stack.use(await serveRepository(files(''), ['staging', 'production']))
  const address = parseRemoteAddress(served.server.url, {})
  const remote = stack.use(await RemoteRepository.open({ address, directory }))
  const { reconciler } = await scene(database, served.work.path, { repository: remote })
  stack.use(reconciler)
  await reconciler.pass()
  const before = await live(database, 'production')
  const tip = await served.work.tip('main')
  served.server.trouble = () => ({ kind: 'status', status })
  await reconciler.pass()
  await check({ observed: tip, attempted: tip, before })
}

describe('a reason', () => {
  test.for(Object.entries(DRIVES))(
    'of %s comes about, and says what it should',
    async ([reason, drive], { database }) => {
      let checks = 0
      await drive(database, async ({ observed, attempted, before }) => {
        checks += 1
        const found = await environment(database, 'production')
        expect({
          state: found.state,
          reason: found.reason,
          observed: found.observedRevision,
          attempted: found.attemptedRevision,
          isSuspended: found.suspension !== null,
          isPinned: found.pin !== null,
        }).toEqual({
          state: REASONS[reason as Reason],
          reason,
          observed,
          attempted,
          isSuspended: reason === 'suspended',
          isPinned: reason === 'pinned',
        })
        expect(found.message).toMatch(/\.$/)
        if (before) expect(await live(database, 'production')).toEqual(before)
      })
      expect(checks).toBe(1)
    },
  )

  test('is driven here if there is one, and none beside', () => {
    expect(Object.keys(DRIVES).toSorted()).toEqual(Object.keys(REASONS).toSorted())
  })
})
