import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { unreachable } from '../errors.ts'
import {
  newId,
  type BatchId,
  type EnvironmentName,
  type RunId,
  type VersionId,
  type WorkflowKey,
  type WorkflowRunId,
} from '../ids.ts'
import type { Move } from '../messages/store.ts'
import type { RecipientRef } from '../recipients/recipient.ts'
import type { FanOutCursor, ReachedBy } from '../recipients/subscribers.ts'
import type {
  Progress,
  QueuedRun,
  RunOutcome,
  RunStatus,
  StepRecord,
  TriggerSettings,
  TriggerSource,
  WaitReason,
  WorkflowRun,
} from './run.ts'
import type { NamedRecipient } from './trigger-request.ts'

/** A trigger whose recipients are still to be given runs, locked against a cancel. */
export interface PendingWorkflowRun {
  readonly workflow: WorkflowKey
  readonly version_id: VersionId
  readonly tenant: string | null
  readonly settings: TriggerSettings
  /** What triggered it. */
  readonly source: TriggerSource
  readonly recipients: readonly NamedRecipient[]
  readonly actor: RecipientRef | null
  /** Where its fan-out goes on; null where it has not begun. */
  readonly cursor: FanOutCursor | null
  readonly cancelled_at: Date | null
  readonly cancelled_recipients: readonly RecipientRef[]
}

export async function lockPendingWorkflowRun(
  tx: Transaction,
  environment: EnvironmentName,
  id: WorkflowRunId,
): Promise<PendingWorkflowRun | undefined> {
  const [row] = await tx.query<PendingWorkflowRun>(sql`
    select workflow, version_id, tenant, settings, trigger_source->>'type' as source, recipients, actor,
      fan_out_cursor as cursor, cancelled_at, cancelled_recipients
    from workflow_runs
    where environment = ${environment} and id = ${id} and fan_out = 'pending'
    for update
  `)
  return row
}

/** A run to be, and what has ended it before it began. */
export interface NewRun extends NamedRecipient {
  readonly end: { readonly outcome: RunOutcome; readonly reason: string } | null
}

/** Gives each recipient its run, once: repeating it changes nothing. Answers the ids of those that go on. */
export async function insertRuns(
  tx: Transaction,
  trigger: {
    readonly environment: EnvironmentName
    readonly id: WorkflowRunId
    readonly run: PendingWorkflowRun
  },
  runs: readonly NewRun[],
  now: Date,
): Promise<readonly RunId[]> {
  const ids = runs.map(() => newId<RunId>())
  const rows = await tx.query<{ id: RunId; status: RunStatus }>(sql`
    insert into runs (environment, id, workflow_run_id, workflow, version_id, collection, recipient,
      tenant, data, subscription, status, outcome, reason, inserted_at, updated_at, finished_at)
    select ${trigger.environment}, i.id, ${trigger.id}, ${trigger.run.workflow},
      ${trigger.run.version_id}, i.collection, i.recipient, ${trigger.run.tenant}, i.data,
      i.subscription, i.status, i.outcome, i.reason, ${now}, ${now},
      case when i.outcome is not null then ${now}::timestamptz end
    from unnest(${ids}::uuid[], ${runs.map((run) => run.collection)}::text[],
      ${runs.map((run) => run.id)}::text[],
      ${runs.map((run) => (run.data ? JSON.stringify(run.data) : null))}::jsonb[],
      ${runs.map(({ subscription }) => (subscription ? JSON.stringify(subscription) : null))}::jsonb[],
      ${runs.map(({ end }) => (end ? statusOf(end.outcome) : 'queued'))}::text[],
      ${runs.map(({ end }) => end?.outcome ?? null)}::text[],
      ${runs.map(({ end }) => end?.reason ?? null)}::text[])
      as i (id, collection, recipient, data, subscription, status, outcome, reason)
    on conflict on constraint runs_once_per_recipient do nothing
    returning id, status
  `)
  return rows.filter(({ status }) => status === 'queued').map(({ id }) => id)
}

/** What the wire shows of a run that has ended so. */
function statusOf(outcome: RunOutcome): RunStatus {
  return outcome === 'cancelled' ? 'cancelled' : 'completed'
}

/** Writes down how far a trigger's fan-out has come: where it goes on, or, with no cursor, that it is done. */
export async function saveFanOut(
  tx: Transaction,
  environment: EnvironmentName,
  id: WorkflowRunId,
  {
    missing,
    cursor,
  }: {
    /** Those whom the trigger names and nobody knows. */
    readonly missing: readonly RecipientRef[]
    readonly cursor: FanOutCursor | null
  },
): Promise<void> {
  await tx.query(sql`
    update workflow_runs set fan_out = ${cursor ? 'pending' : 'done'},
      fan_out_cursor = ${cursor && JSON.stringify(cursor)},
      missing = missing || ${JSON.stringify(missing)}::jsonb
    where environment = ${environment} and id = ${id}
  `)
}

interface QueuedRow {
  readonly id: RunId
  readonly workflow_run_id: WorkflowRunId
  readonly workflow: WorkflowKey
  readonly version_id: VersionId
  readonly collection: string
  readonly recipient: string
  readonly position: readonly number[]
  readonly steps: number
  readonly attempt: number
  readonly waits_for: QueuedRun['waitsFor']
  readonly asleep: boolean
  readonly error_count: number
  readonly batch_id: BatchId | null
  readonly data: Readonly<Record<string, unknown>> | null
  readonly subscription: ReachedBy | null
}

/** Locks those of the named runs that are queued, or wait for a batch or an event, in id order. The others have gone on without this job. */
export async function lockQueuedRuns(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly RunId[],
): Promise<readonly QueuedRun[]> {
  const rows = await tx.query<QueuedRow>(sql`
    select r.id, r.workflow_run_id, r.workflow, r.version_id, r.collection, r.recipient, r.position,
      r.steps, r.attempt, r.waits_for, r.asleep, r.error_count, r.batch_id, r.data, r.subscription
    from unnest(${ids.toSorted()}::uuid[]) as i (id)
    -- Lateral and limited, so that each is looked up by its key whatever the statistics say.
    cross join lateral (
      select id, workflow_run_id, workflow, version_id, collection, recipient, position, steps,
        attempt, waits_for, status = 'paused' as asleep, error_count, batch_id, data, subscription
      from runs
      where environment = ${environment} and id = i.id
        -- A run that waits for its batch or an event may be asked to look at it before its time.
        and (status = 'queued' or (status = 'paused' and waits_for in ('batch', 'event')))
      limit 1
      for update
    ) r
  `)
  return rows.map((row) => toQueuedRun(environment, row))
}

function toQueuedRun(environment: EnvironmentName, row: QueuedRow): QueuedRun {
  return {
    environment,
    id: row.id,
    workflowRunId: row.workflow_run_id,
    workflow: row.workflow,
    versionId: row.version_id,
    collection: row.collection,
    recipient: row.recipient,
    position: row.position,
    steps: row.steps,
    attempt: row.attempt,
    waitsFor: row.waits_for,
    asleep: row.asleep,
    errorCount: row.error_count,
    batchId: row.batch_id,
    data: row.data,
    subscription: row.subscription,
  }
}

/** What the runs of these triggers share, by trigger. */
export async function loadWorkflowRuns(
  tx: Queryable,
  environment: EnvironmentName,
  ids: Iterable<WorkflowRunId>,
): Promise<ReadonlyMap<WorkflowRunId, WorkflowRun>> {
  const rows = await tx.query<WorkflowRun>(sql`
    select id, data, actor, tenant, settings, cancellation_key as "cancellationKey", depth,
      case when trigger_source ->> 'type' = 'schedule' then jsonb_build_object(
        'id', trigger_source ->> 'schedule_id', 'key', trigger_source ->> 'schedule',
        'occurrence_at', trigger_source ->> 'occurrence_at') end as schedule
    from workflow_runs
    where environment = ${environment} and id = any(${[...new Set(ids)]}::uuid[])
  `)
  return new Map(rows.map((row) => [row.id, row]))
}

/** Those of these workflows that are archived in this environment. */
export async function loadArchived(
  tx: Queryable,
  environment: EnvironmentName,
  workflows: readonly WorkflowKey[],
): Promise<ReadonlySet<WorkflowKey>> {
  const rows = await tx.query<{ key: WorkflowKey }>(sql`
    select key from workflows
    where environment = ${environment} and key = any(${workflows}) and archived_at is not null
  `)
  return new Set(rows.map((row) => row.key))
}

/** Where a run stands after this piece of work, and what happened meanwhile. */
export interface RunResult {
  readonly run: QueuedRun
  readonly progress: Progress
  readonly steps: readonly StepRecord[]
  readonly errorCount: number
  /** Whether `run.data` is new. */
  readonly dataChanged: boolean
}

/** Writes what a chunk of runs did: two statements, whatever the number of runs. */
export async function saveRuns(
  tx: Transaction,
  environment: EnvironmentName,
  results: readonly RunResult[],
  now: Date,
): Promise<void> {
  const records = results.flatMap(({ run, steps }) =>
    steps.map((step) => ({ runId: run.id, step })),
  )
  if (records.length > 0) {
    await tx.query(sql`
      insert into run_steps (environment, run_id, number, ref, type, events)
      select ${environment}, i.run_id, i.number, i.ref, i.type, i.events
      from unnest(${records.map((record) => record.runId)}::uuid[],
        ${records.map((record) => record.step.number)}::integer[],
        ${records.map((record) => record.step.ref)}::text[],
        ${records.map((record) => record.step.type)}::text[],
        ${records.map((record) => JSON.stringify(record.step.events))}::jsonb[])
        as i (run_id, number, ref, type, events)
    `)
  }
  const rows = results.map(toUpdate)
  await tx.query(sql`
    update runs set status = i.status, outcome = i.outcome, reason = i.reason,
      position = i.position, steps = i.steps, attempt = i.attempt, waits_for = i.waits_for,
      wakes_at = i.wakes_at, error_count = i.error_count,
      data = coalesce(i.data, runs.data), version_id = i.version_id, batch_id = i.batch_id,
      updated_at = ${now},
      finished_at = case when i.outcome is not null then ${now}::timestamptz end
    from unnest(${rows.map((row) => row.id)}::uuid[], ${rows.map((row) => row.status)}::text[],
      ${rows.map((row) => row.outcome)}::text[], ${rows.map((row) => row.reason)}::text[],
      ${rows.map((row) => row.position)}::jsonb[], ${rows.map((row) => row.steps)}::integer[],
      ${rows.map((row) => row.attempt)}::integer[], ${rows.map((row) => row.waitsFor)}::text[],
      ${rows.map((row) => row.wakesAt)}::timestamptz[], ${rows.map((row) => row.errorCount)}::integer[],
      ${rows.map((row) => row.data)}::jsonb[], ${rows.map((row) => row.versionId)}::text[],
      ${rows.map((row) => row.batchId)}::uuid[])
      as i (id, status, outcome, reason, position, steps, attempt, waits_for, wakes_at, error_count,
        data, version_id, batch_id)
    where runs.environment = ${environment} and runs.id = i.id
  `)
}

/**
 * Gives one recipient's runs to another, those that have not ended however old they are. Where a trigger has
 * a run for both, the first one's stays with a recipient that is not there, and ends so.
 */
export async function moveRuns(
  tx: Transaction,
  environment: EnvironmentName,
  { collection, from, into, since, now }: Move,
): Promise<void> {
  await tx.query(sql`
    with theirs as (
      select r.id
      from runs r
      where r.environment = ${environment}
        and r.collection = ${collection}
        and r.recipient = ${from}
        and (r.inserted_at >= ${since} or r.finished_at is null)
        and not exists (
          select 1
          from runs o
          where o.environment = ${environment}
            and o.workflow_run_id = r.workflow_run_id
            and o.collection = ${collection}
            and o.recipient = ${into}
        )
      order by r.id
      for update of r
    )
    update runs
    set recipient = ${into}, updated_at = ${now}
    from theirs
    where runs.environment = ${environment} and runs.id = theirs.id
  `)
}

function toUpdate({ run, progress, steps, errorCount, dataChanged }: RunResult) {
  const row = {
    id: run.id,
    steps: run.steps + steps.length,
    errorCount,
    status: progress.kind as string,
    outcome: null as RunOutcome | null,
    reason: null as string | null,
    position: JSON.stringify('position' in progress ? progress.position : run.position),
    attempt: 0,
    waitsFor: null as WaitReason | null,
    wakesAt: null as Date | null,
    data: dataChanged ? JSON.stringify(run.data) : null,
    versionId: run.versionId,
    batchId: run.batchId,
  }
  switch (progress.kind) {
    case 'queued':
      return row
    case 'calling': {
      const { attempt } = progress
      return { ...row, status: 'processing', attempt, waitsFor: 'fetch' as const }
    }
    case 'paused': {
      const { attempt, waitsFor, wakesAt } = progress
      return { ...row, attempt, waitsFor, wakesAt }
    }
    case 'ended': {
      const { outcome, reason } = progress
      return { ...row, status: statusOf(outcome), outcome, reason }
    }
    default:
      return unreachable(progress)
  }
}
