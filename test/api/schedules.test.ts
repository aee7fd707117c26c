import Knock from '@knocklabs/node'
import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { test as base } from '../support/database.ts'
import { expectShape, serveAll } from './contract-support.ts'
import { anEnvironment, type TestReply, type TestServer } from './server-support.ts'
import { applyRevision } from './workflow-support.ts'

interface Api {
  readonly server: TestServer
  readonly key: string
  call(method: string, path: string, body?: object): Promise<TestReply>
}

const step = { ref: 'mail', type: 'email', subject: 'Hi', html: '<p>Hi</p>' }

const test = base.extend<{ api: Api }>({
  api: async ({ database }, use) => {
    await database.execute('truncate recipients, channel_data, schedules')
    const { key } = await anEnvironment(database, 'production')
    await applyRevision(database, 'production', {
      digest: { name: 'Digest', steps: [step] },
      strict: {
        name: 'Strict',
        trigger: { data_schema: { type: 'object', required: ['n'] } },
        steps: [step],
      },
    })
    await using server = await serveAll(database)
    await use({
      server,
      key,
      call: (method, path, body) => server.call(method, path, { key, ...(body && { body }) }),
    })
  },
})

interface Schedule {
  readonly id: string
  readonly workflow: string
  readonly recipient: { readonly id: string; readonly name?: string }
  readonly data: object
  readonly next_occurrence_at: string | null
  readonly repeats: readonly object[]
}

const daily = { frequency: 'daily', hours: 9 }
const list = (reply: TestReply) => reply.body as readonly Schedule[]
const entries = (reply: TestReply) => (reply.body as { entries: readonly Schedule[] }).entries
const next = (reply: TestReply) => list(reply).map((one) => one.next_occurrence_at)

async function create(api: Api, body: object): Promise<TestReply> {
  const reply = await api.call('POST', '/v1/schedules', { workflow: 'digest', ...body })
  expect(reply).toMatchObject({ status: 200 })
  expectShape('SchedulesResponse', reply.body)
  return reply
}

async function update(api: Api, ids: readonly string[], body: object): Promise<TestReply> {
  const reply = await api.call('PUT', '/v1/schedules', { schedule_ids: ids, ...body })
  expect(reply).toMatchObject({ status: 200 })
  expectShape('SchedulesResponse', reply.body)
  return reply
}

async function names(api: Api, path: string): Promise<readonly string[]> {
  const reply = await api.call('GET', path)
  expect({ path, status: reply.status }).toEqual({ path, status: 200 })
  expectShape('ListSchedulesResponse', reply.body)
  return entries(reply).map(({ workflow, recipient }) => `${workflow} ${recipient.id}`)
}

describe('creating', () => {
  test('answers a schedule for each recipient, once and in the order of the call', async ({
    api,
  }) => {
    await api.call('PUT', '/v1/users/bob', { name: 'Bob', timezone: 'America/New_York' })
    const reply = await create(api, {
      recipients: [
        'bob',
        { id: 'ada', name: 'Ada', $trigger_data: { n: 2 } },
        { id: 'core', collection: 'teams' },
        'bob',
      ],
      repeats: [{ ...daily, days: 'weekdays', interval: null }],
      actor: { id: 'eve', name: 'Eve' },
      tenant: { id: 'acme', name: 'Acme' },
      data: { n: 1, m: [1] },
      ending_at: '2027-01-01T00:00:00Z',
    })
    expect(reply.body).toMatchObject([
      {
        __typename: 'Schedule',
        recipient: { __typename: 'User', name: 'Bob' },
        actor: { name: 'Eve' },
        tenant: 'acme',
        data: { n: 1, m: [1] },
        repeats: [
          {
            __typename: 'ScheduleRepeat',
            frequency: 'daily',
            interval: 1,
            days: ['mon', 'tue', 'wed', 'thu', 'fri'],
            day_of_month: null,
            hours: 9,
            minutes: null,
          },
        ],
        scheduled_at: null,
        ending_at: '2027-01-01T00:00:00.000Z',
        paused: false,
        declared: null,
        last_occurrence_at: null,
        next_occurrence_at: '2026-03-02T14:00:00.000Z',
      },
      {
        recipient: { name: 'Ada' },
        data: { n: 2, m: [1] },
        next_occurrence_at: '2026-03-02T09:00:00.000Z',
      },
      { recipient: { __typename: 'Object', collection: 'teams', id: 'core' } },
    ])
    expect(list(reply)).toHaveLength(3)
    expect((await api.call('GET', '/v1/tenants/acme')).body).toMatchObject({ name: 'Acme' })
  })

  test('without rules is for one time; one that has passed is late, and not lost', async ({
    api,
  }) => {
    const times = ['2026-04-01T10:00:00+02:00', '2026-02-01T10:00:00Z']
    for (const at of times) {
      const reply = await create(api, { recipients: ['ada'], scheduled_at: at })
      expect(next(reply)).toEqual([new Date(at).toISOString()])
      expect(reply.body).toMatchObject([{ repeats: [], data: {} }])
    }
  })

  test('paused has no occurrence, and neither has what ended', async ({ api }) => {
    const paused = await create(api, { recipients: ['ada'], repeats: [daily], paused: true })
    const ended = await create(api, {
      recipients: ['ada'],
      repeats: [daily],
      ending_at: '2026-01-01T00:00:00Z',
    })
    expect([...next(paused), ...next(ended)]).toEqual([null, null])
  })

  test.for([
    ['no time', { repeats: [] }, 'invalid_params', '/repeats'],
    ['a time that is none', { scheduled_at: 'tomorrow' }, 'invalid_params', '/scheduled_at'],
    ['an end that is no time', { ending_at: '2026-13-01' }, 'invalid_params', '/ending_at'],
    [
      'an end before the start',
      { scheduled_at: '2026-04-02T00:00:00Z', ending_at: '2026-04-01T00:00:00Z' },
      'invalid_params',
      '/ending_at',
    ],
    ['an unknown frequency', { repeats: [{ frequency: 'yearly' }] }, 'invalid_params', undefined],
    [
      'minutes between two steps',
      { repeats: [{ ...daily, minutes: 7 }] },
      'invalid_params',
      '/repeats/0/minutes',
    ],
    ['a misspelt field', { repeats: [{ ...daily, hour: 5 }] }, 'invalid_params', '/repeats/0'],
    ['a wrong day', { repeats: [{ ...daily, days: ['monday'] }] }, 'invalid_params', undefined],
    [
      'a rule that never comes',
      { scheduled_at: '2026-03-02T00:00:00Z', repeats: [{ ...daily, interval: 7, days: ['tue'] }] },
      'invalid_params',
      '/repeats/0',
    ],
    ['no recipients', { recipients: [] }, 'invalid_params', '/recipients'],
    [
      'too many recipients',
      { recipients: Array.from({ length: 101 }, (_, index) => `user-${index}`) },
      'invalid_params',
      '/recipients',
    ],
    ['what is no recipient', { recipients: ['ada', 'a/b'] }, 'invalid_params', '/recipients/1'],
    ['data that is too large', { data: { text: 'x'.repeat(300_000) } }, 'invalid_params', '/data'],
    ['data that does not fit', { workflow: 'strict' }, 'invalid_data', '/data/n'],
    ['an unknown actor', { actor: 'nobody' }, 'actor_missing', undefined],
    ['an unknown workflow', { workflow: 'other' }, 'workflow_missing', undefined],
    [
      'data of a channel that is not there',
      { recipients: [{ id: 'x', channel_data: { no: {} } }] },
      'invalid_params',
      '/recipients/0/channel_data/no',
    ],
  ] as const)('refuses %s, and keeps nothing', async ([, given, code, field], { api }) => {
    const repeats = 'scheduled_at' in given ? {} : { repeats: [daily] }
    const body = { workflow: 'digest', recipients: ['ada'], ...repeats, ...given }
    const reply = await api.call('POST', '/v1/schedules', body)
    const status = code === 'workflow_missing' ? 404 : 422
    expect(reply).toMatchObject({ status, body: { code } })
    if (field !== undefined)
      expect(reply.body).toMatchObject({ errors: [{ field: expect.stringContaining(field) }] })
    expect((await api.call('GET', '/v1/users/ada')).status).toBe(404)
    expect(await names(api, '/v1/schedules')).toEqual([])
  })

  test('is for keys that may trigger, and write', async ({ api, database }) => {
    const body = { workflow: 'digest', recipients: ['ada'], repeats: [daily] }
    for (const scopes of [
      ['trigger', 'read'],
      ['write', 'read'],
    ] as const) {
      const { key } = await anEnvironment(database, 'production', scopes)
      const reply = await api.server.call('POST', '/v1/schedules', { key, body })
      expect(reply).toMatchObject({ status: 403, body: { code: 'insufficient_scope' } })
    }
  })
})

describe('updating', () => {
  test('changes what is given and leaves the rest', async ({ api }) => {
    const made = await create(api, {
      recipients: ['ada', 'bob'],
      repeats: [daily],
      data: { n: 1 },
      tenant: 'acme',
      actor: { id: 'eve' },
    })
    const ids = list(made).map(({ id }) => id)
    const gone = '0193a5b0-0000-7000-8000-000000000000'
    const data = await update(api, [...ids.toReversed(), gone], { data: { n: 2 } })
    expect(list(data).map(({ recipient }) => recipient.id)).toEqual(['bob', 'ada'])
    expect(data.body).toMatchObject([
      { data: { n: 2 }, tenant: 'acme', actor: { id: 'eve' }, workflow: 'digest' },
      { next_occurrence_at: '2026-03-02T09:00:00.000Z', repeats: [{ hours: 9 }] },
    ])
    const cleared = await update(api, ids, { data: null, tenant: null, actor: null })
    expect(cleared.body).toMatchObject([{ data: {}, tenant: null, actor: null }, { data: {} }])
  })

  test('turns one kind into the other', async ({ api }) => {
    const made = await create(api, { recipients: ['ada'], repeats: [daily] })
    const [{ id }] = list(made) as [Schedule]
    const at = '2026-05-01T10:00:00.000Z'
    expect(next(await update(api, [id], { repeats: [], scheduled_at: at }))).toEqual([at])
    const repeats = [{ frequency: 'weekly', days: ['mon'], hours: 8 }]
    const weekly = await update(api, [id], { repeats, scheduled_at: null })
    expect(next(weekly)).toEqual(['2026-03-02T08:00:00.000Z'])
    const none = await api.call('PUT', '/v1/schedules', { schedule_ids: [id], repeats: null })
    expect(none).toMatchObject({ status: 422, body: { code: 'invalid_params' } })
    expect((await api.call('GET', '/v1/schedules')).body).toMatchObject({
      entries: [{ repeats: [{ frequency: 'weekly' }] }],
    })
  })

  test('of another time counts from now, and of none keeps the next occurrence', async ({
    api,
  }) => {
    const made = await create(api, { recipients: ['ada'], repeats: [{ ...daily, interval: 3 }] })
    const [{ id }] = list(made) as [Schedule]
    expect(next(made)).toEqual(['2026-03-04T09:00:00.000Z'])
    api.server.clock.set('2026-03-02T12:00:00Z')
    const [{ repeats }] = list(made) as [Schedule]
    const again = await update(api, [id], { repeats })
    expect(next(again)).toEqual(['2026-03-04T09:00:00.000Z'])
    const other = await update(api, [id], { repeats: [{ ...daily, interval: 2 }] })
    expect(next(other)).toEqual(['2026-03-04T09:00:00.000Z'])
    const ended = await update(api, [id], { ending_at: '2026-03-03T00:00:00Z' })
    expect(next(ended)).toEqual([null])
    const open = await update(api, [id], { ending_at: null })
    expect(next(open)).toEqual(['2026-03-04T09:00:00.000Z'])
  })

  test('leaves due what is due', async ({ api }) => {
    const made = await create(api, { recipients: ['ada'], repeats: [daily] })
    const [{ id }] = list(made) as [Schedule]
    api.server.clock.set('2026-03-02T09:00:01Z')
    for (const change of [{ data: { n: 1 } }, { ending_at: '2027-01-01T00:00:00Z' }])
      expect(next(await update(api, [id], change))).toEqual(['2026-03-02T09:00:00.000Z'])
  })

  test('pauses, and goes on with the first occurrence behind the pause', async ({ api }) => {
    const made = await create(api, { recipients: ['ada'], repeats: [daily] })
    const once = await create(api, { recipients: ['ada'], scheduled_at: '2026-03-02T09:00:00Z' })
    const ids = [...list(made), ...list(once)].map(({ id }) => id)
    expect(next(await update(api, ids, { paused: true }))).toEqual([null, null])
    api.server.clock.set('2026-03-05T12:00:00Z')
    const on = await update(api, ids, { paused: false })
    expect(next(on)).toEqual(['2026-03-06T09:00:00.000Z', null])
  })

  test('does not bring an occurrence again that there was', async ({ api, database }) => {
    const at = '2026-03-01T12:00:00Z'
    const made = await create(api, { recipients: ['ada'], scheduled_at: at })
    const [{ id }] = list(made) as [Schedule]
    await database.query(sql`
      update schedules set last_occurrence_at = ${at}, next_occurrence_at = null
      where environment = 'production'
    `)
    for (const same of [{ data: { n: 1 } }, { scheduled_at: at }, { ending_at: '2027-01-01' }])
      expect(next(await update(api, [id], same))).toEqual([null])
  })
})

test('deleting answers those that there were', async ({ api }) => {
  const made = await create(api, { recipients: ['ada', 'bob', 'cid'], repeats: [daily] })
  const [ada, , cid] = list(made) as [Schedule, Schedule, Schedule]
  const ids = [cid.id, '0193a5b0-0000-7000-8000-000000000000', ada.id]
  const reply = await api.call('DELETE', '/v1/schedules', { schedule_ids: ids })
  expect(reply.status).toBe(200)
  expectShape('SchedulesResponse', reply.body)
  expect(list(reply).map(({ recipient }) => recipient.id)).toEqual(['cid', 'ada'])
  expect(await names(api, '/v1/schedules')).toEqual(['digest bob'])
  const malformed = await api.call('DELETE', '/v1/schedules', { schedule_ids: ['x'] })
  expect(malformed).toMatchObject({ status: 422, body: { code: 'invalid_params' } })
})

test('what a file declares is changed there alone', async ({ api, database }) => {
  const made = await create(api, { recipients: ['ada', 'bob'], repeats: [daily] })
  const ids = list(made).map(({ id }) => id)
  await database.query(sql`
    update schedules set declared_key = 'weekly', recipient = 'nobody'
    where environment = 'production' and id = ${ids[1]}
  `)
  for (const method of ['PUT', 'DELETE']) {
    const reply = await api.call(method, '/v1/schedules', { schedule_ids: ids })
    expect(reply).toMatchObject({ status: 422, body: { code: 'schedule_declared' } })
  }
  // Its recipient may not be there yet.
  expect(await names(api, '/v1/schedules')).toEqual(['digest nobody', 'digest ada'])
})

test('lists are newest first, narrowed and page by page', async ({ api }) => {
  const core = { id: 'core', collection: 'teams' }
  await create(api, { recipients: ['ada', core], repeats: [daily], tenant: 'acme' })
  await create(api, {
    workflow: 'strict',
    data: { n: 1 },
    recipients: ['bob', 'ada'],
    repeats: [daily],
  })
  const all = ['strict ada', 'strict bob', 'digest core', 'digest ada']
  expect(await names(api, '/v1/schedules')).toEqual(all)
  const narrowed = {
    '/v1/schedules?workflow=strict': ['strict ada', 'strict bob'],
    '/v1/schedules?workflow=digest&tenant=acme': ['digest core', 'digest ada'],
    '/v1/schedules?workflow=strict&tenant=acme': [],
    '/v1/schedules?workflow=digest&recipients[]=ada': ['digest ada'],
    '/v1/schedules?recipients[0][id]=core&recipients[0][collection]=teams': ['digest core'],
    '/v1/users/ada/schedules': ['strict ada', 'digest ada'],
    '/v1/users/ada/schedules?workflow=digest': ['digest ada'],
    '/v1/users/ada/schedules?tenant=other': [],
    '/v1/objects/teams/core/schedules': ['digest core'],
    '/v1/objects/teams/other/schedules': [],
  }
  for (const [path, expected] of Object.entries(narrowed))
    expect({ path, names: await names(api, path) }).toEqual({ path, names: expected })

  const first = await api.call('GET', '/v1/schedules?page_size=3')
  const { after } = (first.body as { page_info: { after: string } }).page_info
  const second = await api.call('GET', `/v1/schedules?page_size=3&after=${after}`)
  expect(entries(second).map(({ recipient }) => recipient.id)).toEqual(['ada'])
  const { before } = (second.body as { page_info: { before: string } }).page_info
  const back = await api.call('GET', `/v1/schedules?page_size=3&before=${before}`)
  expect(entries(back)).toEqual(entries(first))
})

test('the official client creates, lists, changes and deletes schedules', async ({ api }) => {
  const knock = new Knock({ apiKey: api.key, baseURL: api.server.server.url, maxRetries: 0 })
  const [made] = await knock.schedules.create({
    workflow: 'digest',
    recipients: [{ id: 'ada', name: 'Ada', timezone: 'Asia/Tokyo' }],
    repeats: [{ frequency: 'weekly', days: ['mon', 'thu'], hours: 9, minutes: 30 }],
    data: { n: 1 },
    tenant: 'acme',
  })
  expect(made).toMatchObject({ workflow: 'digest', next_occurrence_at: '2026-03-02T00:30:00.000Z' })
  const id = made!.id
  const [changed] = await knock.schedules.update({
    schedule_ids: [id],
    // As they came back.
    repeats: made!.repeats,
    actor: 'ada',
    ending_at: '2026-12-31T00:00:00Z',
  })
  expect(changed).toMatchObject({
    actor: { name: 'Ada' },
    next_occurrence_at: made!.next_occurrence_at,
  })
  const found: string[] = []
  const query = { workflow: 'digest', recipients: ['ada'], tenant: 'acme', page_size: 1 }
  for await (const one of knock.schedules.list(query)) found.push(one.id)
  for await (const one of knock.users.listSchedules('ada', { workflow: 'digest' }))
    found.push(one.id)
  for await (const one of knock.objects.listSchedules('teams', 'core')) found.push(one.id)
  expect(found).toEqual([id, id])
  const [gone] = await knock.schedules.delete({ schedule_ids: [id] })
  expect(gone).toMatchObject({ id, recipient: { name: 'Ada' } })
  expect(await names(api, '/v1/schedules')).toEqual([])
})
