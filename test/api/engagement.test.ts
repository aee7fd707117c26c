import { describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { newRowId, type EnvironmentName, type MessageId } from '../../src/ids.ts'
import { insertMessages, type NewMessage } from '../../src/messages/store.ts'
import { aMessage, anEmailContent, clear, production, saveWorkflow } from '../messages/builders.ts'
import { test as base } from '../support/database.ts'
import { openEngine } from '../support/engine.ts'
import { expectShape, serveAll } from './contract-support.ts'
import { anEnvironment, NOW, type TestReply, type TestServer } from './server-support.ts'

type Call = (method: string, path: string, body?: object) => Promise<TestReply>

const test = base.extend<{ server: TestServer; call: Call }>({
  server: async ({ database }, use) => {
    await clear(database)
    await anEnvironment(database, 'production')
    await saveWorkflow(database, 'welcome')
    await using server = await serveAll(database)
    await use(server)
  },
  call: async ({ database, server }, use) => {
    const { key } = await anEnvironment(database, 'production')
    await use((method, path, body) => server.call(method, `/v1${path}`, { key, body }))
  },
})

const LATER = '2026-03-01T12:01:00.000Z'

async function save(database: Database, messages: readonly Partial<NewMessage>[]) {
  const all = messages.map((message) => aMessage({ content: anEmailContent(), ...message }))
  await database.transaction((tx) => insertMessages(tx, all, new Date(NOW)))
  return all.map(({ id }) => id)
}

async function saveOne(database: Database, message: Partial<NewMessage> = {}): Promise<MessageId> {
  const [id] = await save(database, [message])
  return id!
}

async function eventsOf(call: Call, id: MessageId): Promise<readonly Record<string, unknown>[]> {
  const reply = await call('GET', `/messages/${id}/events`)
  return (reply.body as { items: Record<string, unknown>[] }).items
}

function aboutData(value: unknown): string {
  return `trigger_data=${encodeURIComponent(JSON.stringify(value))}`
}

describe('one message', () => {
  test('is marked and unmarked, and its history says so', async ({ call, database, server }) => {
    const id = await saveOne(database)
    const seen = await call('PUT', `/messages/${id}/seen`)
    expect(seen).toMatchObject({
      status: 200,
      body: { id, seen_at: NOW, read_at: null, engagement_statuses: ['seen'], updated_at: NOW },
    })
    expectShape('Message', seen.body)
    server.clock.advance(60_000)
    expect(await call('PUT', `/messages/${id}/read`, {})).toMatchObject({
      body: { seen_at: NOW, read_at: LATER, engagement_statuses: ['seen', 'read'] },
    })
    expect(await call('PUT', `/messages/${id}/archived`)).toMatchObject({
      body: { archived_at: LATER, engagement_statuses: ['seen', 'read', 'archived'] },
    })
    expect(await call('DELETE', `/messages/${id}/read`)).toMatchObject({ body: { read_at: null } })
    expect(await call('DELETE', `/messages/${id}/seen`)).toMatchObject({ body: { seen_at: null } })
    expect(await call('DELETE', `/messages/${id}/archived`)).toMatchObject({
      body: { archived_at: null, engagement_statuses: [], status: 'queued' },
    })
    const events = await eventsOf(call, id)
    for (const event of events) expectShape('MessageEvent', event)
    expect(events.slice(2)).toMatchObject([
      { type: 'message.seen', inserted_at: NOW, recipient: 'ann' },
      { type: 'message.read', inserted_at: LATER },
      { type: 'message.archived' },
      { type: 'message.unread' },
      { type: 'message.unseen' },
      { type: 'message.unarchived' },
    ])
  })

  test('is unmarked by the name of that, too', async ({ call, database }) => {
    const id = await saveOne(database)
    for (const mark of ['read', 'archived']) await call('PUT', `/messages/${id}/${mark}`)
    for (const unmark of ['unread', 'unseen', 'unarchived'])
      expect(await call('DELETE', `/messages/${id}/${unmark}`)).toMatchObject({ status: 200 })
    const found = await call('GET', `/messages/${id}`)
    expect(found).toMatchObject({ body: { read_at: null, seen_at: null, archived_at: null } })
  })

  test('is interacted with, with a few words about that', async ({ call, database }) => {
    const id = await saveOne(database)
    const path = `/messages/${id}/interacted`
    const metadata = { button: 'primary', count: 2, late: false, none: null }
    expect(await call('PUT', path, { metadata })).toMatchObject({
      status: 200,
      body: { interacted_at: NOW, engagement_statuses: ['seen', 'interacted'] },
    })
    expect((await eventsOf(call, id)).at(-1)).toMatchObject({
      type: 'message.interacted',
      data: { metadata },
    })
    for (const bad of [{ a: {} }, { a: [1] }, { a: 1, b: 1, c: 1, d: 1, e: 1, f: 1 }, ['a']])
      expect(await call('PUT', path, { metadata: bad })).toMatchObject({ status: 422 })
    expect(await call('PUT', path, { metadata: { a: 'x'.repeat(1_001) } })).toMatchObject({
      status: 422,
      body: { errors: [{ field: '/metadata/a' }] },
    })
  })

  test('keeps a history that has an end, however often it is marked', async ({
    call,
    database,
  }) => {
    const id = await saveOne(database)
    await database.query(sql`
      update messages
      set events = to_jsonb(array_fill(events -> 0, array[500]))
      where environment = ${production} and id = ${id}
    `)
    expect(await call('PUT', `/messages/${id}/seen`)).toMatchObject({ body: { seen_at: NOW } })
    const [message] = await database.query<{ events: number }>(sql`
      select jsonb_array_length(events) as events
      from messages
      where environment = ${production} and id = ${id}
    `)
    expect(message).toEqual({ events: 500 })
  })

  test('is not there, or of another environment', async ({ call, database }) => {
    const elsewhere = await saveOne(database, { environment: 'staging' as EnvironmentName })
    for (const id of ['id', newRowId(), elsewhere])
      for (const [method, mark] of [
        ['PUT', 'seen'],
        ['DELETE', 'read'],
        ['PUT', 'interacted'],
      ] as const)
        expect(await call(method, `/messages/${id}/${mark}`)).toMatchObject({
          status: 404,
          body: { code: 'resource_missing' },
        })
    expect(
      await database.query(sql`
        select seen_at from messages where environment = 'staging' and id = ${elsewhere}
      `),
    ).toEqual([{ seen_at: null }])
  })

  test('is marked by a key that may write only', async ({ database, server }) => {
    const id = await saveOne(database)
    const { key } = await anEnvironment(database, 'production', ['read', 'trigger'])
    for (const [method, path] of [
      ['PUT', `/v1/messages/${id}/seen`],
      ['POST', '/v1/messages/batch/seen'],
    ] as const)
      expect(await server.call(method, path, { key, body: {} })).toMatchObject({
        status: 403,
        body: { code: 'insufficient_scope' },
      })
  })
})

describe('messages in a batch', () => {
  test('are marked in each way, and those that are not there are passed over', async ({
    call,
    database,
  }) => {
    const ids = await save(database, [{}, {}, {}])
    const elsewhere = await saveOne(database, { environment: 'staging' as EnvironmentName })
    const message_ids = [...ids.slice(0, 2), elsewhere, newRowId(), 'id', ids[0]]
    for (const [mark, engagement_statuses] of [
      ['seen', ['seen']],
      ['unseen', []],
      ['read', ['seen', 'read']],
      ['unread', ['seen']],
      ['archived', ['seen', 'archived']],
      ['unarchived', ['seen']],
      ['interacted', ['seen', 'interacted']],
    ] as const) {
      const reply = await call('POST', `/messages/batch/${mark}`, { message_ids })
      expect({ mark, body: reply.body }).toMatchObject({
        mark,
        body: [
          { id: ids[1], engagement_statuses },
          { id: ids[0], engagement_statuses },
        ],
      })
      for (const message of reply.body as object[]) expectShape('Message', message)
    }
    expect(await call('GET', `/messages/${ids[2]}`)).toMatchObject({
      body: { engagement_statuses: [] },
    })
  })

  test('are at most fifty', async ({ call }) => {
    const ids = Array.from({ length: 51 }, () => newRowId())
    const send = (body: object) => call('POST', '/messages/batch/read', body)
    expect(await send({ message_ids: ids })).toMatchObject({
      status: 422,
      body: { errors: [{ field: '/message_ids' }] },
    })
    expect(await send({ message_ids: ids.slice(1) })).toMatchObject({ status: 200, body: [] })
    expect(await send({})).toMatchObject({ status: 422 })
    expect(await send({ message_ids: [7] })).toMatchObject({ status: 422 })
  })
})

describe('lists of messages', () => {
  test('are narrowed by engagement, category and data', async ({ call, database }) => {
    const [one, two] = await save(database, [{ data: { page: 7 } }, { data: { page: 8 } }])
    await call('PUT', `/messages/${one}/read`)
    const find = async (query: string) => {
      const reply = await call('GET', `/messages?${query}`)
      expect({ query, status: reply.status }).toEqual({ query, status: 200 })
      expectShape('ListMessagesResponse', reply.body)
      return (reply.body as { items: { id: string }[] }).items.map(({ id }) => id)
    }
    expect(await find('engagement_status[]=read')).toEqual([one])
    expect(await find('engagement_status=unread')).toEqual([two])
    expect(await find('engagement_status[]=read&engagement_status[]=unread')).toEqual([two, one])
    expect(await find('workflow_categories[]=news')).toEqual([two, one])
    expect(await find('workflow_categories[]=other')).toEqual([])
    expect(await find(aboutData({ page: 8 }))).toEqual([two])
    expect(await find(`${aboutData({ page: 8 })}&engagement_status=read`)).toEqual([])
    for (const bad of [
      'engagement_status=lost',
      'trigger_data=page',
      aboutData([]),
      aboutData('page'),
      aboutData({ page: { id: 7 } }),
      aboutData({ page: '\0' }),
      `trigger_data=${encodeURIComponent('{"page":1e999}')}`,
    ])
      expect({ bad, ...(await call('GET', `/messages?${bad}`)) }).toMatchObject({
        bad,
        status: 422,
      })
  })

  test('are there for a user and for an object', async ({ call, database }) => {
    const [toAnn, toTeam] = await save(database, [
      {},
      { recipient: { collection: 'teams', id: 'ann' } },
      { recipient: { collection: '$users', id: 'bob' } },
    ])
    const find = async (path: string) => {
      const reply = await call('GET', path)
      expectShape('ListMessagesResponse', reply.body)
      return (reply.body as { items: { id: string }[] }).items.map(({ id }) => id)
    }
    expect(await find('/users/ann/messages')).toEqual([toAnn])
    expect(await find('/users/ann/messages?recipient=bob&status[]=queued')).toEqual([toAnn])
    expect(await find('/users/ann/messages?status[]=sent')).toEqual([])
    expect(await find('/objects/teams/ann/messages')).toEqual([toTeam])
    expect(await find('/users/nobody/messages')).toEqual([])
    expect(await call('GET', '/objects/%24users/ann/messages')).toMatchObject({ status: 422 })
  })
})

test('a later step of the run sees that a message was seen', async ({ database, server }) => {
  await using engine = await openEngine(database)
  await engine.commit({
    'workflows/reminder/workflow.yaml': `name: Reminder
steps:
  - ref: feed
    type: in_app
    body: Hello
  - ref: wait
    type: delay
    for: 1h
  - ref: mail
    type: email
    subject: Hello
    html: Hello
    conditions: { all: [{ variable: refs.feed.engagement_status, operator: not_contains, argument: $message.seen }] }
`,
  })
  const recipients = ['ann', 'bob'].map((id) => ({ id, email: `${id}@example.com` }))
  await engine.trigger('reminder', { recipients })
  await engine.drain()
  const { key } = await anEnvironment(database, 'production')
  const list = await server.call('GET', '/v1/users/ann/messages', { key })
  const [message] = (list.body as { items: { id: string }[] }).items
  await server.call('PUT', `/v1/messages/${message?.id}/read`, { key })
  engine.clock.advance(3_600_000)
  await engine.drain()
  const mails = (await engine.messages()).filter((one) => one.step_ref === 'mail')
  expect(mails.map(({ recipient }) => recipient)).toEqual(['bob'])
})
