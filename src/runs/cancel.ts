import type { RecipientRef } from '../recipients/recipient.ts'
import type { Queryable, Transaction } from '../db/database.ts'
import type { Queue } from '../db/queue.ts'
import { sql } from '../db/sql.ts'
import { daysBefore, sweepOldest } from '../db/sweep.ts'
import { RequestError } from '../errors.ts'
import {
  newRowId,
  type EnvironmentName,
  type RunId,
  type WorkflowKey,
  type WorkflowRunId,
} from '../ids.ts'
import { cancelMessages } from '../messages/store.ts'
import { leaveBatches, type BatchMember } from './batch-leave.ts'
import { deleteFetches } from './fetch-store.ts'
import { endWaits } from './wait-store.ts'
import { runJobs } from './jobs.ts'

export interface CancelCall {
  readonly environment: EnvironmentName
  readonly workflow: WorkflowKey
  readonly cancellationKey: string
  /** Only these; null for all that the key names. */
  readonly recipients: readonly RecipientRef[] | null
  /** Who asked, for the audit. */
  readonly requestedBy: string
  readonly now: Date
}

/** How much a cancel matched: runs that had not ended or were in an open batch, messages that were not handed over. */
export interface Cancelled {
  readonly runs: number
  readonly messages: number
}

/**
 * Ends every run that triggers with this key have started or will still start, and ends their
 * messages. It locks the triggers first, so that a fan-out under way is over before its runs are looked
 * for; a trigger that comes later is not touched (design ruling 5).
 */
export async function cancelByKey(
  tx: Transaction,
  queue: Queue,
  call: CancelCall,
): Promise<Cancelled> {
  const { environment, workflow, cancellationKey, recipients, now } = call
  const triggers = await tx.query<{ id: WorkflowRunId }>(sql`
    select id from workflow_runs
    where environment = ${environment} and workflow = ${workflow}
      and cancellation_key = ${cancellationKey}
    order by id
    for update
  `)
  const ids = triggers.map((trigger) => trigger.id)
  await markTriggers(tx, ids, call)
  const keys = recipients?.map((recipient) => `${recipient.collection}/${recipient.id}`) ?? null
  const locked = await tx.query<BatchMember>(sql`
    select id, workflow_run_id as "workflowRunId", batch_id as "batchId", waits_for as "waitsFor",
      status in ('completed', 'cancelled') as ended
    from runs
    where environment = ${environment} and workflow_run_id = any(${ids}::uuid[])
      and (${keys}::text[] is null or collection || '/' || recipient = any(${keys}::text[]))
    order by id
    for update
  `)
  const cancelled = await cancelLocked(tx, queue, { environment, runs: locked, now })
  await audit(tx, { ...call, runId: null, cancelled })
  return cancelled
}

/** Ends one run by its id, or takes its activity out of its batch; 404 `resource_missing` where there is none. A run that has ended stays as it is. */
export async function cancelRun(
  tx: Transaction,
  queue: Queue,
  call: {
    readonly environment: EnvironmentName
    readonly id: RunId
    readonly requestedBy: string
    readonly now: Date
  },
): Promise<Cancelled> {
  const { environment, id, now } = call
  const [run] = await tx.query<BatchMember & { readonly workflow: WorkflowKey }>(sql`
    select id, workflow_run_id as "workflowRunId", batch_id as "batchId", waits_for as "waitsFor",
      status in ('completed', 'cancelled') as ended, workflow
    from runs
    where environment = ${environment} and id = ${id}
    for update
  `)
  if (!run)
    throw new RequestError(404, 'resource_missing', `run ${id} does not exist in ${environment}`)
  const cancelled = await cancelLocked(tx, queue, { environment, runs: [run], now })
  const { requestedBy } = call
  await audit(tx, {
    environment,
    workflow: run.workflow,
    cancellationKey: null,
    recipients: null,
    runId: id,
    requestedBy,
    now,
    cancelled,
  })
  return cancelled
}

/** Leaves word for a fan-out that has not happened yet. */
async function markTriggers(
  tx: Transaction,
  ids: readonly WorkflowRunId[],
  { environment, recipients, now }: CancelCall,
): Promise<void> {
  if (ids.length === 0) return
  await tx.query(sql`
    update workflow_runs set
      cancelled_at = case when ${recipients === null} then coalesce(cancelled_at, ${now}) else cancelled_at end,
      cancelled_recipients = cancelled_recipients || ${JSON.stringify(recipients ?? [])}::jsonb
    where environment = ${environment} and id = any(${ids}::uuid[])
  `)
}

/**
 * Ends locked runs and their messages that are not handed over, and takes their activities out of open
 * batches. A run that waits for a batch with what others put in goes on for those.
 */
async function cancelLocked(
  tx: Transaction,
  queue: Queue,
  {
    environment,
    runs,
    now,
  }: {
    readonly environment: EnvironmentName
    readonly runs: readonly BatchMember[]
    readonly now: Date
  },
): Promise<Cancelled> {
  if (runs.length === 0) return { runs: 0, messages: 0 }
  const { kept, left, emptied } = await leaveBatches(tx, environment, runs, now)
  await queue.enqueue(tx, 'run', runJobs(environment, emptied))
  const open = runs.filter(({ id, ended }) => !ended && !kept.has(id)).map(({ id }) => id)
  await tx.query(sql`
    update runs set status = 'cancelled', outcome = 'cancelled', reason = 'cancelled',
      wakes_at = null, updated_at = ${now}, finished_at = ${now}
    where environment = ${environment} and id = any(${open}::uuid[])
  `)
  const asking = runs.filter(({ ended, waitsFor }) => !ended && waitsFor === 'fetch')
  await deleteFetches(
    tx,
    environment,
    asking.map(({ id }) => id),
  )
  await endWaits(tx, environment, open)
  const matched = new Set([...open, ...left])
  // Also of a run that goes on for others: what it made before its batch was for its own trigger alone.
  const ids = runs.map(({ id }) => id)
  return { runs: matched.size, messages: await cancelMessages(tx, environment, ids, now) }
}

interface Audit extends Omit<CancelCall, 'cancellationKey'> {
  readonly cancellationKey: string | null
  readonly runId: RunId | null
  readonly cancelled: Cancelled
}

async function audit(tx: Transaction, entry: Audit): Promise<void> {
  const { recipients, cancelled } = entry
  await tx.query(sql`
    insert into cancellations (environment, id, workflow, cancellation_key, run_id, recipients,
      runs_matched, messages_matched, actor, inserted_at)
    values (${entry.environment}, ${newRowId()}, ${entry.workflow}, ${entry.cancellationKey},
      ${entry.runId}, ${recipients && JSON.stringify(recipients)}, ${cancelled.runs},
      ${cancelled.messages}, ${entry.requestedBy}, ${entry.now})
  `)
}

/** Deletes some of the audits of cancels, of all environments, once the runs that they ended are gone. Answers how many. */
export function sweepCancellations(db: Queryable, now: Date, days: number): Promise<number> {
  return sweepOldest(db, sql`cancellations`, daysBefore(now, days))
}
