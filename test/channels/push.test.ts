import { createECDH, createPublicKey, generateKeyPairSync, randomBytes, verify } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import webPush from 'web-push'
import { apns } from '../../src/channels/apns.ts'
import { openDoor } from '../../src/channels/door.ts'
import type { Door } from '../../src/channels/door.ts'
import { expo } from '../../src/channels/expo.ts'
import { fcm } from '../../src/channels/fcm.ts'
import type { HandOver } from '../../src/channels/provider.ts'
import { webpush } from '../../src/channels/webpush.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import type { PushContent } from '../../src/steps/step.ts'
import { startHttp, type Responder } from '../support/http.ts'
import { startHttp2 } from '../support/http2.ts'
import { id, now } from './conformance/case.ts'

const pem = { type: 'pkcs8', format: 'pem' } as const
const spki = { type: 'spki', format: 'pem' } as const
const rsa = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  privateKeyEncoding: pem,
  publicKeyEncoding: spki,
})
const ec = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  privateKeyEncoding: pem,
  publicKeyEncoding: spki,
})

let door: Door
beforeEach(() => {
  door = openDoor({ allow: [], loopback: true })
})
afterEach(() => door.close())

function aPush(content: Partial<PushContent> = {}): HandOver<PushContent> {
  return {
    id,
    environment: 'production' as EnvironmentName,
    attempt: 1,
    content: {
      type: 'push',
      token: 'device-1',
      title: 'Hi',
      body: 'There',
      data: null,
      silent: false,
      ...content,
    },
  }
}

function within<Settings>(settings: Settings, at = now) {
  return { settings, signal: AbortSignal.timeout(5_000), now: at, door, secret: () => '' }
}

/** The parts of a token whose signature holds. */
function verified(token: string, publicKey: string): readonly unknown[] {
  const [head = '', body = '', signature = ''] = token.split('.')
  const key = { key: createPublicKey(publicKey), dsaEncoding: 'ieee-p1363' } as const
  const isGenuine = verify(
    'sha256',
    Buffer.from(`${head}.${body}`),
    key,
    Buffer.from(signature, 'base64url'),
  )
  expect(isGenuine).toBe(true)
  return [head, body].map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()))
}

const large = aPush({ body: 'x'.repeat(4_096) })
const tooLarge = { kind: 'rejected', reason: 'invalid_request', exchange: null }

const accountOf = (url: string, more: object = {}) =>
  JSON.stringify({
    client_email: 'belfry@example.iam.gserviceaccount.com',
    private_key: rsa.privateKey,
    project_id: 'example',
    token_uri: `${url}/token`,
    ...more,
  })
const answering =
  (token: number, message = 200): Responder =>
  (request, response) => {
    const isToken = request.path === '/token'
    response.writeHead(isToken ? token : message, { 'content-type': 'application/json' })
    response.end(isToken ? '{"access_token":"at-1"}' : '{"name":"m-1"}')
  }

const settingsOf = (endpoint: string) => ({
  key: ec.privateKey,
  key_id: 'ABC123DEFG',
  team_id: 'DEF123GHIJ',
  topic: 'com.example.app',
  endpoint,
})
const taking: Responder = (_request, response) => void response.writeHead(200).end()

/** Minutes behind a full hour. */
const minutesIn = (count: number) => new Date(Date.UTC(2030, 0, 1, 3, count))

test.each([
  [90_400, '90', 'of what is left'],
  [-5_000, '0', 'of nothing, once its time is over'],
])('%i ms to its end: each service is told %s seconds, %s', async (ms, seconds, _what) => {
  const push = { ...aPush(), expiresAt: new Date(now.getTime() + ms) }
  const until = String(Math.floor(push.expiresAt.getTime() / 1000))
  await using server = await startHttp(answering(200))
  await using apple = await startHttp2(taking)
  const keys = webPush.generateVAPIDKeys()
  const browser = createECDH('prime256v1')
  const subscription = {
    endpoint: `${server.url}/push`,
    keys: {
      p256dh: browser.generateKeys().toString('base64url'),
      auth: randomBytes(16).toString('base64url'),
    },
  }
  await apns.send(push, within(settingsOf(apple.url)))
  expect(apple.requests[0]?.headers['apns-expiration']).toBe(until)
  await fcm.send(push, within({ service_account: accountOf(server.url), endpoint: server.url }))
  expect(JSON.parse(server.requests.at(-1)!.body)).toMatchObject({
    message: { android: { ttl: `${seconds}s` }, apns: { headers: { 'apns-expiration': until } } },
  })
  await expo.send(push, within({ endpoint: server.url }))
  expect(JSON.parse(server.requests.at(-1)!.body)).toMatchObject({ ttl: Number(seconds) })
  const vapid = { public_key: keys.publicKey, private_key: keys.privateKey }
  await webpush.send(
    { ...push, content: { ...push.content, subscription } },
    within({ ...vapid, subject: 'mailto:push@example.com' }),
  )
  expect(server.requests.at(-1)?.headers['ttl']).toBe(seconds)
})

describe('fcm', () => {
  test('asks for a token once in fifty minutes, with an assertion that verifies', async () => {
    await using server = await startHttp(answering(200))
    const settings = { service_account: accountOf(server.url), endpoint: server.url }
    for (const at of [0, 49, 51]) await fcm.send(aPush(), within(settings, minutesIn(at)))
    const asked = server.requests.filter(({ path }) => path === '/token')
    expect(asked).toHaveLength(2)
    const form = new URLSearchParams(asked[0]!.body)
    expect(form.get('grant_type')).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer')
    const iat = minutesIn(0).getTime() / 1000
    expect(verified(form.get('assertion') ?? '', rsa.publicKey)).toEqual([
      { alg: 'RS256', typ: 'JWT' },
      {
        iss: 'belfry@example.iam.gserviceaccount.com',
        aud: `${server.url}/token`,
        scope: 'https://www.googleapis.com/auth/firebase.messaging',
        iat,
        exp: iat + 3_600,
      },
    ])
  })

  test('asks for another token when the one it has is refused', async () => {
    await using server = await startHttp(answering(200, 401))
    const settings = { service_account: accountOf(server.url), endpoint: server.url }
    for (let index = 0; index < 2; index += 1) {
      expect(await fcm.send(aPush(), within(settings))).toMatchObject({ kind: 'failed' })
    }
    expect(server.requests.filter(({ path }) => path === '/token')).toHaveLength(2)
  })

  test.each([
    [400, { kind: 'failed', channel: true }],
    [401, { kind: 'failed', channel: true }],
    [403, { kind: 'failed', channel: true }],
    [503, { kind: 'failed' }],
    [429, { kind: 'throttled' }],
  ])('sends nothing where the token is answered by %i', async (status, expected) => {
    await using server = await startHttp(answering(status))
    const settings = { service_account: accountOf(server.url), endpoint: server.url }
    const answer = await fcm.send(aPush(), within(settings))
    expect(answer).toMatchObject({
      ...expected,
      exchange: null,
      details: /no access token/ as never,
    })
    expect('channel' in answer).toBe('channel' in expected)
    expect(server.requests).toHaveLength(1)
  })

  test('sends nothing that is too large', async () => {
    const settings = { service_account: accountOf('http://127.0.0.1:1') }
    expect(await fcm.send(large, within(settings))).toMatchObject(tooLarge)
  })
})

describe('apns', () => {
  test('sends over one connection, with one token for half an hour', async () => {
    await using server = await startHttp2(taking)
    const settings = settingsOf(server.url)
    for (const at of [0, 1, 29, 31]) await apns.send(aPush(), within(settings, minutesIn(at)))
    expect(server.sessions()).toBe(1)
    const tokens = server.requests.map(({ headers }) => headers.authorization ?? '')
    expect(new Set(tokens).size).toBe(2)
    expect(verified(tokens[1]!.replace('bearer ', ''), ec.publicKey)).toEqual([
      { alg: 'ES256', typ: 'JWT', kid: 'ABC123DEFG' },
      { iss: 'DEF123GHIJ', iat: Date.UTC(2030, 0, 1, 3) / 1000 },
    ])
  })

  test('opens another connection when the first one is gone', async () => {
    const first = await startHttp2(taking)
    const settings = settingsOf(first.url)
    expect(await apns.send(aPush(), within(settings))).toMatchObject({ kind: 'accepted' })
    await first[Symbol.asyncDispose]()
    expect(await apns.send(aPush(), within(settings))).toMatchObject({ kind: 'failed' })
    await using second = await startHttp2(taking)
    const other = within(settingsOf(second.url))
    expect(await apns.send(aPush(), other)).toMatchObject({ kind: 'accepted' })
  })

  test('knows that a server which speaks no HTTP/2 took nothing it understood', async () => {
    await using server = await startHttp()
    const answer = await apns.send(aPush(), within(settingsOf(server.url)))
    expect(['failed', 'unknown']).toContain(answer.kind)
    expect(server.requests).toEqual([])
  })

  test('wakes an app without showing anything', async () => {
    await using server = await startHttp2(taking)
    await apns.send(aPush({ silent: true, data: { aps: 'mine' } }), within(settingsOf(server.url)))
    const [request] = server.requests
    expect(request?.headers).toMatchObject({ 'apns-push-type': 'background', 'apns-priority': '5' })
    expect(JSON.parse(request?.body ?? '')).toEqual({ aps: { 'content-available': 1 } })
  })

  test('says that the channel is wrong where its key is', async () => {
    const settings = { ...settingsOf('http://127.0.0.1:1'), key: rsa.privateKey }
    expect(await apns.send(aPush(), within(settings))).toMatchObject({
      kind: 'failed',
      channel: true,
    })
    expect(await apns.send(large, within(settings))).toMatchObject(tooLarge)
  })
})

describe('webpush', () => {
  const { publicKey, privateKey } = webPush.generateVAPIDKeys()
  const settings = {
    public_key: publicKey,
    private_key: privateKey,
    subject: 'mailto:a@example.com',
  }
  const subscription = { endpoint: 'https://push.example.com/1', keys: { p256dh: 'x', auth: 'x' } }

  test('sends nothing without a subscription, or to one with keys that are none', async () => {
    const none = await webpush.send(aPush(), within(settings))
    expect(none).toMatchObject({ kind: 'rejected', reason: 'invalid_address', exchange: null })
    const broken = await webpush.send(aPush({ subscription }), within(settings))
    expect(broken).toMatchObject(tooLarge)
    const content = aPush({ subscription, body: 'x'.repeat(4_096) })
    expect(await webpush.send(content, within(settings))).toMatchObject(tooLarge)
  })
})
