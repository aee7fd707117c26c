import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { storedWeight } from '../db/weight.ts'
import type { BatchId, EnvironmentName, MessageId, RunId } from '../ids.ts'
import type { RecipientRef } from '../recipients/recipient.ts'
import type { Activity } from './batch-contents.ts'

/** What lists say of a batch, whose data may be large. */
export interface BatchSummary {
  /** From the same end as what its step shows, oldest first. */
  readonly actors: readonly RecipientRef[]
  readonly totalActivities: number
  readonly totalActors: number
}

interface BatchedMessage {
  readonly id: MessageId
  readonly runId: RunId
  readonly insertedAt: Date
}

/** The batches that these messages' runs had gone on from as they were made; nothing of one that came from none. */
export async function findBatches(
  db: Queryable,
  environment: EnvironmentName,
  messages: readonly BatchedMessage[],
): Promise<ReadonlyMap<MessageId, BatchId>> {
  if (messages.length === 0) return new Map()
  const rows = await db.query<{ readonly message: MessageId; readonly id: BatchId }>(sql`
    select m.message, b.id
    from unnest(
      ${messages.map(({ id }) => id)}::uuid[],
      ${messages.map(({ runId }) => runId)}::uuid[],
      ${messages.map(({ insertedAt }) => insertedAt)}::timestamptz[]
    ) as m (message, run_id, at)
    -- Lateral and limited, so that each is looked up by its key whatever the statistics say.
    cross join lateral (
      select batch_id from runs where environment = ${environment} and id = m.run_id limit 1
    ) r
    cross join lateral (
      select id, run_id, taken_at from batches
      where environment = ${environment} and id = r.batch_id
      limit 1
    ) b
    where b.run_id = m.run_id and b.taken_at <= m.at
  `)
  return new Map(rows.map(({ message, id }) => [message, id]))
}

/** One statement for all of them; of one that nothing is left of there is nothing. */
export async function summarizeBatches(
  db: Queryable,
  environment: EnvironmentName,
  ids: readonly BatchId[],
  actorsMax: number,
): Promise<ReadonlyMap<BatchId, BatchSummary>> {
  if (ids.length === 0) return new Map()
  const rows = await db.query<
    BatchSummary & { readonly id: BatchId; readonly newest: boolean }
  >(sql`
    select b.id, b.newest, sum(a.activities)::integer as "totalActivities",
      count(a.actor)::integer as "totalActors",
      coalesce(to_jsonb((
        array_agg(a.actor order by case when b.newest then a.last end desc, a.first)
          filter (where a.actor is not null)
      )[1:least(b.render_limit, ${actorsMax}::integer)]), '[]') as actors
    from batches b
    cross join lateral (
      select w.actor, count(*) as activities, min(i.workflow_run_id::text) as first,
        max(i.workflow_run_id::text) as last
      from batch_activities i
      join workflow_runs w on w.environment = i.environment and w.id = i.workflow_run_id
      where i.environment = ${environment} and i.batch_id = b.id
      group by w.actor
    ) a
    where b.environment = ${environment} and b.id = any(${ids}::uuid[])
    group by b.id, b.newest, b.render_limit
  `)
  return new Map(
    rows.map(({ id, newest, actors, ...totals }) => [
      id,
      { actors: newest ? actors.toReversed() : actors, ...totals },
    ]),
  )
}

/** How much is shown of batches: so many activities of each, and so many bytes of all together. */
interface Shown {
  readonly activitiesMax: number
  readonly bytesMax: number
  /** What each activity is shown with beside its data and its actor, in bytes. */
  readonly bytesEach: number
}

/**
 * What batches show, oldest first, in one statement. Where it is too large, later activities are left out
 * before earlier ones, and large ones before small ones.
 */
export async function loadActivities(
  db: Queryable,
  environment: EnvironmentName,
  ids: readonly BatchId[],
  { activitiesMax, bytesMax, bytesEach }: Shown,
): Promise<ReadonlyMap<BatchId, readonly Activity[]>> {
  if (ids.length === 0) return new Map()
  const rows = await db.query<Activity & { readonly batchId: BatchId }>(sql`
    select batch_id as "batchId", workflow_run_id as "workflowRunId", actor, at,
      coalesce(message_data(${environment}, workflow_run_id, data, whole), '{}') as data
    from (
      select b.id as batch_id, a.*, sum(a.bytes) over (order by a.place, a.bytes, b.id) as bytes_so_far
      from batches b
      cross join lateral (
        select i.workflow_run_id, i.data, i.whole, i.inserted_at as at, w.actor, i.place,
          ${bytesEach}::integer + ${storedWeight(sql`(i.data), (case when not i.whole then w.data end), ((
            select r.properties from recipients r
            where r.environment = ${environment} and r.collection = w.actor ->> 'collection'
              and r.id = w.actor ->> 'id'))`)} as bytes
        from (
          select workflow_run_id, data, whole, inserted_at, row_number() over (
            order by case when b.newest then workflow_run_id end desc, workflow_run_id) as place
          from batch_activities
          where environment = ${environment} and batch_id = b.id
          order by place
          limit least(b.render_limit, ${activitiesMax}::integer)
        ) i
        join workflow_runs w on w.environment = ${environment} and w.id = i.workflow_run_id
      ) a
      where b.environment = ${environment} and b.id = any(${ids}::uuid[])
    ) shown
    where bytes_so_far <= ${bytesMax}
    order by batch_id, workflow_run_id
  `)
  return Map.groupBy(rows, ({ batchId }) => batchId)
}
