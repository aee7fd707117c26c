import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type {
  EnvironmentName,
  Revision,
  StepRef,
  VersionId,
  WorkflowKey,
  WorkflowRunId,
} from '../ids.ts'
import type { QueuedRun, TriggerSource } from './run.ts'
import type { TriggerRequest } from './trigger-request.ts'

/** A workflow as it is live in an environment; without a version it is not there. */
export interface Target {
  readonly workflow: WorkflowKey
  readonly versionId: VersionId | null
  readonly archived: boolean
  readonly inactive: boolean
  readonly sequence: string
  readonly revision: Revision
}

/** How these workflows stand, in one query; those that do not exist are left out. */
export async function loadTargets(
  tx: Queryable,
  environment: EnvironmentName,
  workflows: readonly WorkflowKey[],
  now: Date,
): Promise<readonly Target[]> {
  return tx.query<Target>(sql`
    select w.key as workflow, w.version_id as "versionId", w.archived_at is not null as archived,
      e.sequence, e.observed_revision as revision,
      exists (
        select from switches s
        where s.environment = w.environment and s.workflow = w.key and s.channel = ''
          and not s.active and (s.expires_at is null or s.expires_at > ${now})
      ) as inactive
    from workflows w
    join environments e on e.name = w.environment
    where w.environment = ${environment} and w.key = any(${workflows}::text[])
  `)
}

/** A trigger by a step. */
export interface NestedRun {
  readonly id: WorkflowRunId
  readonly workflow: WorkflowKey
  readonly versionId: VersionId
  readonly sequence: string
  readonly revision: Revision
  readonly request: TriggerRequest
  readonly run: QueuedRun
  readonly stepRef: StepRef
  readonly depth: number
}

/** Stores triggers in one statement, each step's once; answers the ids of those that are new. */
export async function insertNestedRuns(
  tx: Transaction,
  environment: EnvironmentName,
  runs: readonly NestedRun[],
  now: Date,
): Promise<ReadonlySet<WorkflowRunId>> {
  if (runs.length === 0) return new Set()
  // Runs of one trigger mostly hand on the same data, which is sent once.
  const places = new Map<TriggerRequest['data'], number>()
  for (const { request } of runs)
    if (!places.has(request.data)) places.set(request.data, places.size + 1)
  const rows = await tx.query<{ readonly id: WorkflowRunId }>(sql`
    insert into workflow_runs (environment, id, workflow, version_id, sequence, revision,
      trigger_source, actor, tenant, data, settings, cancellation_key, recipients, fan_out,
      parent_run_id, parent_step, depth, inserted_at)
    select ${environment}, i.id, i.workflow, i.version_id, i.sequence, i.revision, i.source,
      i.actor, i.tenant, d.data, i.settings, i.cancellation_key, i.recipients, 'pending',
      i.run_id, i.step, i.depth, ${now}
    from unnest(${runs.map(({ id }) => id)}::uuid[],
      ${runs.map(({ workflow }) => workflow)}::text[],
      ${runs.map(({ versionId }) => versionId)}::text[],
      ${runs.map(({ sequence }) => sequence)}::bigint[],
      ${runs.map(({ revision }) => revision)}::text[],
      ${runs.map((run) => JSON.stringify(sourceOf(run)))}::jsonb[],
      ${runs.map(({ request }) => request.actor && JSON.stringify(request.actor))}::jsonb[],
      ${runs.map(({ request }) => request.tenant)}::text[],
      ${runs.map(({ request }) => places.get(request.data))}::integer[],
      ${runs.map(({ request }) => JSON.stringify(request.settings))}::jsonb[],
      ${runs.map(({ request }) => request.cancellationKey)}::text[],
      ${runs.map(({ request }) => JSON.stringify(request.recipients))}::jsonb[],
      ${runs.map(({ run }) => run.id)}::uuid[], ${runs.map(({ stepRef }) => stepRef)}::text[],
      ${runs.map(({ depth }) => depth)}::integer[])
      as i (id, workflow, version_id, sequence, revision, source, actor, tenant, place, settings,
        cancellation_key, recipients, run_id, step, depth)
    join unnest(${[...places.keys()].map((data) => JSON.stringify(data))}::jsonb[])
      with ordinality as d (data, place) on d.place = i.place
    on conflict (environment, parent_run_id, parent_step) where parent_run_id is not null do nothing
    returning id
  `)
  return new Set(rows.map(({ id }) => id))
}

function sourceOf({ run, stepRef, request }: NestedRun) {
  const type: TriggerSource = 'workflow_step'
  const { cancellationKey: cancellation_key } = request
  return { type, cancellation_key, run: run.id, step: stepRef, workflow: run.workflow }
}
