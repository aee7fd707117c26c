import { isDeepStrictEqual } from 'node:util'
import type { Transaction } from '../db/database.ts'
import { parseTimestamp } from '../language/timestamps.ts'
import { recipientKey } from '../recipients/recipient.ts'
import {
  nextOccurrenceOf,
  replan,
  toWireRule,
  zoneOf,
  type Planned,
  type Schedule,
} from '../recipients/schedule.ts'
import {
  deleteSchedules,
  insertSchedules,
  lockDeclaredSchedules,
  rezoneEnvironment,
  saveSchedules,
} from '../recipients/schedule-store.ts'
import { loadRecipients } from '../recipients/store.ts'
import type { DeclaredSchedule, EnvironmentSettings } from '../workflow/environment.ts'
import type { AppliedAt } from './store.ts'

/** A declared schedule for one of its recipients. */
interface Declared extends Omit<Planned, 'anchorAt'> {
  readonly declaredKey: string
}

/**
 * Makes the schedules of an environment's file those that there are: new ones are added, and what the file dropped is
 * gone. One that says what it said keeps its next occurrence. `before` are the settings of the revision before.
 */
export async function writeSchedules(
  tx: Transaction,
  { environment, now }: AppliedAt,
  {
    settings,
    before,
  }: { readonly settings: EnvironmentSettings; readonly before: EnvironmentSettings | null },
): Promise<void> {
  const { timezone: zone } = settings
  if (before !== null && before.timezone !== zone)
    await rezoneEnvironment(tx, environment, before.timezone, now)
  const declared = new Map(declaredIn(settings).map((one) => [nameOf(one), one]))
  if (declared.size === 0 && before !== null && before.schedules === undefined) return
  const known = await lockDeclaredSchedules(tx, environment)
  const refs = [...declared.values()].map(({ recipient }) => recipient)
  const recipients = await loadRecipients(tx, environment, refs)
  const properties = new Map(recipients.map((one) => [recipientKey(one), one.properties]))
  const zoned = ({ recipient }: Declared) => zoneOf(properties.get(recipientKey(recipient)), zone)
  const kept = new Map(known.map((one) => [nameOf(one), one]))
  const gone = known.filter((one) => !declared.has(nameOf(one)))
  const changed = [...declared].flatMap(([name, one]) => {
    const own = kept.get(name)
    if (!own || isSame(own, one)) return []
    return [replan(own, one, { now, timezone: zoned(one), first: nextOccurrenceOf })]
  })
  const added = [...declared.values()]
    .filter((one) => !kept.has(nameOf(one)))
    .map((one) => {
      const planned = { ...one, anchorAt: one.scheduledAt ?? now }
      const timezone = zoned(one)
      // What has passed is over: a new environment does not begin with all that its file ever said.
      const next = one.paused ? null : nextOccurrenceOf(planned, now, timezone)
      return { ...planned, timezone, nextOccurrenceAt: next }
    })
  if (gone.length > 0) {
    const ids = gone.map(({ id }) => id)
    await deleteSchedules(tx, environment, ids)
  }
  await saveSchedules(tx, environment, changed)
  if (added.length > 0) await insertSchedules(tx, environment, added, now)
}

function declaredIn({ schedules = {} }: EnvironmentSettings): readonly Declared[] {
  return Object.entries(schedules).flatMap(([key, schedule]) =>
    schedule.recipients.map((recipient) => ({
      declaredKey: key,
      workflow: schedule.workflow,
      recipient,
      actor: schedule.actor,
      tenant: schedule.tenant,
      data: schedule.data,
      repeats: schedule.repeats.map(toWireRule),
      scheduledAt: timeOf(schedule.scheduled_at),
      endingAt: timeOf(schedule.ending_at),
      paused: schedule.paused,
    })),
  )
}

function timeOf(text: DeclaredSchedule['ending_at']): Date | null {
  const at = text === null ? undefined : parseTimestamp(text)
  return at === undefined ? null : new Date(at)
}

function nameOf({ declaredKey, recipient }: Pick<Schedule, 'declaredKey' | 'recipient'>): string {
  return `${declaredKey} ${recipientKey(recipient)}`
}

function isSame(known: Schedule, declared: Declared): boolean {
  const said = Object.keys(declared) as (keyof Declared)[]
  return said.every((name) => isDeepStrictEqual(known[name], declared[name]))
}
