import { once } from 'node:events'
import http from 'node:http'
import { beforeEach, describe, expect } from 'vitest'
import { WebSocket } from 'ws'
import { createKey, findKey, hashKey, revokeKey } from '../../src/api/keys.ts'
import { openTopics } from '../../src/db/topics.ts'
import { sql } from '../../src/db/sql.ts'
import type { Database } from '../../src/db/database.ts'
import { silentLog } from '../../src/log.ts'
import { makeKeys, signToken } from '../support/client-keys.ts'
import { test as base } from '../support/database.ts'
import { serve, type TestServer } from './server-support.ts'
import {
  keys,
  now,
  environment,
  key,
  test,
  save,
  address,
  open,
  refused,
  join,
  prepare,
} from './realtime-support.ts'

beforeEach<{ database: Database }>(({ database }) => prepare(database))

describe('a connection is refused', () => {
  test.for<readonly [what: string, query: Readonly<Record<string, string>>, status: number]>([
    ['without a key', {}, 401],
    ['with an empty key', { api_key: '' }, 401],
    ['with a key that nobody knows', { api_key: 'pk_production_x', user_token: 'x' }, 401],
    ['without a token', { api_key: key, user_token: '' }, 401],
    ['with a token that nobody signed', { api_key: key, user_token: 'a.b.c' }, 401],
    ['with a token of another key', { api_key: key, user_token: foreignToken() }, 401],
    ['with a token that has expired', { api_key: key, user_token: oldToken() }, 401],
  ])('%s', async ([, query, status], { server }) => {
    expect(await refused(address(server, query))).toBe(status)
  })

  test('with a secret key', async ({ database, server }) => {
    const { key: secret } = await createKey(database, {
      environment,
      name: 'secret',
      scopes: ['read', 'write'],
      source: 'command',
      now,
    })
    expect(await refused(address(server, { api_key: secret }))).toBe(403)
    expect(await refused(address(server, { api_key: 'op_for_tests' }))).toBe(403)
  })

  test('from a page or a host that may not call, and elsewhere', async ({ server }) => {
    const user_token = signToken(keys, now, { sub: 'ann' })
    const url = address(server, { api_key: key, user_token })
    expect(await refused(url, { origin: 'https://evil.example.com' })).toBe(403)
    expect(await refused(url, { headers: { host: 'evil.example.com' } })).toBe(403)
    expect(await refused(url.replace('/ws/', '/wss/'))).toBe(404)
    const page = new WebSocket(url, { origin: 'https://app.example.com' })
    await once(page, 'open')
    page.terminate()
    const own = new WebSocket(url, { origin: server.server.url })
    await once(own, 'open')
    own.terminate()
  })

  test('and a call that would like another protocol is served in this one', async ({ server }) => {
    const headers = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': '' }
    const request = http.get(`${server.server.url}/v1/nothing`, { headers })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    response.resume()
    expect(response.statusCode).toBe(404)
    expect(response.headers['x-request-id']).toMatch(/./)
  })

  test('beyond fifty of one user', async ({ server }) => {
    await using stack = new AsyncDisposableStack()
    const opened = await Promise.all(Array.from({ length: 50 }, () => open(server, 'many')))
    for (const socket of opened) stack.use(socket)
    const user_token = signToken(keys, now, { sub: 'many' })
    expect(await refused(address(server, { api_key: key, user_token }))).toBe(503)
    stack.use(await open(server, 'other'))
  }, 60_000)
})

function foreignToken(): string {
  return signToken(makeKeys(), now, { sub: 'ann' })
}

function oldToken(): string {
  return signToken(keys, new Date(now.getTime() - 7_200_000), { sub: 'ann' })
}

describe('a connection is closed', () => {
  test.for<readonly [what: string, text: string, code: number]>([
    ['over what is no frame', 'hello', 1002],
    ['over an object', '{}', 1002],
    ['over numbers', '[1,2,"a","b",{}]', 1002],
    ['over too much of it', 'x'.repeat(70_000), 1009],
  ])('%s', async ([, text, code], { server }) => {
    await using socket = await open(server)
    socket.send(text)
    expect(await socket.next()).toEqual({ closed: code })
  })

  test('over too many frames', async ({ server }) => {
    await using socket = await open(server)
    for (let n = 0; n < 400; n += 1) socket.send([null, `${n}`, 'phoenix', 'heartbeat', {}])
    let last = await socket.next()
    while (!('closed' in last)) last = await socket.next()
    expect(last).toEqual({ closed: 1008 })
  })

  test('when its token has run out, before it is told anything', async ({ database, server }) => {
    await using socket = await open(server)
    await join(socket)
    server.clock.advance(3_600_000)
    await save(database)
    expect(await socket.next()).toEqual({ closed: 1008 })
  })

  test('when the server stops, so that it comes back', async ({ database }) => {
    await using topics = openTopics(database.url, { log: silentLog })
    await using server = await serve(database, [], { topics })
    await using socket = await open(server)
    await join(socket)
    await server.server.close()
    expect(await socket.next()).toEqual({ closed: 1012 })
  })
})

describe('those who are looked after', () => {
  const swept = base.extend<{ server: TestServer }>({
    server: async ({ database }, use) => {
      await using topics = openTopics(database.url, { log: silentLog })
      await using server = await serve(database, [], { topics, sweepMs: 20 })
      await use(server)
    },
  })

  swept('are cut off when they fall silent', async ({ server }) => {
    await using quiet = await open(server)
    await using lively = await open(server)
    server.clock.advance(60_000)
    lively.send([null, '1', 'phoenix', 'heartbeat', {}])
    await lively.next()
    server.clock.advance(40_000)
    expect(await quiet.next()).toEqual({ closed: 1006 })
    lively.send([null, '2', 'phoenix', 'heartbeat', {}])
    expect(await lively.next()).toMatchObject({ 1: '2' })
  })

  swept('are shut out when their token runs out', async ({ server }) => {
    const exp = server.clock.now().getTime() / 1000 + 20
    await using socket = await open(server, 'ann', { exp })
    server.clock.advance(20_001)
    expect(await socket.next()).toEqual({ closed: 1008 })
  })

  swept('are shut out when their key is revoked', async ({ database, server }) => {
    await using socket = await open(server)
    const found = await findKey(database, hashKey(key))
    await revokeKey(database, found?.id ?? '', now)
    server.clock.advance(31_000)
    expect(await socket.next()).toEqual({ closed: 1008 })
  })

  swept('are shut out when the environment names another key', async ({ database, server }) => {
    await using socket = await open(server)
    const client_keys = { app: { pem: makeKeys().pem } }
    await database.query(sql`
      update environments set settings = settings || ${JSON.stringify({ client_keys })}::jsonb
      where name = 'production'
    `)
    server.clock.advance(31_000)
    expect(await socket.next()).toEqual({ closed: 1008 })
  })
})
