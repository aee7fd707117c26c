import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { KEYS, type CallOptions, type TestApp } from './app-support.ts'
import {
  body,
  bo,
  BODY_BYTES_MAX,
  countRows,
  openScene,
  sized,
  TRIGGER,
  type Scene,
} from './calls-support.ts'

// Calls at the edge of what is taken, over HTTP against the whole program.

let scene: Scene
let app: TestApp

beforeAll(async () => {
  scene = await openScene()
  app = scene.app
})

afterAll(() => scene[Symbol.asyncDispose]())

/** Sends bytes as they are and answers what comes back before the connection ends. */
async function sendRaw(text: string): Promise<string> {
  const { hostname, port } = new URL(app.url)
  const socket = connect(Number(port), hostname)
  socket.end(text)
  let reply = ''
  for await (const chunk of socket) reply += String(chunk)
  return reply
}

const raw: readonly (readonly [string, string, RegExp])[] = [
  ['no HTTP', 'hello\r\n\r\n', /^HTTP\/1\.1 400 /],
  [
    'two lengths',
    'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx',
    /^HTTP\/1\.1 400 /,
  ],
  [
    'a length and chunks',
    'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx',
    /^HTTP\/1\.1 400 /,
  ],
  [
    'NUL in a header',
    'GET /v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\0b\r\n\r\n',
    /^HTTP\/1\.1 400 /,
  ],
  [
    'a header of 66 kB',
    `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(66_000)}\r\n\r\n`,
    /^HTTP\/1\.1 431 /,
  ],
  [
    'a path that climbs',
    'GET /v1/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    /^HTTP\/1\.1 404 /,
  ],
  [
    'a URL for a path',
    'GET http://example.com/v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    /^HTTP\/1\.1 (401|404) /,
  ],
  [
    'a star for a path',
    'OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    /^HTTP\/1\.1 4\d\d /,
  ],
  [
    'an empty name of a host',
    'GET //v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    /^HTTP\/1\.1 40\d /,
  ],
]

for (const [what, text, expected] of raw) {
  test(`a connection with ${what} is answered, and the next one served`, async () => {
    expect(await sendRaw(text)).toMatch(expected)
    expect((await app.call('GET', '/healthz')).status).toBe(200)
    expect(app.lines.filter((line) => line.includes('"level":"error"'))).toEqual([])
  })
}

interface Content {
  readonly data: { readonly blocks: readonly { readonly content: string }[] }
}

test('names of JavaScript are names like any other', async () => {
  const properties = {
    constructor: { prototype: { x: 1 } },
    toString: 'text',
    hasOwnProperty: 1,
    valueOf: null,
    length: 3,
  }
  const names = ['constructor', 'toString', 'hasOwnProperty', '__defineGetter__', '__proto__']
  const recipients = names.map((id) => ({ id, name: 'Bo', ...properties }))
  const messages = await app.send('welcome', { recipients, data: { ...properties, toJSON: 'x' } })
  expect(messages.map(({ recipient }) => recipient).toSorted()).toEqual(names.toSorted())
  const { data } = (await app.call<Content>('GET', `/v1/messages/${messages[0]!.id}/content`)).body
  expect(data.blocks[0]?.content).toContain('Hello Bo')
  for (const id of names) {
    const user = await app.call('GET', `/v1/users/${id}`)
    // What is null is cleared.
    const { valueOf: _, ...kept } = properties
    expect(user.body).toMatchObject({ id, name: 'Bo', ...kept })
  }
  expect(Object.keys(Object.prototype)).toEqual([])
})

test('a body of just the bound is taken, and numbers keep their value', async () => {
  const full = await app.call('POST', TRIGGER, { body: sized(BODY_BYTES_MAX) })
  expect(full.status).toBe(200)
  const numbers = '{"a":1e308,"b":-1e-308,"c":0.1,"d":9007199254740991,"e":-0}'
  const [message] = await app.send('welcome', {
    recipients: [bo],
    data: JSON.parse(numbers) as object,
  })
  const kept = await app.call<{ data: unknown }>('GET', `/v1/messages/${message!.id}`)
  expect(kept.body.data).toEqual({ ...(JSON.parse(numbers) as object), e: 0 })
})

/** One and the same call, but for what is said. */
function order(over: CallOptions & { readonly path?: string } = {}) {
  return app.call('POST', over.path ?? TRIGGER, {
    body,
    ...over,
    headers: { 'idempotency-key': 'order 7/ü', ...over.headers },
  })
}

test('one idempotency key is one trigger, whoever asks and however often', async () => {
  const before = await countRows(scene.database)
  const replies = await Promise.all(Array.from({ length: 10 }, () => order()))
  expect(new Set(replies.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
  expect(replies[0]?.status).toBe(200)
  expect(
    replies.filter(({ headers }) => headers.get('idempotent-replayed') === 'true'),
  ).toHaveLength(9)
  expect(Number(await workflowRuns()) - Number(before['workflow_runs'])).toBe(1)

  const other = { recipients: [{ ...bo, name: 'Other' }] }
  expect(await order({ body: other })).toMatchObject({
    status: 400,
    body: { code: 'idempotency_key_reused' },
  })
  expect(await order({ path: `${TRIGGER}?environment=production` })).toMatchObject({ status: 400 })
  // Another path, method or environment is another key.
  expect(
    (
      await order({ path: '/v1/workflows/strict/trigger', body: { ...body, data: { n: 1 } } })
    ).headers.get('idempotent-replayed'),
  ).toBeNull()
  const elsewhere = await order({ key: KEYS.development })
  expect(elsewhere.status).toBe(200)
  expect(elsewhere.text).not.toBe(replies[0]?.text)

  // A refusal is not kept: the same key works once the call is right.
  const later = { headers: { 'idempotency-key': 'later' } }
  expect((await order({ ...later, body: { recipients: [] } })).status).toBe(422)
  expect((await order(later)).status).toBe(200)
})

test('the longest names that are taken fit together into one key', async () => {
  const letters = '語言學習漢字鑑賞'
  const id = Array.from({ length: 256 }, (_, index) => letters[(index * index) % 8]).join('')
  const call = { body: { name: 'x' }, headers: { 'idempotency-key': 'ÿþý'.repeat(85) } }
  const first = await app.call('PUT', `/v1/users/${encodeURIComponent(id)}`, call)
  const again = await app.call('PUT', `/v1/users/${encodeURIComponent(id)}`, call)
  expect([first.status, again.status]).toEqual([200, 200])
  expect(again.text).toBe(first.text)
})

async function workflowRuns(): Promise<unknown> {
  return (await countRows(scene.database))['workflow_runs']
}
