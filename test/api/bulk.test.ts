import { expect, describe } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { findBulk, saveCompletedBulk, sweepBulks } from '../../src/recipients/bulk-store.ts'
import { expectShape } from './contract-support.ts'
import { blank, fields, test } from './preferences-support.ts'

describe('many users at once', () => {
  const path = 'users/bulk/preferences'
  const preferences = { id: 'acme', workflows: { hello: false } }

  test('get the same set in the place of theirs', async ({ api }) => {
    await api.put('users/ann/preferences/acme', { categories: { news: false } })
    await api.put('users/ann/preferences/default', { channel_types: { sms: false } })
    const done = await api.post(path, { user_ids: ['ann', 'bob', 'bob'], preferences })
    expect(done).toMatchObject({
      status: 200,
      body: { status: 'completed', estimated_total_rows: 2, success_count: 2, error_count: 0 },
    })
    expectShape('BulkOperation', done.body)
    const { id } = done.body as { id: string }
    expect((await api.get(`bulk_operations/${id}`)).body).toEqual(done.body)
    const set = { ...blank, categories: null, ...preferences }
    expect((await api.get('users/ann/preferences')).body).toEqual([
      set,
      expect.objectContaining({ id: 'default', channel_types: { sms: false } }),
    ])
    expect((await api.get('users/bob/preferences')).body).toEqual([set])
    await api.post(path, { user_ids: ['bob'], preferences: {} })
    expect((await api.get('users/bob/preferences')).body).toHaveLength(2)
  })

  test('get nothing where something is wrong', async ({ api }) => {
    const refused = async (body: object) => fields(await api.post(path, body))
    const user_ids = ['ann']
    expect(await refused({ user_ids: [], preferences })).toEqual(['/user_ids'])
    expect(await refused({ user_ids: ['ann', 'a/b'], preferences })).toEqual(['/user_ids/1'])
    expect(await refused({ user_ids, preferences: { sms: true } })).toEqual(['/preferences/sms'])
    expect(await refused({ user_ids, preferences: { id: 'a#' } })).toEqual(['/preferences/id'])
    const merge = { __persistence_strategy__: 'merge' }
    expect(await refused({ user_ids, preferences: merge })).toEqual([
      '/preferences/__persistence_strategy__',
    ])
    const many = Array.from({ length: 1_000 }, (_, index) => `user-${index}`)
    expect(await refused({ user_ids: [...many, 'one-more'], preferences })).toEqual(['/user_ids'])
    const conditions = [{ variable: 'data.a', operator: 'equal_to', argument: 'x'.repeat(1000) }]
    const workflows = Object.fromEntries(
      Array.from({ length: 40 }, (_, index) => [`w${index}`, { conditions }]),
    )
    expect(await refused({ user_ids: many, preferences: { workflows } })).toEqual([''])
    expect((await api.get('users')).body).toMatchObject({ entries: [] })
    for (const id of ['x', '0190a5a0-0000-7000-8000-000000000000'])
      expect(await api.get(`bulk_operations/${id}`)).toMatchObject({ status: 404 })
  })

  test('are a thousand at most, in one call', async ({ api, database }) => {
    const user_ids = Array.from({ length: 1_000 }, (_, index) => `user-${index}`)
    expect(await api.post(path, { user_ids, preferences })).toMatchObject({ status: 200 })
    const [row] = await database.query(sql`
      select count(*)::integer as sets from preference_sets where environment = 'production'
    `)
    expect(row).toEqual({ sets: 1_000 })
  })
})

test('what was done for many is forgotten after thirty days', async ({ database }) => {
  await database.execute('truncate bulk_operations')
  const production = 'production' as EnvironmentName
  const then = new Date('2030-01-01T00:00:00Z')
  const { id } = await saveCompletedBulk(database, production, { name: 'x', total: 1 }, then)
  expect(await sweepBulks(database, new Date('2030-01-31T00:00:00Z'))).toBe(0)
  expect(await findBulk(database, production, id)).toMatchObject({ id, name: 'x' })
  expect(await findBulk(database, 'staging' as EnvironmentName, id)).toBeUndefined()
  expect(await sweepBulks(database, new Date('2030-01-31T00:00:01Z'))).toBe(1)
  expect(await findBulk(database, production, id)).toBeUndefined()
})
