import { describe, expect } from 'vitest'
import { originCheck } from '../../src/api/cors.ts'
import { ok, type MutationRoute } from '../../src/api/route.ts'
import { test as base } from '../support/database.ts'
import { anEnvironment, serve, type TestServer } from './server-support.ts'

const APP = 'https://app.example.com'

const route: MutationRoute = {
  id: 'things.1',
  summary: 'A thing',
  replies: { 200: {}, 204: null },
  kind: 'mutation',
  method: 'PUT',
  path: '/v1/things/:id',
  scope: 'write',
  environment: 'key',
  handle: () => Promise.resolve(ok({})),
}

const test = base.extend<{ api: TestServer }>({
  api: async ({ database }, use) => {
    await using api = await serve(database, [route], { allowsOrigin: originCheck([APP], false) })
    await use(api)
  },
})

const asking = (origin: string) => ({
  headers: {
    origin,
    'access-control-request-method': 'PUT',
    'access-control-request-headers': 'authorization,x-knock-user-token',
  },
})

describe('a page', () => {
  test('that may call is told so before its call, without a key', async ({ api }) => {
    const reply = await api.call('OPTIONS', '/v1/things/a', asking(APP))
    expect(reply.status).toBe(204)
    expect(Object.fromEntries(reply.headers)).toMatchObject({
      'access-control-allow-origin': APP,
      'access-control-allow-methods': 'GET, POST, PUT, DELETE',
      'access-control-allow-headers': expect.stringContaining('x-knock-user-token') as string,
      'access-control-max-age': '7200',
      vary: 'origin',
    })
    expect(reply.headers.get('access-control-allow-credentials')).toBeNull()
  })

  test('that may call reads the answer, and the refusal', async ({ database, api }) => {
    const { key } = await anEnvironment(database, 'production')
    const headers = { origin: APP }
    const done = await api.call('PUT', '/v1/things/a', { key, body: {}, headers })
    const refused = await api.call('PUT', '/v1/things/a', { body: {}, headers })
    const unrouted = await api.call('GET', '/nothing', { headers })
    expect([done, refused, unrouted].map(({ status }) => status)).toEqual([200, 401, 404])
    for (const reply of [done, refused, unrouted]) {
      expect(reply.headers.get('access-control-allow-origin')).toBe(APP)
      expect(reply.headers.get('access-control-expose-headers')).toContain('retry-after')
    }
  })

  test('of another origin is told nothing that lets it read', async ({ database, api }) => {
    const { key } = await anEnvironment(database, 'production')
    for (const origin of ['https://evil.example.com', 'http://app.example.com', 'null']) {
      const asked = await api.call('OPTIONS', '/v1/things/a', asking(origin))
      expect(asked.status).toBe(204)
      const called = await api.call('PUT', '/v1/things/a', { key, body: {}, headers: { origin } })
      for (const { headers } of [asked, called]) {
        expect([...headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
        expect(headers.get('vary')).toBe('origin')
      }
    }
  })

  test('on a host that is none of development finds nothing', async ({ database }) => {
    await using api = await serve(database, [route], { allowsOrigin: originCheck([], true) })
    const reply = await fetch(`${api.server.url}/v1/things/a`, {
      method: 'OPTIONS',
      headers: { ...asking('http://localhost:3000').headers },
    })
    expect(reply.headers.get('access-control-allow-origin')).toBe('http://localhost:3000')
  })
})

test('a call that no browser asked about is not answered for one', async ({ api }) => {
  expect(await api.call('OPTIONS', '/v1/things/a')).toMatchObject({ status: 405 })
})

describe('origins', () => {
  base.for<readonly [setting: readonly string[], dev: boolean, origin: string, isAllowed: boolean]>(
    [
      [[], false, 'http://localhost:3000', false],
      [[], true, 'http://localhost:3000', true],
      [[], true, 'https://app.localhost', true],
      [[], true, 'http://127.0.0.1', true],
      [[], true, 'http://[::1]:8080', true],
      [[], true, 'http://localhost.example.com', false],
      [[], true, 'http://localhost:3000.example.com', false],
      [[], true, 'null', false],
      [[APP], true, 'http://localhost:3000', false],
      [[APP], false, APP, true],
      [[APP], false, `${APP}.evil.example.com`, false],
      [['*'], false, 'null', true],
    ],
  )('%j in development %s: %s %s', ([setting, dev, origin, isAllowed]) => {
    expect(originCheck(setting, dev)(origin)).toBe(isAllowed)
  })
})
