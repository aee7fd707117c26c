import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { BatchId, EnvironmentName, WorkflowRunId } from '../ids.ts'
import { recipientKey, type Recipient, type RecipientRef } from '../recipients/recipient.ts'
import { loadRecipients } from '../recipients/store.ts'
import { loadWorkflowRuns } from './store.ts'

type Data = Readonly<Record<string, unknown>>

/** One item of a batch: a trigger, as its run stood when it came to the step. */
export interface Activity {
  readonly workflowRunId: WorkflowRunId
  readonly actor: RecipientRef | null
  readonly data: Data
  readonly at: Date
}

/** What a batch that has closed holds, as far as its run shows it. */
export interface BatchContents {
  /** Oldest first, by the order in which the triggers were accepted. */
  readonly activities: readonly Activity[]
  readonly actors: readonly RecipientRef[]
  readonly totalActivities: number
  readonly totalActors: number
  /** Who caused the opening activity, or, where that was cancelled, the oldest one that is left. */
  readonly actor: RecipientRef | null
  /** The data of the opening activity; empty where that was cancelled. */
  readonly openingData: Data
  /** Everybody named above, by `collection/id`. */
  readonly entities: ReadonlyMap<string, Recipient>
}

interface TotalsRow {
  readonly batchId: BatchId
  readonly activities: number
  readonly actors: number
  readonly actor: RecipientRef | null
  readonly hasOpener: boolean
  readonly openingRun: WorkflowRunId | null
  readonly openingData: Data | null
  readonly openingWhole: boolean | null
}

interface ActivityRow {
  readonly batchId: BatchId
  readonly workflowRunId: WorkflowRunId
  readonly data: Data | null
  readonly whole: boolean
  readonly at: Date
}

interface ActorRow {
  readonly batchId: BatchId
  readonly actor: RecipientRef
}

/** Reads what these batches hold, once they are taken: a fixed number of queries, none where there are none. */
export async function loadContents(
  tx: Queryable,
  environment: EnvironmentName,
  ids: readonly BatchId[],
): Promise<ReadonlyMap<BatchId, BatchContents>> {
  if (ids.length === 0) return new Map()
  const totals = await loadTotals(tx, environment, ids)
  const activities = await loadShown(tx, environment, ids)
  const actors = await loadActors(tx, environment, ids)
  const triggers = await loadWorkflowRuns(tx, environment, [
    ...activities.map(({ workflowRunId }) => workflowRunId),
    ...totals.flatMap(({ openingRun }) => openingRun ?? []),
  ])
  const refs = [
    ...actors.map(({ actor }) => actor),
    ...totals.flatMap(({ actor }) => actor ?? []),
    ...activities.flatMap(({ workflowRunId }) => triggers.get(workflowRunId)?.actor ?? []),
  ]
  const known = await loadRecipients(tx, environment, refs)
  const entities = new Map(known.map((entity) => [recipientKey(entity), entity]))
  const dataOf = (run: WorkflowRunId, data: Data | null, whole: boolean): Data =>
    whole ? (data ?? {}) : { ...triggers.get(run)?.data, ...data }
  const activitiesOf = Map.groupBy(activities, ({ batchId }) => batchId)
  const actorsOf = Map.groupBy(actors, ({ batchId }) => batchId)
  return new Map(
    totals.map((total) => [
      total.batchId,
      {
        activities: (activitiesOf.get(total.batchId) ?? []).map((row) => ({
          workflowRunId: row.workflowRunId,
          actor: triggers.get(row.workflowRunId)?.actor ?? null,
          data: dataOf(row.workflowRunId, row.data, row.whole),
          at: row.at,
        })),
        actors: (actorsOf.get(total.batchId) ?? []).map(({ actor }) => actor),
        totalActivities: total.activities,
        totalActors: total.actors,
        actor: total.actor,
        openingData:
          total.openingRun === null
            ? {}
            : dataOf(total.openingRun, total.openingData, total.openingWhole === true),
        entities,
      },
    ]),
  )
}

async function loadTotals(
  tx: Queryable,
  environment: EnvironmentName,
  ids: readonly BatchId[],
): Promise<readonly TotalsRow[]> {
  return tx.query<TotalsRow>(sql`
    select a.batch_id as "batchId", count(*)::integer as activities,
      (count(distinct w.actor) filter (where w.actor is not null))::integer as actors,
      (array_agg(w.actor order by a.run_id is distinct from b.run_id, a.workflow_run_id))[1] as actor,
      (array_agg(a.workflow_run_id) filter (where a.run_id = b.run_id))[1] as "openingRun",
      (array_agg(a.data) filter (where a.run_id = b.run_id))[1] as "openingData",
      bool_or(a.whole) filter (where a.run_id = b.run_id) as "openingWhole"
    from batches b
    join batch_activities a on a.environment = b.environment and a.batch_id = b.id
    join workflow_runs w on w.environment = a.environment and w.id = a.workflow_run_id
    where b.environment = ${environment} and b.id = any(${ids}::uuid[])
    group by a.batch_id
  `)
}

async function loadShown(
  tx: Queryable,
  environment: EnvironmentName,
  ids: readonly BatchId[],
): Promise<readonly ActivityRow[]> {
  return tx.query<ActivityRow>(sql`
    select b.id as "batchId", a.workflow_run_id as "workflowRunId", a.data, a.whole,
      a.inserted_at as at
    from batches b
    cross join lateral (
      select workflow_run_id, data, whole, inserted_at
      from batch_activities
      where environment = ${environment} and batch_id = b.id
      order by case when b.newest then workflow_run_id end desc, workflow_run_id
      limit b.render_limit
    ) a
    where b.environment = ${environment} and b.id = any(${ids}::uuid[])
    order by b.id, a.workflow_run_id
  `)
}

/** Each actor once, from the same end as the activities, and oldest first as well. */
async function loadActors(
  tx: Queryable,
  environment: EnvironmentName,
  ids: readonly BatchId[],
): Promise<readonly ActorRow[]> {
  return tx.query<ActorRow>(sql`
    select b.id as "batchId", a.actor
    from batches b
    cross join lateral (
      select w.actor, case when b.newest then max(i.workflow_run_id::text)
        else min(i.workflow_run_id::text) end as place
      from batch_activities i
      join workflow_runs w on w.environment = i.environment and w.id = i.workflow_run_id
      where i.environment = ${environment} and i.batch_id = b.id and w.actor is not null
      group by w.actor
      order by case when b.newest then max(i.workflow_run_id::text) end desc,
        min(i.workflow_run_id::text)
      limit b.render_limit
    ) a
    where b.environment = ${environment} and b.id = any(${ids}::uuid[])
    order by b.id, a.place
  `)
}

/**
 * The data that the runs of these batches go on with: of each payload the scalars at its top, the last
 * payload's over those of earlier ones, over all activities.
 */
export async function loadMergedData(
  tx: Queryable,
  environment: EnvironmentName,
  ids: readonly BatchId[],
): Promise<ReadonlyMap<BatchId, Data>> {
  if (ids.length === 0) return new Map()
  const rows = await tx.query<{ readonly batchId: BatchId; readonly data: Data }>(sql`
    select batch_id as "batchId", jsonb_object_agg(key, value) as data
    from (
      select distinct on (a.batch_id, e.key) a.batch_id, e.key, e.value
      from batch_activities a
      join workflow_runs w on w.environment = a.environment and w.id = a.workflow_run_id
      cross join lateral jsonb_each(
        case when a.whole then '{}'::jsonb else w.data end || coalesce(a.data, '{}'::jsonb)) e
      where a.environment = ${environment} and a.batch_id = any(${ids}::uuid[])
        and jsonb_typeof(e.value) not in ('object', 'array')
      order by a.batch_id, e.key, a.workflow_run_id desc
    ) d
    group by batch_id
  `)
  return new Map(rows.map(({ batchId, data }) => [batchId, data]))
}
