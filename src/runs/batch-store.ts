import { createHash } from 'node:crypto'
import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type {
  BatchId,
  EnvironmentName,
  RunId,
  StepRef,
  VersionId,
  WorkflowKey,
  WorkflowRunId,
} from '../ids.ts'

/** What is batched apart in an environment. */
export interface Bucket {
  readonly workflow: WorkflowKey
  readonly stepRef: StepRef
  readonly collection: string
  readonly recipient: string
  readonly tenant: string | null
  /** '' where the step has none, null where it is missing. */
  readonly key: string | null
  /** Of a pinned batch; null where versions are batched together. */
  readonly versionId: VersionId | null
  readonly sandbox: boolean
}

/** A batch as it stands. */
export interface BatchRow {
  readonly id: BatchId
  /** `bucketId` of its bucket. */
  readonly bucket: string
  /** The run that goes on at the close. */
  readonly runId: RunId | null
  readonly flushLeading: boolean
  readonly openedAt: Date
  readonly closesAt: Date
  readonly closedAt: Date | null
  readonly takenAt: Date | null
  readonly activities: number
}

/** A batch that is not stored yet. */
export interface NewBatch {
  readonly row: BatchRow
  readonly bucket: Bucket
}

export interface NewActivity {
  readonly batchId: BatchId
  readonly workflowRunId: WorkflowRunId
  readonly runId: RunId
  readonly data: Readonly<Record<string, unknown>> | null
  /** Whether `data` stands in the place of the trigger's, and not over it. */
  readonly whole: boolean
}

/** One text for a bucket, the same for the same. */
export function bucketId(bucket: Bucket): string {
  const { workflow, stepRef, collection, recipient, tenant, key, versionId, sandbox } = bucket
  const parts = [workflow, stepRef, collection, recipient, tenant, key, versionId, sandbox]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

/**
 * Locks the batches of these ids, and those that are open for these buckets, in the order of the
 * buckets, so that two chunks with the same batches never wait for each other.
 */
export async function lockBatches(
  tx: Transaction,
  environment: EnvironmentName,
  { ids, buckets }: { readonly ids: readonly BatchId[]; readonly buckets: readonly string[] },
): Promise<readonly BatchRow[]> {
  return tx.query<BatchRow>(sql`
    select b.id, b.bucket, b.run_id as "runId", b.flush_leading as "flushLeading",
      b.opened_at as "openedAt", b.closes_at as "closesAt", b.closed_at as "closedAt",
      b.taken_at as "takenAt", b.activities
    from batches b
    join (
      select id from batches where environment = ${environment} and id = any(${ids}::uuid[])
      union
      select id from batches
      where environment = ${environment} and bucket = any(${buckets}::text[])
        and closed_at is null
    ) w on w.id = b.id
    where b.environment = ${environment} and (b.closed_at is null or b.id = any(${ids}::uuid[]))
    order by b.bucket, b.id
    for update of b
  `)
}

/**
 * Opens a batch for each bucket that has none, empty and closing now, or locks and answers the one
 * that another worker has opened meanwhile.
 */
export async function openBatches(
  tx: Transaction,
  environment: EnvironmentName,
  batches: readonly NewBatch[],
): Promise<readonly BatchRow[]> {
  if (batches.length === 0) return []
  const sorted = batches.toSorted((a, b) => (a.row.bucket < b.row.bucket ? -1 : 1))
  return tx.query<BatchRow>(sql`
    insert into batches (environment, id, bucket, workflow, step_ref, collection, recipient, tenant,
      key, version_id, sandbox, run_id, flush_leading, opened_at, closes_at, closed_at, activities)
    select ${environment}, id, bucket, workflow, step_ref, collection, recipient, tenant, key,
      version_id, sandbox, run_id, flush_leading, opened_at, closes_at, closed_at, activities
    from unnest(${sorted.map(({ row }) => row.id)}::uuid[],
      ${sorted.map(({ row }) => row.bucket)}::text[],
      ${sorted.map(({ bucket }) => bucket.workflow)}::text[],
      ${sorted.map(({ bucket }) => bucket.stepRef)}::text[],
      ${sorted.map(({ bucket }) => bucket.collection)}::text[],
      ${sorted.map(({ bucket }) => bucket.recipient)}::text[],
      ${sorted.map(({ bucket }) => bucket.tenant ?? '')}::text[],
      ${sorted.map(({ bucket }) => bucket.key)}::text[],
      ${sorted.map(({ bucket }) => bucket.versionId ?? '')}::text[],
      ${sorted.map(({ bucket }) => bucket.sandbox)}::boolean[],
      ${sorted.map(({ row }) => row.runId)}::uuid[],
      ${sorted.map(({ row }) => row.flushLeading)}::boolean[],
      ${sorted.map(({ row }) => row.openedAt)}::timestamptz[],
      ${sorted.map(({ row }) => row.closesAt)}::timestamptz[],
      ${sorted.map(({ row }) => row.closedAt)}::timestamptz[],
      ${sorted.map(({ row }) => row.activities)}::integer[])
      as i (id, bucket, workflow, step_ref, collection, recipient, tenant, key, version_id, sandbox,
        run_id, flush_leading, opened_at, closes_at, closed_at, activities)
    order by bucket
    -- A change that changes nothing: it locks the row and answers it as it is.
    on conflict (environment, bucket) where closed_at is null
      do update set activities = batches.activities
    returning id, bucket, run_id as "runId", flush_leading as "flushLeading",
      opened_at as "openedAt", closes_at as "closesAt", closed_at as "closedAt",
      taken_at as "takenAt", activities
  `)
}

/** Writes down how these batches stand now. */
export async function updateBatches(
  tx: Transaction,
  environment: EnvironmentName,
  rows: readonly BatchRow[],
): Promise<void> {
  if (rows.length === 0) return
  await tx.query(sql`
    update batches b
    set run_id = i.run_id, flush_leading = i.flush_leading, opened_at = i.opened_at,
      closes_at = i.closes_at, closed_at = i.closed_at, taken_at = i.taken_at,
      activities = i.activities
    from unnest(${rows.map((row) => row.id)}::uuid[], ${rows.map((row) => row.runId)}::uuid[],
      ${rows.map((row) => row.flushLeading)}::boolean[],
      ${rows.map((row) => row.openedAt)}::timestamptz[],
      ${rows.map((row) => row.closesAt)}::timestamptz[],
      ${rows.map((row) => row.closedAt)}::timestamptz[],
      ${rows.map((row) => row.takenAt)}::timestamptz[],
      ${rows.map((row) => row.activities)}::integer[])
      as i (id, run_id, flush_leading, opened_at, closes_at, closed_at, taken_at, activities)
    where b.environment = ${environment} and b.id = i.id
  `)
}

/** A batch whose run goes on, and how much of it that run shows. */
export interface TakenBatch {
  readonly id: BatchId
  readonly limit: number
  readonly newest: boolean
}

/** Closes these batches for good. */
export async function takeBatches(
  tx: Transaction,
  environment: EnvironmentName,
  batches: readonly TakenBatch[],
  now: Date,
): Promise<void> {
  if (batches.length === 0) return
  await tx.query(sql`
    update batches b
    set closed_at = coalesce(b.closed_at, ${now}), taken_at = ${now},
      render_limit = i.render_limit, newest = i.newest
    from unnest(${batches.map((batch) => batch.id)}::uuid[],
      ${batches.map((batch) => batch.limit)}::integer[],
      ${batches.map((batch) => batch.newest)}::boolean[]) as i (id, render_limit, newest)
    where b.environment = ${environment} and b.id = i.id
  `)
}

export async function insertActivities(
  tx: Transaction,
  environment: EnvironmentName,
  activities: readonly NewActivity[],
  now: Date,
): Promise<void> {
  if (activities.length === 0) return
  await tx.query(sql`
    insert into batch_activities (environment, batch_id, workflow_run_id, run_id, data,
      data_bytes, whole, inserted_at)
    select ${environment}, batch_id, workflow_run_id, run_id, data, octet_length(data::text), whole,
      ${now}
    from unnest(${activities.map((one) => one.batchId)}::uuid[],
      ${activities.map((one) => one.workflowRunId)}::uuid[],
      ${activities.map((one) => one.runId)}::uuid[],
      ${activities.map((one) => one.data && JSON.stringify(one.data))}::jsonb[],
      ${activities.map((one) => one.whole)}::boolean[])
      as i (batch_id, workflow_run_id, run_id, data, whole)
  `)
}

/** A batch step of a workflow whose newest version is asked for. */
export interface NamedStep {
  readonly workflow: WorkflowKey
  readonly stepRef: StepRef
}

/** The newest applied version of each workflow that holds that batch step, and does not pin it. */
export async function findNewestVersions(
  tx: Queryable,
  environment: EnvironmentName,
  steps: readonly NamedStep[],
): Promise<readonly (NamedStep & { readonly versionId: VersionId })[]> {
  if (steps.length === 0) return []
  return tx.query<NamedStep & { readonly versionId: VersionId }>(sql`
    select i.workflow, i.step_ref as "stepRef", f.version_id as "versionId"
    from unnest(${steps.map((step) => step.workflow)}::text[],
      ${steps.map((step) => step.stepRef)}::text[]) as i (workflow, step_ref)
    cross join lateral (
      select r.version_id
      from revision_workflows r
      join versions v on v.id = r.version_id
      where r.environment = ${environment} and r.key = i.workflow
        and jsonb_path_exists(v.workflow,
          '$.** ? (@.ref == $ref && @.type == "batch" && !(@.version == "pinned"))',
          jsonb_build_object('ref', i.step_ref))
      order by r.sequence desc
      limit 1
    ) f
  `)
}

/** Closes a batch now; its run goes on when it looks. */
export async function endWindow(
  tx: Transaction,
  {
    environment,
    id,
    now,
  }: { readonly environment: EnvironmentName; readonly id: BatchId; readonly now: Date },
): Promise<void> {
  await tx.query(sql`
    update batches set closes_at = ${now}, closed_at = ${now}
    where environment = ${environment} and id = ${id} and closed_at is null
  `)
}

/** A window that is over by less is kept, since the clocks of two processes may differ. */
const KEPT_MS = 5 * 60_000
const SWEEP_ROWS_MAX = 1_000

/** Deletes some of the windows that what was let through has opened, and that nobody joined. Answers how many. */
export async function sweepBatches(db: Queryable, now: Date): Promise<number> {
  const rows = await db.query(sql`
    delete from batches
    where (environment, id) in (
      select environment, id from batches
      where flush_leading and run_id is null and closes_at < ${new Date(now.getTime() - KEPT_MS)}
      order by opened_at
      limit ${SWEEP_ROWS_MAX}
      for update skip locked
    )
    returning environment
  `)
  return rows.length
}
