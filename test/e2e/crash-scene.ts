import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { messageOf } from '../../src/errors.ts'
import { sql } from '../../src/db/sql.ts'
import { flowRepository, names, trigger } from '../support/flow.ts'
import { startHttp, type HttpFake } from '../support/http.ts'
import { openFleet } from '../support/served.ts'

export interface CrashPlan {
  readonly seed: number
  /** While triggers come; one more follows when all are answered. */
  readonly kills: number
  /** How many recipients each trigger names. */
  readonly triggers: readonly number[]
  /** Between two of them, at most. */
  readonly pauseMsMax: number
  /** A process lives from its greeting on for up to so many milliseconds. */
  readonly lifeMsMax: number
  /** From the last start until everything has ended. */
  readonly recoveryMsMax: number
}

export interface CrashReport {
  readonly recipients: number
  /** How many hand-overs came twice, under one key. */
  readonly repeats: number
  /** From the last kill until all had ended. */
  readonly recoveredMs: number
}

const LAST_LIFE_MS_MAX = 2_000

/** A number to repeat a run with: `FAULT_SEED=7 npm test`. */
export function faultSeed(): number {
  return Number(process.env['FAULT_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
}

/** Triggers while the only process is killed at moments of chance and started again, and then judges what came of it. */
export async function crashAndRecover(database: Database, plan: CrashPlan): Promise<CrashReport> {
  const random = randomFrom(plan.seed)
  await using hook = await startHttp()
  await using repository = await flowRepository(hook.url, '2s')
  await using fleet = openFleet()
  const options = { repo: repository.path, databaseUrl: database.url }
  let served = await fleet.serve(options)
  const triggering = triggerAll(() => served.url, plan, random)
  for (let kill = 0; kill < plan.kills; kill += 1) {
    await pause(random() * plan.lifeMsMax)
    await served.kill()
    served = await fleet.serve(options)
  }
  const answered = await triggering
  // Once more while the last ones are under way.
  await pause(random() * LAST_LIFE_MS_MAX)
  const killedAt = performance.now()
  await served.kill()
  served = await fleet.serve(options)
  const total = plan.triggers.reduce((sum, count) => sum + count, 0)
  await expect
    .poll(() => countOpen(database, total), { timeout: plan.recoveryMsMax, interval: 100 })
    .toBe(0)
  const recoveredMs = Math.round(performance.now() - killedAt)
  const repeats = await expectNothingLostOrDoubled(database, hook, { answered, ...plan })
  console.log(
    `${plan.kills + 1} kills, ${total} recipients, ${repeats} hand-overs repeated, all done ${recoveredMs} ms after the last kill`,
  )
  return { recipients: total, repeats, recoveredMs }
}

/** Calls until each trigger is answered, with one idempotency key for each, whatever dies meanwhile. */
export async function triggerAll(
  url: () => string,
  { triggers, pauseMsMax }: Pick<CrashPlan, 'triggers' | 'pauseMsMax'>,
  random: () => number,
): Promise<readonly string[]> {
  const answered: string[] = []
  for (const [index, count] of triggers.entries()) {
    const recipients = names(`t${index}`, count)
    for (;;) {
      try {
        answered.push(
          await trigger(url(), 'slow', recipients, {
            data: { batch: `${index}` },
            idempotencyKey: `trigger-${index}`,
          }),
        )
        break
      } catch (error) {
        // An answer of the program that another try does not change.
        if (/^4(?!09)/.test(messageOf(error))) throw error
        await pause(50)
      }
    }
    await pause(random() * pauseMsMax)
  }
  return answered
}

/** How many recipients still miss something. */
export async function countOpen(database: Database, total: number): Promise<number> {
  const [row] = await database.query<{ done: number }>(sql`
    select count(*)::integer as done
    from runs r
    join messages m on m.environment = r.environment and m.run_id = r.id and m.step_ref = 'call'
    where r.environment = 'production' and r.status in ('completed', 'cancelled')
      and m.status not in ('queued', 'delivery_attempted')
  `)
  return total - (row?.done ?? 0)
}

interface RunState {
  readonly id: string
  readonly workflow_run_id: string
  readonly recipient: string
  readonly status: string
  readonly outcome: string | null
}

export interface MessageState {
  readonly id: string
  readonly run_id: string
  readonly step_ref: string
  readonly recipient: string
  readonly status: string
}

/** Answers how many hand-overs were repeated. */
export async function expectNothingLostOrDoubled(
  database: Database,
  hook: HttpFake,
  { answered, triggers }: { readonly answered: readonly string[] } & Pick<CrashPlan, 'triggers'>,
): Promise<number> {
  const stored = await database.query<{ id: string }>(sql`
    select id from workflow_runs where environment = 'production'`)
  expect(stored.map(({ id }) => id).toSorted()).toEqual(answered.toSorted())
  const runs = await database.query<RunState>(sql`
    select id, workflow_run_id, recipient, status, outcome from runs where environment = 'production'`)
  const expected = triggers.flatMap((count, index) =>
    names(`t${index}`, count).map((name) => `${answered[index]} ${name} completed completed`),
  )
  const seen = runs.map(
    (run) => `${run.workflow_run_id} ${run.recipient} ${run.status} ${run.outcome}`,
  )
  expect(seen.toSorted()).toEqual(expected.toSorted())
  const messages = await database.query<MessageState>(sql`
    select id, run_id, step_ref, recipient, status from messages where environment = 'production'`)
  const steps = runs.flatMap(({ id }) => [`${id} call delivered`, `${id} feed delivered`])
  const made = messages.map(({ run_id: id, step_ref: ref, status }) => `${id} ${ref} ${status}`)
  expect(made.toSorted()).toEqual(steps.toSorted())
  return expectOneKeyEach(hook, messages)
}

/** Each message was handed over, under its own id every time. Answers how many hand-overs were repeated. */
export function expectOneKeyEach(hook: HttpFake, messages: readonly MessageState[]): number {
  const handedOver = new Set(
    hook.requests.map(({ path, headers }) => `${path} ${String(headers['idempotency-key'])}`),
  )
  const calls = messages.filter(({ step_ref: ref }) => ref === 'call')
  const expected = calls.map(({ recipient, id }) => `/${recipient} ${id}`)
  expect([...handedOver].toSorted()).toEqual(expected.toSorted())
  return hook.requests.length - expected.length
}

/** Numbers from 0 to 1 that follow from the seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
