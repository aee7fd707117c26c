import { brotliCompressSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { KEYS, OPERATOR, type CallOptions, type TestApp } from './app-support.ts'
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

// Calls that are refused, over HTTP against the whole program: what they are told, and that they left nothing.

let scene: Scene
let app: TestApp

beforeAll(async () => {
  scene = await openScene()
  app = scene.app
})

afterAll(() => scene[Symbol.asyncDispose]())

interface Case extends CallOptions {
  readonly method?: string
  readonly path?: string
  readonly status: number
  readonly code?: string
  readonly field?: string
}

const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
const withData = (data: string) => `{"recipients":[{"id":"bo","name":"Bo"}],"data":${data}}`
const invalid = { status: 422, code: 'invalid_params' } as const

const cases: Readonly<Record<string, Case>> = {
  'no key': { key: null, body, status: 401, code: 'authentication_required' },
  'an unknown key': { key: 'sk_production_nobody', body, status: 401, code: 'api_key_missing' },
  'another scheme': {
    key: null,
    headers: { authorization: `Basic ${KEYS.production}` },
    body,
    status: 401,
    code: 'authentication_required',
  },
  'a public key': { key: 'pk_production_x', body, status: 403, code: 'incorrect_token_type' },
  'a key without the scope': {
    method: 'PUT',
    path: '/v1/workflows/welcome/activate',
    body: { status: false },
    status: 403,
    code: 'insufficient_scope',
  },
  'an environment other than the key’s': {
    key: KEYS.development,
    path: `${TRIGGER}?environment=production`,
    body,
    status: 403,
    code: 'environment_mismatch',
  },
  'two environments, one of them the key’s': {
    path: `${TRIGGER}?environment=production&environment=development`,
    body,
    status: 403,
    code: 'environment_mismatch',
  },
  'an environment in brackets': {
    key: KEYS.development,
    path: `${TRIGGER}?environment[]=production`,
    body,
    status: 403,
    code: 'environment_mismatch',
  },
  'the path of another environment': {
    path: '/v1/environments/development/reconcile',
    body: {},
    status: 403,
  },
  'an operator’s token and no environment': {
    key: OPERATOR,
    body,
    status: 422,
    code: 'environment_required',
  },
  'an environment that does not exist': {
    key: OPERATOR,
    path: `${TRIGGER}?environment=nowhere`,
    body,
    status: 404,
    code: 'environment_missing',
  },
  'malformed JSON': { body: '{"recipients": ["bo",]}', status: 400, code: 'invalid_json' },
  'a number that is none': { body: withData('{"n":NaN}'), status: 400, code: 'invalid_json' },
  'a body of one byte too many': {
    body: sized(BODY_BYTES_MAX + 1),
    status: 413,
    code: 'body_too_large',
  },
  'a gzip bomb': {
    body: gzipSync(sized(BODY_BYTES_MAX * 20)),
    headers: { 'content-encoding': 'gzip' },
    status: 413,
    code: 'body_too_large',
  },
  'a Brotli bomb': {
    body: brotliCompressSync(sized(BODY_BYTES_MAX * 2)),
    headers: { 'content-encoding': 'br' },
    status: 413,
    code: 'body_too_large',
  },
  'a broken gzip stream': {
    body: gzipSync(sized(1_000)).subarray(0, 60),
    headers: { 'content-encoding': 'gzip' },
    status: 400,
    code: 'invalid_body',
  },
  'a list as body': { body: [], ...invalid },
  'a text as body': { body: '"bo"', ...invalid },
  'no body': { ...invalid },
  'no recipients': { body: { data: {} }, ...invalid, field: '/recipients' },
  'empty recipients': { body: { recipients: [] }, ...invalid, field: '/recipients' },
  'null for recipients': { body: { recipients: null }, ...invalid, field: '/recipients' },
  '1,001 recipients': {
    body: {
      recipients: Array.from({ length: 1_001 }, (_, index) => ({ id: `u${index}`, name: 'x' })),
    },
    ...invalid,
    field: '/recipients',
  },
  'a bad recipient behind a good one': {
    body: { recipients: [bo, { name: 'nobody' }] },
    ...invalid,
    field: '/recipients/1/id',
  },
  'an id that is too long': {
    body: { recipients: [bo, 'x'.repeat(257)] },
    ...invalid,
    field: '/recipients/1',
  },
  'data that is a list': { body: { ...body, data: [] }, ...invalid, field: '/data' },
  'an unknown workflow': {
    path: '/v1/workflows/nothing/trigger',
    body,
    status: 404,
    code: 'workflow_missing',
  },
  'a workflow with a name of JavaScript': {
    path: '/v1/workflows/__proto__/trigger',
    body,
    status: 404,
    code: 'workflow_missing',
  },
  'a workflow that was archived': {
    path: '/v1/workflows/gone/trigger',
    body,
    status: 404,
    code: 'workflow_missing',
  },
  'a workflow that is switched off': {
    path: '/v1/workflows/off/trigger',
    body,
    status: 422,
    code: 'workflow_inactive',
  },
  'data against the schema': {
    path: '/v1/workflows/strict/trigger',
    body: { ...body, data: { n: 'x' } },
    status: 422,
    field: '/data/n',
  },
  'no data where the schema asks for it': {
    path: '/v1/workflows/strict/trigger',
    body,
    status: 422,
    field: '/data/n',
  },
  'an actor that is not known': {
    body: { ...body, actor: 'nobody' },
    status: 422,
    code: 'actor_missing',
  },
  'a path that is not there': { path: '/v1/workflows/welcome/triggers', body, status: 404 },
  'NUL in the path': { path: '/v1/workflows/wel%00come/trigger', body, ...invalid, field: 'path' },
  'half a character in the path': {
    path: '/v1/workflows/%ED%A0%80/trigger',
    body,
    status: 400,
    code: 'invalid_url',
  },
  'a path that cannot be decoded': {
    path: '/v1/workflows/%zz/trigger',
    body,
    status: 400,
    code: 'invalid_url',
  },
  'NUL in the query': {
    method: 'GET',
    path: '/v1/messages?tenant=a%00b',
    ...invalid,
    field: '?/tenant',
  },
  'NUL in a name of the query': { method: 'GET', path: '/v1/messages?a%00b=1', ...invalid },
  'half a character in the query': {
    method: 'GET',
    path: '/v1/messages?tenant=%ED%A0%80',
    status: 400,
    code: 'invalid_url',
  },
  'NUL in a value': { body: withData('{"a":["x\\u0000"]}'), ...invalid, field: '/data/a/0' },
  'NUL in a name': { body: withData('{"a\\u0000b":1}'), ...invalid },
  'half a character in a value': {
    body: withData('{"a":"\\ud83d"}'),
    ...invalid,
    field: '/data/a',
  },
  'half a character in a name': { body: withData('{"\\udc00":1}'), ...invalid },
  'NUL in a property of a user': {
    method: 'PUT',
    path: '/v1/users/bo',
    body: '{"name":"\\u0000"}',
    ...invalid,
    field: '/name',
  },
  'bytes that are no UTF-8': {
    body: new Uint8Array([...Buffer.from('{"a":"'), 0xff, 0x22, 0x7d]),
    status: 400,
    code: 'invalid_json',
  },
  'a prototype in data': {
    body: withData('{"__proto__":{"admin":true}}'),
    ...invalid,
    field: '/data/__proto__',
  },
  'a prototype in a user': {
    body: '{"recipients":[{"id":"bo","__proto__":{"admin":true}}]}',
    ...invalid,
  },
  'a prototype in a body': { body: '{"recipients":["bo"],"__proto__":{"data":{}}}', ...invalid },
  'nesting of 101': { body: withData(`{"a":${nested(100)}}`), ...invalid },
  'nesting of a hundred thousand': { body: withData(`{"a":${nested(100_000)}}`), ...invalid },
  'a number that no number can hold': {
    body: withData('{"n":1e999}'),
    ...invalid,
    field: '/data/n',
  },
  'an empty idempotency key': {
    body,
    headers: { 'idempotency-key': '' },
    status: 400,
    code: 'invalid_idempotency_key',
  },
  'an idempotency key that is too long': {
    body,
    headers: { 'idempotency-key': 'x'.repeat(256) },
    status: 400,
    code: 'invalid_idempotency_key',
  },
  'a cancel without a key': {
    path: '/v1/workflows/welcome/cancel',
    body: {},
    ...invalid,
    field: '/cancellation_key',
  },
  'a cursor that is none of ours': {
    method: 'GET',
    path: '/v1/messages?after=x',
    ...invalid,
    field: '?/after',
  },
  'a message that cannot be': { method: 'GET', path: '/v1/messages/1%27%20or%201=1', status: 404 },
}

const SOME_TEXT: unknown = expect.stringMatching(/./)
const ERROR_TYPE: unknown = expect.stringMatching(/^[a-z_]+_error$/)

describe('a call with', () => {
  for (const [
    what,
    { method = 'POST', path = TRIGGER, status, code, field, ...options },
  ] of Object.entries(cases)) {
    test(`${what} is refused with ${status}, and leaves nothing`, async () => {
      const before = await countRows(scene.database)
      const headers = { 'idempotency-key': `key of ${status} ${Math.random()}`, ...options.headers }
      const reply = await app.call(method, path, {
        ...options,
        headers: method === 'GET' ? {} : headers,
      })
      expect({ status: reply.status, text: reply.text }).toMatchObject({ status })
      expect(reply.body).toMatchObject({
        ...(code !== undefined && { code, status, type: ERROR_TYPE, message: SOME_TEXT }),
        ...(field !== undefined && { errors: [{ field, message: SOME_TEXT }] }),
      })
      expect(reply.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
      expect(await countRows(scene.database)).toEqual(before)
      expect(app.lines.filter((line) => line.includes('"level":"error"'))).toEqual([])
    })
  }
})
