import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, Revision, VersionId, WorkflowKey, WorkflowRunId } from '../ids.ts'
import type { TriggerSource } from './run.ts'
import type { TriggerRequest } from './trigger-request.ts'

/** What has triggered a workflow, as it is stored: `type`, and what goes with it. */
export interface OutsideSource {
  readonly type: TriggerSource
  readonly [name: string]: unknown
}

/** A trigger that is about to be stored. */
export interface OutsideRun {
  readonly id: WorkflowRunId
  readonly workflow: WorkflowKey
  readonly versionId: VersionId
  readonly sequence: string
  readonly revision: Revision
  readonly request: TriggerRequest
  readonly source: OutsideSource
}

/** Stores any number of triggers in one statement. */
export async function insertOutsideRuns(
  tx: Transaction,
  environment: EnvironmentName,
  runs: readonly OutsideRun[],
  now: Date,
): Promise<void> {
  if (runs.length === 0) return
  await tx.query(sql`
    insert into workflow_runs (environment, id, workflow, version_id, sequence, revision,
      trigger_source, actor, tenant, data, settings, cancellation_key, recipients, fan_out, inserted_at)
    select ${environment}, i.id, i.workflow, i.version_id, i.sequence, i.revision, i.source, i.actor,
      i.tenant, i.data, i.settings, i.cancellation_key, i.recipients, 'pending', ${now}
    from unnest(${runs.map(({ id }) => id)}::uuid[],
      ${runs.map(({ workflow }) => workflow)}::text[],
      ${runs.map(({ versionId }) => versionId)}::text[],
      ${runs.map(({ sequence }) => sequence)}::bigint[],
      ${runs.map(({ revision }) => revision)}::text[],
      ${runs.map(({ source, request }) =>
        JSON.stringify({ ...source, cancellation_key: request.cancellationKey }),
      )}::jsonb[],
      ${runs.map(({ request }) => request.actor && JSON.stringify(request.actor))}::jsonb[],
      ${runs.map(({ request }) => request.tenant)}::text[],
      ${runs.map(({ request }) => JSON.stringify(request.data))}::jsonb[],
      ${runs.map(({ request }) => JSON.stringify(request.settings))}::jsonb[],
      ${runs.map(({ request }) => request.cancellationKey)}::text[],
      ${runs.map(({ request }) => JSON.stringify(request.recipients))}::jsonb[])
      as i (id, workflow, version_id, sequence, revision, source, actor, tenant, data, settings,
        cancellation_key, recipients)
  `)
}
