import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type {
  BatchId,
  EnvironmentName,
  RunId,
  VersionId,
  WorkflowKey,
  WorkflowRunId,
} from '../ids.ts'
import type { ReachedBy } from '../recipients/subscribers.ts'
import type { QueuedRun } from './run.ts'

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
  readonly fits: boolean
}

/** How much the runs of one transaction may bring with them, as it is stored; one run is taken whatever it brings. */
const PORTION_BYTES_MAX = 16 * 1024 * 1024

/** Some of the runs that were asked for, and those that were too much to take with them. */
export interface Portion {
  readonly runs: readonly QueuedRun[]
  readonly left: readonly RunId[]
}

/**
 * Locks those of the named runs that are queued, or wait for a batch or an event, in id order. The others have gone on
 * without this job. What each brings is weighed as it is stored: its own data, the answer that it waits for, and the
 * first and the last of what its batch holds, since most of that is shared with others.
 */
export async function lockQueuedRuns(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly RunId[],
): Promise<Portion> {
  const rows = await tx.query<QueuedRow>(sql`
    select id, workflow_run_id, workflow, version_id, collection, recipient, position, steps, attempt,
      waits_for, asleep, error_count, batch_id, subscription, fits, case when fits then data end as data
    from (
      select r.*, sum(r.bytes) over (order by r.id) - r.bytes < ${PORTION_BYTES_MAX} as fits
      from unnest(${ids.toSorted()}::uuid[]) as i (id)
      -- Lateral and limited, so that each is looked up by its key whatever the statistics say.
      cross join lateral (
        select id, workflow_run_id, workflow, version_id, collection, recipient, position, steps,
          attempt, waits_for, status = 'paused' as asleep, error_count, batch_id, data, subscription,
          coalesce(pg_column_size(data), 0)
            + case when waits_for = 'fetch' then coalesce((
                select pg_column_size(f.answer) from fetches f
                where f.environment = runs.environment and f.run_id = runs.id), 0) else 0 end
            + case when batch_id is null then 0 else coalesce((
                select pg_column_size(w.data) from workflow_runs w
                where w.environment = runs.environment and w.id = runs.workflow_run_id), 0)
              + coalesce((
                select pg_column_size(w.data) from workflow_runs w
                where w.environment = runs.environment and w.id = (
                  select a.workflow_run_id from batch_activities a
                  where a.environment = runs.environment and a.batch_id = runs.batch_id
                  order by a.workflow_run_id desc
                  limit 1)), 0) end as bytes
        from runs
        where environment = ${environment} and id = i.id
          -- A run that waits for its batch or an event may be asked to look at it before its time.
          and (status = 'queued' or (status = 'paused' and waits_for in ('batch', 'event')))
        limit 1
        for update
      ) r
    ) weighed
    order by id
  `)
  return {
    runs: rows.filter(({ fits }) => fits).map((row) => toQueuedRun(environment, row)),
    left: rows.filter(({ fits }) => !fits).map(({ id }) => id),
  }
}

function toQueuedRun(environment: EnvironmentName, row: QueuedRow): QueuedRun {
  return {
    environment,
    id: row.id,
    isNew: false,
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
