import type { EnvironmentName, WorkflowKey } from '../../src/ids.ts'
import { findEnvironment } from '../../src/reconcile/read.ts'
import { sql } from '../../src/db/sql.ts'
import { USERS, type RecipientRef } from '../../src/recipients/recipient.ts'
import { firstOccurrence, toWireRule, zoneOf } from '../../src/recipients/schedule.ts'
import { insertSchedules, listSchedules } from '../../src/recipients/schedule-store.ts'
import { upsertRecipients } from '../../src/recipients/store.ts'
import type { Engine } from '../support/engine.ts'

export const production = 'production' as EnvironmentName

/** A workflow that says what the schedule has brought. */
export const digest = {
  'workflows/digest/workflow.yaml': `
name: Digest
steps:
  - ref: feed
    type: in_app
    body: "{{recipient.id}} at {{recipient.schedule.occurrence_at}} {{data.n}}"
`,
}

export interface Scheduled {
  readonly workflow?: string
  readonly recipient?: string | RecipientRef
  readonly properties?: Readonly<Record<string, unknown>>
  readonly repeats?: readonly object[]
  readonly scheduledAt?: string
  readonly endingAt?: string
  readonly data?: Readonly<Record<string, unknown>>
  readonly paused?: boolean
  readonly actor?: RecipientRef
  readonly tenant?: string
}

/** Makes a schedule as the API would, for a recipient who is there; answers its id. */
export async function schedule(engine: Engine, given: Scheduled): Promise<string> {
  const { recipient = 'ada', properties = {} } = given
  const ref = typeof recipient === 'string' ? { collection: USERS, id: recipient } : recipient
  const now = engine.clock.now()
  const scheduledAt = given.scheduledAt === undefined ? null : new Date(given.scheduledAt)
  const endingAt = given.endingAt === undefined ? null : new Date(given.endingAt)
  const repeats = (given.repeats ?? []).map((rule) => toWireRule({ ...rule }))
  const timing = { repeats, scheduledAt, endingAt, anchorAt: scheduledAt ?? now }
  if (!(await findEnvironment(engine.database, production))) throw new Error('no environment')
  const [made] = await engine.database.transaction(async (tx) => {
    const [known] = await upsertRecipients(tx, production, [{ ...ref, properties }], now)
    const timezone = zoneOf(known?.properties, 'Europe/Berlin')
    const one = {
      ...timing,
      workflow: (given.workflow ?? 'digest') as WorkflowKey,
      recipient: ref,
      actor: given.actor ?? null,
      tenant: given.tenant ?? null,
      data: given.data ?? {},
      paused: given.paused ?? false,
      declaredKey: null,
      timezone,
      nextOccurrenceAt: given.paused ? null : firstOccurrence(timing, now, timezone),
    }
    return insertSchedules(tx, production, [one], now)
  })
  return made!.id
}

/** All schedules of production, oldest first. */
export async function schedules(engine: Engine) {
  return (await listSchedules(engine.database, production, {}, { limit: 1000 })).toReversed()
}

/** When the next occurrence of the only schedule is. */
export async function next(engine: Engine): Promise<string | null> {
  const [one] = await schedules(engine)
  return one?.nextOccurrenceAt?.toISOString() ?? null
}

/** What was delivered, in the order of its making. */
export async function texts(engine: Engine): Promise<readonly string[]> {
  const messages = await engine.messages()
  return messages.map(({ content }) =>
    (content['body'] as { content: string }).content.replaceAll('\\', ''),
  )
}

/** Sets the clock to each moment and works until nothing is due. */
export async function pass(engine: Engine, ...times: readonly string[]): Promise<void> {
  for (const at of times) {
    engine.clock.set(at)
    await engine.drain()
  }
}

/** The triggers of all schedules, oldest first. */
export function triggers(engine: Engine) {
  return engine.database.query<{ id: string; trigger_source: Record<string, unknown> }>(sql`
    select id, trigger_source from workflow_runs where environment = 'production' order by id
  `)
}
