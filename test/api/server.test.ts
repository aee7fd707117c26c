import http from 'node:http'
import net from 'node:net'
import { gzipSync } from 'node:zlib'
import { describe, expect } from 'vitest'
import { BODY_BYTES_MAX } from '../../src/api/body.ts'
import { ok, type MutationRoute, type ReadRoute, type Route } from '../../src/api/route.ts'
import { test } from '../support/database.ts'
import { anEnvironment, OPERATOR, serve } from './server-support.ts'

const echo: MutationRoute = {
  id: 'things.1',
  summary: 'A thing',
  replies: { 200: {} },
  kind: 'mutation',
  method: 'POST',
  path: '/v1/echo/:name',
  scope: 'write',
  environment: 'key',
  handle: ({ body, params, environment }) => Promise.resolve(ok({ body, params, environment })),
}
const echoDelete: MutationRoute = { ...echo, method: 'DELETE' }
const strict: MutationRoute = {
  ...echo,
  path: '/v1/strict',
  body: {
    type: 'object',
    required: ['id'],
    properties: { id: { type: 'string' }, kind: { enum: ['a', 'b'] } },
  },
}
const list: ReadRoute = {
  id: 'things.2',
  summary: 'A thing',
  replies: { 200: {} },
  kind: 'read',
  method: 'GET',
  path: '/v1/list',
  scope: 'read',
  environment: 'key',
  query: {
    type: 'object',
    properties: {
      status: { type: 'array', items: { type: 'string' } },
      size: { type: 'integer' },
      bad: { type: 'boolean' },
    },
  },
  handle: ({ query }) => Promise.resolve(ok({ query })),
}
const failing: ReadRoute = {
  ...list,
  path: '/v1/failing',
  handle: () => Promise.reject(new Error('secret of the house')),
}
const routes: readonly Route[] = [echo, echoDelete, strict, list, failing]

describe('a request', () => {
  test('carries an id of its own, whatever it is answered', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    await using api = await serve(database, routes)
    const fine = await api.call('POST', '/v1/echo/x', { key, body: {} })
    const missing = await api.call('GET', '/nowhere')
    expect(fine.status).toBe(200)
    expect(fine.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    expect(missing.headers.get('x-request-id')).not.toBe(fine.headers.get('x-request-id'))
  })

  test('for a path without a route is answered in the form of the contract', async ({
    database,
  }) => {
    await using api = await serve(database, routes)
    const reply = await api.call('GET', '/_stainless_unknown_path')
    expect(reply).toMatchObject({ status: 404, body: { errors: { detail: '404 Not Found' } } })
  })

  test('with the wrong method is told the right ones', async ({ database }) => {
    await using api = await serve(database, routes)
    const reply = await api.call('PUT', '/v1/list')
    expect(reply).toMatchObject({ status: 405, body: { code: 'method_not_allowed' } })
    expect(reply.headers.get('allow')).toContain('GET')
  })

  test('that we fail at says nothing of our inside, and is in the log', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    await using api = await serve(database, routes)
    const reply = await api.call('GET', '/v1/failing', { key })
    expect(reply).toMatchObject({
      status: 500,
      body: { code: 'internal_error', status: 500, type: 'api_error' },
    })
    expect(JSON.stringify(reply.body)).not.toContain('secret of the house')
    expect(api.failures).toHaveLength(1)
  })

  test('to another host name is refused in development mode', async ({ database }) => {
    await using api = await serve(database, routes)
    const status = await new Promise((resolve) => {
      const headers = { host: 'evil.example.com' }
      http.get(`${api.server.url}/v1/list`, { headers }, (reply) => {
        reply.resume()
        resolve(reply.statusCode)
      })
    })
    expect(status).toBe(403)
  })
})

describe('a body', () => {
  const bad: readonly [string, unknown, Record<string, string>, number, string][] = [
    ['that is not JSON', '{"a":', {}, 400, 'invalid_json'],
    ['that is not UTF-8', new Uint8Array([0x22, 0xff, 0x22]), {}, 400, 'invalid_json'],
    [
      'of a form',
      'a=1',
      { 'content-type': 'application/x-www-form-urlencoded' },
      415,
      'unsupported_media_type',
    ],
    ['in an unknown encoding', 'x', { 'content-encoding': 'zstd' }, 415, 'unsupported_encoding'],
    [
      'that is not what its encoding says',
      'plain',
      { 'content-encoding': 'gzip' },
      400,
      'invalid_body',
    ],
    ['beyond the bound', `"${'x'.repeat(BODY_BYTES_MAX)}"`, {}, 413, 'body_too_large'],
    [
      'beyond the bound once it is inflated',
      gzipSync(`"${'x'.repeat(BODY_BYTES_MAX)}"`),
      { 'content-encoding': 'gzip' },
      413,
      'body_too_large',
    ],
    ['nested too deep', '['.repeat(200) + ']'.repeat(200), {}, 422, 'invalid_params'],
    ['nested much too deep', '['.repeat(2_000_000), {}, 400, 'invalid_json'],
  ]
  for (const [what, body, headers, status, code] of bad) {
    test(`${what} is refused with ${status}`, async ({ database }) => {
      const { key } = await anEnvironment(database, 'development')
      await using api = await serve(database, routes)
      const reply = await api.call('POST', '/v1/echo/x', { key, body, headers })
      expect(reply).toMatchObject({ status, body: { code, status, type: 'invalid_request_error' } })
    })
  }

  test('is read where it is compressed, and with DELETE', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    await using api = await serve(database, routes)
    const body = gzipSync(JSON.stringify({ ids: ['a'] }))
    const headers = { 'content-encoding': 'gzip' }
    const reply = await api.call('DELETE', '/v1/echo/x', { key, body, headers })
    expect(reply).toMatchObject({ status: 200, body: { body: { ids: ['a'] } } })
  })

  test('with text that Postgres cannot hold is refused with a pointer', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    await using api = await serve(database, routes)
    const bodies: readonly [string, string][] = [
      [String.raw`{"data":{"names":["ok","a\u0000b"]}}`, '/data/names/1'],
      [String.raw`{"data":{"x/y":"\ud800"}}`, '/data/x~1y'],
      [String.raw`{"data":{"\udc00":1}}`, '/data/\uFFFD'],
      [String.raw`{"data":{"__proto__":{"admin":true}}}`, '/data/__proto__'],
    ]
    for (const [body, field] of bodies) {
      const reply = await api.call('POST', '/v1/echo/x', { key, body })
      expect(reply).toMatchObject({ status: 422, body: { errors: [{ field }] } })
    }
    const inPath = await api.call('POST', '/v1/echo/a%00b', { key, body: {} })
    expect(inPath).toMatchObject({ status: 422, body: { errors: [{ field: 'path' }] } })
    const inQuery = await api.call('GET', '/v1/list?status[]=a&status[]=%00', { key })
    expect(inQuery).toMatchObject({ status: 422, body: { errors: [{ field: '?/status/1' }] } })
    const broken = await api.call('GET', '/v1/list?status=%ED%A0%80', { key })
    expect(broken).toMatchObject({ status: 400, body: { code: 'invalid_url' } })
  })

  test('that breaks its schema is answered with each violation', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    await using api = await serve(database, routes)
    const reply = await api.call('POST', '/v1/strict', { key, body: { kind: 'c' } })
    expect(reply).toMatchObject({
      status: 422,
      body: {
        code: 'invalid_params',
        errors: [
          { field: '/id', message: 'is missing' },
          { field: '/kind', message: 'is none of a, b' },
        ],
      },
    })
    expect(await api.call('POST', '/v1/strict', { key })).toMatchObject({ status: 422 })
    expect(await api.call('POST', '/v1/strict', { key, body: 'null' })).toMatchObject({
      status: 422,
    })
  })
})

describe('a query', () => {
  test('takes lists with brackets and without, and coerces to the schema', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    await using api = await serve(database, routes)
    const one = await api.call('GET', '/v1/list?status=queued&size=3&bad=true', { key })
    expect(one.body).toEqual({ query: { status: ['queued'], size: 3, bad: true } })
    const many = Array.from({ length: 500 }, (_, index) => `status[]=${index}`).join('&')
    const reply = await api.call('GET', `/v1/list?${many}`, { key })
    expect((reply.body as { query: { status: string[] } }).query.status).toHaveLength(500)
  })

  test('with more values than a list may have is refused', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    await using api = await serve(database, routes)
    const many = Array.from({ length: 1_001 }, () => 'status[]=x').join('&')
    const reply = await api.call('GET', `/v1/list?${many}`, { key })
    expect(reply).toMatchObject({ status: 422, body: { code: 'invalid_params' } })
  })
})

describe('a key', () => {
  test('decides who may do what', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    const { key: reader } = await anEnvironment(database, 'development', ['read'])
    const { key: production } = await anEnvironment(database, 'production')
    await using api = await serve(database, routes)
    const table: readonly [string, string | undefined, number, string][] = [
      ['/v1/echo/x', undefined, 401, 'authentication_required'],
      ['/v1/echo/x', 'sk_unknown', 401, 'api_key_missing'],
      ['/v1/echo/x', 'pk_public', 403, 'incorrect_token_type'],
      ['/v1/echo/x', reader, 403, 'insufficient_scope'],
      ['/v1/echo/x?environment=production', key, 403, 'environment_mismatch'],
      ['/v1/echo/x?environment=development', production, 403, 'environment_mismatch'],
      ['/v1/echo/x', OPERATOR, 422, 'environment_required'],
      ['/v1/echo/x?environment=nowhere', OPERATOR, 404, 'environment_missing'],
    ]
    for (const [path, used, status, code] of table) {
      const options = used === undefined ? { body: {} } : { key: used, body: {} }
      expect(await api.call('POST', path, options)).toMatchObject({
        status,
        body: { code, status },
      })
    }
    const chosen = await api.call('POST', '/v1/echo/x?environment=production', {
      key: OPERATOR,
      body: {},
    })
    expect(chosen).toMatchObject({ status: 200, body: { environment: 'production' } })
  })
})

describe('a server that closes', () => {
  test('lets a request end, takes no other, and cuts a silent connection', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    let release: (() => void) | undefined
    const started = Promise.withResolvers<void>()
    const slow: ReadRoute = {
      ...list,
      path: '/v1/slow',
      handle: () =>
        new Promise((resolve) => {
          release = () => resolve(ok({ done: true }))
          started.resolve()
        }),
    }
    const api = await serve(database, [slow])
    const silent = net.connect(api.server.port, '127.0.0.1')
    silent.on('error', () => {})
    const reply = api.call('GET', '/v1/slow', { key })
    await started.promise
    const before = performance.now()
    const closed = api.server.close()
    release?.()
    expect(await reply).toMatchObject({ status: 200, body: { done: true } })
    await closed
    expect(performance.now() - before).toBeLessThan(4_000)
    await expect(api.call('GET', '/v1/slow', { key })).rejects.toThrow('fetch failed')
    silent.destroy()
  })

  test('moves up from a default port that is taken, and names one that was asked for', async ({
    database,
  }) => {
    await using first = await serve(database, [], { port: { number: 0, explicit: true } })
    const number = first.server.port
    await using second = await serve(database, [], { port: { number, explicit: false } })
    expect(second.server.port).toBeGreaterThan(number)
    const third = serve(database, [], { port: { number, explicit: true } })
    await expect(third).rejects.toThrow(`port ${number} on 127.0.0.1 is taken`)
  })
})
