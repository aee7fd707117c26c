import { beforeEach, describe, expect } from 'vitest'
import { sweepIdempotencyKeys } from '../../src/api/idempotency.ts'
import { NO_CONTENT, ok, type MutationRoute } from '../../src/api/route.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { RequestError } from '../../src/errors.ts'
import { newRowId } from '../../src/ids.ts'
import { test as base } from '../support/database.ts'
import { anEnvironment, NOW, OPERATOR, serve, type TestServer } from './server-support.ts'

/** Leaves one row each time it has its effect, unless the environment forbids it. */
const effect: MutationRoute = {
  id: 'things.1',
  summary: 'A thing',
  replies: { 200: {}, 204: null },
  kind: 'mutation',
  method: 'POST',
  path: '/v1/effects/:name',
  scope: 'write',
  environment: 'key',
  async handle({ tx, body, params }) {
    const [forbidden] = await tx.query(sql`select 1 from installation where name = 'forbidden'`)
    if (forbidden) throw new RequestError(422, 'forbidden_now', 'not now')
    const name = newRowId()
    await tx.query(sql`insert into installation (name, value) values (${name}, '{}')`)
    return ok({ z: name, a: params['name'], body })
  },
}
const silent: MutationRoute = {
  ...effect,
  method: 'DELETE',
  async handle(request) {
    await effect.handle(request)
    return NO_CONTENT
  },
}

const test = base.extend<{ key: string; api: TestServer }>({
  key: async ({ database }, use) => use((await anEnvironment(database, 'development')).key),
  api: async ({ database }, use) => {
    await using api = await serve(database, [effect, silent])
    await use(api)
  },
})

async function countEffects(database: Database): Promise<number> {
  return (await database.query(sql`select 1 from installation where name <> 'forbidden'`)).length
}

function withKey(key: string, idempotencyKey: string, body: unknown = { n: 1 }) {
  return { key, body, headers: { 'idempotency-key': idempotencyKey } }
}

describe('an idempotency key', () => {
  beforeEach<{ database: Database }>(async ({ database }) => {
    await database.query(sql`delete from installation`)
    await database.query(sql`delete from idempotency_keys`)
  })

  test('gives the first reply again, marked, in the same bytes', async ({ api, key, database }) => {
    const first = await api.call('POST', '/v1/effects/a', withKey(key, 'k1'))
    const again = await api.call('POST', '/v1/effects/a', withKey(key, 'k1'))
    expect(first.status).toBe(200)
    expect(first.headers.get('idempotent-replayed')).toBeNull()
    expect(JSON.stringify(again.body)).toBe(JSON.stringify(first.body))
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(again.headers.get('original-x-request-id')).toBe(first.headers.get('x-request-id'))
    expect(await countEffects(database)).toBe(1)
  })

  test('keeps an empty reply too', async ({ api, key, database }) => {
    const first = await api.call('DELETE', '/v1/effects/a', withKey(key, 'k1'))
    const again = await api.call('DELETE', '/v1/effects/a', withKey(key, 'k1'))
    expect([first.status, again.status]).toEqual([204, 204])
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(await countEffects(database)).toBe(1)
  })

  test('of ten callers at once has one effect and one answer', async ({ api, key, database }) => {
    const calls = Array.from({ length: 10 }, () =>
      api.call('POST', '/v1/effects/a', withKey(key, 'race')),
    )
    const replies = await Promise.all(calls)
    expect(replies.map((reply) => reply.status)).toEqual(Array.from({ length: 10 }, () => 200))
    expect(new Set(replies.map((reply) => JSON.stringify(reply.body))).size).toBe(1)
    const replayed = replies.filter((reply) => reply.headers.get('idempotent-replayed') === 'true')
    expect(replayed).toHaveLength(9)
    expect(await countEffects(database)).toBe(1)
  })

  test('belongs to its environment, method and path', async ({ api, key, database }) => {
    await anEnvironment(database, 'production')
    const calls = [
      api.call('POST', '/v1/effects/a', withKey(key, 'k')),
      api.call('POST', '/v1/effects/b', withKey(key, 'k')),
      api.call('DELETE', '/v1/effects/a', withKey(key, 'k')),
      api.call('POST', '/v1/effects/a?environment=production', withKey(OPERATOR, 'k')),
    ]
    const replies = await Promise.all(calls)
    expect(replies.map((reply) => reply.status)).toEqual([200, 200, 204, 200])
    expect(await countEffects(database)).toBe(4)
  })

  test('of another request is refused', async ({ api, key, database }) => {
    await api.call('POST', '/v1/effects/a', withKey(key, 'k', { n: 1 }))
    const other = await api.call('POST', '/v1/effects/a', withKey(key, 'k', { n: 2 }))
    expect(other).toMatchObject({ status: 400, body: { code: 'idempotency_key_reused' } })
    const long = await api.call('POST', '/v1/effects/a', withKey(key, 'k'.repeat(256)))
    expect(long).toMatchObject({ status: 400, body: { code: 'invalid_idempotency_key' } })
    expect(await countEffects(database)).toBe(1)
  })

  test('keeps no refusal, and answers from the kept reply though it would be refused now', async ({
    api,
    key,
    database,
  }) => {
    const done = await api.call('POST', '/v1/effects/a', withKey(key, 'before'))
    await database.query(sql`insert into installation (name, value) values ('forbidden', '{}')`)
    const refused = await api.call('POST', '/v1/effects/a', withKey(key, 'k'))
    const kept = await api.call('POST', '/v1/effects/a', withKey(key, 'before'))
    expect(refused.status).toBe(422)
    expect(kept).toMatchObject({ status: 200, body: done.body })
    await database.query(sql`delete from installation where name = 'forbidden'`)
    const retried = await api.call('POST', '/v1/effects/a', withKey(key, 'k'))
    expect(retried.status).toBe(200)
    expect(retried.headers.get('idempotent-replayed')).toBeNull()
  })

  test('waits for a call under way, and then asks to try again', async ({ api, key, database }) => {
    const held = Promise.withResolvers<void>()
    const release = Promise.withResolvers<void>()
    const first = database.transaction(async (tx) => {
      await tx.query(sql`
        insert into idempotency_keys (environment, method, path, key, request_hash, request_id, created_at)
        values ('development', 'POST', '/v1/effects/a', 'held', '\\x00', 'first', ${NOW})
      `)
      held.resolve()
      await release.promise
      throw new Error('rolled back')
    })
    await held.promise
    const reply = await api.call('POST', '/v1/effects/a', withKey(key, 'held'))
    expect(reply).toMatchObject({ status: 409, body: { code: 'idempotency_key_in_use' } })
    expect(reply.headers.get('retry-after')).toBe('1')
    release.resolve()
    await expect(first).rejects.toThrow('rolled back')
    const retried = await api.call('POST', '/v1/effects/a', withKey(key, 'held'))
    expect(retried.status).toBe(200)
    expect(await countEffects(database)).toBe(1)
  })

  test('is free again after a day, swept or not', async ({ api, key, database }) => {
    await api.call('POST', '/v1/effects/a', withKey(key, 'k'))
    api.clock.advance(24 * 60 * 60 * 1000 + 1)
    const later = await api.call('POST', '/v1/effects/a', withKey(key, 'k', { n: 2 }))
    expect(later.status).toBe(200)
    expect(later.headers.get('idempotent-replayed')).toBeNull()
    expect(await countEffects(database)).toBe(2)
    expect(await sweepIdempotencyKeys(database, api.clock.now())).toBe(0)
    const muchLater = api.clock.advance(25 * 60 * 60 * 1000)
    expect(await sweepIdempotencyKeys(database, muchLater)).toBe(1)
  })
})
