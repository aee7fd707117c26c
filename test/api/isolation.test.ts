import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { routes } from '../../src/api/index.ts'
import type { Route } from '../../src/api/route.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { makeKeys, signToken, writeToken } from '../support/client-keys.ts'
import { serveAll } from './contract-support.ts'
import { type TestReply } from './server-support.ts'

import {
  callRoute,
  MARK,
  nameOf,
  now,
  openScene,
  own,
  PAGE,
  staging,
  stateOf,
  type Scene,
} from './isolation-support.ts'

// Every route with every key that must not open it. A route that is not in the table fails the first test.

/** `secret`: no public key opens it; `user`, `messages`: one does, for its own user; `granted`: for whom its token names beside; `open`, `signed`: it asks for no key. */
type Verdict = 'secret' | 'user' | 'granted' | 'messages' | 'open' | 'signed'

const table: Readonly<Record<string, Verdict>> = {
  'POST /v1/workflows/:key/trigger': 'secret',
  'POST /v1/workflows/:key/cancel': 'secret',
  'PUT /v1/workflows/:key/activate': 'secret',
  'GET /v1/workflows/:key/activations': 'secret',
  'GET /v1/workflows': 'secret',
  'GET /v1/workflows/:key': 'secret',
  'GET /v1/messages': 'secret',
  'GET /v1/users/:id/messages': 'secret',
  'GET /v1/objects/:collection/:id/messages': 'secret',
  'GET /v1/messages/batch/content': 'secret',
  'GET /v1/messages/:id': 'secret',
  'GET /v1/messages/:id/content': 'secret',
  'GET /v1/messages/:id/activities': 'secret',
  'GET /v1/messages/:id/events': 'secret',
  'GET /v1/messages/:id/delivery_logs': 'secret',
  'PUT /v1/messages/:id/seen': 'messages',
  'DELETE /v1/messages/:id/seen': 'messages',
  'PUT /v1/messages/:id/read': 'messages',
  'DELETE /v1/messages/:id/read': 'messages',
  'PUT /v1/messages/:id/interacted': 'messages',
  'PUT /v1/messages/:id/archived': 'messages',
  'DELETE /v1/messages/:id/archived': 'messages',
  'DELETE /v1/messages/:id/unseen': 'messages',
  'DELETE /v1/messages/:id/unread': 'messages',
  'DELETE /v1/messages/:id/unarchived': 'messages',
  'POST /v1/messages/batch/seen': 'messages',
  'POST /v1/messages/batch/unseen': 'messages',
  'POST /v1/messages/batch/read': 'messages',
  'POST /v1/messages/batch/unread': 'messages',
  'POST /v1/messages/batch/interacted': 'messages',
  'POST /v1/messages/batch/archived': 'messages',
  'POST /v1/messages/batch/unarchived': 'messages',
  'POST /v1/channels/:channel/messages/bulk/:action': 'messages',
  'GET /v1/channels/:channel/suppressions': 'secret',
  'DELETE /v1/channels/:channel/suppressions/:address': 'secret',
  'GET /v1/users/:id/feeds/:channel': 'user',
  'GET /v1/users/:id/feeds/:channel/settings': 'user',
  'GET /v1/workflow_recipient_runs': 'secret',
  'GET /v1/workflow_recipient_runs/:id': 'secret',
  'POST /v1/workflow_recipient_runs/:id/cancel': 'secret',
  'POST /v1/workflow_recipient_runs/:id/wake': 'secret',
  'POST /v1/workflow_recipient_runs/:id/replay': 'secret',
  'GET /v1/workflow_runs/:id': 'secret',
  'GET /v1/users/:id/preferences': 'user',
  'GET /v1/users/:id/preferences/:set': 'user',
  'PUT /v1/users/:id/preferences/:set': 'user',
  'DELETE /v1/users/:id/preferences/:set': 'secret',
  'GET /v1/objects/:collection/:id/preferences': 'secret',
  'GET /v1/objects/:collection/:id/preferences/:set': 'secret',
  'PUT /v1/objects/:collection/:id/preferences/:set': 'secret',
  'DELETE /v1/objects/:collection/:id/preferences/:set': 'secret',
  'POST /v1/users/bulk/preferences': 'secret',
  'GET /v1/bulk_operations/:id': 'secret',
  'POST /v1/users/bulk/identify': 'secret',
  'POST /v1/users/bulk/delete': 'secret',
  'POST /v1/objects/:collection/bulk/set': 'secret',
  'POST /v1/objects/:collection/bulk/delete': 'secret',
  'POST /v1/objects/:collection/bulk/subscriptions/add': 'secret',
  'POST /v1/objects/:collection/bulk/subscriptions/delete': 'secret',
  'POST /v1/schedules/bulk/create': 'secret',
  'POST /v1/tenants/bulk/set': 'secret',
  'POST /v1/tenants/bulk/delete': 'secret',
  'GET /v1/users': 'secret',
  'GET /v1/users/:id': 'user',
  'PUT /v1/users/:id': 'user',
  'DELETE /v1/users/:id': 'secret',
  'POST /v1/users/:id/merge': 'secret',
  'GET /v1/objects/:collection': 'secret',
  'GET /v1/objects/:collection/:id': 'secret',
  'PUT /v1/objects/:collection/:id': 'secret',
  'DELETE /v1/objects/:collection/:id': 'secret',
  'POST /v1/objects/:collection/:id/subscriptions': 'secret',
  'DELETE /v1/objects/:collection/:id/subscriptions': 'secret',
  'GET /v1/objects/:collection/:id/subscriptions': 'secret',
  'GET /v1/users/:id/subscriptions': 'secret',
  'GET /v1/users/:id/channel_data/:channel': 'user',
  'PUT /v1/users/:id/channel_data/:channel': 'user',
  'DELETE /v1/users/:id/channel_data/:channel': 'secret',
  'GET /v1/objects/:collection/:id/channel_data/:channel': 'granted',
  'PUT /v1/objects/:collection/:id/channel_data/:channel': 'granted',
  'DELETE /v1/objects/:collection/:id/channel_data/:channel': 'secret',
  'POST /v1/workflows/:key/preview': 'secret',
  'GET /v1/installation': 'secret',
  'GET /v1/audiences/:key/members': 'secret',
  'POST /v1/audiences/:key/members': 'secret',
  'DELETE /v1/audiences/:key/members': 'secret',
  'GET /v1/sources/:key/events': 'secret',
  'POST /v1/sources/:key/events/:id/replay': 'secret',
  'POST /v1/sources/:key': 'signed',
  'POST /v1/batch': 'signed',
  'POST /v1/track': 'signed',
  'POST /v1/identify': 'signed',
  'POST /v1/group': 'signed',
  'POST /v1/alias': 'signed',
  'POST /v1/page': 'signed',
  'POST /v1/screen': 'signed',
  'POST /v1/schedules': 'secret',
  'PUT /v1/schedules': 'secret',
  'DELETE /v1/schedules': 'secret',
  'GET /v1/schedules': 'secret',
  'GET /v1/users/:id/schedules': 'secret',
  'GET /v1/objects/:collection/:id/schedules': 'secret',
  'GET /v1/tenants': 'secret',
  'GET /v1/tenants/:id': 'secret',
  'PUT /v1/tenants/:id': 'secret',
  'DELETE /v1/tenants/:id': 'secret',
  'GET /v1/environments': 'secret',
  'GET /v1/environments/:environment': 'secret',
  'POST /v1/environments/:environment/reconcile': 'secret',
  'GET /v1/environments/:environment/sending': 'secret',
  'PUT /v1/environments/:environment/sending': 'secret',
  'GET /v1/environments/:environment/plan': 'secret',
  'GET /v1/environments/:environment/brakes': 'secret',
  'PUT /v1/environments/:environment/suspend': 'secret',
  'DELETE /v1/environments/:environment/suspend': 'secret',
  'PUT /v1/environments/:environment/retire': 'secret',
  'DELETE /v1/environments/:environment/retire': 'secret',
  'PUT /v1/environments/:environment/pin': 'secret',
  'DELETE /v1/environments/:environment/pin': 'secret',
  'GET /v1/environments/:environment/revisions': 'secret',
  'GET /v1/environments/:environment/drift': 'secret',
  'POST /hooks/git/:provider': 'signed',
  'POST /hooks/channels/:environment/:channel': 'signed',
  'GET /unsubscribe/:token': 'open',
  'POST /unsubscribe/:token': 'signed',
  'GET /l/:token': 'open',
  'GET /o/:token': 'open',
  'GET /s/:code': 'open',
  'GET /healthz': 'open',
  'GET /openapi.json': 'open',
  'GET /readyz': 'open',
  'GET /metrics': 'open',
}

test('every route is in the table, and nothing else', () => {
  expect(Object.keys(table).toSorted()).toEqual(routes.map(nameOf).toSorted())
})

const keyed = routes.filter((route) => route.kind === 'read' || route.kind === 'mutation')
const forClients = keyed.filter((route) =>
  ['user', 'messages'].includes(table[nameOf(route)] ?? ''),
)
const [firstForClients = keyed[0] as Route] = forClients
const secret = keyed.filter((route) => table[nameOf(route)] === 'secret')
const granted = keyed.filter((route) => table[nameOf(route)] === 'granted')
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
