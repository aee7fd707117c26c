import type { Queryable } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import {
  entityToWire,
  recipientKey,
  type Recipient,
  type RecipientRef,
} from '../recipients/recipient.ts'
import type { Schedule } from '../recipients/schedule.ts'
import { loadRecipients } from '../recipients/store.ts'

/** Schedules in the contract's shape, with recipient and actor in full. */
export async function schedulesToWire(
  db: Queryable,
  environment: EnvironmentName,
  schedules: readonly Schedule[],
): Promise<readonly object[]> {
  const refs = schedules.flatMap(({ recipient, actor }) => [recipient, ...(actor ? [actor] : [])])
  const known = await loadRecipients(db, environment, refs)
  const entities = new Map(known.map((entity) => [recipientKey(entity), entity]))
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

function stranger(ref: RecipientRef, { insertedAt }: Schedule): Recipient {
  return { ...ref, properties: {}, createdAt: insertedAt, updatedAt: insertedAt }
}
