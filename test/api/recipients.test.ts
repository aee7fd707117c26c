import { describe, expect } from 'vitest'
import { newId, type MessageId, type RunId, type WorkflowRunId } from '../../src/ids.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { insertMessages } from '../../src/messages/store.ts'
import { aMessage, anEmailContent, production } from '../messages/builders.ts'
import { test as base } from '../support/database.ts'
import { expectShape, serveAll } from './contract-support.ts'
import { anEnvironment, NOW, type TestReply, type TestServer } from './server-support.ts'

interface Api {
  readonly server: TestServer
  get(path: string): Promise<TestReply>
  put(path: string, body: object): Promise<TestReply>
  remove(path: string): Promise<TestReply>
  post(path: string, body: object): Promise<TestReply>
}

const test = base.extend<{ api: Api }>({
  api: async ({ database }, use) => {
    await database.execute('truncate recipients, channel_data, messages, runs')
    const { key } = await anEnvironment(database, 'production')
    await using server = await serveAll(database)
    await use({
      server,
      get: (path) => server.call('GET', path, { key }),
      put: (path, body) => server.call('PUT', path, { key, body }),
      remove: (path) => server.call('DELETE', path, { key }),
      post: (path, body) => server.call('POST', path, { key, body }),
    })
  },
})

interface List {
  readonly entries: readonly { readonly id: string }[]
  readonly page_info: { readonly after: string | null; readonly before: string | null }
}

async function pageOf(api: Api, path: string): Promise<List & { readonly ids: readonly string[] }> {
  const reply = await api.get(path)
  expect({ path, status: reply.status }).toEqual({ path, status: 200 })
  const body = reply.body as List
  return { ...body, ids: body.entries.map(({ id }) => id) }
}

describe('lists', () => {
  test('go through users in the order of their ids, forth and back', async ({ api }) => {
    // Ids that mean something in a URL, in a cursor's encoding or to a collation.
    const ids = ['Ärger', 'a b', 'a+b', 'ada@example.com', '$x', 'été', '💌', '50%']
    for (const id of ids) await api.put(`/v1/users/${encodeURIComponent(id)}`, { name: id })
    await api.put('/v1/objects/things/a', {})
    const whole = await pageOf(api, '/v1/users')
    expect(whole.ids.toSorted()).toEqual(ids.toSorted())
    expectShape('ListUsersResponse', { entries: whole.entries, page_info: whole.page_info })
    expect(whole.page_info).toMatchObject({ after: null, before: null, page_size: 50 })

    const first = await pageOf(api, '/v1/users?page_size=3')
    const second = await pageOf(api, `/v1/users?page_size=3&after=${first.page_info.after}`)
    const third = await pageOf(api, `/v1/users?page_size=3&after=${second.page_info.after}`)
    expect([...first.ids, ...second.ids, ...third.ids]).toEqual(whole.ids)
    expect([first.page_info.before, third.page_info.after]).toEqual([null, null])
    const back = await pageOf(api, `/v1/users?page_size=3&before=${third.page_info.before}`)
    expect(back.ids).toEqual(second.ids)
    const start = await pageOf(api, `/v1/users?page_size=3&before=${back.page_info.before}`)
    expect(start.ids).toEqual(first.ids)
    expect(start.page_info.before).toBeNull()
  })

  test('refuse a cursor that no page gave', async ({ api }) => {
    for (const cursor of ['%', 'a', 'AA', '_w', 'YQ=='])
      for (const list of ['users', 'tenants', 'objects/things'])
        expect(
          await api.get(`/v1/${list}?after=${encodeURIComponent(cursor)}`),
          `${list} after ${cursor}`,
        ).toMatchObject({ status: 422, body: { errors: [{ field: '?/after' }] } })
  })

  test('show one collection of objects', async ({ api }) => {
    await api.put('/v1/objects/projects/p1', { title: 'One' })
    await api.put('/v1/objects/projects/p2', {})
    await api.put('/v1/objects/assets/a1', {})
    const { ids, entries, page_info } = await pageOf(api, '/v1/objects/projects')
    expect(ids).toEqual(['p1', 'p2'])
    expectShape('ListObjectsResponse', { entries, page_info })
    expect(await pageOf(api, '/v1/objects/nothing')).toMatchObject({ entries: [] })
  })

  test('find tenants by id and by name', async ({ api }) => {
    await api.put('/v1/tenants/acme', { name: 'Acme' })
    await api.put('/v1/tenants/other', { name: 'Other' })
    await api.put('/v1/tenants/nameless', {})
    const { entries, page_info, ids } = await pageOf(api, '/v1/tenants')
    expect(ids).toEqual(['acme', 'nameless', 'other'])
    expectShape('ListTenantsResponse', { entries, page_info })
    expect((await pageOf(api, '/v1/tenants?name=Acme')).ids).toEqual(['acme'])
    expect((await pageOf(api, '/v1/tenants?tenant_id=other')).ids).toEqual(['other'])
    expect((await pageOf(api, '/v1/tenants?tenant_id=other&name=Acme')).ids).toEqual([])
  })

  test('show nothing of another environment', async ({ api, database }) => {
    await api.put('/v1/users/ann', {})
    await api.put('/v1/tenants/acme', {})
    const { key } = await anEnvironment(database, 'staging')
    for (const list of ['users', 'tenants'])
      expect(await api.server.call('GET', `/v1/${list}`, { key })).toMatchObject({
        body: { entries: [] },
      })
  })
})

test('an object is merged deeply, shown and deleted', async ({ api }) => {
  const path = '/v1/objects/projects/p%201'
  const created = '2020-02-02T00:00:00Z'
  await api.put(path, { title: 'One', owner: { name: 'Ann', team: 'a' }, created_at: created })
  const put = await api.put(path, { title: null, owner: { team: 'b' }, tags: ['x', null] })
  expect(put.status).toBe(200)
  expect(put.body).toEqual({
    __typename: 'Object',
    id: 'p 1',
    collection: 'projects',
    properties: { owner: { name: 'Ann', team: 'b' }, tags: ['x', null] },
    created_at: created,
    updated_at: NOW,
  })
  expectShape('Object', put.body)
  expect((await api.get(path)).body).toEqual(put.body)
  // The same id in another collection, and as a user, is another one.
  expect(await api.get('/v1/objects/assets/p%201')).toMatchObject({ status: 404 })
  expect(await api.get('/v1/users/p%201')).toMatchObject({ status: 404 })
  expect(await api.remove(path)).toMatchObject({ status: 204 })
  expect(await api.get(path)).toMatchObject({ status: 404, body: { code: 'resource_missing' } })
  expect(await api.remove(path)).toMatchObject({ status: 204 })
})

test('an object has a collection of its own and a name that can be written', async ({ api }) => {
  for (const path of ['%24users/ann', '%24tenants/acme', 'a%2Fb/c', 'a/b%23c'])
    expect({ path, ...(await api.put(`/v1/objects/${path}`, {})) }).toMatchObject({
      path,
      status: 422,
      body: { code: 'invalid_params' },
    })
  expect(await api.get('/v1/objects/%24users')).toMatchObject({ status: 422 })
  expect(await api.put('/v1/objects/a/b', { created_at: 'soon' })).toMatchObject({
    status: 422,
    body: { errors: [{ field: '/created_at' }] },
  })
  expect(await api.put('/v1/objects/a/b', { large: 'x'.repeat(256 * 1024) })).toMatchObject({
    status: 422,
  })
})

test('a tenant is merged deeply, shown and deleted', async ({ api }) => {
  const path = '/v1/tenants/acme'
  const branding = { primary_color: '#111111', logo_url: 'https://example.com/logo.png' }
  await api.put(path, { name: 'Acme', settings: { branding }, plan: 'pro' })
  const put = await api.put(path, { settings: { branding: { logo_url: null } } })
  expect(put.body).toEqual({
    __typename: 'Tenant',
    id: 'acme',
    name: 'Acme',
    plan: 'pro',
    settings: { branding: { primary_color: '#111111' } },
  })
  expectShape('Tenant', put.body)
  expect((await api.get(path)).body).toEqual(put.body)
  expect(await api.put(path, { settings: { branding: { logo_url: 7 } } })).toMatchObject({
    status: 422,
    body: { errors: [{ field: '/settings/branding/logo_url' }] },
  })
  expect(await api.remove(path)).toMatchObject({ status: 204 })
  expect(await api.get(path)).toMatchObject({ status: 404 })
})

test('preferences that are none, and channel data that is none, are refused', async ({ api }) => {
  for (const path of ['users/ann', 'objects/projects/p1', 'tenants/acme']) {
    const given = { name: 'A', preferences: [], channel_data: [] }
    const reply = await api.put(`/v1/${path}`, given)
    expect({ path, ...reply }).toMatchObject({
      path,
      status: 422,
      body: {
        code: 'invalid_params',
        errors: [{ field: '/channel_data' }, { field: '/preferences' }],
      },
    })
    expect(await api.get(`/v1/${path}`)).toMatchObject({ status: 404 })
  }
})

test('all that is wrong with a user is said at once', async ({ api }) => {
  const bad = { email: 7, created_at: 'x', preferences: 1, channel_data: [] }
  const refused = await api.put('/v1/users/ann', bad)
  const { errors } = refused.body as { errors: readonly { field: string }[] }
  expect(errors.map(({ field }) => field).toSorted()).toEqual([
    '/channel_data',
    '/created_at',
    '/email',
    '/preferences',
  ])
})

describe('merging one user into another', () => {
  test('keeps what the second one says, and deletes the first', async ({ api }) => {
    await api.put('/v1/users/ann', { name: 'Ann', plan: { tier: 'a' } })
    await api.put('/v1/users/guest', { name: 'Guest', email: 'g@example.com', plan: { seats: 2 } })
    const merged = await api.post('/v1/users/ann/merge', { from_user_id: 'guest' })
    expect(merged).toMatchObject({
      status: 200,
      body: { id: 'ann', name: 'Ann', email: 'g@example.com', plan: { tier: 'a', seats: 2 } },
    })
    expectShape('User', merged.body)
    expect((await api.get('/v1/users/ann')).body).toEqual(merged.body)
    expect(await api.get('/v1/users/guest')).toMatchObject({ status: 404 })
  })

  test('takes over runs and messages of 30 days, and what has not ended', async ({
    api,
    database,
  }) => {
    await api.put('/v1/users/ann', {})
    await api.put('/v1/users/guest', {})
    const trigger = newId<WorkflowRunId>()
    const shared = { ann: await aRun(database, 'ann', { trigger }), guest: '' }
    shared.guest = await aRun(database, 'guest', { trigger })
    const runs = [
      await aRun(database, 'guest', { ageDays: 29 }),
      await aRun(database, 'guest', { ageDays: 31, status: 'queued' }),
    ]
    const oldRun = await aRun(database, 'guest', { ageDays: 31 })
    const messages = [
      await aMessageTo(database, 'guest', 29),
      await aMessageTo(database, 'guest', 31, 'queued'),
    ]
    const oldMessage = await aMessageTo(database, 'guest', 31)
    await api.post('/v1/users/ann/merge', { from_user_id: 'guest' })

    const idsOf = async (list: string, recipient: string) => {
      const reply = await api.get(`/v1/${list}?recipient=${recipient}`)
      return (reply.body as { items: { id: string }[] }).items.map(({ id }) => id).toSorted()
    }
    expect(await idsOf('messages', 'ann')).toEqual(messages.toSorted())
    expect(await idsOf('messages', 'guest')).toEqual([oldMessage])
    expect(await idsOf('workflow_recipient_runs', 'ann')).toEqual([...runs, shared.ann].toSorted())
    expect(await idsOf('workflow_recipient_runs', 'guest')).toEqual(
      [oldRun, shared.guest].toSorted(),
    )
  })

  test('is refused for a user that is not there, and for the same one', async ({ api }) => {
    await api.put('/v1/users/ann', {})
    const merge = (into: string, body: object) => api.post(`/v1/users/${into}/merge`, body)
    expect(await merge('ann', { from_user_id: 'ghost' })).toMatchObject({
      status: 404,
      body: { message: expect.stringContaining('"ghost"') },
    })
    expect(await merge('ghost', { from_user_id: 'ann' })).toMatchObject({ status: 404 })
    expect(await merge('ann', { from_user_id: 'ann' })).toMatchObject({ status: 422 })
    expect(await merge('ann', {})).toMatchObject({ status: 422 })
    expect(await api.get('/v1/users/ann')).toMatchObject({ status: 200 })
  })
})

function before(days: number): Date {
  return new Date(new Date(NOW).getTime() - days * 86_400_000)
}

async function aRun(
  database: Database,
  recipient: string,
  options: {
    readonly trigger?: WorkflowRunId
    readonly ageDays?: number
    readonly status?: 'completed' | 'queued'
  },
): Promise<RunId> {
  const { trigger = newId<WorkflowRunId>(), ageDays = 0, status = 'completed' } = options
  const id = newId<RunId>()
  const at = before(ageDays)
  const ended = status === 'completed'
  await database.query(sql`
    insert into workflow_runs (environment, id, workflow, version_id, sequence, revision,
      trigger_source, data, settings, recipients, fan_out, inserted_at)
    values (${production}, ${trigger}, 'welcome', 'v1', 1, 'r1', '{"type":"api"}', '{}', '{}', '[]',
      'done', ${at})
    on conflict (environment, id) do nothing
  `)
  await database.query(sql`
    insert into runs (environment, id, workflow_run_id, workflow, version_id, collection, recipient,
      status, outcome, inserted_at, updated_at, finished_at)
    values (${production}, ${id}, ${trigger}, 'welcome', 'v1', '$users', ${recipient}, ${status},
      ${ended ? 'completed' : null}, ${at}, ${at}, ${ended ? at : null})
  `)
  return id
}

async function aMessageTo(
  database: Database,
  recipient: string,
  ageDays: number,
  status: 'queued' | 'delivered' = 'delivered',
): Promise<MessageId> {
  const content = anEmailContent()
  const message = aMessage({ content, status, recipient: { collection: '$users', id: recipient } })
  await database.transaction((tx) => insertMessages(tx, [message], before(ageDays)))
  return message.id
}
