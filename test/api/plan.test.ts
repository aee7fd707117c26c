import { beforeEach, describe, expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import { sql } from '../../src/db/sql.ts'
import {
  findPlanAnswer,
  listOpenPlanRequests,
  requestPlan,
  savePlanAnswer,
  sweepPlanRequests,
} from '../../src/reconcile/promotion-store.ts'
import { test } from '../support/database.ts'
import { anEnvironment, NOW, OPERATOR, serve } from './server-support.ts'

const now = new Date(NOW)

beforeEach<{ database: Parameters<typeof anEnvironment>[0] }>(async ({ database }) => {
  await database.query(sql`delete from plan_requests where environment <> ''`)
})

describe('a plan of the API', () => {
  test('needs a head, an environment that is there, and a key that may read it', async ({
    database,
  }) => {
    const { key } = await anEnvironment(database, 'production')
    const { key: other } = await anEnvironment(database, 'staging')
    await using server = await serve(database, routes)
    const get = (path: string, as: string) =>
      server.call('GET', `/v1/environments/${path}`, { key: as })
    expect(await get('production/plan', key)).toMatchObject({
      status: 422,
      body: { code: 'invalid_params', errors: [{ field: '?/head' }] },
    })
    expect(await get('production/plan?head=x&format=html', key)).toMatchObject({ status: 422 })
    expect(await get('nowhere/plan?head=x', OPERATOR)).toMatchObject({ status: 404 })
    expect(await get('production/plan?head=x', other)).toMatchObject({ status: 403 })
  })

  test('is refused for a while where too many are waited for', async ({ database }) => {
    const { environment, key } = await anEnvironment(database, 'production')
    await using server = await serve(database, routes)
    for (let index = 0; index < 50; index += 1) {
      const request = { head: `branch-${index}`, now }
      await database.transaction((tx) => requestPlan(tx, environment, request))
    }
    const reply = await server.call('GET', '/v1/environments/production/plan?head=x', { key })
    expect(reply).toMatchObject({
      status: 503,
      body: { code: 'plan_unavailable', message: expect.stringContaining('too many') },
    })
    expect(reply.headers.get('retry-after')).toBe('1')
  })

  test('is refused where nobody answers in time', async ({ database }) => {
    const { key } = await anEnvironment(database, 'production')
    await using server = await serve(database, routes)
    const reply = await server.call('GET', '/v1/environments/production/plan?head=x', { key })
    expect(reply).toMatchObject({
      status: 503,
      body: { message: expect.stringContaining('has not answered in time') },
    })
  }, 20_000)

  test.for([
    ['head_missing', 404],
    ['unreadable', 503],
    ['plan_failed', 500],
  ] as const)('passes on %s as %d', async ([code, status], { database }) => {
    const { environment, key } = await anEnvironment(database, 'production')
    await using server = await serve(database, routes)
    const asked = server.call('GET', '/v1/environments/production/plan?head=x', { key })
    await expect.poll(() => listOpenPlanRequests(database, now)).toHaveLength(1)
    const [request] = await listOpenPlanRequests(database, now)
    const problem = { code, message: 'said by the other process' }
    await database.transaction((tx) =>
      savePlanAnswer(tx, environment, { ids: [request!.id], problem, now }),
    )
    expect(await asked).toMatchObject({ status })
  })
})

test('requests are swept when nobody can wait for them any more', async ({ database }) => {
  const { environment } = await anEnvironment(database, 'production')
  const ask = () => database.transaction((tx) => requestPlan(tx, environment, { head: 'x', now }))
  const id = (await ask())!
  const later = new Date(now.getTime() + 16 * 60_000)
  expect(await listOpenPlanRequests(database, later)).toEqual([])
  expect(await sweepPlanRequests(database, now)).toBe(0)
  expect(await findPlanAnswer(database, environment, id)).toEqual({ kind: 'open' })
  expect(await sweepPlanRequests(database, later)).toBe(1)
})
