import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { RequestError } from '../errors.ts'
import type {
  EnvironmentName,
  Revision,
  RunId,
  StepRef,
  VersionId,
  WorkflowKey,
  WorkflowRunId,
} from '../ids.ts'
import type { TriggerSource } from './run.ts'
import type { TriggerRequest } from './trigger-request.ts'

/** A workflow as it stands in an environment; without a version it is not there. */
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

/** Which version a trigger is for, and what was applied when it came. */
export interface Live {
  readonly versionId: VersionId
  readonly sequence: string
  readonly revision: Revision
}

/** What may run of what was found. Throws a `RequestError`: 404 `workflow_missing`, 422 `workflow_inactive`. */
export function requireLive(
  {
    environment,
    workflow,
  }: { readonly environment: EnvironmentName; readonly workflow: WorkflowKey },
  found: Omit<Target, 'workflow'> | undefined,
): Live {
  if (!found?.versionId || found.archived) {
    const why = found?.archived ? 'was archived' : 'does not exist'
    throw new RequestError(
      404,
      'workflow_missing',
      `workflow "${workflow}" ${why} in ${environment}`,
    )
  }
  if (found.inactive) {
    const message = `workflow "${workflow}" is switched off in ${environment}`
    throw new RequestError(422, 'workflow_inactive', message)
  }
  const { versionId, sequence, revision } = found
  return { versionId, sequence, revision }
}

/** What has triggered a workflow, as it is stored: `type`, and what goes with it. */
export interface StoredSource {
  readonly type: TriggerSource
  readonly [name: string]: unknown
}

/** A trigger that is about to be stored. */
export interface NewWorkflowRun extends Live {
  readonly id: WorkflowRunId
  readonly workflow: WorkflowKey
  readonly request: TriggerRequest
  readonly source: StoredSource
  /** The step that has triggered it, which does so once; and how deep such triggers lie in each other. */
  readonly parent?: { readonly runId: RunId; readonly stepRef: StepRef; readonly depth: number }
}

/**
 * Stores triggers, any number in one statement: what the runs of each share, once, and whom it names. Answers the ids
 * of those that are new.
 */
export async function insertWorkflowRuns(
  tx: Transaction,
  environment: EnvironmentName,
  runs: readonly NewWorkflowRun[],
  now: Date,
): Promise<ReadonlySet<WorkflowRunId>> {
  if (runs.length === 0) return new Set()
  // Triggers by the runs of one trigger mostly hand on the same data, which is sent once.
  const places = new Map<TriggerRequest['data'], number>()
  for (const { request } of runs)
    if (!places.has(request.data)) places.set(request.data, places.size + 1)
  const texts = [...places.keys()].map((data) => JSON.stringify(data))
  const rows = await tx.query<{ readonly id: WorkflowRunId }>(sql`
    insert into workflow_runs (environment, id, workflow, version_id, sequence, revision,
      trigger_source, actor, tenant, data, data_bytes, settings, cancellation_key, recipients,
      fan_out, parent_run_id, parent_step, depth, inserted_at)
    select ${environment}, i.id, i.workflow, i.version_id, i.sequence, i.revision, i.source,
      i.actor, i.tenant, d.data, d.bytes, i.settings, i.cancellation_key, i.recipients, 'pending',
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
      ${runs.map(({ parent }) => parent?.runId ?? null)}::uuid[],
      ${runs.map(({ parent }) => parent?.stepRef ?? null)}::text[],
      ${runs.map(({ parent }) => parent?.depth ?? 0)}::integer[])
      as i (id, workflow, version_id, sequence, revision, source, actor, tenant, place, settings,
        cancellation_key, recipients, run_id, step, depth)
    join unnest(${texts}::jsonb[], ${texts.map((text) => Buffer.byteLength(text))}::integer[])
      with ordinality as d (data, bytes, place) on d.place = i.place
    on conflict (environment, parent_run_id, parent_step) where parent_run_id is not null do nothing
    returning id
  `)
  return new Set(rows.map(({ id }) => id))
}

function sourceOf({ source, request }: NewWorkflowRun): StoredSource {
  return { ...source, cancellation_key: request.cancellationKey }
}
