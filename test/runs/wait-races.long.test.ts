import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, RunId } from '../../src/ids.ts'
import { markMessages } from '../../src/messages/engagement-store.ts'
import { cancelRun } from '../../src/runs/cancel.ts'
import { executeRuns } from '../../src/runs/execute.ts'
import { expandWorkflowRun } from '../../src/runs/expand.ts'
import { lockQueuedRuns } from '../../src/runs/lock.ts'
import { tellWaitingRuns } from '../../src/runs/wait-store.ts'
import { wakeDueRuns } from '../../src/runs/wake.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const ROUNDS = 300
const environment = 'production' as EnvironmentName

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await engine.commit({
      'workflows/first/workflow.yaml': 'name: F\nsteps: [{ ref: note, type: in_app, body: x }]\n',
      'workflows/rest/workflow.yaml': `name: Rest
steps:
  - { ref: wait, type: wait_for_event, event: message.read, match: { all: [{ variable: event.step_ref, operator: equal_to, argument: note }] }, expires_after: 1h }
  - { ref: feed, type: in_app, body: x }
`,
    })
    await use(engine)
  },
})

/** One message for each of as many recipients as there are rounds, by recipient. */
async function notes(engine: Engine): Promise<ReadonlyMap<string, string>> {
  const recipients = Array.from({ length: ROUNDS }, (_, index) => ({ id: `user-${index}` }))
  await engine.trigger('first', { recipients })
  await engine.drain()
  const rows = await engine.database.query<{ id: string; recipient: string }>(sql`
    select id, recipient from messages where environment = ${environment}`)
  return new Map(rows.map(({ id, recipient }) => [recipient, id]))
}

async function waiting(engine: Engine): Promise<ReadonlyMap<string, RunId>> {
  const recipients = Array.from({ length: ROUNDS }, (_, index) => `user-${index}`)
  const id = await engine.trigger('rest', { recipients })
  await engine.drain()
  return new Map((await engine.runs(id)).map((run) => [run.recipient, run.id]))
}

/** Lets some questions to Postgres go ahead, so that one side of a race does not always come first. */
async function stagger({ database }: Engine, rounds: number): Promise<void> {
  for (let count = rounds; count > 0; count -= 1) await database.query(sql`select 1`)
}

const read = (engine: Engine, id: string | undefined, now: Date) =>
  engine.database.transaction((tx) =>
    markMessages(tx, { environment, ids: [id!] }, 'read', { now, data: null }),
  )

const work = (engine: Engine, id: RunId, now: Date) =>
  engine.database.transaction(async (tx) =>
    executeRuns(engine, tx, (await lockQueuedRuns(tx, environment, [id])).runs, now),
  )

async function tally(engine: Engine): Promise<Readonly<Record<string, number>>> {
  const rows = await engine.database.query<{ end: string }>(sql`
    select concat_ws(' ', r.status, r.outcome, r.reason, w.matched,
      (select count(*) from messages m where m.environment = r.environment and m.run_id = r.id)) as "end"
    from runs r
    left join event_waits w on w.environment = r.environment and w.run_id = r.id
    where r.environment = ${environment} and r.workflow = 'rest'`)
  const counts: Record<string, number> = {}
  for (const { end } of rows) counts[end] = (counts[end] ?? 0) + 1
  return counts
}

const MATCHED = 'completed completed t 1'
const EXPIRED = 'cancelled cancelled wait_expired f 0'
const CANCELLED = 'cancelled cancelled cancelled f 0'

describe('hundreds of times', () => {
  test('an event against the commit of the wait is never lost', async ({ engine }) => {
    const messages = await notes(engine)
    const order = { before: 0, after: 0 }
    for (let round = 0; round < ROUNDS; round += 1) {
      const recipient = `user-${round}`
      const now = engine.clock.now()
      const trigger = await engine.trigger('rest', { recipients: [recipient] })
      const fannedOut = await engine.database.transaction((tx) =>
        expandWorkflowRun(tx, environment, trigger, now),
      )
      const [id] = (fannedOut?.ids ?? []) as [RunId]
      let isOpen = false
      await Promise.all([
        work(engine, id, now).then(() => (isOpen = true)),
        // Both at once to the dispatcher, too: what is half there is not to be passed over for good.
        tellWaitingRuns(engine).then(() => tellWaitingRuns(engine)),
        stagger(engine, round % 16)
          .then(() => read(engine, messages.get(recipient), now))
          .then(() => (order[isOpen ? 'after' : 'before'] += 1)),
      ])
      engine.clock.advance(1)
    }
    await engine.drain()
    expect(await tally(engine)).toEqual({ [MATCHED]: ROUNDS })
    // Both orders came up, or nothing was raced.
    expect(Math.min(order.before, order.after)).toBeGreaterThan(0)
  })

  test('an event against the end of the wait ends it one way', async ({ engine }) => {
    const messages = await notes(engine)
    const runs = await waiting(engine)
    const inTime = engine.clock.now()
    engine.clock.advance(3_600_000)
    const late = engine.clock.now()
    // Only the one that is raced is due.
    await engine.database.query(sql`
      update runs set wakes_at = ${late}::timestamptz + interval '1 day'
      where environment = ${environment} and status = 'paused'`)
    for (let round = 0; round < ROUNDS; round += 1) {
      const recipient = `user-${round}`
      const id = runs.get(recipient)!
      await engine.database.query(sql`
        update runs set wakes_at = ${late} where environment = ${environment} and id = ${id}`)
      const wake = async () => {
        await stagger(engine, round % 6)
        await wakeDueRuns(engine, late)
        await Promise.all([work(engine, id, late), work(engine, id, late)])
      }
      const tell = () => tellWaitingRuns(engine).then(() => work(engine, id, inTime))
      await Promise.all([wake(), read(engine, messages.get(recipient), inTime).then(tell)])
    }
    await engine.drain()
    const counts = await tally(engine)
    expect(Object.keys(counts).filter((end) => end !== MATCHED && end !== EXPIRED)).toEqual([])
    expect((counts[MATCHED] ?? 0) + (counts[EXPIRED] ?? 0)).toBe(ROUNDS)
    expect(counts[MATCHED]).toBeGreaterThan(0)
  })

  test('an event against a cancel ends the run one way', async ({ engine }) => {
    const messages = await notes(engine)
    const runs = await waiting(engine)
    const now = engine.clock.now()
    for (let round = 0; round < ROUNDS; round += 1) {
      const recipient = `user-${round}`
      const id = runs.get(recipient)!
      const cancel = async () => {
        await stagger(engine, round % 12)
        await engine.database.transaction((tx) =>
          cancelRun(tx, engine.queue, { environment, id, requestedBy: 'test', now }),
        )
      }
      const tell = () => tellWaitingRuns(engine).then(() => work(engine, id, now))
      await Promise.all([cancel(), read(engine, messages.get(recipient), now).then(tell)])
    }
    await engine.drain()
    const counts = await tally(engine)
    expect(Object.keys(counts).filter((end) => end !== MATCHED && end !== CANCELLED)).toEqual([])
    expect((counts[MATCHED] ?? 0) + (counts[CANCELLED] ?? 0)).toBe(ROUNDS)
    expect(counts[CANCELLED]).toBeGreaterThan(0)
    expect(counts[MATCHED]).toBeGreaterThan(0)
  })
})
