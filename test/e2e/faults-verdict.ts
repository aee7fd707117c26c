import { expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { HttpFake } from '../support/http.ts'
import type { SmtpFake } from '../support/smtp.ts'

interface Played {
  readonly answered: readonly string[]
  readonly hook: HttpFake
  readonly smtp: SmtpFake
  readonly recipients: number
  readonly times: number
}

interface MessageState {
  readonly id: string
  readonly run_id: string
  readonly step_ref: string
  readonly recipient: string
  readonly status: string
}

/** All that must hold when everything has ended. Answers how many hand-overs were repeated, and how many batches there were. */
export async function expectAllInOrder(database: Database, played: Played) {
  const { answered, recipients, times } = played
  const triggers = await database.query<{ id: string }>(sql`
    select id from workflow_runs where environment = 'production'`)
  expect(triggers.map(({ id }) => id).toSorted()).toEqual(answered.toSorted())
  const people = await database.query<Standing>(sql`
    select recipient, count(*)::integer as runs, count(distinct workflow_run_id)::integer as triggers,
      (count(*) filter (where outcome = 'completed'))::integer as completed,
      (count(*) filter (where outcome = 'throttled'))::integer as throttled,
      (count(*) filter (where outcome = 'batched'))::integer as batched
    from runs where environment = 'production' group by recipient`)
  expect(people).toHaveLength(recipients)
  const batches = await expectExactBatches(database, times)
  for (const { recipient, ...standing } of people) {
    const opened = batches.get(recipient)!.length
    // Of those that went on from a batch one passed the throttle.
    const expected = { runs: times, triggers: times, completed: 1 }
    const others = { throttled: opened - 1, batched: times - opened }
    expect({ recipient, ...standing }).toEqual({ recipient, ...expected, ...others })
  }
  await expectNoStepTwice(database)
  const messages = await database.query<MessageState>(sql`
    select id, run_id, step_ref, recipient, status from messages where environment = 'production'`)
  expect(messages.filter(({ step_ref: ref }) => ref === 'feed')).toHaveLength(recipients * times)
  expectHandedOver(played, messages, batches)
  const opened = [...batches.values()].reduce((sum, each) => sum + each.length, 0)
  return { batches: opened, ...countRepeats(played, messages) }
}

interface Standing {
  readonly recipient: string
  readonly runs: number
  readonly triggers: number
  readonly completed: number
  readonly throttled: number
  readonly batched: number
}

/** What a batch holds: the numbers of its triggers, in order. */
type Batches = ReadonlyMap<string, readonly string[]>

/** Each batch counts what it holds, and what they hold in all is each trigger once. */
async function expectExactBatches(database: Database, times: number): Promise<Batches> {
  const rows = await database.query<{
    recipient: string
    counted: number
    held: number
    numbers: string
    taken: boolean
  }>(sql`
    select b.recipient, b.activities as counted, count(a.run_id)::integer as held,
      string_agg(w.data->>'n', ' ' order by w.id) as numbers, b.taken_at is not null as taken
    from batches b
    left join batch_activities a on a.environment = b.environment and a.batch_id = b.id
    left join workflow_runs w on w.environment = a.environment and w.id = a.workflow_run_id
    where b.environment = 'production'
    group by b.environment, b.id`)
  expect(rows.filter(({ counted, held, taken }) => counted !== held || !taken)).toEqual([])
  const batches = Map.groupBy(rows, ({ recipient }) => recipient)
  const held = new Map(
    [...batches].map(([recipient, each]) => [recipient, each.map(({ numbers }) => numbers)]),
  )
  const wrong = [...held].filter(
    ([, each]) => new Set(each.flatMap((numbers) => numbers.split(' '))).size !== times,
  )
  expect(wrong).toEqual([])
  const all = rows.reduce((sum, { counted }) => sum + counted, 0)
  expect(all).toBe(held.size * times)
  return held
}

/** No step was gone through twice: each leaves one entry of its own in the timeline, two where it waits. */
async function expectNoStepTwice(database: Database): Promise<void> {
  const twice = await database.query(sql`
    select s.run_id, s.ref, e.value->>'event' as event, count(*)::integer as count
    from run_steps s
    cross join lateral jsonb_array_elements(s.events) e
    where s.environment = 'production'
    group by s.run_id, s.ref, e.value->>'event'
    having count(*) > 1`)
  expect(twice).toEqual([])
  const lost = await database.query(sql`
    select r.id, r.steps, count(s.number)::integer as entries
    from runs r
    left join run_steps s on s.environment = r.environment and s.run_id = r.id
    where r.environment = 'production'
    group by r.id, r.steps
    having r.steps <> count(s.number)`)
  expect(lost).toEqual([])
}

/** Whoever was to be called or written to was, and was told of one whole batch. */
function expectHandedOver(
  { hook, smtp }: Played,
  messages: readonly MessageState[],
  batches: Batches,
): void {
  const calls = messages.filter(({ step_ref: ref }) => ref === 'call')
  expect(calls.filter(({ status }) => status !== 'delivered')).toEqual([])
  expect(calls).toHaveLength(batches.size)
  for (const { path, body } of hook.requests) {
    const told = JSON.parse(body) as { total: number; numbers: string }
    const numbers = told.numbers.trim()
    expect(batches.get(path.slice(1))).toContain(numbers)
    expect(told.total).toBe(numbers.split(' ').length)
  }
  const mails = messages.filter(({ step_ref: ref }) => ref === 'mail')
  expect(mails.filter(({ status }) => status !== 'sent')).toEqual([])
  expect(new Set(smtp.mails.flatMap(({ to }) => to))).toEqual(
    new Set(mails.map(({ recipient }) => `${recipient}@example.com`)),
  )
}

/** Every hand-over of a message, first or repeated, was under the one key of that message. */
function countRepeats({ hook, smtp }: Played, messages: readonly MessageState[]) {
  const keys = new Set(
    hook.requests.map(({ path, headers }) => `${path} ${String(headers['idempotency-key'])}`),
  )
  const calls = messages.filter(({ step_ref: ref }) => ref === 'call')
  expect([...keys].toSorted()).toEqual(
    calls.map(({ recipient, id }) => `/${recipient} ${id}`).toSorted(),
  )
  const mailKeys = new Set(smtp.mails.map(({ to, parsed }) => `${to.join()} ${parsed.messageId}`))
  const mails = messages.filter(({ step_ref: ref }) => ref === 'mail')
  expect(mailKeys.size).toBe(mails.length)
  return {
    calls: calls.length,
    repeatedCalls: hook.requests.length - calls.length,
    mails: mails.length,
    repeatedMails: smtp.mails.length - mails.length,
  }
}
