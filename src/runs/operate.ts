import type { Queryable, Transaction } from '../db/database.ts'
import type { Queue } from '../db/queue.ts'
import { sql } from '../db/sql.ts'
import { auditsSince, sweepOldest } from '../db/sweep.ts'
import { RequestError } from '../errors.ts'
import {
  newId,
  newRowId,
  type BatchId,
  type EnvironmentName,
  type RunId,
  type WorkflowKey,
  type WorkflowRunId,
} from '../ids.ts'
import { findRecipient } from '../recipients/store.ts'
import { recipientKey, type RecipientRef } from '../recipients/recipient.ts'
import type { ReachedBy } from '../recipients/subscribers.ts'
import { runJobs, type RunJob } from './jobs.ts'
import { endWindow } from './batch-store.ts'
import type { RunStatus, TimelineEvent, TriggerSettings, WaitReason } from './run.ts'
import { type NamedRecipient } from './trigger-request.ts'
import { admit } from './trigger.ts'
import { checkData, loadVersion } from './versions.ts'
import { insertWorkflowRuns } from './workflow-run-store.ts'

/** What somebody wants of one run. */
export interface RunCall {
  readonly environment: EnvironmentName
  readonly id: RunId
  /** Who asked, for the audit. */
  readonly requestedBy: string
  readonly now: Date
}

/**
 * Ends the wait of a run: it goes on at once, as if its time had come. Throws a `RequestError`: 404
 * `resource_missing`, 422 `run_not_waiting` where it does not wait.
 */
export async function wakeRun(tx: Transaction, queue: Queue, call: RunCall): Promise<void> {
  const { environment, id, requestedBy, now } = call
  const [run] = await tx.query<{
    status: RunStatus
    steps: number
    waits_for: WaitReason | null
    wakes_at: Date | null
    batch_id: BatchId | null
  }>(sql`
    select status, steps, waits_for, wakes_at, batch_id from runs
    where environment = ${environment} and id = ${id}
    for update
  `)
  if (!run) throw runMissing(call)
  if (run.status !== 'paused')
    throw new RequestError(422, 'run_not_waiting', `run ${id} is ${run.status}: it does not wait`)
  if (run.waits_for === 'batch' && run.batch_id !== null)
    await endWindow(tx, { environment, id: run.batch_id, now })
  const data = { by: requestedBy, until: run.wakes_at?.toISOString() ?? null }
  const at = now.toISOString()
  const event: TimelineEvent = { event: 'woken', status: 'ok', attempt: 1, data, at }
  await tx.query(sql`
    insert into run_steps (environment, run_id, number, ref, type, events)
    values (${environment}, ${id}, ${run.steps}, null, null, ${JSON.stringify([event])})
  `)
  await tx.query(sql`
    update runs set status = 'queued', wakes_at = null, steps = steps + 1, updated_at = ${now}
    where environment = ${environment} and id = ${id}
  `)
  await queue.enqueue(tx, 'run', runJobs(environment, [id]))
  await audit(tx, call, 'wake', null)
}

interface Replayed {
  readonly workflow: WorkflowKey
  readonly collection: string
  readonly recipient: string
  readonly actor: RecipientRef | null
  readonly tenant: string | null
  readonly data: Readonly<Record<string, unknown>>
  readonly settings: TriggerSettings
  readonly cancellation_key: string | null
  readonly recipients: readonly NamedRecipient[]
  readonly subscription: ReachedBy | null
}

/**
 * Runs a workflow again for one recipient, with what the trigger said then, and the version and the
 * properties of now. With `sandbox` nothing is sent and nobody changed. Answers the new workflow run.
 * Throws a `RequestError`: 404 `resource_missing`, `workflow_missing`; 422 `recipient_missing`,
 * `workflow_inactive`, `invalid_data`.
 */
export async function replayRun(
  tx: Transaction,
  queue: Queue,
  call: RunCall & { readonly sandbox: boolean },
): Promise<WorkflowRunId> {
  const { environment, now, sandbox } = call
  const replayed = await findReplayed(tx, call)
  const { workflow, actor, tenant, data, cancellation_key: cancellationKey } = replayed
  const ref = { collection: replayed.collection, id: replayed.recipient }
  if (!(await findRecipient(tx, environment, ref))) {
    const message = `${recipientKey(ref)} is no longer known in ${environment}`
    throw new RequestError(422, 'recipient_missing', message)
  }
  const live = await admit(tx, { environment, workflow, now })
  checkData(await loadVersion(tx, live.versionId), data)
  const named = replayed.recipients.find((one) => recipientKey(one) === recipientKey(ref))
  const settings = { ...replayed.settings, sandbox_mode: sandbox }
  const id = newId<WorkflowRunId>()
  const { subscription } = replayed
  const recipients = [
    { ...ref, ...(named?.data && { data: named.data }), ...(subscription && { subscription }) },
  ]
  const request = { recipients, actor, tenant, data, settings, cancellationKey, entities: [] }
  const source = { type: 'replay', run: call.id } as const
  await insertWorkflowRuns(tx, environment, [{ id, workflow, ...live, request, source }], now)
  const job: RunJob = { kind: 'start', environment, workflowRunId: id, large: false }
  await queue.enqueue(tx, 'run', [job])
  await audit(tx, call, 'replay', { workflow_run_id: id, sandbox })
  return id
}

async function findReplayed(tx: Transaction, call: RunCall): Promise<Replayed> {
  const { environment, id } = call
  const [row] = await tx.query<Replayed>(sql`
    select r.workflow, r.collection, r.recipient, r.subscription, w.actor, w.tenant, w.data, w.settings,
      w.cancellation_key, w.recipients
    from runs r
    join workflow_runs w on w.environment = r.environment and w.id = r.workflow_run_id
    where r.environment = ${environment} and r.id = ${id}
  `)
  if (!row) throw runMissing(call)
  return row
}

function runMissing({ environment, id }: RunCall): RequestError {
  return new RequestError(404, 'resource_missing', `run ${id} does not exist in ${environment}`)
}

async function audit(
  tx: Transaction,
  { environment, id, requestedBy, now }: RunCall,
  action: 'wake' | 'replay',
  details: object | null,
): Promise<void> {
  await tx.query(sql`
    insert into run_actions (environment, id, run_id, action, details, actor, inserted_at)
    values (${environment}, ${newRowId()}, ${id}, ${action}, ${details && JSON.stringify(details)},
      ${requestedBy}, ${now})
  `)
}

/** Deletes some of what tells who woke or repeated a run, of all environments, after a year. Answers how many. */
export function sweepRunActions(db: Queryable, now: Date, days: number): Promise<number> {
  return sweepOldest(db, sql`run_actions`, auditsSince(now, days))
}
