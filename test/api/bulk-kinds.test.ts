import Knock from '@knocklabs/node'
import { beforeEach, describe, expect } from 'vitest'
import { bulkKinds } from '../../src/api/bulk-kinds.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { takeBulkTurn } from '../../src/recipients/bulk-work.ts'
import { test as base } from '../support/database.ts'
import { expectShape, serveAll } from './contract-support.ts'
import { anEnvironment, NOW, type TestReply, type TestServer } from './server-support.ts'
import { applyRevision } from './workflow-support.ts'

// Subscriptions and schedules of many, as the published SDK asks for them.

type Call = (method: string, path: string, body?: object) => Promise<TestReply>

const step = { ref: 'mail', type: 'email', subject: 'Hi', html: '<p>Hi</p>' }
const daily = { frequency: 'daily', hours: 9 } as const

const test = base.extend<{ server: TestServer; key: string; call: Call; knock: Knock }>({
  server: [
    async ({ database }, use) => {
      await applyRevision(database, 'production', {
        digest: { name: 'Digest', steps: [step] },
        strict: {
          name: 'Strict',
          trigger: { data_schema: { type: 'object', required: ['n'] } },
          steps: [step],
        },
      })
      await using server = await serveAll(database)
      await use(server)
    },
    { scope: 'file' },
  ],
  key: async ({ database }, use) => use((await anEnvironment(database, 'production')).key),
  call: ({ server, key }, use) =>
    use((method, path, body) => server.call(method, `/v1/${path}`, { key, body })),
  knock: ({ server, key }, use) =>
    use(new Knock({ apiKey: key, baseURL: server.server.url, maxRetries: 0 })),
})

test.beforeAll(({ database }) => anEnvironment(database, 'production'))

beforeEach<{ database: Database }>(({ database }) =>
  database.execute(
    'truncate recipients, channel_data, preference_sets, subscriptions, schedules, bulk_operations',
  ),
)

/** Works until nothing is left, and answers what the call says of itself after each part. */
async function work(database: Database, knock: Knock, id: string) {
  const progress: string[] = []
  while ((await takeBulkTurn(database, bulkKinds, new Date(NOW))) > 0) {
    const { status, processed_rows: done } = await knock.bulkOperations.get(id)
    progress.push(`${status} ${done}`)
  }
  const operation = await knock.bulkOperations.get(id)
  expectShape('BulkOperation', operation)
  return { progress, operation }
}

async function subscribersOf(knock: Knock, id: string): Promise<readonly string[]> {
  const { entries } = await knock.objects.listSubscriptions('projects', id)
  return entries.map(({ recipient }) => recipient.id).toSorted()
}

describe('subscriptions of many objects', () => {
  test('are added in parts, with whoever is named for the first time', async ({
    database,
    knock,
  }) => {
    await knock.objects.addSubscriptions('projects', 'p7', {
      recipients: ['u7', 'kept'],
      properties: { role: 'owner' },
    })
    const subscriptions = Array.from({ length: 40 }, (_, index) => ({
      id: `p${index}`,
      recipients: [
        { id: `u${index}`, name: `User ${index}` },
        { id: 'core', collection: 'teams', size: 3 },
      ],
      ...(index % 2 === 0 && { properties: { n: index } }),
    }))
    const asked = await knock.objects.bulk.addSubscriptions('projects', { subscriptions })
    expect(asked).toMatchObject({
      name: 'objects.add_subscriptions',
      status: 'queued',
      estimated_total_rows: 40,
    })
    const { progress, operation } = await work(database, knock, asked.id)
    expect(progress).toEqual(['processing 20', 'completed 40'])
    expect(operation).toMatchObject({ success_count: 40, error_count: 0, error_items: [] })
    expect(await subscribersOf(knock, 'p38')).toEqual(['core', 'u38'])
    expect(await subscribersOf(knock, 'p7')).toEqual(['core', 'kept', 'u7'])
    expect(await knock.users.get('u38')).toMatchObject({ name: 'User 38' })
    expect(await knock.objects.get('teams', 'core')).toMatchObject({ properties: { size: 3 } })
    const properties = await database.query(sql`
      select recipient, properties from subscriptions
      where environment = 'production' and object_id in ('p7', 'p38') order by object_id, recipient
    `)
    expect(properties).toEqual([
      { recipient: 'core', properties: { n: 38 } },
      { recipient: 'u38', properties: { n: 38 } },
      { recipient: 'core', properties: {} },
      // What is there already stays as it was where nothing is said of it.
      { recipient: 'kept', properties: { role: 'owner' } },
      { recipient: 'u7', properties: { role: 'owner' } },
    ])
  })

  test('may name an object and a subscriber twice', async ({ database, knock }) => {
    const asked = await knock.objects.bulk.addSubscriptions('projects', {
      subscriptions: [
        { id: 'p', recipients: ['ann', 'ann'], properties: { n: 1 } },
        { id: 'p', recipients: ['bo', 'ann'] },
      ],
    })
    const { operation } = await work(database, knock, asked.id)
    expect(operation).toMatchObject({ status: 'completed', success_count: 2 })
    const kept = await database.query(sql`
      select recipient, properties from subscriptions where environment = 'production' order by 1
    `)
    expect(kept).toEqual([
      { recipient: 'ann', properties: { n: 1 } },
      { recipient: 'bo', properties: {} },
    ])
  })

  test('tell of the object that is refused, which keeps back no other', async ({
    database,
    call,
    knock,
  }) => {
    await call('PUT', 'users/full', { a: 'x'.repeat(250_000) })
    const asked = await knock.objects.bulk.addSubscriptions('projects', {
      subscriptions: [
        { id: 'p1', recipients: ['ann'] },
        { id: 'p2', recipients: ['bo', { id: 'full', b: 'x'.repeat(250_000) }] },
        { id: 'p3', recipients: ['cid'] },
      ],
    })
    const { operation } = await work(database, knock, asked.id)
    expect(operation).toMatchObject({
      status: 'completed',
      processed_rows: 3,
      success_count: 2,
      error_items: [{ id: 'p2', collection: 'projects' }],
    })
    expect(await subscribersOf(knock, 'p3')).toEqual(['cid'])
    expect((await call('GET', 'users/bo')).status).toBe(404)
  })

  test('are deleted, and those that are not there are no error', async ({ database, knock }) => {
    for (const id of ['p1', 'p2', 'p3'])
      await knock.objects.addSubscriptions('projects', id, {
        recipients: ['ann', 'bo', { id: 'core', collection: 'teams' }],
      })
    const asked = await knock.objects.bulk.deleteSubscriptions('projects', {
      subscriptions: [
        { id: 'p1', recipients: ['ann', { id: 'core', collection: 'teams' }] },
        { id: 'p2', recipients: ['bo', 'nobody', 'bo'] },
        { id: 'nothing', recipients: ['ann'] },
      ],
    })
    const { operation } = await work(database, knock, asked.id)
    expect(operation).toMatchObject({
      name: 'objects.delete_subscriptions',
      status: 'completed',
      success_count: 3,
    })
    expect(await subscribersOf(knock, 'p1')).toEqual(['bo'])
    expect(await subscribersOf(knock, 'p2')).toEqual(['ann', 'core'])
    expect(await subscribersOf(knock, 'p3')).toEqual(['ann', 'bo', 'core'])
  })
})

describe('schedules of many', () => {
  test('are made in parts, each for its recipient', async ({ database, knock }) => {
    await knock.users.update('u7', { timezone: 'America/New_York' })
    const schedules = Array.from({ length: 120 }, (_, index) => ({
      workflow: 'digest',
      recipient: index === 0 ? { id: 'core', collection: 'teams', size: 3 } : { id: `u${index}` },
      actor: { id: 'eve', name: 'Eve' },
      tenant: { id: 'acme', name: 'Acme' },
      repeats: [daily],
      data: { n: index },
    }))
    const asked = await knock.schedules.bulk.create({ schedules })
    expect(asked).toMatchObject({
      name: 'schedules.create',
      status: 'queued',
      estimated_total_rows: 120,
    })
    const { progress, operation } = await work(database, knock, asked.id)
    expect(progress).toEqual(['processing 100', 'completed 120'])
    expect(operation).toMatchObject({ success_count: 120, error_items: [] })
    const [own] = (await knock.users.listSchedules('u7')).entries
    expect(own).toMatchObject({
      workflow: 'digest',
      actor: { name: 'Eve' },
      tenant: 'acme',
      data: { n: 7 },
      next_occurrence_at: '2026-03-01T14:00:00.000Z',
    })
    const [team] = (await knock.objects.listSchedules('teams', 'core')).entries
    expect(team).toMatchObject({
      recipient: { properties: { size: 3 } },
      next_occurrence_at: '2026-03-02T09:00:00.000Z',
    })
  })

  test('tell of the recipients of those that are refused, which keep back no other', async ({
    database,
    knock,
  }) => {
    const asked = await knock.schedules.bulk.create({
      schedules: [
        { workflow: 'digest', recipient: 'ann', repeats: [daily] },
        { workflow: 'nothing', recipient: 'bo', repeats: [daily] },
        { workflow: 'strict', recipient: { id: 'p', collection: 'projects' }, repeats: [daily] },
        { workflow: 'strict', recipient: 'cid', repeats: [daily], data: { n: 1 } },
        {
          workflow: 'digest',
          recipient: 'dan',
          repeats: [daily],
          actor: { id: 'x', collection: 'y' },
        },
      ],
    })
    const { operation } = await work(database, knock, asked.id)
    expect(operation).toMatchObject({
      status: 'completed',
      success_count: 2,
      error_items: [
        { id: 'bo', collection: '$users' },
        { id: 'p', collection: 'projects' },
        { id: 'dan', collection: '$users' },
      ],
    })
    const { entries } = await knock.schedules.list({ workflow: 'strict' })
    expect(entries).toMatchObject([{ recipient: { id: 'cid' } }])
  })
})

const many = (count: number) => Array.from({ length: count }, (_, index) => `u${index}`)

describe('a call is refused and writes nothing', () => {
  const adding = 'objects/projects/bulk/subscriptions/add'
  const deleting = 'objects/projects/bulk/subscriptions/delete'
  const creating = 'schedules/bulk/create'
  const digest = { workflow: 'digest', recipient: 'ann', repeats: [daily] }
  test.for<readonly [what: string, path: string, body: object, field: string]>([
    ['without subscriptions', adding, {}, '/subscriptions'],
    ['with none', adding, { subscriptions: [] }, '/subscriptions'],
    [
      'with too many objects',
      adding,
      { subscriptions: many(1_001).map((id) => ({ id, recipients: ['ann'] })) },
      '/subscriptions',
    ],
    [
      'with too many subscribers',
      adding,
      { subscriptions: [{ id: 'p', recipients: many(101) }] },
      '/subscriptions/0/recipients',
    ],
    [
      'with an object that is its own subscriber',
      adding,
      {
        subscriptions: [
          { id: 'q', recipients: ['ann'] },
          { id: 'p', recipients: ['ann', { id: 'p', collection: 'projects' }] },
        ],
      },
      '/subscriptions/1/recipients/1',
    ],
    [
      'with an id that is none',
      adding,
      { subscriptions: [{ id: 'a/b', recipients: ['ann'] }] },
      '/subscriptions/0/id',
    ],
    [
      'in a collection of ours',
      'objects/$users/bulk/subscriptions/add',
      { subscriptions: [{ id: 'p', recipients: ['ann'] }] },
      'path',
    ],
    [
      'that deletes an inline user without an id',
      deleting,
      { subscriptions: [{ id: 'p', recipients: [{ name: 'Ann' }] }] },
      '/subscriptions/0/recipients/0/id',
    ],
    ['that deletes nothing', deleting, { subscriptions: [] }, '/subscriptions'],
    ['without a recipient', creating, { schedules: [{ workflow: 'a' }] }, '/schedules/0/recipient'],
    [
      'with too many schedules',
      creating,
      { schedules: many(1_001).map((recipient) => ({ ...digest, recipient })) },
      '/schedules',
    ],
    [
      'with a recipient that is none',
      creating,
      { schedules: [digest, { ...digest, recipient: 'a#b' }] },
      '/schedules/1/recipient',
    ],
    [
      'with no time',
      creating,
      { schedules: [{ workflow: 'digest', recipient: 'ann' }] },
      '/schedules/0/repeats',
    ],
    [
      'with a time that is none',
      creating,
      { schedules: [{ ...digest, ending_at: 'tomorrow' }] },
      '/schedules/0/ending_at',
    ],
    [
      'with a rule that is none',
      creating,
      { schedules: [{ ...digest, repeats: [{ frequency: 'often' }] }] },
      '/schedules/0/repeats/0/frequency',
    ],
  ])('%s', async ([, path, body, field], { database, call }) => {
    const reply = await call('POST', path, body)
    expect(reply).toMatchObject({ status: 422, body: { errors: [{ field }] } })
    const kept = await database.query(sql`select id from bulk_operations where environment <> ''`)
    expect(kept).toEqual([])
  })

  test('that makes schedules with a key that may not trigger', async ({ server, database }) => {
    const { key } = await anEnvironment(database, 'production', ['write'])
    const reply = await server.call('POST', `/v1/${creating}`, {
      key,
      body: { schedules: [digest] },
    })
    expect(reply).toMatchObject({ status: 403, body: { code: 'insufficient_scope' } })
  })
})
