import { describe, expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, RunId } from '../../src/ids.ts'
import { loadSwitches } from '../../src/messages/switches.ts'
import { cancelRun } from '../../src/runs/cancel.ts'
import { executeRuns } from '../../src/runs/execute.ts'
import { lockQueuedRuns } from '../../src/runs/lock.ts'
import { wakeDueRuns } from '../../src/runs/wake.ts'
import { anEnvironment, NOW, serve } from '../api/server-support.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const ROUNDS = 1_000
const CALLERS = 10
const environment = 'production' as EnvironmentName

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await engine.commit({
      'workflows/rest/workflow.yaml': `name: Rest
steps:
  - { ref: rest, type: delay, for: 1h }
  - { ref: feed, type: in_app, body: x }
`,
    })
    await use(engine)
  },
})

/** As many sleeping runs as there are rounds, each due a second after the one before. */
async function sleepers(engine: Engine): Promise<readonly { id: RunId; at: Date }[]> {
  const recipients = Array.from({ length: ROUNDS }, (_, index) => ({ id: `user-${index}` }))
  await engine.trigger('rest', { recipients })
  await engine.drain()
  return engine.database.query<{ id: RunId; at: Date }>(sql`
    update runs r set wakes_at = ${engine.clock.now()}::timestamptz + n.number * interval '1 second'
    from (
      select id, row_number() over (order by id) as number from runs where environment = 'production'
    ) n
    where r.environment = 'production' and r.id = n.id
    returning r.id, r.wakes_at as at`)
}

/** How the switch stood, as committed, right before a run was worked on and right behind it. */
type Stood = 'on' | 'off' | 'changed'

/**
 * Wakes the run and works on it, as two jobs for it would: one has the run, the other finds nothing. Answers how the
 * switch stood for the one that had it.
 */
async function wakeAndWork(engine: Engine, id: RunId, at: Date): Promise<Stood | undefined> {
  await wakeDueRuns(engine, at)
  const work = () =>
    engine.database.transaction(async (tx): Promise<Stood | undefined> => {
      const isOn = async () =>
        (await loadSwitches(tx, environment, ['rest'], at)).workflow('rest').active
      const { runs } = await lockQueuedRuns(tx, environment, [id])
      if (runs.length === 0) return undefined
      const wasOn = await isOn()
      await executeRuns(engine, tx, runs, at)
      if (!wasOn) return 'off'
      return (await isOn()) ? 'on' : 'changed'
    })
  const [one, other] = await Promise.all([work(), work()])
  return one ?? other
}

/** Lets some questions to Postgres go ahead, so that one side of a race does not always come first. */
async function stagger({ database }: Engine, round: number): Promise<void> {
  for (let count = round % 8; count > 0; count -= 1) await database.query(sql`select 1`)
}

interface End {
  readonly id: RunId
  readonly status: string
  readonly outcome: string | null
  readonly reason: string | null
  readonly wakes_at: Date | null
  readonly ends: number
  readonly messages: readonly string[]
}

/** How each run stands, and what came of its messages. */
function ends(engine: Engine): Promise<readonly End[]> {
  return engine.database.query<End>(sql`
    select r.id, r.status, r.outcome, r.reason, r.wakes_at,
      (select count(*)::integer from run_steps s
        where s.environment = r.environment and s.run_id = r.id and s.ref = 'feed') as ends,
      array(select m.status || coalesce(':' || m.reason, '') from messages m
        where m.environment = r.environment and m.run_id = r.id) as messages
    from runs r
    where r.environment = 'production'`)
}

function tally(found: readonly End[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { status, outcome, reason, messages, ends: steps } of found) {
    const key = JSON.stringify([status, outcome, reason, messages, steps])
    counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}

const SENT = JSON.stringify(['completed', 'completed', null, ['delivered'], 1])

describe('a thousand times', () => {
  test('a cancel against a wake-up and two workers ends the run one way, whole', async ({
    engine,
  }) => {
    for (const [round, { id, at }] of (await sleepers(engine)).entries()) {
      const cancel = async () => {
        await stagger(engine, round)
        await engine.database.transaction((tx) =>
          cancelRun(tx, engine.queue, { environment, id, requestedBy: 'test', now: at }),
        )
      }
      await Promise.all([wakeAndWork(engine, id, at), cancel()])
    }
    const cancelled = JSON.stringify(['cancelled', 'cancelled', 'cancelled', [], 0])
    const counts = tally(await ends(engine))
    expect(Object.keys(counts).filter((key) => key !== SENT && key !== cancelled)).toEqual([])
    // Both ways came up, or nothing was raced.
    expect(counts[cancelled]).toBeGreaterThan(0)
    expect(counts[SENT]).toBeGreaterThan(0)
    expect((counts[SENT] ?? 0) + (counts[cancelled] ?? 0)).toBe(ROUNDS)
  })

  test('a switch against a wake-up ends the run as it found the switch', async ({ engine }) => {
    const stood = new Map<RunId, Stood | undefined>()
    for (const [round, { id, at }] of (await sleepers(engine)).entries()) {
      const switchOff = async () => {
        await stagger(engine, round)
        await engine.switchTo(false, 'rest')
      }
      stood.set(id, (await Promise.all([wakeAndWork(engine, id, at), switchOff()]))[0])
      await engine.switchTo(true, 'rest')
    }
    const off = JSON.stringify(['cancelled', 'cancelled', 'workflow_inactive', [], 0])
    const late = JSON.stringify(['completed', 'completed', null, ['not_sent:workflow_inactive'], 1])
    // What was committed before the run was looked at decides; only what came meanwhile may go either way.
    const allowed: Record<Stood, readonly string[]> = {
      on: [SENT],
      off: [off],
      changed: [SENT, off, late],
    }
    const found = await ends(engine)
    const as = (want: Stood) => found.filter(({ id }) => stood.get(id) === want)
    for (const want of ['on', 'off', 'changed'] as const)
      expect(Object.keys(tally(as(want))).filter((key) => !allowed[want].includes(key))).toEqual([])
    expect(as('on').length + as('off').length + as('changed').length).toBe(ROUNDS)
    // Both orders came up, or nothing was raced.
    expect(as('on').length).toBeGreaterThan(0)
    expect(as('off').length).toBeGreaterThan(0)
  })

  test('ten callers with one idempotency key trigger once', async ({ engine }) => {
    const { key } = await anEnvironment(engine.database, 'production')
    const services = { queue: engine.queue, hasLookedAtGit: () => true, startedAt: new Date(NOW) }
    await using api = await serve(engine.database, routes, { services })
    for (let round = 0; round < ROUNDS; round += 1) {
      const headers = { 'idempotency-key': `round-${round}` }
      const body = { recipients: ['user-1'] }
      const path = '/v1/workflows/rest/trigger'
      const replies = await Promise.all(
        Array.from({ length: CALLERS }, () => api.call('POST', path, { key, headers, body })),
      )
      const ids = replies.flatMap(({ status, body: reply }) =>
        status === 200 ? [(reply as { workflow_run_id: string }).workflow_run_id] : [],
      )
      expect(new Set(ids).size).toBe(1)
      expect(replies.every(({ status }) => status === 200 || status === 409)).toBe(true)
    }
    const rows = await engine.database.query(sql`
      select id from workflow_runs where environment = 'production'`)
    expect(rows).toHaveLength(ROUNDS)
  })
})
