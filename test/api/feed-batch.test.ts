import { describe, expect } from 'vitest'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { deleteRecipient } from '../../src/recipients/store.ts'
import { openRetention } from '../../src/runs/retention.ts'
import { ada, environment, later } from '../runs/batch-scene.ts'
import { counted } from '../support/counted.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'
import { expectShape, serveAll } from './contract-support.ts'
import { anEnvironment } from './server-support.ts'

const FEED = channelId('feed' as ChannelKey)

interface Entity {
  readonly id: string
}
interface Activity {
  readonly data: Readonly<Record<string, unknown>> | null
  readonly actor: Entity | null
  readonly recipient: Entity
}
interface Item {
  readonly id: string
  readonly activities?: readonly Activity[]
  readonly total_activities?: number
  readonly actors: readonly Entity[]
  readonly total_actors: number
}
type Refs = { readonly actors: readonly unknown[] }

interface Scene {
  readonly engine: Engine
  /** Ada's feed as it is shown, and how many statements that took. */
  readonly feed: (
    query?: string,
  ) => Promise<{ readonly items: readonly Item[]; readonly statements: number }>
  readonly get: <Body>(
    path: string,
  ) => Promise<{ readonly body: Body; readonly statements: number }>
}

const test = base.extend<{ scene: Scene }>({
  scene: async ({ database }, use) => {
    await using engine = await openEngine(database)
    const counting = counted(database)
    await using server = await serveAll(counting.database)
    const { key } = await anEnvironment(database, 'production')
    const get = async <Body>(path: string) => {
      const before = counting.count()
      const reply = await server.call('GET', `/v1${path}`, { key })
      expect({ path, status: reply.status }).toEqual({ path, status: 200 })
      return { body: reply.body as Body, statements: counting.count() - before }
    }
    const feed = async (query = '') => {
      const path = `/users/ada/feeds/${FEED}?${query}`
      const { body, statements } = await get<{ readonly entries: readonly Item[] }>(path)
      if (query === '') expectShape('UserInAppFeedResponse', body)
      return { items: body.entries, statements }
    }
    await use({ engine, feed, get })
  },
})

const workflow = (steps: string) => ({
  'workflows/hello/workflow.yaml': `name: W\nsteps:\n${steps}`,
})
const digest = (fields = '') =>
  workflow(`  - { ref: digest, type: batch, window: 10m, key: data.page ${fields} }
  - { ref: feed, type: in_app, body: "{{total_activities}} by {{total_actors}}" }
`)

interface Sent {
  readonly n: number
  readonly actor?: string
  readonly data?: object
}

/** Triggers for Ada, and lets the windows close. */
async function sendAll(engine: Engine, all: readonly Sent[]): Promise<void> {
  for (const { n, actor, data } of all)
    await engine.trigger('hello', {
      recipients: [ada],
      data: { n, ...data },
      ...(actor !== undefined && { actor: { id: actor, name: actor.toUpperCase() } }),
    })
  await engine.drain()
  await later(engine, 10)
}

const by = (...actors: readonly string[]): Sent[] => actors.map((actor, n) => ({ n, actor }))

/** What an item says, in short. */
function told({ activities, total_activities: total, actors, total_actors: totalActors }: Item) {
  return {
    activities: activities?.map(({ data, actor }) => `${String(data?.['n'])} ${actor?.id}`),
    actors: actors.map(({ id }) => id),
    totals: [total, totalActors],
  }
}

const one = (n: number, actor: string) => ({
  activities: [`${n} ${actor}`],
  actors: [actor],
  totals: [1, 1],
})

describe('what is behind a batch', () => {
  test('shows all of it in the feed and in the message', async ({ scene }) => {
    const { engine, feed, get } = scene
    await engine.commit(digest())
    await sendAll(engine, [...by('bo', 'cy', 'bo'), { n: 3 }])
    const { items } = await feed()
    expect(items.map(told)).toEqual([
      { activities: ['0 bo', '1 cy', '2 bo', '3 undefined'], actors: ['bo', 'cy'], totals: [4, 2] },
    ])
    expect(items[0]).toMatchObject({
      actors: [{ __typename: 'User', name: 'BO' }, { name: 'CY' }],
      activities: [{ recipient: { id: 'ada', name: 'Ada' } }, {}, {}, { actor: null }],
    })
    const id = items[0]!.id
    const listed = await get<{ readonly items: readonly Activity[] }>(`/messages/${id}/activities`)
    expect(listed.body.items).toEqual(items[0]!.activities)
    expect((await get<Refs>(`/messages/${id}`)).body.actors).toEqual(['bo', 'cy'])
    const { body } = await get<{ readonly items: readonly Refs[] }>('/messages')
    expect(body.items.map(({ actors }) => actors)).toEqual([['bo', 'cy']])
    const [compact] = (await feed('mode=compact')).items
    expect(told(compact!)).toEqual({
      activities: undefined,
      actors: ['bo'],
      totals: [undefined, 2],
    })
  })

  test('shows ten at most, and no more than its step; the totals are of all', async ({ scene }) => {
    const { engine, feed, get } = scene
    const twelve = Array.from({ length: 12 }, (_, n) => `a${n}`)
    await engine.commit(digest(', render_limit: 50, order: desc'))
    await sendAll(engine, by('a11', ...twelve))
    const last = twelve.slice(2)
    const [newest] = (await feed()).items
    expect(told(newest!)).toEqual({
      activities: last.map((actor, n) => `${n + 3} ${actor}`),
      actors: last,
      totals: [13, 12],
    })
    expect((await get<Refs>(`/messages/${newest!.id}`)).body.actors).toEqual(last)
    await engine.commit(digest(', render_limit: 2'))
    await sendAll(engine, by('bo', 'bo', 'cy', 'di'))
    expect(told((await feed()).items[0]!)).toEqual({
      activities: ['0 bo', '1 bo'],
      actors: ['bo', 'cy'],
      totals: [4, 3],
    })
  })

  test('is as it was before the batch in a message in front of it', async ({ scene }) => {
    const { engine, feed, get } = scene
    await engine.commit(
      workflow(`  - { ref: first, type: in_app, body: x }
  - { ref: digest, type: batch, window: 10m }
  - { ref: feed, type: in_app, body: x }
`),
    )
    await sendAll(engine, by('bo', 'cy'))
    const { items } = await feed()
    const both = { activities: ['0 bo', '1 cy'], actors: ['bo', 'cy'], totals: [2, 2] }
    expect(items.map(told)).toEqual([both, one(1, 'cy'), one(0, 'bo')])
    const { body } = await get<{ readonly items: readonly Refs[] }>('/messages')
    expect(body.items.map(({ actors }) => actors)).toEqual([['bo', 'cy'], ['cy'], ['bo']])
  })

  test('names those who are still known, and counts all; later it is what is left', async ({
    scene,
  }) => {
    const { engine, feed } = scene
    await engine.commit(digest())
    await sendAll(engine, by('bo', 'cy'))
    const gone = { collection: '$users', id: 'bo' }
    await engine.database.transaction((tx) => deleteRecipient(tx, environment, gone))
    expect((await feed()).items.map(told)).toEqual([
      { activities: ['0 undefined', '1 cy'], actors: ['cy'], totals: [2, 2] },
    ])
    engine.clock.advance(31 * 86_400_000)
    const retention = openRetention(engine.database, 30)
    for (let turn = 0; turn < 20; turn += 1) await retention.turn(engine.clock.now())
    const { items } = await feed()
    expect(items).toMatchObject([{ total_activities: 1, total_actors: 0, actors: [] }])
    expect(items[0]!.activities).toHaveLength(1)
  })
})

/** Two triggers for each of so many batches. */
const pages = (from: number, count: number) =>
  Array.from({ length: 2 * count }, (_, n) => ({
    n,
    actor: `a${n % 3}`,
    data: { page: from + (n % count) },
  }))

test('a page takes as many statements for twenty batches as for two', async ({ scene }) => {
  const { engine, feed, get } = scene
  await engine.commit(digest())
  const cost = async (items: number) => {
    const { items: shown, statements } = await feed()
    expect(shown.map(({ total_activities: total }) => total)).toEqual(Array(items).fill(2))
    return { feed: statements, messages: (await get('/messages')).statements }
  }
  await sendAll(engine, pages(0, 2))
  await cost(2)
  const few = await cost(2)
  await sendAll(engine, pages(2, 18))
  expect(await cost(20)).toEqual(few)
})

test('a page holds no more than ten megabytes of activities, the first of each item first', async ({
  scene,
}) => {
  const { engine, feed } = scene
  await engine.commit(digest())
  const text = 'x'.repeat(4_000_000)
  await sendAll(
    engine,
    [0, 0, 1].map((page, n) => ({ n, data: { page, text } })),
  )
  const { items } = await feed('exclude=entries.data')
  const shown = items.map(({ activities, total_activities: total }) => ({
    total,
    shown: activities?.map(({ data }) => data?.['n']),
  }))
  expect(new Set(shown)).toEqual(
    new Set([
      { total: 2, shown: [0] },
      { total: 1, shown: [2] },
    ]),
  )
})
