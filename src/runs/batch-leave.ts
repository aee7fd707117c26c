import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { BatchId, EnvironmentName, RunId, WorkflowRunId } from '../ids.ts'
import type { TimelineEvent, WaitReason } from './run.ts'

/** A locked run, as far as its batch is concerned. */
export interface BatchMember {
  readonly id: RunId
  readonly workflowRunId: WorkflowRunId
  readonly batchId: BatchId | null
  readonly waitsFor: WaitReason | null
  readonly ended: boolean
}

/** What became of the batches that runs have left. */
export interface LeftBatches {
  /** Runs that go on for what others put into their batch. */
  readonly kept: ReadonlySet<RunId>
  /** Runs whose activities were in a batch that had not gone on. */
  readonly left: ReadonlySet<RunId>
  /** Runs whose batches have nothing more to go on with: they are to look, and end. */
  readonly emptied: readonly RunId[]
}

interface HeldRow {
  readonly id: BatchId
  readonly runId: RunId | null
}

interface RemainingRow {
  readonly id: BatchId
  readonly activities: number
}

/**
 * Takes the activities of these runs out of batches that have not gone on yet. A batch stays open for what
 * others put in, and so does the run that waits for it; the last activity that goes ends both.
 */
export async function leaveBatches(
  tx: Transaction,
  environment: EnvironmentName,
  members: readonly BatchMember[],
  now: Date,
): Promise<LeftBatches> {
  const inBatch = members.filter(({ batchId, waitsFor, ended }) =>
    batchId === null ? false : ended || waitsFor === 'batch',
  )
  if (inBatch.length === 0) return { kept: new Set(), left: new Set(), emptied: [] }
  const held = await lockHeld(tx, environment, inBatch)
  const gone = await deleteActivities(tx, environment, { held, members: inBatch })
  const remaining = await countRemaining(tx, environment, { held, gone, now })
  const activitiesOf = new Map(remaining.map(({ id, activities }) => [id, activities]))
  const kept = new Set<RunId>()
  const emptied: RunId[] = []
  const own = new Set(inBatch.filter(({ ended }) => !ended).map(({ id }) => id))
  for (const { id, runId } of held) {
    if (runId === null) continue
    const isEmpty = activitiesOf.get(id) === 0
    if (own.has(runId) && !isEmpty) kept.add(runId)
    if (isEmpty && !own.has(runId)) emptied.push(runId)
  }
  const left = new Set(gone.map(({ runId }) => runId))
  await noteLeft(tx, environment, [...left], now)
  return { kept, left, emptied }
}

async function lockHeld(
  tx: Transaction,
  environment: EnvironmentName,
  members: readonly BatchMember[],
): Promise<readonly HeldRow[]> {
  const ids = [...new Set(members.map(({ batchId }) => batchId))]
  return tx.query<HeldRow>(sql`
    select id, run_id as "runId" from batches
    where environment = ${environment} and id = any(${ids}::uuid[]) and taken_at is null
    order by bucket, id
    for update
  `)
}

interface GoneRow {
  readonly batchId: BatchId
  readonly runId: RunId
}

async function deleteActivities(
  tx: Transaction,
  environment: EnvironmentName,
  {
    held,
    members,
  }: { readonly held: readonly HeldRow[]; readonly members: readonly BatchMember[] },
): Promise<readonly GoneRow[]> {
  const open = new Set(held.map(({ id }) => id))
  const going = members.filter(({ batchId }) => batchId !== null && open.has(batchId))
  return tx.query<GoneRow>(sql`
    delete from batch_activities a
    using unnest(${going.map(({ batchId }) => batchId)}::uuid[],
      ${going.map(({ workflowRunId }) => workflowRunId)}::uuid[]) as i (batch_id, workflow_run_id)
    where a.environment = ${environment} and a.batch_id = i.batch_id
      and a.workflow_run_id = i.workflow_run_id
    returning a.batch_id as "batchId", a.run_id as "runId"
  `)
}

/** An empty batch is over; only a window that something was let through in stays open for the next one. */
async function countRemaining(
  tx: Transaction,
  environment: EnvironmentName,
  {
    held,
    gone,
    now,
  }: { readonly held: readonly HeldRow[]; readonly gone: readonly GoneRow[]; readonly now: Date },
): Promise<readonly RemainingRow[]> {
  const counts = held.map(({ id }) => gone.filter(({ batchId }) => batchId === id).length)
  return tx.query<RemainingRow>(sql`
    update batches b
    set activities = b.activities - i.gone,
      run_id = case when b.activities = i.gone and b.flush_leading then null else b.run_id end,
      closed_at = case when b.activities = i.gone and not b.flush_leading
        then coalesce(b.closed_at, ${now}) else b.closed_at end,
      taken_at = case when b.activities = i.gone and (not b.flush_leading or b.closed_at is not null)
        then ${now}::timestamptz end
    from unnest(${held.map(({ id }) => id)}::uuid[], ${counts}::integer[]) as i (id, gone)
    where b.environment = ${environment} and b.id = i.id
    returning b.id, b.activities
  `)
}

/** Says in the timelines of these runs that their activities are gone. */
async function noteLeft(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly RunId[],
  now: Date,
): Promise<void> {
  if (ids.length === 0) return
  const at = now.toISOString()
  const event: TimelineEvent = {
    event: 'activity_cancelled',
    status: 'ok',
    attempt: 1,
    data: null,
    at,
  }
  await tx.query(sql`
    insert into run_steps (environment, run_id, number, ref, type, events)
    select environment, id, steps, null, null, ${JSON.stringify([event])} from runs
    where environment = ${environment} and id = any(${ids}::uuid[])
  `)
  await tx.query(sql`
    update runs set steps = steps + 1, updated_at = ${now}
    where environment = ${environment} and id = any(${ids}::uuid[])
  `)
}
