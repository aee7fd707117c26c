import type { Transaction } from '../db/database.ts'
import { sql, type Sql } from '../db/sql.ts'
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

/** How much the runs of one transaction may bring with them, as text; one run is taken whatever it brings. */
const PORTION_BYTES_MAX = 16 * 1024 * 1024
/** The most activities that a step may show of its batch, from either end; which is not known before it is closed. */
const SHOWN_MAX = 100

/** Some of the runs that were asked for, and those that were too much to take with them. */
export interface Portion {
  readonly runs: readonly QueuedRun[]
  readonly left: readonly RunId[]
}

/**
 * Locks those of the named runs that are queued, or wait for a batch or an event, in id order. The others have gone on
 * without this job. What each brings is weighed: its own data, the answer that it waits for, and the data of its
 * trigger and of those that its batch may show, each of which counts with the first run that brings it. How long data
 * is was written down with it, since a look would decompress it; where it was not, it is looked at.
 */
export async function lockQueuedRuns(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly RunId[],
): Promise<Portion> {
  const rows = await tx.query<QueuedRow>(sql`
    with locked as materialized (
      select r.*
      from unnest(${ids.toSorted()}::uuid[]) as i (id)
      -- Lateral and limited, so that each is looked up by its key whatever the statistics say.
      cross join lateral (
        select id, workflow_run_id, workflow, version_id, collection, recipient, position, steps,
          attempt, waits_for, status = 'paused' as asleep, error_count, batch_id, data, subscription,
          coalesce(data_bytes, octet_length(data::text), 0)
            + case when waits_for = 'fetch' then coalesce((
                select coalesce(f.answer_bytes, octet_length(f.answer::text)) from fetches f
                where f.environment = runs.environment and f.run_id = runs.id), 0) else 0 end as bytes
        from runs
        where environment = ${environment} and id = i.id
          -- A run that waits for its batch or an event may be asked to look at it before its time.
          and (status = 'queued' or (status = 'paused' and waits_for in ('batch', 'event')))
        limit 1
        for update
      ) r
    ), activities as (
      select l.id, a.workflow_run_id, a.bytes
      from locked l
      cross join lateral ((${activities(environment, sql`asc`)}) union (${activities(environment, sql`desc`)})) a
      where l.batch_id is not null
    ), triggers as (
      select distinct on (workflow_run_id) workflow_run_id, id
      from (
        select workflow_run_id, id from locked
        union all
        select workflow_run_id, id from activities
      ) b
      order by workflow_run_id, id
    ), brought as (
      select id, sum(bytes) as bytes
      from (
        select id, bytes from locked
        union all
        select id, bytes from activities
        union all
        select t.id, w.bytes
        from (
          select workflow_run_id, id from triggers
          union all
          -- Of what its batch holds a run makes data of its own, about as much as its trigger has.
          select workflow_run_id, id from locked where batch_id is not null
        ) t
        cross join lateral (${triggerBytes(environment)}) w
      ) b
      group by id
    )
    select l.id, workflow_run_id, workflow, version_id, collection, recipient, position, steps, attempt,
      waits_for, asleep, error_count, batch_id, subscription, fits, case when fits then data end as data
    from locked l
    join (
      select id, sum(bytes) over (order by id) - bytes < ${PORTION_BYTES_MAX} as fits from brought
    ) weighed on weighed.id = l.id
    order by l.id
  `)
  return {
    runs: rows.filter(({ fits }) => fits).map((row) => toQueuedRun(environment, row)),
    left: rows.filter(({ fits }) => !fits).map(({ id }) => id),
  }
}

/** What the batch of a locked run may show, from one of its ends. */
function activities(environment: EnvironmentName, order: Sql): Sql {
  return sql`
    select workflow_run_id, coalesce(data_bytes, octet_length(data::text), 0) as bytes
    from batch_activities
    where environment = ${environment} and batch_id = l.batch_id
    order by workflow_run_id ${order}
    limit ${SHOWN_MAX}
  `
}

function triggerBytes(environment: EnvironmentName): Sql {
  return sql`
    select coalesce(data_bytes, octet_length(data::text)) as bytes from workflow_runs
    where environment = ${environment} and id = t.workflow_run_id
    limit 1
  `
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
