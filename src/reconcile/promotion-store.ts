import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { notify } from '../db/topics.ts'
import { newRowId } from '../ids.ts'
import type { EnvironmentName, VersionId, WorkflowKey } from '../ids.ts'
import type { Workflow } from '../workflow/workflow.ts'
import type { PromotionPlan } from './promotion.ts'
import type { Coming } from './promotion-order.ts'
import { PLAN_WANTED, RECONCILE_TOPIC } from './read.ts'

/** Requests of an environment that may wait at once. */
const OPEN_MAX = 50
/** Requests that one look answers; the next one answers the others. */
const ANSWERED_AT_ONCE = 20
/** How long an answer is kept, to be read and to be used again. */
const KEPT_MS = 15 * 60_000
const SWEEP_ROWS_MAX = 1_000

/** Why a request has no plan. */
export interface PlanRefused {
  readonly code: string
  readonly message: string
}

export type PlanAnswer =
  | { readonly kind: 'open' }
  | { readonly kind: 'plan'; readonly plan: PromotionPlan }
  | { readonly kind: 'refused'; readonly problem: PlanRefused }

/**
 * Asks the process that reads Git for a plan. Answers the id of the request, or undefined where too
 * many wait already.
 */
export async function requestPlan(
  tx: Transaction,
  environment: EnvironmentName,
  { head, now }: { readonly head: string; readonly now: Date },
): Promise<string | undefined> {
  const id = newRowId()
  const rows = await tx.query(sql`
    insert into plan_requests (environment, id, head, requested_at)
    select ${environment}, ${id}, ${head}, ${now}
    where (
      select count(*) from plan_requests
      where environment = ${environment} and answered_at is null and requested_at > ${keptSince(now)}
    ) < ${OPEN_MAX}
    returning id`)
  if (rows.length === 0) return undefined
  await notify(tx, RECONCILE_TOPIC, PLAN_WANTED)
  return id
}

/** What was answered so far. */
export async function findPlanAnswer(
  database: Queryable,
  environment: EnvironmentName,
  id: string,
): Promise<PlanAnswer> {
  const [row] = await database.query<{
    readonly plan: PromotionPlan | null
    readonly problem: PlanRefused | null
  }>(sql`
    select plan, problem from plan_requests where environment = ${environment} and id = ${id}`)
  if (row?.plan) return { kind: 'plan', plan: row.plan }
  if (row?.problem) return { kind: 'refused', problem: row.problem }
  return { kind: 'open' }
}

/** A request that has not been answered. */
export interface OpenPlanRequest {
  readonly environment: EnvironmentName
  readonly id: string
  readonly head: string
}

/** Oldest first; those that nobody waits for any more are left to the sweep. */
export async function listOpenPlanRequests(
  database: Queryable,
  now: Date,
): Promise<readonly OpenPlanRequest[]> {
  return database.query<OpenPlanRequest>(sql`
    select environment, id, head
    from plan_requests
    where answered_at is null and requested_at > ${keptSince(now)}
    order by requested_at
    limit ${ANSWERED_AT_ONCE}`)
}

/** The plan that was worked out from just the same. */
export async function findSamePlan(
  database: Queryable,
  environment: EnvironmentName,
  { fingerprint, now }: { readonly fingerprint: string; readonly now: Date },
): Promise<PromotionPlan | undefined> {
  const [row] = await database.query<{ readonly plan: PromotionPlan }>(sql`
    select plan
    from plan_requests
    where environment = ${environment} and fingerprint = ${fingerprint} and plan is not null
      and requested_at > ${keptSince(now)}
    limit 1`)
  return row?.plan
}

/** Answers requests that ask for the same. */
export async function savePlanAnswer(
  tx: Transaction,
  environment: EnvironmentName,
  {
    ids,
    plan = null,
    problem = null,
    fingerprint = null,
    now,
  }: {
    readonly ids: readonly string[]
    readonly plan?: PromotionPlan | null
    readonly problem?: PlanRefused | null
    readonly fingerprint?: string | null
    readonly now: Date
  },
): Promise<void> {
  await tx.query(sql`
    update plan_requests
    set answered_at = ${now}, fingerprint = ${fingerprint},
      plan = ${plan && stored(plan)}::jsonb, problem = ${problem && stored(problem)}::jsonb
    where environment = ${environment} and id = any (${ids}::uuid[]) and answered_at is null`)
}

/** Deletes some of the requests that nobody waits for any more, of all environments. Answers how many. */
export async function sweepPlanRequests(database: Queryable, now: Date): Promise<number> {
  const rows = await database.query(sql`
    delete from plan_requests
    where (environment, id) in (
      select environment, id from plan_requests
      where requested_at <= ${keptSince(now)}
      order by requested_at
      limit ${SWEEP_ROWS_MAX}
      for update skip locked
    )
    returning environment`)
  return rows.length
}

/** What is applied in two environments, as far as an order of promotion depends on it. */
export async function loadAppliedMark(
  database: Queryable,
  environment: EnvironmentName,
  from: EnvironmentName | null,
): Promise<string> {
  const rows = await database.query<{ readonly name: string; readonly sequence: string }>(sql`
    select name, sequence::text as sequence
    from environments
    where name = ${environment} or name = ${from}
    order by name`)
  return rows.map(({ name, sequence }) => `${name}:${sequence}`).join(' ')
}

/** Which of these were applied neither in `from` nor in the environment itself, at any time. */
export async function listNeverApplied(
  database: Queryable,
  { environment, from }: { readonly environment: EnvironmentName; readonly from: EnvironmentName },
  coming: readonly Coming[],
): Promise<readonly WorkflowKey[]> {
  const rows = await database.query<{ readonly key: WorkflowKey }>(sql`
    select c.key
    from unnest(
      ${coming.map(({ key }) => key)}::text[], ${coming.map(({ tree }) => tree)}::text[],
      ${coming.map(({ versionId }) => versionId)}::text[]
    ) as c (key, tree, version_id)
    where not exists (
      select from revision_workflows r
      where r.environment in (${from}, ${environment}) and r.key = c.key
        and (r.version_id = c.version_id or (c.version_id is null and r.tree = c.tree))
    )`)
  return rows.map(({ key }) => key)
}

/** Paused runs that stand at the same place of the same version. */
export interface PausedGroup {
  readonly workflow: WorkflowKey
  readonly versionId: VersionId
  readonly position: readonly number[]
  readonly runs: number
  /** The step whose batch each of them waits for; null where they wait for something else. */
  readonly batch: string | null
  /** Whether that batch is pinned to their version. */
  readonly pinned: boolean
  /** All that these batches hold. */
  readonly activities: number
}

/** The paused runs of these workflows, counted by the place where they stand, with the batches that they wait for. */
export async function countPausedRuns(
  database: Queryable,
  environment: EnvironmentName,
  keys: readonly string[],
): Promise<readonly PausedGroup[]> {
  return database.query<PausedGroup>(sql`
    select r.workflow, r.version_id as "versionId", r.position, count(*)::integer as runs,
      b.step_ref as batch, coalesce(b.version_id, '') <> '' as pinned,
      coalesce(sum(b.activities), 0)::float8 as activities
    from runs r
    left join batches b on r.waits_for = 'batch' and b.environment = ${environment}
      and b.id = r.batch_id
    where r.environment = ${environment} and r.wakes_at is not null
      and r.workflow = any (${keys}::text[])
    group by r.workflow, r.version_id, r.position, b.step_ref, pinned`)
}

/** What these versions say. */
export async function listVersionWorkflows(
  database: Queryable,
  ids: readonly VersionId[],
): Promise<ReadonlyMap<VersionId, Workflow>> {
  const rows = await database.query<{ readonly id: VersionId; readonly workflow: Workflow }>(sql`
    select id, workflow from versions where id = any (${ids}::text[])`)
  return new Map(rows.map(({ id, workflow }) => [id, workflow]))
}

function keptSince(now: Date): Date {
  return new Date(now.getTime() - KEPT_MS)
}

/** A plan may quote what a file says, and Postgres stores neither NUL nor half a surrogate pair. */
function stored(value: object): string {
  return JSON.stringify(value, (_, one: unknown) =>
    typeof one === 'string' ? one.replaceAll('\0', '\uFFFD').toWellFormed() : one,
  )
}
