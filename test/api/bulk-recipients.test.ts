import { beforeEach, describe, expect } from 'vitest'
import { bulkKinds } from '../../src/api/bulk-kinds.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { takeBulkTurn } from '../../src/recipients/bulk-work.ts'
import { test as base } from '../support/database.ts'
import { expectShape, serveAll } from './contract-support.ts'
import { newRowId } from '../../src/ids.ts'
import { anEnvironment, NOW, type TestReply, type TestServer } from './server-support.ts'

type Call = (method: string, path: string, body?: object) => Promise<TestReply>

const test = base.extend<{ server: TestServer; call: Call }>({
  server: [
    async ({ database }, use) => {
      await using server = await serveAll(database)
      await use(server)
    },
    { scope: 'file' },
  ],
  call: async ({ database, server }, use) => {
    const { key } = await anEnvironment(database, 'production')
    await use((method, path, body) => server.call(method, `/v1/${path}`, { key, body }))
  },
})

beforeEach<{ database: Database }>(({ database }) =>
  database.execute('truncate recipients, channel_data, preference_sets, bulk_operations'),
)

async function work(database: Database): Promise<number> {
  for (let parts = 0; ; parts += 1)
    if ((await takeBulkTurn(database, bulkKinds, new Date(NOW))) === 0) return parts
}

async function idsOf(call: Call, path: string): Promise<readonly string[]> {
  const { body } = await call('GET', path)
  return (body as { entries: readonly { id: string }[] }).entries.map(({ id }) => id)
}

test('users are written as one call for each would, in parts', async ({ database, call }) => {
  await call('PUT', 'users/u7', { name: 'Seven', keep: 'this' })
  const users = Array.from({ length: 250 }, (_, index) => ({
    id: `u${index}`,
    name: `User ${index}`,
    preferences: { default: { categories: { news: false } } },
  }))
  const reply = await call('POST', 'users/bulk/identify', { users })
  expectShape('BulkOperation', reply.body)
  expect(reply).toMatchObject({
    status: 200,
    body: { name: 'users.identify', status: 'queued', estimated_total_rows: 250 },
  })
  expect(await work(database)).toBe(3)
  const { id } = reply.body as { readonly id: string }
  expect(await call('GET', `bulk_operations/${id}`)).toMatchObject({
    body: { status: 'completed', processed_rows: 250, success_count: 250, error_items: [] },
  })
  const kept = await database.query(
    sql`select request from bulk_operations where environment = 'production'`,
  )
  expect(kept).toEqual([{ request: null }])
  expect(await call('GET', 'users/u7')).toMatchObject({ body: { name: 'User 7', keep: 'this' } })
  expect((await call('GET', 'users/u7')).body).not.toHaveProperty('properties')
  const set = await call('GET', 'users/u249/preferences/default')
  expect(set).toMatchObject({ body: { categories: { news: false } } })
})

test('objects and tenants are written, too', async ({ database, call }) => {
  await call('POST', 'objects/teams/bulk/set', { objects: [{ id: 'core', size: 3 }] })
  await call('POST', 'tenants/bulk/set', { tenants: [{ id: 'acme', name: 'Acme' }, 'bare'] })
  expect(await work(database)).toBe(2)
  const team = await call('GET', 'objects/teams/core')
  expect(team).toMatchObject({ body: { properties: { size: 3 } } })
  expect(await call('GET', 'tenants/acme')).toMatchObject({ body: { name: 'Acme' } })
  expect(await call('GET', 'tenants/bare')).toMatchObject({ status: 200 })
})

test('one that is refused is told of, and keeps back no other', async ({ database, call }) => {
  const long = 'x'.repeat(250_000)
  await call('PUT', 'users/full', { a: long })
  const reply = await call('POST', 'users/bulk/identify', {
    users: [{ id: 'a' }, { id: 'full', b: long }, { id: 'b' }],
  })
  await work(database)
  const { id } = reply.body as { readonly id: string }
  const done = await call('GET', `bulk_operations/${id}`)
  expectShape('BulkOperation', done.body)
  expect(done.body).toMatchObject({
    status: 'completed',
    processed_rows: 3,
    success_count: 2,
    error_count: 1,
    error_items: [{ id: 'full', collection: '$users' }],
  })
  expect(await idsOf(call, 'users')).toEqual(['a', 'b', 'full'])
})

test('those that are named are deleted, and those that are not there are no error', async ({
  database,
  call,
}) => {
  for (const id of ['a', 'b', 'c']) {
    await call('PUT', `users/${id}`, {})
    await call('PUT', `objects/teams/${id}`, {})
    await call('PUT', `tenants/${id}`, {})
  }
  await call('POST', 'users/bulk/delete', { user_ids: ['a', 'b', 'nobody'] })
  await call('POST', 'objects/teams/bulk/delete', { object_ids: ['a', 'b'] })
  await call('POST', 'tenants/bulk/delete?tenant_ids[]=a&tenant_ids[]=b')
  expect(await work(database)).toBe(3)
  for (const path of ['users', 'objects/teams', 'tenants'])
    expect(await idsOf(call, path)).toEqual(['c'])
})

test('a thousand tenants can be named in the query, as the SDK does', async ({
  database,
  call,
}) => {
  await call('PUT', 'tenants/acme', {})
  const others = Array.from({ length: 999 }, () => newRowId())
  const query = ['acme', ...others].map((id) => `tenant_ids%5B%5D=${id}`).join('&')
  const reply = await call('POST', `tenants/bulk/delete?${query}`)
  expect(reply.status).toBe(200)
  await work(database)
  expect(await idsOf(call, 'tenants')).toEqual([])
})

describe('a call is refused and writes nothing', () => {
  const many = Array.from({ length: 1_001 }, (_, index) => `u${index}`)
  test.for<readonly [what: string, path: string, body: object, field: string]>([
    ['without users', 'users/bulk/identify', {}, '/users'],
    ['with none', 'users/bulk/identify', { users: [] }, '/users'],
    ['with too many', 'users/bulk/identify', { users: many.map((id) => ({ id })) }, '/users'],
    ['with one without an id', 'users/bulk/identify', { users: [{}] }, '/users/0/id'],
    [
      'with an id that is none',
      'objects/teams/bulk/set',
      { objects: [{ id: 'a' }, { id: 'a/b' }] },
      '/objects/1/id',
    ],
    [
      'with a field that is wrong',
      'users/bulk/identify',
      { users: [{ id: 'a' }, { id: 'b', email: 5 }] },
      '/users/1/email',
    ],
    ['in a collection of ours', 'objects/$users/bulk/set', { objects: [{ id: 'a' }] }, 'path'],
    ['with a number as an id', 'users/bulk/delete', { user_ids: [5] }, '/user_ids/0'],
    ['without tenants', 'tenants/bulk/delete', {}, '?/tenant_ids'],
  ])('%s', async ([, path, body, field], { database, call }) => {
    const reply = await call('POST', path, body)
    expect(reply).toMatchObject({ status: 422, body: { errors: [{ field }] } })
    const kept = await database.query(sql`select id from bulk_operations where environment <> ''`)
    expect(kept).toEqual([])
  })
})
