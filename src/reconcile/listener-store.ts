import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName } from '../ids.ts'
import { stepTypeOf, type Step } from '../steps/index.ts'
import { awaitedEvent } from '../steps/wait-for-event.ts'
import type { StepBase } from '../steps/step.ts'
import type { PackedVersion } from './versions.ts'

/**
 * Notes what these versions wait for, in the transaction that makes them live: from before the first run that
 * could wait for it, what happens is kept. No statement where they wait for nothing.
 */
export async function saveListeners(
  tx: Transaction,
  environment: EnvironmentName,
  versions: readonly Pick<PackedVersion, 'awaited'>[],
): Promise<void> {
  const events = [...new Set(versions.flatMap(({ awaited }) => awaited))]
  if (events.length === 0) return
  await tx.query(sql`
    insert into event_listeners (environment, event)
    select ${environment}, event from unnest(${events.toSorted()}::text[]) as i (event)
    order by event
    on conflict do nothing
  `)
}

/** The events that these steps, and those in them, wait for. */
export function awaitedEvents(steps: readonly StepBase[]): readonly string[] {
  return steps.flatMap((base) => {
    const step = base as Step
    const nested = stepTypeOf(step).children?.(step) ?? []
    const inside = nested.flatMap((child) => awaitedEvents(child.steps))
    return step.type === 'wait_for_event' ? [awaitedEvent(step), ...inside] : inside
  })
}
