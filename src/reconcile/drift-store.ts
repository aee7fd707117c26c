import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { newRowId } from '../ids.ts'
import type { EnvironmentName, Revision, VersionId, WorkflowKey } from '../ids.ts'
import type { EnvironmentSettings } from '../workflow/environment.ts'
import type { Version } from '../workflow/workflow.ts'
import type { Drift, DriftOutcome, Finding } from './drift-fight.ts'
import type { Parts } from './plan.ts'

/**
 * One value for all that was applied to an environment, its history included: another value means
 * that something was written. Sums of hashes need no order, and so no sort: 10,000 workflows take some
 * 30 ms, and nothing but the value leaves Postgres.
 */
export async function loadSeal(
  database: Queryable,
  environment: EnvironmentName,
): Promise<string | undefined> {
  const [row] = await database.query<{ seal: string }>(sql`
    select concat_ws(' ',
      md5(concat_ws(' ', e.sequence, e.observed_revision, e.applied_at, e.followed_sequence, e.settings, e.parts)),
      (select concat_ws(' ', count(*), sum(hashtextextended(
          concat_ws(' ', w.key, w.version_id, w.tree, w.sequence, w.archived_at is null), 0)))
       from workflows w where w.environment = e.name),
      (select concat_ws(' ', count(*), sum(hashtextextended(
          concat_ws(' ', h.key, h.sequence, h.version_id, h.tree), 0)))
       from revision_workflows h where h.environment = e.name),
      (select concat_ws(' ', count(*), sum(hashtextextended(concat_ws(' ', r.sequence, r.revision), 0)))
       from revisions r where r.environment = e.name),
      (select md5(concat_ws(' ', r.settings, r.parts))
       from revisions r where r.environment = e.name and r.sequence = e.sequence)
    ) as seal
    from environments e
    where e.name = ${environment}`)
  return row?.seal
}

/** A place in the order of Postgres's transactions: what was written before it need not be looked at again. */
export type WriteMark = string

export async function loadWriteMark(database: Queryable): Promise<WriteMark> {
  const [row] = await database.query<{ mark: WriteMark }>(
    sql`select pg_snapshot_xmin(pg_current_snapshot())::xid::text as mark`,
  )
  return row?.mark ?? '3'
}

/**
 * The versions that do not say what they said when they were written. With a mark only rows are read
 * that were written since: the others are passed over without looking at their content.
 */
export async function listBrokenVersions(
  database: Queryable,
  since: WriteMark | null,
): Promise<VersionId[]> {
  const rows = await database.query<{ id: VersionId }>(sql`
    select id
    from versions
    where digest is not null
      and (${since}::text is null or age(xmin) <= age(${since}::text::xid))
      and digest <> version_digest(key, workflow, files, blobs, channel_uses, variable_uses)`)
  return rows.map(({ id }) => id)
}

/** Where a version was applied. */
export interface VersionPlace {
  readonly environment: EnvironmentName
  readonly id: VersionId
  readonly key: WorkflowKey
  readonly revision: Revision
}

const PLACES_MAX = 10_000

/** Newest first. */
export async function listPlaces(
  database: Queryable,
  ids: readonly VersionId[],
): Promise<VersionPlace[]> {
  if (ids.length === 0) return []
  return database.query<VersionPlace>(sql`
    select h.environment, h.version_id as id, h.key, r.revision
    from revision_workflows h
    join revisions r on r.environment = h.environment and r.sequence = h.sequence
    where h.version_id = any (${ids}::text[])
    order by r.applied_at desc
    limit ${PLACES_MAX}`)
}

/** Writes a version's content anew; its id is a hash of it, so it is what it was. */
export async function restoreVersion(tx: Transaction, version: Version): Promise<void> {
  const { id, key } = version
  await tx.query(sql`
    update versions v
    set key = n.key, workflow = n.workflow, files = n.files, blobs = n.blobs,
      channel_uses = n.channel_uses, variable_uses = n.variable_uses,
      digest = version_digest(n.key, n.workflow, n.files, n.blobs, n.channel_uses, n.variable_uses)
    from (select ${key}::text as key, ${JSON.stringify(version.workflow)}::jsonb as workflow,
      ${JSON.stringify(version.files)}::jsonb as files, ${JSON.stringify(version.blobs)}::jsonb as blobs,
      ${JSON.stringify(version.channelUses)}::jsonb as channel_uses,
      ${JSON.stringify(version.variableUses)}::jsonb as variable_uses) as n
    where v.id = ${id}`)
}

/** What the kept history says of an environment, and what of its own row differs from it. */
export interface HistoryHead {
  readonly sequence: string
  readonly revision: Revision
  readonly appliedAt: Date
  readonly settings: EnvironmentSettings
  readonly parts: Parts
  readonly fields: readonly string[]
}

/**
 * The applied revision, as the history has it. Where its own entry is gone and those of its workflows
 * are not, that is what differs (`history`), and the environment's row says what it was.
 */
export async function findHistoryHead(
  database: Queryable,
  environment: EnvironmentName,
): Promise<HistoryHead | undefined> {
  const [row] = await database.query<HistoryHead & { readonly isLost: boolean }>(sql`
    with head as (
      select r.sequence, r.revision, r.applied_at, r.settings, r.parts
      from revisions r
      where r.environment = ${environment}
      order by r.sequence desc
      limit 1
    )
    select h.sequence::text as sequence, h.revision, h.applied_at as "appliedAt", h.settings,
      coalesce(h.parts, e.parts) as parts,
      array_remove(array[
        case when e.sequence <> h.sequence then 'sequence' end,
        case when e.observed_revision is distinct from h.revision then 'observed_revision' end,
        case when e.applied_at is distinct from h.applied_at then 'applied_at' end,
        case when e.settings is distinct from h.settings then 'settings' end,
        case when h.parts is not null and e.parts <> h.parts then 'parts' end,
        case when e.followed_sequence > h.sequence then 'followed_sequence' end
      ], null) as fields,
      e.sequence > h.sequence and exists (
        select from revision_workflows w where w.environment = ${environment} and w.sequence = e.sequence
      ) as "isLost"
    from environments e
    join head h on true
    where e.name = ${environment}
    union all
    select e.sequence::text, e.observed_revision, e.applied_at, e.settings, e.parts, array['history'], true
    from environments e
    where e.name = ${environment} and e.sequence > 0 and not exists (select from head)`)
  if (row?.isLost !== true || row.fields.includes('history')) return row
  return findOwnHead(database, environment)
}

async function findOwnHead(
  database: Queryable,
  environment: EnvironmentName,
): Promise<HistoryHead | undefined> {
  const [row] = await database.query<HistoryHead>(sql`
    select e.sequence::text as sequence, e.observed_revision as revision, e.applied_at as "appliedAt",
      e.settings, e.parts, array['history'] as fields
    from environments e
    where e.name = ${environment}`)
  return row
}

/** Puts the applied fields of an environment, and the newest entry of its history, at what they are. */
export async function restoreHead(
  tx: Transaction,
  environment: EnvironmentName,
  { head, now }: { readonly head: HistoryHead; readonly now: Date },
): Promise<void> {
  const settings = JSON.stringify(head.settings)
  const parts = JSON.stringify(head.parts)
  const { sequence, revision, appliedAt } = head
  await tx.query(sql`
    update environments
    set sequence = ${sequence}, observed_revision = ${revision}, applied_at = ${appliedAt},
      settings = ${settings}::jsonb, parts = ${parts}::jsonb,
      followed_sequence = least(followed_sequence, ${sequence}::bigint), updated_at = ${now}
    where name = ${environment}`)
  await tx.query(sql`
    insert into revisions (environment, sequence, revision, settings, parts, diagnostics,
      added, changed, archived, applied_at)
    values (${environment}, ${sequence}, ${revision}, ${settings}::jsonb, ${parts}::jsonb, '[]',
      '{}', '{}', '{}', ${appliedAt})
    on conflict (environment, sequence) do update
    set settings = excluded.settings, parts = excluded.parts`)
}

/** A workflow that is not what the history says; null where there is no row, or no entry. */
export interface WorkflowDrift {
  readonly key: WorkflowKey
  readonly fields: readonly string[]
  /** Of its newest entry in the history. */
  readonly sequence: string | null
  /** Null where the history says that it is archived, or has no entry. */
  readonly versionId: VersionId | null
  readonly tree: string | null
  /** What the row says; null where there is none. */
  readonly live: {
    readonly sequence: number
    readonly versionId: VersionId
    readonly tree: string
  } | null
}

/** Compares all workflows of an environment with its history, in Postgres; only what differs leaves it. */
export async function listWorkflowDrift(
  database: Queryable,
  environment: EnvironmentName,
  sequence: string,
): Promise<WorkflowDrift[]> {
  return database.query<WorkflowDrift>(sql`
    select coalesce(w.key, h.key) as key, h.sequence::text as sequence, h.version_id as "versionId", h.tree,
      case when w.key is not null then
        jsonb_build_object('sequence', w.sequence, 'versionId', w.version_id, 'tree', w.tree) end as live,
      case
        when w.key is null then array['missing']
        when h.key is null then array['added']
        else array_remove(array[
          case when (w.archived_at is null) <> (h.version_id is not null) then 'archived_at' end,
          case when h.version_id is not null and w.version_id <> h.version_id then 'version_id' end,
          case when h.tree is not null and w.tree <> h.tree then 'tree' end,
          case when w.sequence <> h.sequence then 'sequence' end
        ], null)
      end as fields
    from (
      select key, version_id, tree, sequence, archived_at
      from workflows
      where environment = ${environment}
    ) as w
    full join (
      select distinct on (key) key, version_id, tree, sequence
      from revision_workflows
      where environment = ${environment} and sequence <= ${sequence}
      order by key, sequence desc
    ) as h on h.key = w.key
    where w.key is null or h.key is null or w.sequence <> h.sequence
      or (w.archived_at is null) <> (h.version_id is not null)
      or (h.version_id is not null and (w.version_id <> h.version_id or w.tree <> h.tree))
    order by 1`)
}

/** What a workflow of an environment has to be. */
export interface WorkflowTruth {
  readonly key: WorkflowKey
  readonly sequence: string
  /** Null: archived. */
  readonly version: { readonly id: VersionId; readonly tree: string } | null
}

/** Puts workflows, and their newest entries in the history, at what they are. */
export async function restoreWorkflows(
  tx: Transaction,
  environment: EnvironmentName,
  { rows, now }: { readonly rows: readonly WorkflowTruth[]; readonly now: Date },
): Promise<void> {
  const keys = rows.map(({ key }) => key)
  const sequences = rows.map(({ sequence }) => sequence)
  const versions = rows.map(({ version }) => version?.id ?? null)
  const trees = rows.map(({ version }) => version?.tree ?? null)
  await tx.query(sql`
    insert into revision_workflows (environment, key, sequence, version_id, tree)
    select ${environment}, key, sequence, version_id, tree
    from unnest(${keys}::text[], ${sequences}::bigint[], ${versions}::text[], ${trees}::text[])
      as t (key, sequence, version_id, tree)
    on conflict (environment, key, sequence) do update
    set version_id = excluded.version_id, tree = excluded.tree
    where revision_workflows.version_id is distinct from excluded.version_id
      or revision_workflows.tree is distinct from excluded.tree`)
  // An archived row keeps the version that it had when it was live.
  await tx.query(sql`
    insert into workflows (environment, key, version_id, tree, sequence, archived_at, created_at, updated_at)
    select ${environment}, t.key, coalesce(t.version_id, h.version_id), coalesce(t.tree, h.tree), t.sequence,
      case when t.version_id is null then ${now}::timestamptz end, ${now}, ${now}
    from unnest(${keys}::text[], ${sequences}::bigint[], ${versions}::text[], ${trees}::text[])
      as t (key, sequence, version_id, tree)
    left join lateral (
      select version_id, tree
      from revision_workflows
      where environment = ${environment} and key = t.key and version_id is not null
      order by sequence desc
      limit 1
    ) as h on true
    where coalesce(t.version_id, h.version_id) is not null
    on conflict (environment, key) do update
    set version_id = excluded.version_id, tree = excluded.tree, sequence = excluded.sequence,
      archived_at = case when excluded.archived_at is null then null
        else coalesce(workflows.archived_at, excluded.archived_at) end,
      updated_at = excluded.updated_at`)
}

/** Takes rows away that no revision ever declared. */
export async function dropWorkflows(
  tx: Transaction,
  environment: EnvironmentName,
  keys: readonly WorkflowKey[],
): Promise<void> {
  await tx.query(sql`
    delete from workflows
    where environment = ${environment} and key = any (${keys}::text[])`)
}

/** Remembers the newest drift of an environment. */
export async function saveDrift(
  tx: Transaction,
  environment: EnvironmentName,
  drift: Drift,
): Promise<void> {
  await tx.query(sql`
    update environments set drift = ${JSON.stringify(drift)}::jsonb where name = ${environment}`)
}

export interface DriftChange {
  readonly sequence: string
  readonly revision: Revision | null
  readonly found: readonly Finding[]
  readonly outcome: DriftOutcome
  readonly now: Date
}

const FINDINGS_KEPT_MAX = 200

/** Writes down what was found, and what came of it. */
export async function saveDriftEvent(
  tx: Transaction,
  environment: EnvironmentName,
  { sequence, revision, found, outcome, now }: DriftChange,
): Promise<void> {
  const kept = JSON.stringify(found.slice(0, FINDINGS_KEPT_MAX))
  await tx.query(sql`
    insert into drift_events (environment, id, sequence, revision, found, count, outcome, inserted_at)
    values (${environment}, ${newRowId()}, ${sequence}, ${revision}, ${kept}::jsonb, ${found.length},
      ${outcome}, ${now})`)
}

export interface DriftEvent extends Omit<DriftChange, 'now' | 'sequence'> {
  readonly id: string
  readonly count: number
  readonly insertedAt: Date
}

const EVENTS_MAX = 200

/** Newest first. */
export async function listDriftEvents(
  database: Queryable,
  environment: EnvironmentName,
): Promise<DriftEvent[]> {
  return database.query<DriftEvent>(sql`
    select id, revision, found, count, outcome, inserted_at as "insertedAt"
    from drift_events
    where environment = ${environment}
    order by id desc
    limit ${EVENTS_MAX}`)
}
