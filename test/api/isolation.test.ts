import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { routes } from '../../src/api/index.ts'
import type { Route } from '../../src/api/route.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { makeKeys, signToken, writeToken } from '../support/client-keys.ts'
import { serveAll } from './contract-support.ts'
import { firstForClients, forClients, granted, keyed, secret, table } from './isolation-table.ts'
import { MARK, openTwin, stateOf } from './isolation-rows.ts'
import { type TestReply } from './server-support.ts'

import {
  callRoute,
  nameOf,
  now,
  openScene,
  own,
  PAGE,
  staging,
  STAGING_PAGE,
  type Scene,
} from './isolation-support.ts'

// Every route with every key that must not open it.

test('every route is in the table, and nothing else', () => {
  expect(Object.keys(table).toSorted()).toEqual(routes.map(nameOf).toSorted())
})

const ann = signToken(own, now, { sub: 'ann' })
const seconds = now.getTime() / 1000
const claims = { sub: 'ann', iat: seconds, exp: seconds + 3600 }

const tokens: Readonly<Record<string, string | undefined>> = {
  none: undefined,
  empty: '',
  expired: signToken(own, new Date(now.getTime() - 7_200_000), { sub: 'ann' }),
  'not valid yet': signToken(own, new Date(now.getTime() + 3_600_000), { sub: 'ann' }),
  'alg none': writeToken({ alg: 'none', typ: 'JWT' }, claims, () => ''),
  'HS256 with the public key': writeToken({ alg: 'HS256' }, claims, (text) =>
    createHmac('sha256', own.pem).update(text).digest(),
  ),
  forged: `${ann.slice(0, -8)}AAAAAAAA`,
  'of another environment': signToken(staging, now, { sub: 'ann' }),
  'of nobody’s key': signToken(makeKeys(), now, { sub: 'ann' }),
}

function isEmptyBatch({ path }: Route, { body }: TestReply): boolean {
  return path.includes('/batch/') && Array.isArray(body) && body.length === 0
}

/** What some routes ask for before they look at an environment. */
function neededBy(route: Route): string {
  const needed: Readonly<Record<string, string>> = {
    'GET /v1/environments/:environment/plan': 'head=main',
    'GET /v1/messages/batch/content': `message_ids[]=${scene.messages['ann']}`,
    'POST /v1/tenants/bulk/delete': 'tenant_ids[]=acme',
  }
  return needed[nameOf(route)] ?? ''
}

let scene: Scene
beforeAll(async () => {
  scene = await openScene()
})
afterAll(() => scene[Symbol.asyncDispose]())

/** A plan waits for a process that reads Git, which is not there; the installation is of no environment. */
const reads = keyed.filter(
  ({ method, path }) => method === 'GET' && !/\/plan$|\/installation$/.test(path),
)
const writes = keyed.filter(({ method }) => method !== 'GET')
/** It shows nothing of what an environment's rows hold. */
const SHOWS_NOTHING = 'GET /v1/users/:id/feeds/:channel/settings'
/** Whether staging may lack something afterwards that another route asks for. */
const isDestructive = ({ method, path }: Route): boolean =>
  method === 'DELETE' ? !/messages|environments/.test(path) : /merge|cancel/.test(path)

type Caller = Omit<Parameters<typeof callRoute>[2], 'query'>

/** What a route answers, in one line. */
async function textOf(route: Route, caller: Caller): Promise<string> {
  const { status, body } = await callRoute(scene, route, {
    ...caller,
    query: `?${neededBy(route)}`,
  })
  return `${nameOf(route)} ${status} ${JSON.stringify(body)}`
}

/** Those whose key opens staging for this route: a secret one, and a user's. */
function callersOf(route: (typeof keyed)[number]): readonly Caller[] {
  const token = signToken(staging, now, { sub: 'ann' })
  const page = { key: STAGING_PAGE, token, environment: 'staging' }
  const key = { key: scene.keys.staging, environment: 'staging' }
  return forClients.includes(route) ? [key, page] : [key]
}

describe('where staging has the same ids and names as production', () => {
  test('each key reads what is of its own environment', async () => {
    const bare = (await stateOf(scene.database)).filter(({ count }) => count === 0)
    expect(bare).toEqual([])
    // What production shows while it is alone is what staging has to show beside it.
    const alone = new Map<Route, string>()
    for (const route of reads) alone.set(route, await textOf(route, { key: scene.keys.production }))
    const blank = reads.filter((route) => !alone.get(route)?.includes(MARK))
    expect(blank.map(nameOf)).toEqual([SHOWS_NOTHING])
    await (
      await openTwin(scene.database)
    )()
    for (const route of reads)
      for (const caller of callersOf(route))
        expect(await textOf(route, caller)).toBe(
          alone.get(route)?.replaceAll('production', 'staging'),
        )
  })

  test('each key changes what is of its own environment', async () => {
    const before = await stateOf(scene.database)
    const refill = await openTwin(scene.database)
    const refused: string[] = []
    await refill()
    for (const route of writes)
      for (const caller of callersOf(route)) {
        const text = await textOf(route, caller)
        expect(text).not.toContain(MARK)
        if (!/ 2\d\d /.test(text)) refused.push(nameOf(route))
        if (isDestructive(route)) await refill()
      }
    expect(await stateOf(scene.database)).toEqual(before)
    // Only what is no longer declared can be retired.
    expect(refused).toEqual(['PUT /v1/environments/:environment/retire'])
    expect(scene.server.failures).toEqual([])
  })
})

describe('what belongs to production', () => {
  test('is opened by no key of another environment', async () => {
    const before = await stateOf(scene.database)
    for (const route of keyed) {
      const named = await callRoute(scene, route, {
        key: scene.keys.staging,
        query: `?environment=production&${neededBy(route)}`,
      })
      expect({ route: nameOf(route), status: named.status }).toMatchObject({ status: 403 })
      const { body } = await callRoute(scene, route, {
        key: scene.keys.staging,
        query: `?${neededBy(route)}`,
      })
      expect(`${nameOf(route)} ${JSON.stringify(body)}`).not.toContain(MARK)
      const unkeyed = await callRoute(scene, route, {})
      expect({ route: nameOf(route), status: unkeyed.status }).toMatchObject({ status: 401 })
    }
    expect(await stateOf(scene.database)).toEqual(before)
    expect(scene.server.failures).toEqual([])
  })

  test('is closed to a public key and the best of tokens, unless it is its user’s', async () => {
    const before = await stateOf(scene.database)
    for (const route of secret) {
      const reply = await callRoute(scene, route, { key: PAGE, token: ann })
      expect({ route: nameOf(route), ...reply }).toMatchObject({
        status: 403,
        body: { code: 'incorrect_token_type' },
      })
    }
    for (const route of granted) {
      const reply = await callRoute(scene, route, { key: PAGE, token: ann })
      expect({ route: nameOf(route), ...reply }).toMatchObject({
        status: 403,
        body: { code: 'user_mismatch' },
      })
    }
    expect(await stateOf(scene.database)).toEqual(before)
  })

  test('is opened by no token that is not signed for it and valid now', async () => {
    const before = await stateOf(scene.database)
    for (const route of [...forClients, ...granted]) {
      for (const [what, token] of Object.entries(tokens)) {
        const reply = await callRoute(scene, route, {
          key: PAGE,
          ...(token !== undefined && { token }),
        })
        expect({ route: nameOf(route), what, status: reply.status }).toMatchObject({ status: 401 })
      }
    }
    expect(await stateOf(scene.database)).toEqual(before)
  })

  test('is opened by no token of another user', async () => {
    const before = await stateOf(scene.database)
    for (const route of forClients) {
      const reply = await callRoute(scene, route, { key: PAGE, token: ann, user: 'bo' })
      expect(`${nameOf(route)} ${JSON.stringify(reply.body)}`).not.toContain(MARK)
      // Of many messages, those of others are passed over, as those are that there are not.
      const isRefused = [403, 404].includes(reply.status) || isEmptyBatch(route, reply)
      expect({ route: nameOf(route), isRefused }).toMatchObject({ isRefused: true })
    }
    expect(await stateOf(scene.database)).toEqual(before)
  })

  test('is marked by its user in a feed, and not elsewhere', async () => {
    const before = await stateOf(scene.database)
    for (const route of forClients.filter((one) => one.path.startsWith('/v1/messages/'))) {
      const reply = await callRoute(scene, route, { key: PAGE, token: ann, user: 'outside' })
      const isRefused = reply.status === 404 || isEmptyBatch(route, reply)
      expect({ route: nameOf(route), isRefused }).toMatchObject({ isRefused: true })
    }
    const path = '/v1/channels/feed/messages/bulk/delete'
    const headers = { 'x-knock-user-token': ann }
    const deleted = await scene.server.call('POST', path, { key: PAGE, headers, body: {} })
    expect(deleted).toMatchObject({ status: 403 })
    expect(await stateOf(scene.database)).toEqual(before)
  })

  test('is open to its user', async () => {
    for (const route of forClients) {
      const reply = await callRoute(scene, route, { key: PAGE, token: ann })
      expect({ route: nameOf(route), ...reply }).toMatchObject({ status: 200 })
    }
    const [operation] = await scene.database.query(sql`
      select request from bulk_operations where environment = 'production' and name = 'messages.mark'
    `)
    expect(operation).toMatchObject({ request: { recipients: ['ann'], inAppOnly: true } })
    const named = await callRoute(scene, firstForClients, {
      key: PAGE,
      token: ann,
      query: '?environment=staging',
    })
    expect(named).toMatchObject({ status: 403, body: { code: 'environment_mismatch' } })
  })

  test('is open to another user as far as the token grants it', async () => {
    const grants = { 'https://api.example.com/v1/users/bo': { 'user/feed_read': [] } }
    const token = signToken(own, now, { sub: 'ann', grants })
    const statuses: Record<string, number> = {}
    for (const route of forClients.filter((one) => table[nameOf(one)] === 'user'))
      statuses[nameOf(route)] = (
        await callRoute(scene, route, { key: PAGE, token, user: 'bo' })
      ).status
    const opened = Object.entries(statuses).filter(([, status]) => status === 200)
    expect(opened.map(([name]) => name)).toEqual([
      'GET /v1/users/:id/feeds/:channel',
      'GET /v1/users/:id/feeds/:channel/settings',
    ])
  })
})

async function setKeys(keys: object | null): Promise<void> {
  await scene.database.query(sql`
    update environments
    set settings = settings || jsonb_build_object('client_keys', ${JSON.stringify(keys ?? {})}::jsonb)
    where name = 'production'
  `)
}

describe('an environment that names no key', () => {
  beforeAll(() => setKeys(null))
  afterAll(() => setKeys({ app: { pem: own.pem } }))

  test('opens nothing to a public key', async () => {
    for (const token of [ann, tokens['alg none']]) {
      const options = { key: PAGE, ...(token !== undefined && { token }) }
      const reply = await callRoute(scene, firstForClients, options)
      expect(reply).toMatchObject({ status: 401, body: { code: 'missing_jwt_signing_key' } })
    }
  })

  test('lets anybody in as anybody in development, and only to what is a user’s', async () => {
    await using server = await serveAll(scene.database, {
      unsignedIn: 'production' as EnvironmentName,
    })
    const open = { ...scene, server }
    for (const route of forClients)
      for (const user of ['ann', 'bo'])
        expect(await callRoute(open, route, { key: PAGE, user })).toMatchObject({ status: 200 })
    for (const route of secret)
      expect(await callRoute(open, route, { key: PAGE })).toMatchObject({ status: 403 })
    const outside = await scene.server.call('PUT', `/v1/messages/${scene.messages['outside']}/read`)
    expect(outside.status).toBe(401)
  })
})

test('an environment of development asks for tokens as soon as it names a key', async () => {
  await using server = await serveAll(scene.database, {
    unsignedIn: 'production' as EnvironmentName,
  })
  const reply = await callRoute({ ...scene, server }, firstForClients, { key: PAGE })
  expect(reply).toMatchObject({ status: 401, body: { code: 'missing_user_token' } })
})

/** Marks a message of ann's, by whose token it is. */
function markAs(sub: string): Promise<TestReply> {
  return scene.server.call('POST', '/v1/messages/batch/read', {
    key: PAGE,
    headers: { 'x-knock-user-token': signToken(own, now, { sub }), 'idempotency-key': 'k' },
    body: { message_ids: [scene.messages['ann']] },
  })
}

test('two users that send the same under one idempotency key are two callers', async () => {
  expect(await markAs('ann')).toMatchObject({ status: 200, body: [{ recipient: 'ann' }] })
  expect(await markAs('bo')).toMatchObject({
    status: 400,
    body: { code: 'idempotency_key_reused' },
  })
})
