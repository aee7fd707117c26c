import type { Transaction } from '../db/database.ts'
import type { EnvironmentName, RunId, WorkflowRunId } from '../ids.ts'
import { isObjectRef, recipientKey } from '../recipients/recipient.ts'
import { loadRecipients } from '../recipients/store.ts'
import { FIRST_SUBSCRIBERS, readSubscribers, type Reached } from '../recipients/subscribers.ts'
import { findServed, type Admission } from './frequency.ts'
import {
  insertRuns,
  lockPendingWorkflowRun,
  saveFanOut,
  type NewRun,
  type PendingWorkflowRun,
} from './store.ts'
import type { NamedRecipient } from './trigger-request.ts'
import { loadVersion } from './versions.ts'

/** Recipients that one transaction gives their runs; as many as a trigger may name. */
const FAN_OUT_RUNS_MAX = 1_000

/** What one round of a fan-out has come to. */
export interface FannedOut {
  /** The new runs, but for those that ended before they began. */
  readonly ids: readonly RunId[]
  /** Whether everybody has a run; else there is to be another round. */
  readonly isDone: boolean
}

/**
 * Gives the next recipients of a trigger their runs, in the caller's transaction: in the first round each known one
 * that it names, then those who are subscribed to objects among them, the nearest first. Repeating a round after a crash
 * changes nothing. Undefined where another job has done it.
 */
export async function expandWorkflowRun(
  tx: Transaction,
  environment: EnvironmentName,
  id: WorkflowRunId,
  now: Date,
): Promise<FannedOut | undefined> {
  const run = await lockPendingWorkflowRun(tx, environment, id)
  if (!run) return undefined
  const trigger = { environment, id, run }
  const named = run.cursor ? NOBODY_NAMED : await expandNamed(tx, trigger, now)
  // A schedule and a replay are for their recipient alone, whoever is subscribed to it.
  const isForOne = run.source === 'schedule' || run.source === 'replay'
  const objects = isForOne ? [] : run.recipients.filter(isObjectRef)
  const limit = FAN_OUT_RUNS_MAX - named.count
  const start = run.cursor ?? (objects.length > 0 ? FIRST_SUBSCRIBERS : null)
  if (!start || limit <= 0) {
    await saveFanOut(tx, environment, id, { missing: named.missing, cursor: start })
    return { ids: named.ids, isDone: start === null }
  }
  const { reached, next } = await readSubscribers(tx, environment, {
    objects,
    cursor: start,
    limit,
  })
  const known = await keepKnown(tx, environment, reached.filter(isNot(run.actor)))
  const ids = await giveRuns(tx, trigger, known, now)
  await saveFanOut(tx, environment, id, { missing: named.missing, cursor: next })
  return { ids: [...named.ids, ...ids], isDone: next === null }
}

interface Named {
  readonly ids: readonly RunId[]
  readonly count: number
  readonly missing: readonly { readonly collection: string; readonly id: string }[]
}

const NOBODY_NAMED: Named = { ids: [], count: 0, missing: [] }

async function expandNamed(tx: Transaction, trigger: Admission, now: Date): Promise<Named> {
  const { recipients } = trigger.run
  const known = await keepKnown(tx, trigger.environment, recipients)
  const keys = new Set(known.map(recipientKey))
  const missing = recipients.filter((recipient) => !keys.has(recipientKey(recipient)))
  return {
    ids: await giveRuns(tx, trigger, known, now),
    count: recipients.length,
    missing: missing.map(({ collection, id }) => ({ collection, id })),
  }
}

async function keepKnown<Ref extends NamedRecipient>(
  tx: Transaction,
  environment: EnvironmentName,
  refs: readonly Ref[],
): Promise<readonly Ref[]> {
  const known = new Set((await loadRecipients(tx, environment, refs)).map(recipientKey))
  return refs.filter((ref) => known.has(recipientKey(ref)))
}

/** Who causes something is not told of it only because of a subscription. */
function isNot(actor: PendingWorkflowRun['actor']): (reached: Reached) => boolean {
  return (reached) => actor === null || recipientKey(reached) !== recipientKey(actor)
}

async function giveRuns(
  tx: Transaction,
  trigger: Admission,
  recipients: readonly Omit<NewRun, 'end'>[],
  now: Date,
): Promise<readonly RunId[]> {
  if (recipients.length === 0) return []
  const { run } = trigger
  const isCancelled = cancelled(run)
  const { workflow } = await loadVersion(tx, run.version_id)
  const frequency = workflow.trigger?.frequency ?? 'every_trigger'
  const served = await findServed(tx, trigger, { frequency, recipients }, now)
  const runs = recipients.map((recipient) => {
    const key = recipientKey(recipient)
    if (isCancelled(key)) return { ...recipient, end: CANCELLED }
    return { ...recipient, end: served.has(key) ? SERVED : null }
  })
  return insertRuns(tx, trigger, runs, now)
}

const CANCELLED = { outcome: 'cancelled', reason: 'cancelled' } as const
const SERVED = { outcome: 'halted', reason: 'frequency_met' } as const

/** Whether a cancel that came before the fan-out covers a recipient. */
function cancelled(run: PendingWorkflowRun): (key: string) => boolean {
  if (run.cancelled_at) return () => true
  const keys = new Set(run.cancelled_recipients.map(recipientKey))
  return (key) => keys.has(key)
}
