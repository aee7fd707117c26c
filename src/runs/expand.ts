import type { Transaction } from '../db/database.ts'
import type { EnvironmentName, RunId, WorkflowRunId } from '../ids.ts'
import { findServed } from './frequency.ts'
import { loadRecipients } from '../recipients/store.ts'
import { recipientKey } from '../recipients/recipient.ts'
import {
  finishFanOut,
  insertRuns,
  lockPendingWorkflowRun,
  type PendingWorkflowRun,
} from './store.ts'
import { loadVersion } from './versions.ts'

/**
 * Gives each known recipient of a trigger its run, in the caller's transaction. Repeating it after a crash
 * changes nothing. Answers the ids of the new runs, or undefined where another job has done it.
 */
export async function expandWorkflowRun(
  tx: Transaction,
  environment: EnvironmentName,
  id: WorkflowRunId,
  now: Date,
): Promise<readonly RunId[] | undefined> {
  const run = await lockPendingWorkflowRun(tx, environment, id)
  if (!run) return undefined
  const recipients = await loadRecipients(tx, environment, run.recipients)
  const known = new Set(recipients.map(recipientKey))
  const isCancelled = cancelled(run)
  const trigger = { environment, id, run }
  const found = run.recipients.filter((recipient) => known.has(recipientKey(recipient)))
  const missing = run.recipients.filter((recipient) => !known.has(recipientKey(recipient)))
  const { workflow } = await loadVersion(tx, run.version_id)
  const frequency = workflow.trigger?.frequency ?? 'every_trigger'
  const served = await findServed(tx, trigger, { frequency, recipients: found }, now)
  const runs = found.map((recipient) => {
    const key = recipientKey(recipient)
    if (isCancelled(key)) return { ...recipient, end: CANCELLED }
    return { ...recipient, end: served.has(key) ? SERVED : null }
  })
  const ids = await insertRuns(tx, trigger, runs, now)
  await finishFanOut(
    tx,
    environment,
    id,
    missing.map(({ collection, id: recipient }) => ({ collection, id: recipient })),
  )
  return ids
}

const CANCELLED = { outcome: 'cancelled', reason: 'cancelled' } as const
const SERVED = { outcome: 'halted', reason: 'frequency_met' } as const

/** Whether a cancel that came before the fan-out covers a recipient. */
function cancelled(run: PendingWorkflowRun): (key: string) => boolean {
  if (run.cancelled_at) return () => true
  const keys = new Set(run.cancelled_recipients.map(recipientKey))
  return (key) => keys.has(key)
}
