import { createRequire } from 'node:module'
import type published from '@knocklabs/client'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { routes } from '../../src/api/index.ts'
import type { Database } from '../../src/db/database.ts'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { answeredBy, expectOwnContract, type Answered } from '../support/contract.ts'
import { makeKeys, signToken } from '../support/client-keys.ts'
import { cloneBlank } from '../support/database.ts'
import { call } from '../support/flow.ts'
import { testRepository, type TestRepository } from '../support/repository.ts'
import { KEY, openFleet, type Fleet, type Served } from '../support/served.ts'

// The client that applications load into their pages, as it is published, against servers of their own processes.

const FEED = channelId('feed' as ChannelKey)
const PUBLIC_KEY = 'pk_production_for_tests'
const keys = makeKeys()

type Client = InstanceType<typeof published.default>
type Feed = ReturnType<Client['feeds']['initialize']>
type Options = Parameters<Client['feeds']['initialize']>[1]

let scene: {
  readonly stack: AsyncDisposableStack
  readonly database: Database
  readonly repository: TestRepository
  readonly fleet: Fleet
  readonly first: Served
  readonly second: Served
}

const answers: Promise<Answered>[] = []
const { fetch } = globalThis

beforeAll(async () => {
  globalThis.fetch = async (input, init) => {
    const reply = await fetch(input, init)
    // The page is not kept waiting.
    answers.push(answeredBy(reply, init?.method))
    return reply
  }
  // It opens a connection only where it takes itself to be in a browser, and that is asked as it is loaded.
  Object.assign(globalThis, { window: globalThis })
  await using stack = new AsyncDisposableStack()
  const clone = await cloneBlank()
  stack.defer(() => clone.drop())
  const repository = stack.use(await testRepository())
  await repository.commit({
    'environments/production.yaml': `ref: main
channels: { feed: { type: in_app, provider: in_app } }
client_keys: { app: { file: app.pem } }
`,
    'environments/app.pem': keys.pem,
    'workflows/hello/workflow.yaml': `name: Hello
steps:
  - { ref: feed, type: in_app, body: "Hello {{data.n}}" }
`,
  })
  const fleet = stack.use(openFleet())
  const first = await serve(fleet, repository, clone.database)
  const second = await serve(fleet, repository, clone.database)
  scene = { stack: stack.move(), database: clone.database, repository, fleet, first, second }
}, 60_000)

afterEach(async () => {
  for (const one of answers.splice(0)) expectOwnContract(routes, await one)
})

afterAll(async () => {
  globalThis.fetch = fetch
  Reflect.deleteProperty(globalThis, 'window')
  // Where the servers did not start there is none.
  await (scene as Partial<typeof scene> | undefined)?.stack?.disposeAsync()
})

function serve(
  fleet: Fleet,
  repository: TestRepository,
  database: Database,
  port = 0,
): Promise<Served> {
  return fleet.serve({
    repo: repository.path,
    databaseUrl: database.url,
    port,
    env: { BELFRY_API_KEYS: `production=${KEY},production=${PUBLIC_KEY}` },
  })
}

/** A page that shows the feed of a user. */
function openPage(url: string, user: string, options: Options = {}) {
  const { default: Knock } = createRequire(import.meta.url)('@knocklabs/client') as typeof published
  const client = new Knock(PUBLIC_KEY, { host: url })
  client.authenticate({ id: user, name: user }, signToken(keys, new Date(), { sub: user }))
  const feed = client.feeds.initialize(FEED, options)
  return { client, feed, [Symbol.dispose]: () => client.teardown() }
}

async function trigger(url: string, user: string, data: object = {}, more: object = {}) {
  const body = { recipients: [{ id: user, name: user }], data, ...more }
  const reply = await call(url, { method: 'POST', path: '/v1/workflows/hello/trigger', body })
  expect(reply.status).toBe(200)
}

/** Listens, and waits until the server has taken note of it. */
async function listen(feed: Feed): Promise<void> {
  feed.listenForUpdates()
  const { channels } = Reflect.get(feed, 'socketManager') as {
    channels: Record<string, { readonly state: string }>
  }
  await soon(() => expect(channels[feed.socketChannelTopic]?.state).toBe('joined'))
}

const soon = (assert: () => void | Promise<void>) =>
  expect
    .poll(
      async () => {
        await assert()
        return true
      },
      { timeout: 25_000, interval: 5 },
    )
    .toBe(true)

const texts = (feed: Feed) =>
  feed.getState().items.map(({ blocks }) => String(Reflect.get(blocks[0] ?? {}, 'content')))
function itemOf(feed: Feed, index: number) {
  const item = feed.getState().items[index]
  if (!item) throw new Error(`the page shows no item ${index}`)
  return item
}
const counts = (feed: Feed) => {
  const { total_count, unread_count, unseen_count } = feed.getState().metadata
  return [total_count, unread_count, unseen_count]
}

test('a user who is not known yet has an empty feed', async () => {
  using page = openPage(scene.first.url, 'empty')
  await page.feed.fetch()
  expect(page.feed.getState()).toMatchObject({ networkStatus: 'ready', items: [] })
  expect(counts(page.feed)).toEqual([0, 0, 0])
  await soon(async () => expect(await page.client.user.get()).toMatchObject({ name: 'empty' }))
})

test('an item shows in the open page at once, whichever process made it', async () => {
  using one = openPage(scene.first.url, 'live')
  using two = openPage(scene.second.url, 'live')
  using other = openPage(scene.second.url, 'other')
  for (const { feed } of [one, two, other]) {
    await feed.fetch()
    await listen(feed)
  }
  const took: number[] = []
  for (let n = 1; n <= 5; n += 1) {
    const from = performance.now()
    await trigger(n % 2 === 0 ? scene.first.url : scene.second.url, 'live', { n })
    for (const { feed } of [one, two]) await soon(() => expect(texts(feed)[0]).toBe(`Hello ${n}`))
    took.push(performance.now() - from)
  }
  expect(texts(one.feed)).toEqual(['Hello 5', 'Hello 4', 'Hello 3', 'Hello 2', 'Hello 1'])
  expect(counts(two.feed)).toEqual([5, 5, 5])
  expect(texts(other.feed)).toEqual([])
  // The fastest of them: the machine may have other things to do.
  expect(Math.min(...took)).toBeLessThan(200)
})

test('a mark is kept, and counts in every open page', async () => {
  const { first, second } = scene
  for (let n = 1; n <= 3; n += 1) await trigger(first.url, 'mark', { n })
  using one = openPage(first.url, 'mark')
  using two = openPage(second.url, 'mark')
  await soon(async () => {
    await one.feed.fetch()
    expect(texts(one.feed)).toHaveLength(3)
  })
  await two.feed.fetch()
  await listen(two.feed)
  await one.feed.markAsRead(itemOf(one.feed, 0))
  await soon(() => expect(counts(two.feed)).toEqual([3, 2, 2]))
  await one.feed.markAsArchived(itemOf(one.feed, 1))
  await soon(() => expect(counts(two.feed)).toEqual([2, 1, 1]))
  await soon(async () => {
    await two.feed.fetch()
    const { items } = two.feed.getState()
    expect(items.map(({ read_at: at }) => at !== null)).toEqual([true, false])
  })
})

test('all are marked, of those that the page shows', async () => {
  const { first, second } = scene
  for (let n = 1; n <= 3; n += 1)
    await trigger(first.url, 'all', { n }, n === 1 ? { tenant: 'acme' } : {})
  using page = openPage(first.url, 'all', { has_tenant: false })
  using whole = openPage(second.url, 'all')
  await soon(async () => {
    await whole.feed.fetch()
    expect(counts(whole.feed)).toEqual([3, 3, 3])
  })
  await page.feed.fetch()
  await listen(whole.feed)
  expect(await page.feed.markAllAsSeen()).toMatchObject({ __typename: 'BulkOperation' })
  await soon(() => expect(counts(whole.feed)).toEqual([3, 3, 1]))
  await page.feed.markAllAsRead()
  await soon(() => expect(counts(whole.feed)).toEqual([3, 1, 1]))
  await page.feed.markAllAsArchived()
  await soon(() => expect(counts(whole.feed)).toEqual([1, 1, 1]))
})

test('a page is told of what it shows, and not of the rest', async () => {
  const { first, second } = scene
  using acme = openPage(first.url, 'views', { tenant: 'acme' })
  using kind = openPage(first.url, 'views', { trigger_data: { kind: 'a' } })
  for (const { feed } of [acme, kind]) {
    await feed.fetch()
    await listen(feed)
  }
  await trigger(second.url, 'views', { n: 1, kind: 'a' })
  await soon(() => expect(texts(kind.feed)).toEqual(['Hello 1']))
  await trigger(second.url, 'views', { n: 2 }, { tenant: 'acme' })
  await soon(() => expect(texts(acme.feed)).toEqual(['Hello 2']))
  expect(texts(kind.feed)).toEqual(['Hello 1'])
})

test('preferences and settings are read and kept by their user', async () => {
  using page = openPage(scene.first.url, 'prefs')
  await soon(async () => expect(await page.client.user.get()).toMatchObject({ id: 'prefs' }))
  const channel_types = { email: false }
  await page.client.user.setPreferences({
    workflows: {},
    categories: {},
    channel_types,
    channels: {},
  })
  expect(await page.client.user.getPreferences()).toMatchObject({ channel_types })
  expect(await page.client.user.getAllPreferences()).toHaveLength(1)
  const settings = await fetch(`${scene.first.url}/v1/users/prefs/feeds/${FEED}/settings`, {
    headers: {
      authorization: `Bearer ${PUBLIC_KEY}`,
      'x-knock-user-token': signToken(keys, new Date(), { sub: 'prefs' }),
    },
  })
  expect(await settings.json()).toEqual({ features: { branding_required: false } })
})

describe('when the server restarts', () => {
  test('the page comes back by itself, and is told of what it missed', async () => {
    const { fleet, repository, database, second } = scene
    const before = await serve(fleet, repository, database)
    const port = Number(new URL(before.url).port)
    using page = openPage(before.url, 'back')
    await page.feed.fetch()
    await listen(page.feed)
    await trigger(second.url, 'back', { n: 1 })
    await soon(() => expect(texts(page.feed)).toEqual(['Hello 1']))
    const { code, ms } = await before.stop('SIGTERM')
    expect(code).toBe(0)
    expect(ms).toBeLessThan(2_500)
    await trigger(second.url, 'back', { n: 2 })
    await serve(fleet, repository, database, port)
    await soon(() => expect(texts(page.feed)).toEqual(['Hello 2', 'Hello 1']))
    await trigger(second.url, 'back', { n: 3 })
    await soon(() => expect(texts(page.feed)).toEqual(['Hello 3', 'Hello 2', 'Hello 1']))
  }, 60_000)
})
