import { rm } from 'node:fs/promises'
import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { RemoteRepository } from '../../src/git/remote.ts'
import { openRepository } from '../../src/git/repository.ts'
import type { CommitSource } from '../../src/git/source.ts'
import { sendNextComment } from '../../src/reconcile/outbox-comments.ts'
import { savePause } from '../../src/reconcile/outbox-store.ts'
import { openPullPlanner } from '../../src/reconcile/pull-plan.ts'
import { openPullWatch } from '../../src/reconcile/pull-watch.ts'
import { parseRemoteAddress } from '../../src/remote-address.ts'
import { test } from '../support/database.ts'
import { failing } from '../support/fake-forge.ts'
import { serveRepository } from '../support/git-server.ts'
import { temporaryDirectory } from '../support/repository.ts'
import { clearForge, forgeScene } from './forge-scene.ts'
import type { ForgeScene } from './forge-scene.ts'
import { commitOn, one, pipeline } from './promotion-support.ts'
import { clear, scene } from './scene.ts'

const announcing = { instance: 'belfry' }
const PLAN = 'belfry/production/plan'

beforeEach<{ database: Database }>(async ({ database }) => {
  await clear(database)
  await clearForge(database)
})

interface Watched extends AsyncDisposable {
  readonly forge: ForgeScene
  isLeading: boolean
  /** Asks for a look, and does what it leads to, until nothing more happens. */
  round(): Promise<void>
  bodies(): readonly string[]
  advance(ms: number): void
  turn(): Promise<number>
  /** One pass of the reconciler. */
  reconcile(): Promise<void>
  wake(): void
}

/** A process that reconciles `source` and watches the pull requests of a forge. */
async function watch(
  database: Database,
  source: CommitSource,
  pullRefs = 'refs/pull/',
): Promise<Watched> {
  await using stack = new AsyncDisposableStack()
  const { reconciler, clock } = await scene(database, '.', { announcing, repository: source })
  stack.use(reconciler)
  await reconciler.pass()
  const forge = stack.use(await forgeScene(database, clock))
  const tip = async (branch: string) => (await (source.knownRefs?.() ?? source.refs())).tip(branch)
  const plan = openPullPlanner({ database, clock, source, pullRefs })
  const state = { isLeading: true }
  const pulls = { ...forge.outbox, announcing, tip, plan }
  const watching = openPullWatch(pulls, forge.outbox, () => state.isLeading)
  const opened = stack.move()
  return Object.assign(state, {
    forge,
    async round() {
      clock.advance(5_000)
      watching.wake()
      for (let turn = 0; turn < 3; turn += 1) {
        await watching.turn()
        await reconciler.pass()
      }
      while ((await sendNextComment(forge.outbox, announcing)) > 0) continue
      await forge.drain()
    },
    bodies: () => forge.fake.comments.map(({ body }) => body),
    advance: (ms: number) => void clock.advance(ms),
    turn: () => watching.turn(),
    reconcile: async () => void (await reconciler.pass()),
    wake: () => watching.wake(),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  })
}

const states = ({ forge }: Watched, sha: string) =>
  forge.posts(sha, PLAN).map((post) => post.split(' ')[0])

describe('the plan of a pull request', () => {
  test('says what merging it would change, and again when its head moves', async ({ database }) => {
    await using made = await pipeline()
    await made.checkout('feature')
    const head = await made.commit(one('alpha', 'New text'))
    await using watched = await watch(database, await openRepository(made.path))
    const pull = watched.forge.fake.addPull({ base: 'production', head: 'feature', headSha: head })
    await watched.round()
    expect(watched.bodies()).toHaveLength(1)
    expect(watched.bodies()[0]).toContain('### Promotion: `#1` → `production`')
    expect(watched.bodies()[0]).toContain('| `alpha` | changed |')
    expect(watched.forge.posts(head, PLAN).at(-1)).toBe('success Ready: a fast-forward. 1 changed.')
    pull.headSha = await made.commit(one('beta', 'Newer text'))
    await watched.round()
    expect(watched.bodies()).toHaveLength(1)
    expect(watched.bodies()[0]).toContain('| `beta` | changed |')
    expect(states(watched, pull.headSha)).toContain('success')
  })

  test('is void when the base moves, and made anew', async ({ database }) => {
    await using made = await pipeline()
    await made.checkout('feature')
    const head = await made.commit(one('alpha', 'Ours'))
    await using watched = await watch(database, await openRepository(made.path))
    watched.forge.fake.addPull({ base: 'production', head: 'feature', headSha: head })
    await watched.round()
    await commitOn(made, 'production', one('alpha', 'Theirs'))
    const asked = () => database.query(sql`select id from plan_requests`)
    const before = await asked()
    watched.wake()
    watched.advance(2_000)
    // Which is to be told, before the plan that follows is asked for.
    expect(await watched.turn()).toBe(1)
    expect(await asked()).toEqual(before)
    await watched.round()
    expect(watched.bodies()).toHaveLength(1)
    expect(watched.bodies()[0]).toContain('Blocked')
    expect(states(watched, head).at(-1)).toBe('failure')
  })

  test('is not taken for one of other tips when the base moves while it is made', async ({
    database,
  }) => {
    await using made = await pipeline()
    await made.checkout('feature')
    const head = await made.commit(one('alpha', 'Ours'))
    await using watched = await watch(database, await openRepository(made.path))
    watched.forge.fake.addPull({ base: 'production', head: 'feature', headSha: head })
    await watched.turn()
    await watched.turn()
    await commitOn(made, 'production', one('alpha', 'Theirs'))
    await watched.reconcile()
    expect(await watched.turn()).toBe(0)
    await watched.round()
    expect(watched.bodies()[0]).toContain('Blocked')
    expect(states(watched, head)).not.toContain('success')
  })

  test('is soon asked for again where it was made of other tips', async ({ database }) => {
    await using made = await pipeline()
    const base = await made.tip('production')
    await made.checkout('feature')
    const head = await made.commit(one('alpha', 'Ours'))
    await using watched = await watch(database, await openRepository(made.path))
    watched.forge.fake.addPull({ base: 'production', head: 'feature', headSha: head })
    await watched.turn()
    await watched.turn()
    await commitOn(made, 'production', one('alpha', 'Theirs'))
    await watched.reconcile()
    await made.git('update-ref', 'refs/heads/production', base)
    expect(await watched.turn()).toBe(0)
    await watched.round()
    expect(states(watched, head).at(-1)).toBe('success')
  })

  test('is made of the head of a fork, which is there under the name of the pull request', async ({
    database,
  }) => {
    await using made = await pipeline()
    await made.checkout('fork')
    const head = await made.commit(one('gamma', 'From a fork'))
    await made.git('update-ref', 'refs/pull/1/head', head)
    await made.git('checkout', '--quiet', 'main')
    await made.git('branch', '--quiet', '-D', 'fork')
    await using watched = await watch(database, await openRepository(made.path))
    const from = 'other/fork'
    watched.forge.fake.addPull({ base: 'production', head: 'fork', headSha: head, from })
    await watched.round()
    expect(watched.bodies()[0]).toContain('| `gamma` | changed |')
  })

  test.for(['refs/pull/', 'refs/merge-requests/'])(
    'gets the head of a fork from a remote under %s',
    async (pullRefs, { database }) => {
      await using stack = new AsyncDisposableStack()
      const directory = await temporaryDirectory()
      stack.defer(() => rm(directory, { recursive: true, force: true }))
      const channels = 'channels: { feed: { type: in_app, provider: in_app } }\n'
      const files = { 'environments/production.yaml': channels, ...one('alpha', 'First') }
      const served = stack.use(await serveRepository(files, ['production']))
      await served.work.checkout('fork')
      const head = await served.work.commit(one('alpha', 'From a fork'))
      await served.work.git('push', '--quiet', served.server.bare.path, `${head}:${pullRefs}1/head`)
      const address = parseRemoteAddress(served.server.url, {})
      const remote = stack.use(await RemoteRepository.open({ address, directory }))
      const watched = stack.use(await watch(database, remote, pullRefs))
      const from = 'other/fork'
      watched.forge.fake.addPull({ base: 'production', head: 'fork', headSha: head, from })
      await watched.round()
      expect(watched.bodies()[0]).toContain('| `alpha` | changed |')
    },
  )

  test('waits for a commit that is not there yet, but not for ever', async ({ database }) => {
    await using made = await pipeline()
    await using watched = await watch(database, await openRepository(made.path))
    const headSha = 'c'.repeat(40)
    watched.forge.fake.addPull({ base: 'production', headSha })
    await watched.round()
    expect(states(watched, headSha)).toEqual(['pending'])
    watched.advance(10 * 60_000)
    await watched.round()
    expect(states(watched, headSha)).toEqual(['pending', 'error'])
    expect(watched.bodies()[0]).toContain('The commit cccccccccccc cannot be read')
  })
})

describe('the forge', () => {
  test('is looked at where this process leads, and not more than every two seconds', async ({
    database,
  }) => {
    await using made = await pipeline()
    await using watched = await watch(database, await openRepository(made.path))
    const { requests } = watched.forge.fake.http
    watched.isLeading = false
    await watched.turn()
    expect(requests).toHaveLength(0)
    watched.isLeading = true
    await watched.turn()
    expect(requests).toHaveLength(1)
    watched.wake()
    watched.advance(1_999)
    await watched.turn()
    expect(requests).toHaveLength(1)
    watched.advance(1)
    await watched.turn()
    expect(requests).toHaveLength(2)
    watched.advance(29_999)
    await watched.turn()
    expect(requests).toHaveLength(2)
    watched.advance(1)
    await watched.turn()
    expect(requests).toHaveLength(3)
  })

  test.for([
    [failing(429, { 'retry-after': '300' }), 300_000],
    [failing(401), 300_000],
    [failing(404), 600_000],
  ] as const)('is left alone after a failure %#', async ([trouble, restMs], { database }) => {
    await using made = await pipeline()
    await using watched = await watch(database, await openRepository(made.path))
    const { fake } = watched.forge
    fake.trouble = trouble
    await watched.turn()
    fake.trouble = undefined
    watched.wake()
    watched.advance(restMs - 1)
    await watched.turn()
    expect(fake.http.requests).toHaveLength(1)
    watched.advance(1)
    await watched.turn()
    expect(fake.http.requests).toHaveLength(2)
  })

  test('is soon looked at again where that failed', async ({ database }) => {
    await using made = await pipeline()
    await using watched = await watch(database, await openRepository(made.path))
    const { fake } = watched.forge
    fake.trouble = failing(502)
    await watched.turn()
    watched.advance(2_000)
    await watched.turn()
    expect(fake.http.requests).toHaveLength(2)
  })

  test('is left alone while another process was asked to', async ({ database }) => {
    await using made = await pipeline()
    await using watched = await watch(database, await openRepository(made.path))
    const { clock, place } = watched.forge.other
    await savePause(database, place, new Date(clock.now().getTime() + 60_000))
    await watched.turn()
    expect(watched.forge.fake.http.requests).toHaveLength(0)
    watched.advance(60_000)
    await watched.turn()
    expect(watched.forge.fake.http.requests).toHaveLength(1)
  })

  test('is never given up', async ({ database }) => {
    await using made = await pipeline()
    await using watched = await watch(database, await openRepository(made.path))
    const { fake } = watched.forge
    fake.trouble = failing(502)
    for (let hour = 0; hour < 100; hour += 1) {
      await watched.turn()
      watched.advance(3_600_000)
    }
    expect(fake.http.requests).toHaveLength(100)
  })
})
