import { beforeEach, describe, expect } from 'vitest'
import { bulkKinds } from '../../src/api/bulk-kinds.ts'
import { markNextMessages } from '../../src/messages/bulk-marks.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { insertMessages, type NewMessage } from '../../src/messages/store.ts'
import { takeBulkTurn } from '../../src/recipients/bulk-work.ts'
import type { InAppContent } from '../../src/steps/step.ts'
import { aChannel, aMessage, clear, saveEnvironment } from '../messages/builders.ts'
import { test as base } from '../support/database.ts'
import { expectShape, serveAll } from './contract-support.ts'
import { anEnvironment, NOW, type TestReply, type TestServer } from './server-support.ts'

const FEED = channelId('feed' as ChannelKey)
const now = new Date(NOW)
const content: InAppContent = {
  type: 'in_app',
  body: { content: 'Hi', rendered: '<p>Hi</p>' },
  action_url: null,
  buttons: [],
}

type Mark = (action: string, body?: object, channel?: string) => Promise<TestReply>

const test = base.extend<{
  server: TestServer
  mark: Mark
  find: (id: string) => Promise<TestReply>
}>({
  server: [
    async ({ database }, use) => {
      await using server = await serveAll(database)
      await use(server)
    },
    { scope: 'file' },
  ],
  mark: async ({ database, server }, use) => {
    const { key } = await anEnvironment(database, 'production')
    await use((action, body, channel = FEED) =>
      server.call('POST', `/v1/channels/${channel}/messages/bulk/${action}`, { key, body }),
    )
  },
  find: async ({ database, server }, use) => {
    const { key } = await anEnvironment(database, 'production')
    await use((id) => server.call('GET', `/v1/bulk_operations/${id}`, { key }))
  },
})

beforeEach<{ database: Database }>(async ({ database }) => {
  await clear(database)
  await database.query(sql`delete from bulk_operations where environment <> ''`)
  const feed = aChannel({ key: 'feed' as ChannelKey, type: 'in_app', provider: 'in_app' })
  await saveEnvironment(database, { feed, other: { ...feed, key: 'other' as ChannelKey } })
})

async function save(
  database: Database,
  messages: readonly Partial<NewMessage>[],
): Promise<readonly string[]> {
  const channel = 'feed' as ChannelKey
  const all = messages.map((message) =>
    aMessage({ content, channel, provider: 'in_app', status: 'delivered', ...message }),
  )
  await database.transaction((tx) => insertMessages(tx, all, now))
  return all.map(({ id }) => id)
}

async function work(database: Database): Promise<number> {
  for (let parts = 0; ; parts += 1)
    if ((await takeBulkTurn(database, bulkKinds, now)) === 0) return parts
}

async function stamped(database: Database, stamp: 'read' | 'archived'): Promise<readonly string[]> {
  const rows = await database.query<{ id: string; read: unknown; archived: unknown }>(sql`
    select id, read_at as read, archived_at as archived from messages
    where environment = 'production' order by id
  `)
  return rows.filter((row) => row[stamp] !== null).map(({ id }) => id)
}

const to = (id: string) => ({ recipient: { collection: '$users', id } })

test('marks what a user has in a channel, and is followed to its end', async ({
  database,
  mark,
  find,
}) => {
  const [mine] = await save(database, [
    to('ann'),
    to('bo'),
    { ...to('ann'), channel: 'other' as ChannelKey },
  ])
  const reply = await mark('read', { user_ids: ['ann'] })
  expect(reply).toMatchObject({ status: 200, body: { status: 'queued', name: 'messages.mark' } })
  expectShape('BulkOperation', reply.body)
  // It came after the call, which cannot have meant it.
  await save(database, [to('ann')])
  expect(await work(database)).toBe(1)
  expect(await stamped(database, 'read')).toEqual([mine])
  const done = await find((reply.body as { readonly id: string }).id)
  expectShape('BulkOperation', done.body)
  expect(done.body).toMatchObject({
    status: 'completed',
    estimated_total_rows: 1,
    processed_rows: 1,
    success_count: 1,
    error_count: 0,
    started_at: NOW,
    completed_at: NOW,
  })
})

describe('marks what a filter leaves', () => {
  const rows: readonly Partial<NewMessage>[] = [
    to('ann'),
    { ...to('ann'), tenant: 'acme', data: { a: 1, b: 'x' } },
    { recipient: { collection: 'teams', id: 'ann' } },
    { ...to('bo'), workflow: 'other' as NewMessage['workflow'] },
  ]
  test.for<readonly [filter: object, marked: readonly number[]]>([
    [{}, [0, 1, 2, 3]],
    [{ recipient_ids: ['ann', 'ann'] }, [0, 1]],
    [{ recipient_ids: [] }, []],
    [{ has_tenant: true }, [1]],
    [{ has_tenant: false, user_ids: ['ann', 'bo'] }, [0, 3]],
    [{ tenants: ['acme', 'other'] }, [1]],
    [{ trigger_data: '{"a":1}' }, [1]],
    [{ trigger_data: '' }, [0, 1, 2, 3]],
    [{ workflows: ['other'] }, [3]],
    [{ delivery_status: 'sent' }, []],
    [{ delivery_status: 'delivered' }, [0, 1, 2, 3]],
    [{ newer_than: NOW }, []],
    [{ older_than: NOW }, []],
    [{ newer_than: '2026-01-01T00:00:00Z', older_than: '2026-12-01T00:00:00Z' }, [0, 1, 2, 3]],
    [{ engagement_status: 'read' }, []],
    [{ engagement_status: 'unread' }, [0, 1, 2, 3]],
    [{ archived: 'only' }, []],
    [{ archived: 'exclude' }, [0, 1, 2, 3]],
  ])('%j', async ([filter, marked], { database, mark }) => {
    const ids = await save(database, rows)
    expect(await mark('archive', filter)).toMatchObject({ status: 200 })
    await work(database)
    expect(await stamped(database, 'archived')).toEqual(marked.map((index) => ids[index]))
  })
})

test('goes through any number in parts, of which several processes take turns', async ({
  database,
  mark,
}) => {
  const all = await save(
    database,
    Array.from({ length: 1_203 }, () => to('ann')),
  )
  await mark('read', { user_ids: ['ann'] })
  const turns = await Promise.all([work(database), work(database), work(database)])
  expect(turns.reduce((sum, parts) => sum + parts)).toBeGreaterThanOrEqual(1)
  await work(database)
  expect(await stamped(database, 'read')).toHaveLength(all.length)
  const [operation] = await database.query(sql`
    select status, processed, total from bulk_operations where environment = 'production'
  `)
  expect(operation).toEqual({ status: 'completed', processed: 1_203, total: 1_203 })
})

test('deletes what is not on its way', async ({ database, mark }) => {
  const [, waits] = await save(database, [to('ann'), { ...to('ann'), status: 'queued' }])
  await mark('delete', { user_ids: ['ann'] })
  await work(database)
  const left = await database.query(sql`select id from messages where environment = 'production'`)
  expect(left).toEqual([{ id: waits }])
})

test('a call that cannot be done fails in the end, and holds up no other one', async ({
  database,
  mark,
  find,
}) => {
  const [mine] = await save(database, [to('ann')])
  const first = await mark('read', { user_ids: ['ann'] })
  await database.query(sql`
    update bulk_operations set name = 'nothing' where environment = 'production'
  `)
  await mark('read', { user_ids: ['ann'] })
  const turn = () => takeBulkTurn(database, bulkKinds, now)
  await expect(turn()).rejects.toThrow('nobody knows how to do nothing')
  expect(await turn()).toBe(1)
  expect(await stamped(database, 'read')).toEqual([mine])
  for (let again = 0; again < 4; again += 1)
    await expect(turn()).rejects.toThrow('nobody knows how to do nothing')
  expect(await turn()).toBe(0)
  const { id } = first.body as { readonly id: string }
  expect(await find(id)).toMatchObject({ body: { status: 'failed', failed_at: NOW } })
})

test.for<readonly [what: string, action: string, body: object, channel: string, status: number]>([
  ['an action that is none', 'toString', {}, FEED, 422],
  ['a channel that is not there', 'read', {}, 'nowhere', 404],
  ['a status that is none', 'read', { engagement_status: 'liked' }, FEED, 422],
  ['data that is nested', 'read', { trigger_data: '{"a":{}}' }, FEED, 422],
])('%s is refused', async ([, action, body, channel, status], { mark }) => {
  expect(await mark(action, body, channel)).toMatchObject({ status })
})

test('a part looks at no more than its bound, in the order of an index', async ({ database }) => {
  await save(
    database,
    Array.from({ length: 700 }, () => to('bo')),
  )
  const request = {
    action: 'read',
    channel: 'feed' as ChannelKey,
    until: 'ffffffff-ffff-ffff-ffff-ffffffffffff',
    recipients: ['ann'],
    inAppOnly: true,
    archived: null,
    status: null,
    engagement: null,
    hasTenant: null,
    tenants: null,
    workflows: null,
    triggerData: null,
    newerThan: null,
    olderThan: null,
  } as const
  const environment = 'production' as NewMessage['environment']
  const part = (recipients: readonly string[] | null) =>
    database.transaction((tx) =>
      markNextMessages(tx, environment, { request: { ...request, recipients }, cursor: null }, now),
    )
  expect(await part(['ann'])).toEqual({ processed: 0, cursor: null })
  expect(await part(null)).toMatchObject({ processed: 500 })
})
