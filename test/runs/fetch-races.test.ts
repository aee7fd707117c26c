import { expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { RunId } from '../../src/ids.ts'
import { cancelRun } from '../../src/runs/cancel.ts'
import { releaseDeadFetches, type FetchContext } from '../../src/runs/fetch-call.ts'
import {
  claimFetches,
  findLostFetches,
  settleFetches,
  type ClaimedFetch,
} from '../../src/runs/fetch-store.ts'
import type { Engine } from '../support/engine.ts'
import { aProcess, environment, files, kept, queued, test, work } from './fetch-scene.ts'

const ROUNDS = 200

const users = Array.from({ length: ROUNDS }, (_, index) => ({ id: `user-${index}` }))
const exchange = {
  request: { method: 'GET', host: '', path: '', headers: {}, body: null },
  response: null,
}

/** Makes the two meet at ever other places. */
async function stagger(engine: Engine, round: number): Promise<void> {
  for (let count = 0; count < round % 7; count++) await engine.database.query(sql`select 1`)
}

/** Every user's run asks, and nobody has made the request. */
async function asking(engine: Engine): Promise<readonly RunId[]> {
  await engine.commit(files('https://crm.example.com'))
  const ids = await queued(engine, users)
  await work(engine, ids)
  return ids
}

const claim = (engine: Engine, ctx: FetchContext, ids: readonly RunId[]) =>
  engine.database.transaction((tx) =>
    claimFetches(tx, environment, ids, { process: ctx.process, now: engine.clock.now() }),
  )

const settle = (engine: Engine, claimed: readonly ClaimedFetch[]) =>
  engine.database.transaction((tx) =>
    settleFetches(
      tx,
      claimed.map((one) => ({
        ...one,
        answer: { kind: 'fetched', value: { m: 2 }, exchange },
        late: null,
      })),
      engine.clock.now(),
    ),
  )

const cancelOne = (engine: Engine, id: RunId) =>
  engine.database.transaction((tx) =>
    cancelRun(tx, engine.queue, { environment, id, requestedBy: 'me', now: engine.clock.now() }),
  )

async function ends(engine: Engine): Promise<ReadonlyMap<string, number>> {
  const rows = await engine.database.query<{ end: string }>(sql`
    select coalesce(r.outcome, r.status) || ':' || count(m.id) as end
    from runs r
    left join messages m on m.environment = r.environment and m.run_id = r.id
    where r.environment = ${environment}
    group by r.id, r.outcome, r.status`)
  const counts = new Map<string, number>()
  for (const { end } of rows) counts.set(end, (counts.get(end) ?? 0) + 1)
  return counts
}

test('an answer and a cancel end each run once, and leave nothing', async ({ engine }) => {
  await using stack = new AsyncDisposableStack()
  const ids = await asking(engine)
  const ctx = await aProcess(engine, stack)
  const claimed = await claim(engine, ctx, ids)
  for (const [round, id] of ids.entries()) {
    const own = claimed.filter(({ runId }) => runId === id)
    await Promise.all([
      stagger(engine, round).then(() => settle(engine, own)),
      stagger(engine, round + 3).then(() => cancelOne(engine, id)),
      stagger(engine, round * 2).then(() => work(engine, [id])),
    ])
  }
  await work(engine, ids)
  const found = await ends(engine)
  expect([...found.keys()].filter((end) => !['cancelled:0', 'completed:1'].includes(end))).toEqual(
    [],
  )
  expect([...found.values()].reduce((sum, count) => sum + count, 0)).toBe(ROUNDS)
  expect(await kept(engine)).toBe(0)
}, 60_000)

test('of many that claim one request, one has it', async ({ engine }) => {
  await using stack = new AsyncDisposableStack()
  const ids = await asking(engine)
  const workers = await Promise.all([1, 2, 3].map(() => aProcess(engine, stack)))
  for (const [round, id] of ids.entries()) {
    const claims = await Promise.all(
      workers.map((ctx, index) =>
        stagger(engine, round * index).then(() => claim(engine, ctx, [id])),
      ),
    )
    expect(claims.flat()).toHaveLength(1)
  }
}, 60_000)

test('an answer and the release of its claim queue the run once', async ({ engine }) => {
  await using stack = new AsyncDisposableStack()
  const ids = await asking(engine)
  const [ctx, other] = [await aProcess(engine, stack), await aProcess(engine, stack)]
  for (const [round, id] of ids.entries()) {
    const claimed = await claim(engine, ctx, [id])
    engine.clock.advance(1)
    // As a process that does not know of its claim: it has no job.
    const released = stagger(engine, round).then(() => releaseDeadFetches(ctx, engine.clock.now()))
    const settled = stagger(engine, round + 3).then(() => settle(engine, claimed))
    const [freed, answered] = await Promise.all([released, settled])
    expect(freed + answered.length).toBe(1)
  }
  await work(engine, ids)
  const found = await ends(engine)
  expect([...found.keys()].toSorted()).toEqual(['completed:1', 'processing:0'])
  const lost = await engine.database.transaction((tx) =>
    findLostFetches(tx, { process: other.process, held: [], before: engine.clock.now() }, 1_000),
  )
  expect(lost).toEqual([])
}, 60_000)
