import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, Revision, RunId, VersionId, WorkflowRunId } from '../ids.ts'
import type { Schedule } from '../recipients/schedule.ts'
import type { StoredSource, Target } from './workflow-run-store.ts'

/** A workflow as it stands in an environment, and the environment's zone. */
export interface ScheduleTarget extends Target {
  readonly environment: EnvironmentName
  /** Null before the environment's first revision. */
  readonly timezone: string | null
}

/** What the workflows of these schedules are now; one that is not there has no version. */
export async function loadScheduleTargets(
  tx: Transaction,
  schedules: readonly Schedule[],
  now: Date,
): Promise<readonly ScheduleTarget[]> {
  return tx.query<ScheduleTarget>(sql`
    select e.name as environment, n.workflow, e.sequence, e.observed_revision as revision,
      e.settings ->> 'timezone' as timezone, w.version_id as "versionId",
      w.archived_at is not null as archived,
      exists (
        select 1 from switches s
        where s.environment = e.name and s.workflow = n.workflow and s.channel = '' and not s.active
          and (s.expires_at is null or s.expires_at > ${now})
      ) as inactive
    from (
      select distinct environment, workflow
      from unnest(${schedules.map(({ environment }) => environment)}::text[],
        ${schedules.map(({ workflow }) => workflow)}::text[]) as i (environment, workflow)
    ) n
    join environments e on e.name = n.environment
    left join workflows w on w.environment = e.name and w.key = n.workflow
  `)
}

/** Those of these schedules whose recipient is there, and its time zone. */
export async function listScheduled(
  tx: Transaction,
  schedules: readonly Schedule[],
): Promise<readonly { readonly id: string; readonly timezone: string | null }[]> {
  return tx.query<{ id: string; timezone: string | null }>(sql`
    select i.id, r.timezone
    from unnest(${schedules.map(({ environment }) => environment)}::text[],
      ${schedules.map(({ recipient }) => recipient.collection)}::text[],
      ${schedules.map(({ recipient }) => recipient.id)}::text[],
      ${schedules.map(({ id }) => id)}::uuid[]) as i (environment, collection, recipient, id)
    -- Lateral and limited, so that each is looked up by its key whatever the statistics say.
    cross join lateral (
      select left(properties ->> 'timezone', 100) as timezone
      from recipients
      where environment = i.environment and collection = i.collection and id = i.recipient
      limit 1
    ) r
  `)
}

/** An occurrence that starts something. */
export interface Occurrence {
  readonly schedule: Schedule
  readonly workflowRunId: WorkflowRunId
  /** Null where a fan-out is to give the recipient its run. */
  readonly runId: RunId | null
  readonly versionId: VersionId
  readonly sequence: string
  readonly revision: Revision
  readonly source: StoredSource
}

/** Stores the triggers of occurrences, and their runs, in two statements. What a schedule says stays in Postgres. */
export async function insertOccurrences(
  tx: Transaction,
  occurrences: readonly Occurrence[],
  now: Date,
): Promise<void> {
  if (occurrences.length === 0) return
  const environments = occurrences.map(({ schedule }) => schedule.environment)
  const schedules = occurrences.map(({ schedule }) => schedule.id)
  const workflowRuns = occurrences.map(({ workflowRunId }) => workflowRunId)
  const versions = occurrences.map(({ versionId }) => versionId)
  const runs = occurrences.map(({ runId }) => runId)
  await tx.query(sql`
    insert into workflow_runs (environment, id, workflow, version_id, sequence, revision,
      trigger_source, actor, tenant, data, data_bytes, settings, recipients, fan_out, inserted_at)
    select s.environment, i.id, s.workflow, i.version_id, i.sequence, i.revision, i.source, s.actor,
      s.tenant, s.data, octet_length(s.data::text), '{}',
      jsonb_build_array(jsonb_build_object('collection', s.collection, 'id', s.recipient)),
      case when i.run_id is null then 'pending' else 'done' end, ${now}
    from unnest(${environments}::text[], ${schedules}::uuid[], ${workflowRuns}::uuid[],
      ${versions}::text[], ${occurrences.map(({ sequence }) => sequence)}::bigint[],
      ${occurrences.map(({ revision }) => revision)}::text[],
      ${occurrences.map(({ source }) => JSON.stringify(source))}::jsonb[], ${runs}::uuid[])
      as i (environment, schedule, id, version_id, sequence, revision, source, run_id)
    join schedules s on s.environment = i.environment and s.id = i.schedule
  `)
  await tx.query(sql`
    insert into runs (environment, id, workflow_run_id, workflow, version_id, collection, recipient,
      tenant, status, inserted_at, updated_at)
    select s.environment, i.id, i.workflow_run_id, s.workflow, i.version_id, s.collection, s.recipient,
      s.tenant, 'queued', ${now}, ${now}
    from unnest(${environments}::text[], ${schedules}::uuid[], ${workflowRuns}::uuid[],
      ${versions}::text[], ${runs}::uuid[]) as i (environment, schedule, workflow_run_id, version_id, id)
    join schedules s on s.environment = i.environment and s.id = i.schedule
    where i.id is not null
  `)
}
