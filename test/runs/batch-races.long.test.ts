import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { RunId } from '../../src/ids.ts'
import { executeRuns } from '../../src/runs/execute.ts'
import { expandWorkflowRun } from '../../src/runs/expand.ts'
import { lockQueuedRuns } from '../../src/runs/lock.ts'
import { wakeDueRuns } from '../../src/runs/wake.ts'
import type { Engine } from '../support/engine.ts'
import { playRounds } from '../support/rounds.ts'
import { MINUTE_MS, cancelOne, environment, files, test } from './batch-scene.ts'

const ROUNDS = 1_000

const users = Array.from({ length: ROUNDS }, (_, index) => ({ id: `user-${index}` }))

/** Gives every user a run that waits for a worker, by the number of the user. */
async function queued(engine: Engine): Promise<readonly RunId[]> {
  const id = await engine.trigger('hello', { recipients: users })
  await engine.database.transaction((tx) =>
    expandWorkflowRun(tx, environment, id, engine.clock.now()),
  )
  const rows = await engine.database.query<{ id: RunId }>(sql`
    select id from runs where environment = ${environment} and workflow_run_id = ${id}
    order by substr(recipient, 6)::integer`)
  return rows.map((row) => row.id)
}

async function work(engine: Engine, ids: readonly RunId[], now = engine.clock.now()) {
  await engine.database.transaction(async (tx) => {
    await executeRuns(engine, tx, (await lockQueuedRuns(tx, environment, ids)).runs, now)
  })
}

/** Every user's batch is open, and holds one activity. */
async function opened(engine: Engine): Promise<readonly RunId[]> {
  const ids = await queued(engine)
  await work(engine, ids)
  return ids
}

/** Makes the two meet at ever other places. */
async function stagger(engine: Engine, round: number): Promise<void> {
  for (let count = 0; count < round % 7; count++) await engine.database.query(sql`select 1`)
}

interface End {
  readonly recipient: string
  readonly standing: string
  readonly shown: string | null
}

/** How the runs of each user stand, and what their messages say of how much they had. */
async function ends(engine: Engine): Promise<readonly string[]> {
  const rows = await engine.database.query<End>(sql`
    select r.recipient, coalesce(r.outcome, r.status) as standing,
      m.content -> 'body' ->> 'content' as shown
    from runs r
    left join messages m on m.environment = r.environment and m.run_id = r.id
    where r.environment = ${environment}
    order by r.recipient, r.id`)
  const byUser = Map.groupBy(rows, ({ recipient }) => recipient)
  return [...byUser.values()].map((runs) =>
    runs.map(({ standing, shown }) => `${standing}${shown ?? ''}`).join(' '),
  )
}

/** Every round ended in one of these ways, and each way came up, or nothing was raced. */
function expectEach(found: readonly string[], ways: readonly string[]): void {
  expect(found).toHaveLength(ROUNDS)
  expect([...new Set(found)].toSorted()).toEqual([...ways].toSorted())
}

describe('at one batch, a thousand times', () => {
  test('of two workers one opens it, and the other joins', async ({ engine }) => {
    await engine.commit(files('window: 10m', '{{total_activities}}'))
    const [first, second] = [await queued(engine), await queued(engine)]
    await playRounds(ROUNDS, async (round) => {
      const other = async () => {
        await stagger(engine, round)
        await work(engine, [second[round]!])
      }
      await Promise.all([work(engine, [first[round]!]), other()])
    })
    const found = await ends(engine)
    expect(found.every((way) => ['paused batched', 'batched paused'].includes(way))).toBe(true)
    engine.clock.advance(10 * MINUTE_MS)
    await engine.drain()
    expect(new Set((await ends(engine)).map((way) => way.replace('batched', '').trim()))).toEqual(
      new Set(['completed2']),
    )
  })

  test('chunks with the same batches end, and count all', async ({ engine }) => {
    await engine.commit(files('window: 10m, max_items: 3', '{{total_activities}}'))
    const chunks = [await queued(engine), await queued(engine), await queued(engine)]
    await Promise.all([
      work(engine, chunks[0]!),
      work(engine, chunks[1]!.toReversed()),
      work(engine, chunks[2]!),
    ])
    await engine.drain()
    const found = (await ends(engine)).map((way) => way.split(' ').toSorted().join(' '))
    expectEach(found, ['batched batched completed3'])
  })

  test('what comes at its close is in it, or opens the next one', async ({ engine }) => {
    await engine.commit(files('window: 10m', '{{total_activities}}'))
    const openers = await opened(engine)
    const comers = await queued(engine)
    const at = new Date(engine.clock.now().getTime() + 10 * MINUTE_MS)
    await wakeDueRuns(engine, at)
    await playRounds(ROUNDS, async (round) => {
      const come = async () => {
        await stagger(engine, round)
        // The clock of the other process is a little behind.
        await work(engine, [comers[round]!], new Date(at.getTime() - 1))
      }
      const close = async () => {
        await stagger(engine, 6 - (round % 7))
        await work(engine, [openers[round]!], at)
      }
      await Promise.all([close(), come()])
    })
    expectEach(await ends(engine), ['completed1 paused', 'completed2 batched'])
  })

  test('a cancel at its close takes its activity out, or comes too late', async ({ engine }) => {
    await engine.commit(files('window: 10m', '{{total_activities}}'))
    const openers = await opened(engine)
    const joined = await queued(engine)
    await work(engine, joined)
    const at = new Date(engine.clock.now().getTime() + 10 * MINUTE_MS)
    await wakeDueRuns(engine, at)
    const matched: number[] = []
    await playRounds(ROUNDS, async (round) => {
      const cancel = async () => {
        await stagger(engine, round)
        matched.push((await cancelOne(engine, joined[round]!)).runs)
      }
      const close = async () => {
        await stagger(engine, 6 - (round % 7))
        await work(engine, [openers[round]!], at)
      }
      await Promise.all([close(), cancel()])
    })
    const found = await ends(engine)
    expectEach(found, ['completed1 batched', 'completed2 batched'])
    const taken = found.filter((way) => way.startsWith('completed1')).length
    expect(taken).toBe(matched.filter((runs) => runs === 1).length)
  })

  test('cancels of all its activities at once end it', async ({ engine }) => {
    await engine.commit(files('window: 10m', '{{total_activities}}'))
    const openers = await opened(engine)
    const joined = await queued(engine)
    await work(engine, joined)
    await playRounds(ROUNDS, async (round) => {
      await Promise.all([cancelOne(engine, openers[round]!), cancelOne(engine, joined[round]!)])
    })
    await engine.drain()
    expectEach(await ends(engine), ['cancelled batched'])
  })
})
