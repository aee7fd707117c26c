import Knock from '@knocklabs/node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { routes } from '../../src/api/index.ts'
import type { Route } from '../../src/api/route.ts'
import { sql } from '../../src/db/sql.ts'
import { callRoute, nameOf, type Scene } from './isolation-support.ts'
import { callAsOperator, mutationCalls, openMutationScene, rowsOf } from './mutation-support.ts'
import { OPERATOR, type TestReply } from './server-support.ts'

// Names and values that look for a gap: what can be kept is kept as it is, and what cannot be leaves nothing.

let scene: Scene
let knock: Knock
beforeAll(async () => {
  scene = await openMutationScene()
  const { url } = scene.server.server
  knock = new Knock({ apiKey: scene.keys.production, baseURL: url, maxRetries: 0 })
})
afterAll(() => scene[Symbol.asyncDispose]())

const IDS: Readonly<Record<string, string>> = {
  percent: '100%',
  'an escape': '%41%2e',
  dollar: '$1 $users',
  at: 'ann@example.com',
  quotes: `'"\``,
  'an injection': `'; drop table runs; --`,
  backslash: 'a\\b',
  space: ' a b ',
  'signs of a query': 'a?b&c=d+e;f,g:h',
  brackets: 'a[0]{b}|c^d',
  markup: '<img src=x onerror=alert(1)>',
  emoji: '👩‍👩‍👧 🎉',
  'letters from the right': 'שלום\u202e',
  '256 characters': 'x'.repeat(256),
  '256 of three bytes': '語'.repeat(256),
  'a line break': 'a\nb',
  'a prototype': '__proto__',
  'a constructor': 'constructor',
  dots: '...',
}

describe('an id', () => {
  for (const [what, id] of Object.entries(IDS))
    test(`with ${what} is kept, found, listed and deleted as it is`, async () => {
      expect(await knock.users.update(id, { name: id })).toMatchObject({ id, name: id })
      expect(await knock.users.get(id)).toMatchObject({ id, name: id })
      expect(await knock.objects.set('places', id, { name: id })).toMatchObject({ id })
      expect(await knock.objects.get('places', id)).toMatchObject({ properties: { name: id } })
      expect(await knock.tenants.set(id, { name: id })).toMatchObject({ id, name: id })
      expect(await knock.tenants.get(id)).toMatchObject({ id })
      const set = { channel_types: { email: false } }
      expect(await knock.users.setPreferences(id, id, set)).toMatchObject({ id })
      expect(await knock.users.getPreferences(id, id)).toMatchObject(set)
      await knock.objects.addSubscriptions('places', id, { recipients: [id] })
      const { entries: subscribed } = await knock.users.listSubscriptions(id)
      expect(subscribed).toMatchObject([{ object: { id }, recipient: { id } }])
      await knock.audiences.addMembers(encodeURI('beta'), {
        members: [{ user: { id }, tenant: id }],
      })
      const { workflow_run_id: run } = await knock.workflows.trigger('hello', {
        recipients: [id],
        actor: id,
        tenant: id,
        cancellation_key: id.slice(0, 255),
      })
      expect(await triggered(run)).toEqual({ actor: { collection: '$users', id }, tenant: id })
      for (const list of ['users', 'objects/places', 'tenants'])
        expect(await cursorsOf(list)).toContain(id)
      await knock.users.delete(id)
      await knock.objects.delete('places', id)
      await knock.tenants.delete(id)
      await expect(knock.users.get(id)).rejects.toMatchObject({ status: 404 })
      expect(scene.server.failures.splice(0)).toEqual([])
    })

  test.each<[string, string]>([
    ['a slash', 'a/b'],
    ['a hash', 'a#b'],
    ['NUL', 'a\0b'],
    ['half a character', 'a\ud800'],
    ['257 characters', 'x'.repeat(257)],
    ['nothing', ''],
  ])('with %s is refused wherever it stands', async (_, id) => {
    const before = await rowsOf(scene.database)
    const bodies: readonly (readonly [string, object])[] = [
      ['/v1/workflows/hello/trigger', { recipients: [id] }],
      ['/v1/workflows/hello/trigger', { recipients: [{ id, name: 'x' }] }],
      ['/v1/workflows/hello/trigger', { recipients: [{ id: 'x', collection: id }] }],
      ['/v1/workflows/hello/trigger', { recipients: ['ann'], actor: id }],
      ['/v1/workflows/hello/trigger', { recipients: ['ann'], tenant: id }],
      ['/v1/users/bulk/identify', { users: [{ id }] }],
      ['/v1/users/bulk/delete', { user_ids: [id] }],
      ['/v1/users/bulk/preferences', { user_ids: [id], preferences: {} }],
      ['/v1/users/ann/merge', { from_user_id: id }],
      ['/v1/objects/teams/bulk/set', { objects: [{ id }] }],
      [
        '/v1/objects/teams/bulk/subscriptions/add',
        { subscriptions: [{ id, recipients: ['ann'] }] },
      ],
      [
        '/v1/objects/teams/bulk/subscriptions/add',
        { subscriptions: [{ id: 'a', recipients: [id] }] },
      ],
      ['/v1/objects/teams/core/subscriptions', { recipients: [id] }],
      [
        '/v1/schedules',
        { workflow: 'hello', recipients: [id], scheduled_at: '2030-01-01T00:00:00Z' },
      ],
      ['/v1/audiences/beta/members', { members: [{ user: { id } }] }],
    ]
    for (const [path, body] of bodies) {
      const reply = await callAsOperator(scene, 'POST', path, { body })
      expect({ path, body, status: reply.status }).toEqual({ path, body, status: 422 })
    }
    expect(await rowsOf(scene.database)).toEqual(before)
  })
})

async function triggered(id: string): Promise<unknown> {
  const [row] = await scene.database.query(sql`
    select actor, tenant from workflow_runs where environment = 'production' and id = ${id}
  `)
  return row
}

/** The ids of a list that is walked one by one. */
async function cursorsOf(list: string): Promise<readonly string[]> {
  const found: string[] = []
  for (let after = ''; ;) {
    const { body } = await callAsOperator(scene, 'GET', `/v1/${list}?page_size=1&after=${after}`)
    const { entries, page_info: info } = body as {
      entries: readonly { id: string }[]
      page_info: { after: string | null }
    }
    found.push(...entries.map(({ id }) => id))
    if (info.after === null) return found
    after = info.after
  }
}

const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`

/** Bodies that no call takes, beside what it asks for; more of them are tried on the trigger. */
const BODIES: readonly (readonly [what: string, text: string])[] = [
  ['a prototype', '"__proto__":{"polluted":true}'],
  ['a prototype farther down, and NUL', '"zz":{"a":[{"__proto__":{"polluted":true}}, "\\u0000"]}'],
  ['nesting of 101', `"zz":${nested(101)}`],
]

const mutations = routes.filter((route) => route.kind === 'mutation')

describe('every call that changes something', () => {
  for (const [what, part] of BODIES)
    test(`is refused a body with ${what}, and writes nothing`, async () => {
      const before = await rowsOf(scene.database)
      for (const route of mutations) {
        const { path, body = {} } = mutationCalls()[nameOf(route)]!
        const rest = JSON.stringify(body).slice(1)
        const text = `{${part}${rest === '}' ? '' : ','}${rest}`
        const reply = await callAsOperator(scene, route.method, path, { body: text })
        expect({ route: nameOf(route), ...seen(reply) }).toEqual({
          route: nameOf(route),
          status: 422,
          code: 'invalid_params',
        })
      }
      expect(await rowsOf(scene.database)).toEqual(before)
      expect(Reflect.get({}, 'polluted')).toBeUndefined()
      expect(scene.server.failures.splice(0)).toEqual([])
    })
})

function seen({ status, body }: TestReply) {
  return { status, code: (body as { readonly code?: string } | null)?.code }
}

const keyed = routes.filter((route) => route.kind === 'read' || route.kind === 'mutation')

/** Queries that no call takes; more of them are tried on the list of messages. */
const QUERIES: readonly (readonly [what: string, query: string])[] = [
  ['2,500 entries', Array.from({ length: 2_500 }, () => 'a[]=').join('&')],
  ['NUL in a name', 'a%00=1'],
]

describe('every call', () => {
  test.each(QUERIES)('is refused a query with %s, and writes nothing', async (_, query) => {
    const before = await rowsOf(scene.database)
    for (const route of keyed) {
      const reply = await call(route, query)
      expect({ route: nameOf(route), status: reply.status }).toEqual({
        route: nameOf(route),
        status: 422,
      })
    }
    expect(await rowsOf(scene.database)).toEqual(before)
    expect(scene.server.failures.splice(0)).toEqual([])
  })

  test('has no room for a query of 10,000 entries', async () => {
    const query = Array.from({ length: 10_000 }, () => 'ids[]=a').join('&')
    const reply = await fetch(`${scene.server.server.url}/v1/messages?${query}`)
    expect({ status: reply.status, body: await reply.json() }).toMatchObject({
      status: 431,
      body: { code: 'headers_too_large', status: 431 },
    })
  })

  test('has no use for a prototype in a query', async () => {
    const query =
      '__proto__[polluted]=1&a[__proto__][polluted]=1&constructor[prototype][polluted]=1'
    for (const route of keyed) {
      const reply = await call(route, query)
      expect({ route: nameOf(route), failed: reply.status >= 500 }).toMatchObject({ failed: false })
    }
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
    expect(scene.server.failures.splice(0)).toEqual([])
  })

  test('with a name that cannot be in its path is refused, and with any other one answered', async () => {
    for (const route of keyed.filter(({ path }) => path.includes('/:'))) {
      for (const [name, expected] of PATHS) {
        const path = route.path.replaceAll(/:(\w+)/g, (_, param: string) =>
          param === 'environment' ? 'production' : name,
        )
        const { body } = (route.kind === 'mutation' && mutationCalls()[nameOf(route)]) || {}
        const reply = await callAsOperator(scene, route.method, path, { body })
        const isExpected = expected === undefined ? reply.status < 500 : reply.status === expected
        const isAlone = /^\/v1\/environments\/:environment(\/\w+)?$/.test(route.path)
        expect({ route: nameOf(route), name, ok: isExpected || isAlone }).toMatchObject({
          ok: true,
        })
      }
    }
    expect(scene.server.failures.splice(0)).toEqual([])
  })
})

/** As they are written in a path; undefined: whatever is no failure. */
const PATHS: readonly (readonly [string, number | undefined])[] = [
  ['a%00b', 422],
  [encodeURIComponent(`%41$@'"; drop table runs; -- 🎉`), undefined],
  ['%E8%AA%9E'.repeat(256), undefined],
  ['__proto__', undefined],
]

function call(route: Route, query: string): Promise<TestReply> {
  if (route.kind !== 'mutation')
    return callRoute(scene, route, { key: OPERATOR, query: `?environment=production&${query}` })
  const { path, body } = mutationCalls()[nameOf(route)]!
  return callAsOperator(scene, route.method, `${path}${path.includes('?') ? '&' : '?'}${query}`, {
    body,
  })
}

describe('1,000 properties', () => {
  const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`p${n} %$"'😀`, n]))

  test('are kept of a user, an object, a tenant, data and a set of preferences', async () => {
    await knock.users.update('many', many)
    expect(await knock.users.get('many')).toMatchObject(many)
    await knock.objects.set('places', 'many', many)
    expect(await knock.objects.get('places', 'many')).toMatchObject({ properties: many })
    await knock.tenants.set('many', many)
    expect(await knock.tenants.get('many')).toMatchObject(many)
    const { workflow_run_id: id } = await knock.workflows.trigger('hello', {
      recipients: ['many'],
      data: many,
    })
    const [row] = await scene.database.query(sql`
      select data from workflow_runs where environment = 'production' and id = ${id}
    `)
    expect(row).toEqual({ data: many })
    const categories = Object.fromEntries(Object.keys(many).map((name) => [name, false]))
    await knock.users.setPreferences('many', 'default', { categories })
    expect(await knock.users.getPreferences('many', 'default')).toMatchObject({ categories })
  })

  test('that are too large together are refused whole', async () => {
    const large = Object.fromEntries(Object.keys(many).map((name) => [name, 'x'.repeat(300)]))
    const before = await rowsOf(scene.database)
    for (const path of ['users/large', 'objects/places/large', 'tenants/large']) {
      const reply = await callAsOperator(scene, 'PUT', `/v1/${path}`, { body: large })
      expect({ path, status: reply.status }).toEqual({ path, status: 422 })
    }
    expect(await rowsOf(scene.database)).toEqual(before)
  })
})
