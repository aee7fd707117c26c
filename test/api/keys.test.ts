import { expect } from 'vitest'
import {
  createKey,
  derivePublicKey,
  findKey,
  hashKey,
  listKeys,
  revokeKey,
  syncSettingsKeys,
} from '../../src/api/keys.ts'
import { ok, type ReadRoute } from '../../src/api/route.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { test } from '../support/database.ts'
import { anEnvironment, NOW, serve } from './server-support.ts'

const now = new Date(NOW)
const development = 'development' as EnvironmentName
const production = 'production' as EnvironmentName

const whoAmI: ReadRoute = {
  id: 'things.1',
  summary: 'A thing',
  replies: { 200: {} },
  kind: 'read',
  method: 'GET',
  path: '/v1/me',
  scope: 'read',
  environment: 'key',
  handle: ({ environment, caller }) => Promise.resolve(ok({ environment, caller: caller.name })),
}

test('a key is stored only as its digest', async ({ database }) => {
  const { key } = await createKey(database, {
    environment: development,
    name: 'shop',
    scopes: ['trigger'],
    source: 'command',
    now,
  })
  expect(key).toMatch(/^sk_development_[\w-]{32}$/)
  const [row] = await database.query<{ text: string }>(sql`
    select string_agg(row_to_json(k)::text, '') as text from api_keys k where environment = 'development'
  `)
  expect(row?.text).toContain(hashKey(key).toString('hex'))
  expect(row?.text).not.toContain(key)
  expect(JSON.stringify(await listKeys(database, null))).not.toContain(key)
})

test('a revoked key is refused, at the latest when its place in memory has aged', async ({
  database,
}) => {
  const { key } = await anEnvironment(database, 'development')
  await using api = await serve(database, [whoAmI])
  expect(await api.call('GET', '/v1/me', { key })).toMatchObject({ status: 200 })
  const found = await findKey(database, hashKey(key))
  expect(await revokeKey(database, found?.id ?? '', now)).toBe(true)
  expect(await revokeKey(database, found?.id ?? '', now)).toBe(false)
  api.clock.advance(3_001)
  expect(await api.call('GET', '/v1/me', { key })).toMatchObject({ status: 401 })
})

test('keys of the settings follow the setting', async ({ database }) => {
  await anEnvironment(database, 'production')
  const [one, two] = ['sk_one_0123456789', 'sk_two_0123456789']
  await syncSettingsKeys(
    database,
    [
      { environment: development, key: one },
      { environment: production, key: two },
    ],
    now,
  )
  await using api = await serve(database, [whoAmI])
  expect(await api.call('GET', '/v1/me', { key: one })).toMatchObject({
    body: { environment: 'development' },
  })
  expect(await api.call('GET', '/v1/me', { key: two })).toMatchObject({
    body: { environment: 'production' },
  })
  await syncSettingsKeys(database, [{ environment: production, key: two }], now)
  api.clock.advance(3_001)
  expect(await api.call('GET', '/v1/me', { key: one })).toMatchObject({ status: 401 })
  expect(await api.call('GET', '/v1/me', { key: two })).toMatchObject({ status: 200 })
  await syncSettingsKeys(database, [{ environment: development, key: one }], now)
  api.clock.advance(3_001)
  expect(await api.call('GET', '/v1/me', { key: one })).toMatchObject({ status: 200 })
  expect(await api.call('GET', '/v1/me', { key: two })).toMatchObject({ status: 401 })
})

test('a public key is made, listed and named in the settings as such, and has no scopes', async ({
  database,
}) => {
  const scopes = ['read', 'write'] as const
  const made = { environment: development, name: 'page', source: 'command', now } as const
  const { key } = await createKey(database, { ...made, kind: 'public', scopes })
  expect(key).toMatch(/^pk_development_[\w-]{32}$/)
  expect(await findKey(database, hashKey(key))).toMatchObject({ kind: 'public', scopes: [] })
  await syncSettingsKeys(database, [{ environment: production, key: 'pk_production_page' }], now)
  const found = await findKey(database, hashKey('pk_production_page'))
  expect(found).toMatchObject({ kind: 'public', scopes: [], environment: 'production' })
})

test('the public key of a secret one is always the same, and tells nothing of it', () => {
  const one = derivePublicKey(development, 'sk_one')
  expect(one).toMatch(/^pk_development_[\w-]{32}$/)
  expect(derivePublicKey(development, 'sk_one')).toBe(one)
  expect(derivePublicKey(development, 'sk_two')).not.toBe(one)
})
