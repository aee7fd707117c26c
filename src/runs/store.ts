import type { Queryable, Transaction } from '../db/database.ts'
import { plainList, Shared } from '../db/shared.ts'
import { sql } from '../db/sql.ts'
import { assert, unreachable } from '../errors.ts'
import type { EnvironmentName, RunId, VersionId, WorkflowKey, WorkflowRunId } from '../ids.ts'
import type { Move } from '../messages/store.ts'
import type { RecipientRef } from '../recipients/recipient.ts'
import type { FanOutCursor } from '../recipients/subscribers.ts'
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

/**
 * Stores runs of triggers as they stand, each recipient's once: repeating it changes nothing. Answers the ids of those
 * that are new.
 */
export async function insertRuns(
  tx: Transaction,
  environment: EnvironmentName,
  results: readonly RunResult[],
  now: Date,
): Promise<readonly RunId[]> {
  if (results.length === 0) return []
  const standings = new Shared()
  const places = results.map((result) => {
    const { workflowRunId, collection } = result.run
    return standings.place({ workflow_run_id: workflowRunId, collection, ...standingOf(result) })
  })
  const rows = await tx.query<{ id: RunId }>(sql`
    insert into runs (environment, id, workflow_run_id, workflow, version_id, collection, recipient,
      tenant, data, data_bytes, subscription, status, outcome, reason, position, steps, attempt, waits_for,
      wakes_at, error_count, batch_id, inserted_at, updated_at, finished_at)
    select w.environment, i.id, w.id, w.workflow, s.version_id, s.collection, i.recipient, w.tenant,
      i.data, octet_length(i.data::text), i.subscription, s.status, s.outcome, s.reason, s.position, s.steps, s.attempt,
      s.waits_for, s.wakes_at, s.error_count, s.batch_id, ${now}, ${now},
      case when s.outcome is not null then ${now}::timestamptz end
    from unnest(${plainList(results.map(({ run }) => run.id))}::uuid[],
      ${results.map(({ run }) => run.recipient)}::text[],
      ${results.map(({ run }) => run.data && JSON.stringify(run.data))}::jsonb[],
      ${results.map(({ run }) => run.subscription && JSON.stringify(run.subscription))}::jsonb[],
      ${plainList(places)}::integer[]) as i (id, recipient, data, subscription, place)
    join rows from (json_to_recordset(${standings.json()}::json) as (workflow_run_id uuid,
      collection text, version_id text, status text, outcome text, reason text, position jsonb,
      steps integer, attempt integer, waits_for text, wakes_at timestamptz, error_count integer,
      batch_id uuid)) with ordinality
      as s (workflow_run_id, collection, version_id, status, outcome, reason, position, steps, attempt,
        waits_for, wakes_at, error_count, batch_id, place)
      on s.place = i.place
    join workflow_runs w on w.environment = ${environment} and w.id = s.workflow_run_id
    on conflict on constraint runs_once_per_recipient do nothing
    returning id
  `)
  return rows.map(({ id }) => id)
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

/** Writes what a chunk of runs did: three statements at most, whatever the number of runs. */
export async function saveRuns(
  tx: Transaction,
  environment: EnvironmentName,
  results: readonly RunResult[],
  now: Date,
): Promise<void> {
  await insertSteps(tx, environment, results)
  const made = results.filter(({ run }) => run.isNew)
  const stored = await insertRuns(tx, environment, made, now)
  // The trigger is locked, and nobody had a run of it: else what was made here would be there twice.
  assert(stored.length === made.length, 'somebody has a run of a trigger that has just begun')
  await updateRuns(
    tx,
    environment,
    results.filter(({ run }) => !run.isNew),
    now,
  )
}

async function insertSteps(
  tx: Transaction,
  environment: EnvironmentName,
  results: readonly RunResult[],
): Promise<void> {
  const kinds = new Shared()
  const records = results.flatMap(({ run, steps }) =>
    steps.map(({ number, ref, type, events }) => ({
      runId: run.id,
      place: kinds.place({ number, ref, type }),
      events,
    })),
  )
  if (records.length === 0) return
  await tx.query(sql`
    insert into run_steps (environment, run_id, number, ref, type, events)
    select ${environment}, i.run_id, s.number, s.ref, s.type, i.events
    from rows from (
      unnest(${plainList(records.map(({ runId }) => runId))}::uuid[],
        ${plainList(records.map(({ place }) => place))}::integer[]),
      jsonb_array_elements(${JSON.stringify(records.map(({ events }) => events))}::jsonb))
      as i (run_id, place, events)
    join rows from (json_to_recordset(${kinds.json()}::json)
      as (number integer, ref text, type text)) with ordinality as s (number, ref, type, place)
      on s.place = i.place
  `)
}

async function updateRuns(
  tx: Transaction,
  environment: EnvironmentName,
  results: readonly RunResult[],
  now: Date,
): Promise<void> {
  if (results.length === 0) return
  const standings = new Shared()
  const places = results.map((result) => standings.place(standingOf(result)))
  await tx.query(sql`
    update runs set status = s.status, outcome = s.outcome, reason = s.reason,
      position = s.position, steps = s.steps, attempt = s.attempt, waits_for = s.waits_for,
      wakes_at = s.wakes_at, error_count = s.error_count,
      data = coalesce(i.data, runs.data),
      data_bytes = coalesce(octet_length(i.data::text), runs.data_bytes), version_id = s.version_id, batch_id = s.batch_id,
      updated_at = ${now},
      finished_at = case when s.outcome is not null then ${now}::timestamptz end
    from unnest(${plainList(results.map(({ run }) => run.id))}::uuid[],
      ${results.map(({ run, dataChanged }) => (dataChanged ? JSON.stringify(run.data) : null))}::jsonb[],
      ${plainList(places)}::integer[]) as i (id, data, place)
    join rows from (json_to_recordset(${standings.json()}::json) as (version_id text, status text,
      outcome text, reason text, position jsonb, steps integer, attempt integer, waits_for text,
      wakes_at timestamptz, error_count integer, batch_id uuid)) with ordinality
      as s (version_id, status, outcome, reason, position, steps, attempt, waits_for, wakes_at,
        error_count, batch_id, place)
      on s.place = i.place
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

/** Where a run stands; of most runs of a chunk it is the same. */
function standingOf({ run, progress, steps, errorCount }: RunResult) {
  const row = {
    version_id: run.versionId,
    status: progress.kind as string,
    outcome: null as RunOutcome | null,
    reason: null as string | null,
    position: 'position' in progress ? progress.position : run.position,
    steps: run.steps + steps.length,
    attempt: 0,
    waits_for: null as WaitReason | null,
    wakes_at: null as Date | null,
    error_count: errorCount,
    batch_id: run.batchId,
  }
  switch (progress.kind) {
    case 'queued':
      return row
    case 'calling': {
      const { attempt } = progress
      return { ...row, status: 'processing', attempt, waits_for: 'fetch' as const }
    }
    case 'paused': {
      const { attempt, waitsFor, wakesAt } = progress
      return { ...row, attempt, waits_for: waitsFor, wakes_at: wakesAt }
    }
    case 'ended': {
      const { outcome, reason } = progress
      return { ...row, status: statusOf(outcome), outcome, reason }
    }
    default:
      return unreachable(progress)
  }
}
