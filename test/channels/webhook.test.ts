import { createHmac } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openDoor } from '../../src/channels/door.ts'
import type { Door } from '../../src/channels/door.ts'
import { webhook } from '../../src/channels/webhook.ts'
import type { WebhookSettings } from '../../src/channels/webhook.ts'
import type { EnvironmentName, MessageId } from '../../src/ids.ts'
import type { WebhookContent } from '../../src/steps/step.ts'
import { startHttp } from '../support/http.ts'

const now = new Date('2030-01-02T03:04:05Z')
const id = '0190a0b0-0000-7000-8000-000000000001' as MessageId
let door: Door

beforeEach(() => {
  door = openDoor({ allow: [], loopback: true })
})
afterEach(() => door.close())

function send(
  content: Partial<WebhookContent> & { readonly url: string },
  settings: WebhookSettings = {},
  signal = AbortSignal.timeout(5_000),
) {
  const message = {
    id,
    environment: 'production' as EnvironmentName,
    attempt: 1,
    content: {
      type: 'webhook' as const,
      method: 'POST',
      headers: {},
      query: {},
      body: { hello: 'world' },
      secrets: {},
      ...content,
    },
  }
  return webhook.send(message, {
    settings,
    signal,
    now,
    door,
    secret: (name) => `value of ${name}`,
  })
}

test('a request carries its body, the idempotency key and a signature that verifies', async () => {
  await using server = await startHttp()
  const key = Buffer.from('0123456789abcdef0123456789abcdef')
  const answer = await send(
    { url: `${server.url}/hook?a=1`, query: { b: 'ü &' }, headers: { 'X-Team': 'core' } },
    { signing_secret: `whsec_${key.toString('base64')}` },
  )
  expect(answer).toMatchObject({ kind: 'accepted', status: 'delivered' })
  const [request] = server.requests
  expect(request).toMatchObject({
    method: 'POST',
    path: '/hook?a=1&b=%C3%BC+%26',
    body: '{"hello":"world"}',
    headers: {
      'content-type': 'application/json',
      'x-team': 'core',
      'idempotency-key': id,
      'webhook-id': id,
      'webhook-timestamp': '1893553445',
    },
  })
  const signed = createHmac('sha256', key).update(`${id}.1893553445.${request?.body}`)
  expect(request?.headers['webhook-signature']).toBe(`v1,${signed.digest('base64')}`)
})

test('secrets stand in the request and only their placeholders in the log', async () => {
  await using server = await startHttp()
  const answer = await send({
    url: `${server.url}/hook`,
    headers: { authorization: 'Bearer §1§' },
    query: { key: '§1§' },
    body: { nested: ['§1§'] },
    secrets: { '§1§': 'crm_token' },
  })
  expect(server.requests[0]).toMatchObject({
    path: '/hook?key=value+of+crm_token',
    headers: { authorization: 'Bearer value of crm_token' },
    body: '{"nested":["value of crm_token"]}',
  })
  expect(JSON.stringify(answer)).not.toMatch(/value.of/)
  expect(answer.exchange?.request.body).toEqual({ nested: ['§1§'] })
})

test('a URL that is a secret as a whole is used and not shown', async () => {
  await using server = await startHttp()
  const message = {
    id,
    environment: 'production' as EnvironmentName,
    attempt: 1,
    content: {
      type: 'webhook' as const,
      method: 'POST',
      url: '§1§',
      headers: {},
      query: {},
      body: null,
      secrets: { '§1§': 'hook_url' },
    },
  }
  const answer = await webhook.send(message, {
    settings: {},
    signal: AbortSignal.timeout(5_000),
    now,
    door,
    secret: () => `${server.url}/services/T0/xyz`,
  })
  expect(answer.kind).toBe('accepted')
  expect(server.requests[0]?.path).toBe('/services/T0/xyz')
  expect(JSON.stringify(answer)).not.toContain('xyz')
})

test.each([
  [200, {}, 'accepted'],
  [204, {}, 'accepted'],
  [301, { location: 'http://example.com/' }, 'rejected'],
  [400, {}, 'rejected'],
  [401, {}, 'rejected'],
  [403, {}, 'rejected'],
  [404, {}, 'rejected'],
  [405, {}, 'rejected'],
  [408, {}, 'failed'],
  [409, {}, 'failed'],
  [410, {}, 'rejected'],
  [425, {}, 'failed'],
  [429, {}, 'throttled'],
  [500, {}, 'failed'],
  [502, {}, 'failed'],
  [503, {}, 'failed'],
  [503, { 'retry-after': '7' }, 'throttled'],
  [599, {}, 'failed'],
])('an answer of %i %o means %s', async (status, headers, kind) => {
  await using server = await startHttp((_request, response) => {
    response.writeHead(status, headers).end()
  })
  const answer = await send({ url: server.url })
  expect(answer.kind).toBe(kind)
  expect(server.requests).toHaveLength(1)
})

test.each([
  ['120', 120_000],
  ['Wed, 02 Jan 2030 03:05:05 GMT', 60_000],
  ['999999999', 3_600_000],
  ['Fri, 01 Feb 2030 00:00:00 GMT', 3_600_000],
  ['soon', undefined],
])('Retry-After %s is honoured', async (value, retryAfterMs) => {
  await using server = await startHttp((_request, response) => {
    response.writeHead(429, { 'retry-after': value }).end()
  })
  const answer = await send({ url: server.url })
  expect(answer.kind === 'throttled' && answer.retryAfterMs).toBe(retryAfterMs)
})

test.each([
  ['no URL', { url: 'nonsense' }, 'invalid_request'],
  ['another scheme', { url: 'ftp://example.com/' }, 'invalid_request'],
  ['a metadata address', { url: 'http://169.254.169.254/latest' }, 'forbidden_target'],
  ['a strange method', { url: 'http://example.com/', method: 'CONNECT' }, 'invalid_request'],
  [
    'a line break in a header',
    { url: 'http://example.com/', headers: { a: 'b\r\nc: d' } },
    'invalid_request',
  ],
  [
    'a reserved header',
    { url: 'http://example.com/', headers: { Host: 'internal' } },
    'invalid_request',
  ],
])('%s is refused and not sent', async (_case, content, reason) => {
  expect(await send(content)).toMatchObject({ kind: 'rejected', reason, exchange: null })
})

test('silence after the request leaves it unknown', async () => {
  await using server = await startHttp(() => {})
  const answer = await send({ url: server.url }, {}, AbortSignal.timeout(80))
  expect(answer.kind).toBe('unknown')
})

test('a refused connection fails', async () => {
  const dead = await startHttp()
  await dead[Symbol.asyncDispose]()
  expect(await send({ url: dead.url })).toMatchObject({ kind: 'failed' })
})

test('a secret stays in its part of the URL, and one that is the whole URL is kept out of failures', async () => {
  await using server = await startHttp()
  const answer = await webhookWith(`${server.url}/a/§1§/b?key=§2§#§1§`, {
    '§1§': '../x?y#z/%',
    '§2§': 'a&b=c d',
  })
  expect(answer).toMatchObject({ kind: 'accepted' })
  expect(server.requests[0]?.path).toBe('/a/..%2Fx%3Fy%23z%2F%25/b?key=a%26b%3Dc%20d')
  const begun = await webhookWith('§1§§2§?a=1', { '§1§': server.url, '§2§': '/path/x?b=2' })
  expect(begun).toMatchObject({ kind: 'accepted' })
  expect(server.requests[1]?.path).toBe('/path/x?b=2?a=1')
  const closed = await webhookWith('§1§', { '§1§': 'https://tenant-42.invalid/hook' })
  expect(closed.kind).toBe('failed')
  expect(JSON.stringify(closed)).not.toContain('tenant-42')
})

function webhookWith(url: string, values: Readonly<Record<string, string>>) {
  const content = {
    type: 'webhook' as const,
    method: 'POST',
    url,
    headers: {},
    query: {},
    body: null,
    secrets: Object.fromEntries(Object.keys(values).map((mark) => [mark, mark])),
  }
  return webhook.send(
    { id, environment: 'production' as EnvironmentName, attempt: 1, content },
    {
      settings: {},
      signal: AbortSignal.timeout(5_000),
      now,
      door,
      secret: (name) => values[name] ?? '',
    },
  )
}

test('a header beyond ASCII goes out in UTF-8, with a body and without', async () => {
  await using server = await startHttp()
  for (const body of [{ hello: 'wörld' }, null]) {
    const headers = { 'X-Note': 'Grüße, 日本 🎉' }
    expect(await send({ url: server.url, headers, body })).toMatchObject({ kind: 'accepted' })
  }
  for (const { headers } of server.requests)
    expect(Buffer.from(String(headers['x-note']), 'latin1').toString()).toBe('Grüße, 日本 🎉')
  expect(server.requests.map(({ body }) => body)).toEqual(['{"hello":"wörld"}', ''])
})
