import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import Knock from '@knocklabs/node'
import { describe, expect, onTestFinished } from 'vitest'
import { routes } from '../../src/api/index.ts'
import { createKey } from '../../src/api/keys.ts'
import { readRates, tierOf } from '../../src/api/rate-limits.ts'
import type { Route } from '../../src/api/route.ts'
import { sql } from '../../src/db/sql.ts'
import { makeKeys, signToken } from '../support/client-keys.ts'
import { test as base } from '../support/database.ts'
import { saveEnvironment } from '../messages/builders.ts'
import { serveAll } from './contract-support.ts'
import { anEnvironment, NOW, OPERATOR, type TestServer } from './server-support.ts'

// What the contract says of the operations that are served here, `:` standing for a parameter.
const CONTRACT: Readonly<Record<string, readonly string[]>> = {
  '1': [
    'POST /v1/objects/:/bulk/delete',
    'POST /v1/objects/:/bulk/set',
    'POST /v1/objects/:/bulk/subscriptions/add',
    'POST /v1/objects/:/bulk/subscriptions/delete',
    'POST /v1/schedules/bulk/create',
    'POST /v1/tenants/bulk/delete',
    'POST /v1/tenants/bulk/set',
    'POST /v1/users/bulk/delete',
    'POST /v1/users/bulk/identify',
    'POST /v1/users/bulk/preferences',
  ],
  '2': [
    'DELETE /v1/messages/:/archived',
    'DELETE /v1/messages/:/read',
    'DELETE /v1/messages/:/seen',
    'DELETE /v1/messages/:/unarchived',
    'DELETE /v1/messages/:/unread',
    'DELETE /v1/messages/:/unseen',
    'DELETE /v1/tenants/:',
    'DELETE /v1/users/:',
    'GET /v1/users/:/feeds/:',
    'GET /v1/workflow_recipient_runs',
    'GET /v1/workflow_recipient_runs/:',
    'POST /v1/channels/:/messages/bulk/:',
    'POST /v1/users/:/merge',
    'PUT /v1/messages/:/archived',
    'PUT /v1/messages/:/interacted',
    'PUT /v1/messages/:/read',
    'PUT /v1/messages/:/seen',
  ],
  '3': [
    'DELETE /v1/audiences/:/members',
    'DELETE /v1/objects/:/:',
    'DELETE /v1/objects/:/:/channel_data/:',
    'DELETE /v1/objects/:/:/preferences/:',
    'DELETE /v1/objects/:/:/subscriptions',
    'DELETE /v1/schedules',
    'DELETE /v1/users/:/channel_data/:',
    'DELETE /v1/users/:/preferences/:',
    'GET /v1/messages/:/delivery_logs',
    'GET /v1/messages/:/events',
    'POST /v1/audiences/:/members',
    'POST /v1/messages/batch/archived',
    'POST /v1/messages/batch/interacted',
    'POST /v1/messages/batch/read',
    'POST /v1/messages/batch/seen',
    'POST /v1/messages/batch/unarchived',
    'POST /v1/messages/batch/unread',
    'POST /v1/messages/batch/unseen',
    'POST /v1/objects/:/:/subscriptions',
    'POST /v1/schedules',
    'PUT /v1/objects/:/:',
    'PUT /v1/objects/:/:/channel_data/:',
    'PUT /v1/objects/:/:/preferences/:',
    'PUT /v1/schedules',
    'PUT /v1/tenants/:',
    'PUT /v1/users/:',
    'PUT /v1/users/:/channel_data/:',
    'PUT /v1/users/:/preferences/:',
  ],
  '4': [
    'GET /v1/audiences/:/members',
    'GET /v1/bulk_operations/:',
    'GET /v1/messages',
    'GET /v1/messages/:',
    'GET /v1/messages/:/activities',
    'GET /v1/messages/batch/content',
    'GET /v1/messages/:/content',
    'GET /v1/objects/:',
    'GET /v1/objects/:/:',
    'GET /v1/objects/:/:/channel_data/:',
    'GET /v1/objects/:/:/messages',
    'GET /v1/objects/:/:/preferences',
    'GET /v1/objects/:/:/preferences/:',
    'GET /v1/objects/:/:/schedules',
    'GET /v1/objects/:/:/subscriptions',
    'GET /v1/schedules',
    'GET /v1/tenants',
    'GET /v1/tenants/:',
    'GET /v1/users',
    'GET /v1/users/:',
    'GET /v1/users/:/channel_data/:',
    'GET /v1/users/:/feeds/:/settings',
    'GET /v1/users/:/messages',
    'GET /v1/users/:/preferences',
    'GET /v1/users/:/preferences/:',
    'GET /v1/users/:/schedules',
    'GET /v1/users/:/subscriptions',
  ],
  '5': ['POST /v1/workflows/:/cancel', 'POST /v1/workflows/:/trigger'],
}

const nameOf = ({ method, path: place }: Route) => `${method} ${place.replaceAll(/:\w+/g, ':')}`

const test = base.extend<{ key: string; server: TestServer; limited: TestServer }>({
  key: async ({ database }, use) => use((await anEnvironment(database, 'production')).key),
  server: [
    async ({ database }, use) => {
      await using server = await serveAll(database, { rates: await readRates('on', routes) })
      await use(server)
    },
    { scope: 'file' },
  ],
  // Each test begins with a second of its own.
  limited: async ({ server }, use) => {
    server.clock.advance(1000 - (server.clock.now().getTime() % 1000))
    await use(server)
  },
})

test.beforeAll(({ database }) => saveEnvironment(database, {}))

test('each operation of the contract is in the tier that the contract has it in', () => {
  const served = new Map(routes.map((route) => [nameOf(route), route]))
  for (const [tier, names] of Object.entries(CONTRACT))
    for (const name of names) {
      const route = served.get(name)
      expect({ name, tier: route && tierOf(route) }).toEqual({ name, tier })
    }
})

const runs = '/v1/workflow_recipient_runs'

async function statusesOf(
  server: TestServer,
  key: string,
  times: number,
  place = runs,
): Promise<readonly number[]> {
  const calls = Array.from({ length: times }, () => server.call('GET', place, { key }))
  return (await Promise.all(calls)).map(({ status }) => status)
}

describe('a key', () => {
  test('may make a call as often in a second as its tier says, and is told when to try again', async ({
    limited,
    key,
  }) => {
    limited.clock.advance(700)
    const first = await limited.call('GET', runs, { key })
    expect(first.status).toBe(200)
    expect(first.headers.get('ratelimit-limit')).toBe('5')
    expect(first.headers.get('ratelimit-remaining')).toBe('4')
    expect(first.headers.get('ratelimit-reset')).toBe('1')
    expect(first.headers.get('retry-after')).toBeNull()
    expect(await statusesOf(limited, key, 5)).toEqual([200, 200, 200, 200, 429])
    const refused = await limited.call('GET', runs, { key })
    expect(refused).toMatchObject({
      status: 429,
      body: {
        code: 'rate_limit_exceeded',
        message: `more than 5 calls of GET ${runs} in a second; try again in 300 ms`,
        status: 429,
        type: 'rate_limit_error',
      },
    })
    expect(refused.headers.get('ratelimit-remaining')).toBe('0')
    expect(refused.headers.get('retry-after')).toBe('1')
    expect(refused.headers.get('retry-after-ms')).toBe('300')
    limited.clock.advance(300)
    expect((await limited.call('GET', runs, { key })).status).toBe(200)
  })

  test('is counted for itself, and each operation for itself', async ({
    limited,
    key,
    database,
  }) => {
    const { key: other } = await anEnvironment(database, 'production')
    expect(await statusesOf(limited, key, 6)).toContain(429)
    expect(await statusesOf(limited, other, 5)).not.toContain(429)
    expect(await statusesOf(limited, key, 5, `${runs}/nothing`)).not.toContain(429)
    expect(await statusesOf(limited, key, 50, '/v1/users')).not.toContain(429)
  })

  test('does nothing with a call that is refused', async ({ limited, key, database }) => {
    await database.execute('truncate bulk_operations')
    const call = (id: string) =>
      limited.call('POST', '/v1/users/bulk/identify', { key, body: { users: [{ id }] } })
    const replies = [await call('ann'), await call('bo')]
    expect(replies.map(({ status }) => status)).toEqual([200, 429])
    expect(replies[1]).toMatchObject({
      body: { message: expect.stringMatching(/^more than one call/) },
    })
    const kept = await database.query(sql`select id from bulk_operations where environment <> ''`)
    expect(kept).toHaveLength(1)
  })

  test('of an operator is never limited', async ({ limited, key }) => {
    const place = `${runs}?environment=production`
    expect(await statusesOf(limited, key, 6)).toContain(429)
    expect(await statusesOf(limited, OPERATOR, 20, place)).not.toContain(429)
    const { headers } = await limited.call('GET', place, { key: OPERATOR })
    expect(headers.get('ratelimit-limit')).toBeNull()
  })

  test('that is public is counted for each of its users', async ({ limited, database }) => {
    const keys = makeKeys()
    const { environment } = await anEnvironment(database, 'production')
    await database.query(sql`
      update environments
      set settings = settings || ${JSON.stringify({ client_keys: { app: { pem: keys.pem } } })}::jsonb
      where name = 'production'
    `)
    const key = 'pk_production_for_rates'
    const now = new Date(NOW)
    const made = { environment, name: 'page', scopes: [], source: 'command', key, now } as const
    await createKey(database, made)
    const statuses: Record<string, number[]> = {}
    for (const sub of ['ann', 'ann', 'ann', 'bo', 'ann', 'ann', 'ann', 'bo']) {
      const headers = { 'x-knock-user-token': signToken(keys, now, { sub }) }
      const reply = await limited.call('GET', `/v1/users/${sub}/feeds/none`, { key, headers })
      ;(statuses[sub] ??= []).push(reply.status)
    }
    expect(statuses).toEqual({ ann: [404, 404, 404, 404, 404, 429], bo: [404, 404] })
  })
})

test('without limits no call is counted', async ({ database, key }) => {
  expect(await readRates(undefined, routes)).toBeUndefined()
  expect(await readRates('off', routes)).toBeUndefined()
  await using server = await serveAll(database)
  const replies = await Promise.all(
    Array.from({ length: 20 }, () => server.call('GET', runs, { key })),
  )
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]))
  expect(replies[0]?.headers.get('ratelimit-limit')).toBeNull()
})

/** What the published SDK has sent and got: how it waits is its own. */
function sdk(server: TestServer, key: string, onRefusal: () => void) {
  const statuses: number[] = []
  const watched: typeof fetch = async (input, init) => {
    const reply = await fetch(input, init)
    statuses.push(reply.status)
    if (reply.status === 429) onRefusal()
    return reply
  }
  const knock = new Knock({ apiKey: key, baseURL: server.server.url, fetch: watched })
  return { knock, statuses }
}

test('the published SDK tries again when it may, and succeeds', async ({
  limited,
  key,
  database,
}) => {
  await database.execute('truncate bulk_operations')
  limited.clock.advance(990)
  // Its wait is real, and as short as it was told; that is what lets it be tried here.
  const { knock, statuses } = sdk(limited, key, () => limited.clock.advance(10))
  const began = performance.now()
  const first = await knock.users.bulk.identify({ users: [{ id: 'ann' }] })
  const second = await knock.users.bulk.identify({ users: [{ id: 'bo' }] })
  expect(statuses).toEqual([200, 429, 200])
  expect(performance.now() - began).toBeLessThan(400)
  expect(first.id).not.toBe(second.id)
  const kept = await database.query(sql`select id from bulk_operations where environment <> ''`)
  expect(kept).toHaveLength(2)
})

test('the published SDK gives up where it may not, with the contract’s error', async ({
  limited,
  key,
}) => {
  limited.clock.advance(990)
  const { knock, statuses } = sdk(limited, key, () => {})
  await knock.users.bulk.delete({ user_ids: ['ann'] })
  await expect(knock.users.bulk.delete({ user_ids: ['ann'] })).rejects.toMatchObject({
    status: 429,
    error: { code: 'rate_limit_exceeded', type: 'rate_limit_error' },
  })
  expect(statuses).toEqual([200, 429, 429, 429])
})

async function fileOf(text: string, name = 'rates.yaml'): Promise<string> {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'belfry-rates-'))
  onTestFinished(() => fs.rm(directory, { recursive: true }))
  const file = path.join(directory, name)
  await fs.writeFile(file, text)
  return file
}

describe('a file', () => {
  test('changes tiers and operations, and leaves the others', async () => {
    const file = await fileOf(`
tiers: { 1: 3, 4: null }
operations:
  POST /v1/workflows/{key}/trigger: 2000
  GET /v1/messages: 7
  GET /v1/users/{user_id}/feeds/{id}: null
`)
    const rates = await readRates(file, routes)
    const rateOf = (method: 'GET' | 'POST', place: string) => rates?.({ method, path: place })
    expect(rateOf('POST', '/v1/workflows/:key/trigger')).toBe(2000)
    expect(rateOf('POST', '/v1/workflows/:key/cancel')).toBe(1000)
    expect(rateOf('POST', '/v1/users/bulk/delete')).toBe(3)
    expect(rateOf('GET', '/v1/messages')).toBe(7)
    expect(rateOf('GET', '/v1/users')).toBeNull()
    expect(rateOf('GET', '/v1/users/:id/feeds/:channel')).toBeNull()
  })

  test.for<readonly [string, string]>([
    ['tiers: { 6: 1 }', ':1:10 unknown key "6"'],
    ['tiers: { 1: 0 }', ':1:13 this must be 1 or more'],
    ['tiers:\n  1: fast', ':2:6 this must be a whole number or nothing, not a text'],
    ['rates: {}', ':1:1 unknown key "rates"'],
    ['[]', ':1:1 this must be a map, not a list'],
    ['operations:\n  GET /v1/user: 5', ':2:3 "GET /v1/user" is no operation of the API'],
    ['tiers: {', ':1:9 '],
  ])('that says %j is refused with its place', async ([text, message]) => {
    const file = await fileOf(text)
    await expect(readRates(file, routes)).rejects.toThrow(`BELFRY_RATE_LIMITS: ${file}${message}`)
  })

  test('that is not there is refused', async () => {
    await expect(readRates('/nowhere/rates.yaml', routes)).rejects.toThrow(
      /^BELFRY_RATE_LIMITS: expected on, off or the path of a file; ENOENT/,
    )
  })
})
