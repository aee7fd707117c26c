import { describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { beat, endLease } from '../../src/messages/leases.ts'
import { callOut, releaseDeadFetches, type FetchContext } from '../../src/runs/fetch-call.ts'
import { claimFetches, settleFetches, type FetchClaim } from '../../src/runs/fetch-store.ts'
import type { Engine } from '../support/engine.ts'
import { startHttp } from '../support/http.ts'
import {
  ada,
  aProcess,
  cancel,
  data,
  environment,
  events,
  files,
  kept,
  queued,
  standing,
  test,
  work,
} from './fetch-scene.ts'

const name = 'fetch' as const

/** Claims as a process does that then dies. */
async function claimAndDie(
  engine: Engine,
  ctx: FetchContext,
  ids: Awaited<ReturnType<typeof queued>>,
) {
  const by = { process: ctx.process, now: engine.clock.now() }
  await engine.database.transaction((tx) => claimFetches(tx, environment, ids, by))
  await endLease(engine.database, ctx.process)
}

const release = (engine: Engine, ctx: FetchContext) =>
  releaseDeadFetches(ctx, engine.clock.advance(1))

describe('a process that dies', () => {
  test('between its claim and the call is taken over at once, and the call is counted', async ({
    engine,
  }) => {
    await using stack = new AsyncDisposableStack()
    await using web = await startHttp((_request, response) => void response.end('{"m":2}'))
    await engine.commit(files(web.url))
    const ids = await queued(engine, [ada])
    await work(engine, ids)
    const [dead, other] = [await aProcess(engine, stack), await aProcess(engine, stack)]
    await claimAndDie(engine, dead, ids)
    expect(await release(engine, other)).toBe(1)
    expect(await release(engine, other)).toBe(0)
    await engine.drain()
    expect(await standing(engine)).toEqual(['completed:null'])
    expect(await data(engine)).toEqual([{ n: 1, m: 2 }])
    expect((await events(engine)).map(({ event, attempt }) => [event, attempt])).toEqual([
      ['fetch_requested', 1],
      ['fetch_failed', 1],
      ['fetch_answered', 2],
    ])
  })

  test('during the call is answered to nobody, and the same request is made again', async ({
    engine,
  }) => {
    await using stack = new AsyncDisposableStack()
    const { promise: answered, resolve: answer } = Promise.withResolvers<void>()
    const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
    await using web = await startHttp(async (_request, response, index) => {
      if (index === 0) {
        ask()
        await answered
      }
      response.end(JSON.stringify({ index }))
    })
    await engine.commit(files(web.url, 'method: POST, body: { at: "{{timestamp}}" }'))
    const ids = await queued(engine, [ada])
    await work(engine, ids)
    const [dead, other] = [await aProcess(engine, stack), await aProcess(engine, stack)]
    const calling = callOut(dead, { environment, runIds: ids }, { name })
    await asked
    await endLease(engine.database, dead.process)
    expect(await release(engine, other)).toBe(1)
    await engine.drain()
    answer()
    await calling
    await engine.drain()
    expect(await data(engine)).toEqual([{ n: 1, index: 1 }])
    const keys = web.requests.map(({ headers, body }) => [headers['idempotency-key'], body])
    expect(keys).toHaveLength(2)
    expect(keys[1]).toEqual(keys[0])
    // A run that has ended meanwhile still says what came.
    expect((await events(engine)).at(-1)).toMatchObject({
      event: 'fetch_answered',
      data: { step: 'crm', keys: null },
    })
  })

  test('three times with the same request ends the run', async ({ engine }) => {
    await using stack = new AsyncDisposableStack()
    await engine.commit(files('https://crm.example.com'))
    const ids = await queued(engine, [ada])
    const other = await aProcess(engine, stack)
    for (let time = 0; time < 3; time++) {
      await work(engine, ids)
      await claimAndDie(engine, await aProcess(engine, stack), ids)
      expect(await release(engine, other)).toBe(1)
    }
    await work(engine, ids)
    expect(await standing(engine)).toEqual(['failed:step_failed'])
    expect(await kept(engine)).toBe(0)
  })

  test('has nothing taken away while it lives', async ({ engine }) => {
    await using stack = new AsyncDisposableStack()
    await engine.commit(files('https://crm.example.com'))
    const ids = await queued(engine, [ada])
    await work(engine, ids)
    const [living, other] = [await aProcess(engine, stack), await aProcess(engine, stack)]
    await claimAndDie(engine, living, ids)
    await beat(engine.database, living.process)
    expect(await release(engine, other)).toBe(0)
    expect(
      await release(engine, { ...living, jobs: new Set([{ environment, runIds: ids }]) }),
    ).toBe(0)
    // The connection broke while it committed the claim, and it never learned that it had it.
    expect(await release(engine, living)).toBe(1)
  })
})

describe('what cannot be written', () => {
  test('is written when that is possible again', async ({ engine }) => {
    await using stack = new AsyncDisposableStack()
    await using web = await startHttp((_request, response) => void response.end('{"m":2}'))
    await engine.commit(files(web.url))
    const ids = await queued(engine, [ada])
    await work(engine, ids)
    let failures = 0
    const database: Database = {
      ...engine.database,
      async transaction(run) {
        failures += 1
        // The first one is the claim.
        if (failures > 1 && failures < 5) throw new Error('no connection')
        return await engine.database.transaction(run)
      },
    }
    const ctx = await aProcess(engine, stack, { database })
    await callOut(ctx, { environment, runIds: ids }, { name })
    expect(failures).toBe(5)
    await engine.drain()
    expect(await standing(engine)).toEqual(['completed:null'])
    expect(web.requests).toHaveLength(1)
  })

  test('is given back by a process that stops', async ({ engine }) => {
    await using stack = new AsyncDisposableStack()
    const stop = new AbortController()
    await using web = await startHttp((_request, response, index) => {
      if (index === 0) stop.abort()
      else response.end('{"m":2}')
    })
    await engine.commit(files(web.url))
    const ids = await queued(engine, [ada, { id: 'ben' }])
    await work(engine, ids)
    const ctx = await aProcess(engine, stack, { signal: stop.signal })
    await callOut(ctx, { environment, runIds: ids }, { name })
    expect(await standing(engine)).toEqual(['queued:fetch', 'queued:fetch'])
    await engine.drain()
    expect(await standing(engine)).toEqual(['completed:null', 'completed:null'])
  })
})

test('a request that waits for its place is not made behind a switch or a cancel', async ({
  engine,
}) => {
  await using stack = new AsyncDisposableStack()
  const rounds = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  await using web = await startHttp(async (_request, response, index) => {
    const { promise: acted, resolve } = rounds[Math.floor(index / 10)]!
    // The last of those that may be under way together.
    if (index % 10 === 9) {
      await act()
      engine.clock.advance(1_000)
      resolve()
    }
    await acted
    response.end('{"m":2}')
  })
  const recipients = Array.from({ length: 30 }, (_, index) => ({ id: `user-${index}` }))
  await engine.commit(files(web.url))
  let act = () => engine.switchTo(false, 'hello')
  const go = async () => {
    const ids = await queued(engine, recipients)
    await work(engine, ids)
    await callOut(await aProcess(engine, stack), { environment, runIds: ids }, { name })
    await engine.drain()
  }
  await go()
  expect(web.requests).toHaveLength(10)
  expect(new Set(await standing(engine))).toEqual(new Set(['cancelled:workflow_inactive']))
  expect(await kept(engine)).toBe(0)
  await engine.switchTo(true, 'hello')
  act = async () => void (await cancel(engine))
  await go()
  expect(await kept(engine)).toBe(0)
  expect(new Set(await standing(engine))).toEqual(
    new Set(['cancelled:workflow_inactive', 'cancelled:cancelled']),
  )
})

test('an answer counts only for the claim that it was asked with', async ({ engine }) => {
  await using stack = new AsyncDisposableStack()
  await engine.commit(files('https://crm.example.com'))
  const ids = await queued(engine, [ada])
  await work(engine, ids)
  const [ctx, other] = [await aProcess(engine, stack), await aProcess(engine, stack)]
  const now = engine.clock.now()
  const settled = (one: FetchClaim) =>
    engine.database.transaction((tx) =>
      settleFetches(tx, [{ ...one, answer: { kind: 'lost' }, late: null }], now),
    )
  const [claimed] = await engine.database.transaction((tx) =>
    claimFetches(tx, environment, ids, { process: ctx.process, now }),
  )
  expect(await settled({ ...claimed!, calls: 2 })).toEqual([])
  expect(await settled({ ...claimed!, process: other.process })).toEqual([])
  expect(await standing(engine)).toEqual(['processing:fetch'])
  expect(await settled(claimed!)).toHaveLength(1)
  expect(await settled(claimed!)).toEqual([])
})

test('a request of a workflow that was archived meanwhile is not made', async ({ engine }) => {
  await using stack = new AsyncDisposableStack()
  await using web = await startHttp()
  await engine.commit(files(web.url))
  const ids = await queued(engine, [ada])
  await work(engine, ids)
  await engine.repository.commit({ 'workflows/hello/workflow.yaml': null }, 'Remove')
  await engine.reconcile()
  await callOut(await aProcess(engine, stack), { environment, runIds: ids }, { name })
  await engine.drain()
  expect(web.requests).toEqual([])
  expect(await standing(engine)).toEqual(['cancelled:workflow_archived'])
})

test('two workers on one job make each request once', async ({ engine }) => {
  await using stack = new AsyncDisposableStack()
  await using web = await startHttp((_request, response) => void response.end('{"m":2}'))
  const recipients = Array.from({ length: 40 }, (_, index) => ({ id: `user-${index}` }))
  await engine.commit(files(web.url))
  const ids = await queued(engine, recipients)
  await work(engine, ids)
  const job = { environment, runIds: ids }
  const workers = await Promise.all([1, 2, 3].map(() => aProcess(engine, stack)))
  await Promise.all(workers.map((ctx) => callOut(ctx, job, { name })))
  await engine.drain()
  expect(web.requests).toHaveLength(40)
  expect(await data(engine)).toHaveLength(40)
  const claims = await engine.database.query(sql`
    select run_id from fetches where environment = ${environment}
  `)
  expect(claims).toEqual([])
})
