import type { Queryable } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import {
  entityToWire,
  recipientKey,
  type Recipient,
  type RecipientRef,
} from '../recipients/recipient.ts'
import type { Schedule as StoredSchedule } from '../recipients/schedule.ts'
import { loadRecipients } from '../recipients/store.ts'
import { Recipient as RecipientShape } from './shapes/recipients.ts'
import {
  anything,
  entity,
  flag,
  json,
  listOf,
  nullableText,
  nullableTime,
  orNull,
  shape,
  text,
  time,
} from './shapes/shape.ts'
import { frequencies } from '../language/recurrence.ts'

const number = { type: ['integer', 'null'] }

export const Schedule = entity('Schedule', {
  id: text,
  workflow: text,
  recipient: RecipientShape,
  actor: orNull(RecipientShape),
  tenant: nullableText,
  data: json,
  repeats: listOf(
    entity(
      'ScheduleRepeat',
      {
        frequency: { enum: frequencies },
        interval: number,
        days: anything,
        day_of_month: number,
        hours: number,
        minutes: number,
      },
      { isOpen: true, optional: ['interval', 'days', 'day_of_month', 'hours', 'minutes'] },
    ),
  ),
  scheduled_at: nullableTime,
  ending_at: nullableTime,
  paused: flag,
  declared: { ...nullableText, description: "Its name in the environment's file." },
  last_occurrence_at: nullableTime,
  next_occurrence_at: nullableTime,
  last_problem: orNull(shape({ code: text, message: text, occurrence_at: text })),
  inserted_at: time,
  updated_at: time,
})

/** Schedules in the contract's shape, with recipient and actor in full. */
export async function schedulesToWire(
  db: Queryable,
  environment: EnvironmentName,
  schedules: readonly StoredSchedule[],
): Promise<readonly object[]> {
  const refs = schedules.flatMap(({ recipient, actor }) => [recipient, ...(actor ? [actor] : [])])
  const known = await loadRecipients(db, environment, refs)
  const entities = new Map(known.map((one) => [recipientKey(one), one]))
  return schedules.map((schedule) => {
    // A file may name somebody who is not there yet, and whoever acted may be gone.
    const show = (ref: RecipientRef) =>
      entityToWire(entities.get(recipientKey(ref)) ?? stranger(ref, schedule))
    return {
      __typename: 'Schedule',
      id: schedule.id,
      workflow: schedule.workflow,
      recipient: show(schedule.recipient),
      actor: schedule.actor && show(schedule.actor),
      tenant: schedule.tenant,
      data: schedule.data,
      repeats: schedule.repeats.map((rule) => ({ __typename: 'ScheduleRepeat', ...rule })),
      scheduled_at: schedule.scheduledAt,
      ending_at: schedule.endingAt,
      paused: schedule.paused,
      declared: schedule.declaredKey,
      last_occurrence_at: schedule.lastOccurrenceAt,
      next_occurrence_at: schedule.nextOccurrenceAt,
      last_problem: schedule.lastProblem,
      inserted_at: schedule.insertedAt,
      updated_at: schedule.updatedAt,
    }
  })
}

function stranger(ref: RecipientRef, { insertedAt }: StoredSchedule): Recipient {
  return { ...ref, properties: {}, createdAt: insertedAt, updatedAt: insertedAt }
}
