import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { markMessages } from '../../src/messages/engagement-store.ts'
import { moveMessages } from '../../src/messages/store.ts'
import {
  FEED,
  environment,
  test,
  save,
  meta,
  open,
  join,
  type Frame,
  prepare,
} from './realtime-support.ts'

beforeEach<{ database: Database }>(({ database }) => prepare(database))

test('a client beats, joins, is told, and leaves', async ({ database, server }) => {
  await using socket = await open(server)
  socket.send([null, '7', 'phoenix', 'heartbeat', {}])
  const ok = { status: 'ok', response: {} }
  expect(await socket.next()).toEqual([null, '7', 'phoenix', 'phx_reply', ok])
  const { topic, reply } = await join(socket)
  expect(reply).toEqual(['1', '1', topic, 'phx_reply', ok])
  const id = await save(database)
  const first = meta(1, 1, 1)
  expect(await socket.next()).toEqual([
    null,
    null,
    topic,
    'new-message',
    { event: 'new-message', attn: ['a'], ...first, data: { a: first } },
  ])
  const mark = (ids: readonly string[]) =>
    database.transaction((tx) =>
      markMessages(tx, { environment, ids }, 'read', { now: new Date(), data: null }),
    )
  await mark([id])
  expect(await socket.next()).toMatchObject({ 4: { data: { a: meta(1, 0, 0) } } })
  socket.send(['1', '8', topic, 'phx_leave', {}])
  expect(await socket.next()).toEqual(['1', '8', topic, 'phx_reply', ok])
  await save(database)
  socket.send([null, '9', 'phoenix', 'heartbeat', {}])
  expect(await socket.next()).toMatchObject({ 1: '9' })
})

test('only those views are told whose filter lets the change through', async ({
  database,
  server,
}) => {
  await using socket = await open(server)
  await join(socket, {
    acme: { tenant: 'acme' },
    none: { has_tenant: false },
    all: { mode: 'compact', archived: 'exclude', page_size: 10, unknown: { x: 1 } },
    data: { trigger_data: { kind: 'a', n: 1 } },
    text: { trigger_data: '{"kind":"a"}' },
    news: { workflow_categories: ['news'], source: 'welcome', status: 'unread' },
  })
  const told = async () => ((await socket.next()) as Frame)[4]['attn']
  await save(database, { tenant: 'acme' })
  expect(await told()).toEqual(['acme', 'all'])
  await save(database, { data: { kind: 'a', n: 1 } })
  expect(await told()).toEqual(['none', 'all', 'data', 'text'])
  await save(database, { recipient: { collection: '$users', id: 'bo' } })
  await save(database, { channel: 'other' as ChannelKey })
  await save(database, { data: { kind: 'a' } })
  expect(await told()).toEqual(['none', 'all', 'text'])
})

test('a client that does not name its views is told without names', async ({
  database,
  server,
}) => {
  await using socket = await open(server)
  const { topic } = await join(socket, { tenant: 'acme' })
  await save(database)
  await save(database, { tenant: 'acme' })
  expect(await socket.next()).toEqual([
    null,
    null,
    topic,
    'new-message',
    { event: 'new-message', attn: [], ...meta(1, 1, 1), data: {} },
  ])
})

test('one that was here before is told at once, and a new one is not', async ({
  database,
  server,
}) => {
  await save(database)
  await using back = await open(server)
  await join(back, { a: {} }, 'ann', '5')
  expect(await back.next()).toMatchObject({ 3: 'new-message', 4: { data: { a: meta(1, 1, 1) } } })
  await using fresh = await open(server)
  await join(fresh)
  fresh.send([null, '2', 'phoenix', 'heartbeat', {}])
  expect(await fresh.next()).toMatchObject({ 2: 'phoenix' })
})

test('what came while Postgres was away is told when it is back', async ({ database, server }) => {
  await using socket = await open(server)
  await join(socket)
  await database.execute(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where query ilike 'listen%' and datname = current_database()`,
  )
  await save(database)
  expect(await socket.next()).toMatchObject({ 4: { data: { a: meta(1, 1, 1) } } })
})

describe('a join is refused', () => {
  const cases: readonly (readonly [what: string, topic: string, payload: unknown, code: string])[] =
    [
      ['of another user', `feeds:${FEED}:bo`, {}, 'user_mismatch'],
      [
        'of a channel that is not there',
        `feeds:${channelId('x' as ChannelKey)}:ann`,
        {},
        'missing',
      ],
      ['of another topic', 'guides:x', {}, 'missing'],
      ['of nobody', `feeds:${FEED}:`, {}, 'missing'],
      ['with a status that is none', `feeds:${FEED}:ann`, { a: { status: 'x' } }, 'invalid'],
      ['with a list', `feeds:${FEED}:ann`, [], 'invalid'],
      ['with NUL', `feeds:${FEED}:ann`, { a: { tenant: '\0' } }, 'invalid'],
      ['with NUL in its name', `feeds:${FEED}:ann\0`, {}, 'invalid'],
      [
        'with too many views',
        `feeds:${FEED}:ann`,
        Object.fromEntries(Array.from({ length: 51 }, (_, index) => [`v${index}`, {}])),
        'invalid',
      ],
    ]
  test.for(cases)('%s', async ([, topic, payload, code], { server }) => {
    await using socket = await open(server)
    socket.send(['1', '1', topic, 'phx_join', payload])
    expect(await socket.next()).toMatchObject({
      3: 'phx_reply',
      4: { status: 'error', response: { reason: expect.stringContaining(code) as string } },
    })
    expect(server.failures).toEqual([])
  })

  test('of the twenty-first feed', async ({ server }) => {
    const grants = Object.fromEntries(
      Array.from({ length: 21 }, (_, index) => [`/v1/users/u${index}`, { 'user/feed_read': [] }]),
    )
    await using socket = await open(server, 'ann', { grants })
    const replies = []
    for (let index = 0; index < 21; index += 1)
      replies.push((await join(socket, {}, `u${index}`)).reply)
    expect(replies.slice(0, 20).map(status)).toEqual(Array(20).fill('ok'))
    expect(status(replies[20])).toBe('error')
  })
})

function status(reply: unknown): unknown {
  return (reply as Frame)[4]['status']
}

test('the feed of a user that another one is merged into is told of what moves there', async ({
  database,
  server,
}) => {
  await save(database, { recipient: { collection: '$users', id: 'bo' } })
  await using socket = await open(server)
  await join(socket)
  await database.transaction((tx) =>
    moveMessages(tx, environment, {
      collection: '$users',
      from: 'bo',
      into: 'ann',
      since: new Date(0),
      now: new Date(),
    }),
  )
  expect(await socket.next()).toMatchObject({ 4: { data: { a: meta(1, 1, 1) } } })
})
