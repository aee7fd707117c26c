import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, VersionId, WorkflowKey } from '../ids.ts'
import { addDuration } from '../language/durations.ts'
import type { Duration } from '../language/durations.ts'

/** Content that was live where it has to come from, but not for as long as it has to be. */
export interface Unsoaked {
  readonly key: WorkflowKey
  /** When it will have been, if it stays there; null where it is not live there any more. */
  readonly readyAt: Date | null
}

/** What is asked about. */
export interface SoakQuestion {
  readonly environment: EnvironmentName
  readonly from: EnvironmentName
  readonly soak: Duration
  readonly now: Date
}

/** Content that is to come; the version is null where the workflow was not parsed. */
export interface SoakRow {
  readonly key: WorkflowKey
  readonly versionId: VersionId | null
  readonly tree: string
}

/**
 * Which of these were live in `from`, but at no time without a break for as long as they have to be, and never here.
 * A workflow that is written anew with the same content goes on without a break.
 */
export async function listUnsoaked(
  database: Queryable,
  { environment, from, soak, now }: SoakQuestion,
  rows: readonly SoakRow[],
): Promise<Unsoaked[]> {
  const soakMs = addDuration(now, soak, 'UTC').getTime() - now.getTime()
  const found = await database.query<{
    readonly key: WorkflowKey
    readonly liveSince: Date | null
  }>(sql`
    with coming as (
      select key, version_id, tree
      from unnest(
        ${rows.map(({ key }) => key)}::text[],
        ${rows.map(({ versionId }) => versionId)}::text[],
        ${rows.map(({ tree }) => tree)}::text[]
      ) as c (key, version_id, tree)
    ),
    steps as (
      select r.key, r.version_id, r.tree, r.sequence, v.applied_at as since,
        lead(v.applied_at) over (partition by r.key order by r.sequence) as until,
        lag(r.version_id) over (partition by r.key order by r.sequence) as before
      from revision_workflows r
      join revisions v on v.environment = r.environment and v.sequence = r.sequence
      where r.environment = ${from} and r.key in (select key from coming)
    ),
    islands as (
      select *, count(*) filter (where before is distinct from version_id)
        over (partition by key order by sequence) as island
      from steps
    ),
    lives as (
      select key, version_id, array_agg(tree) as trees, min(since) as since,
        case when bool_or(until is null) then null else max(until) end as until
      from islands
      where version_id is not null
      group by key, version_id, island
    )
    select c.key, max(l.since) filter (where l.until is null) as "liveSince"
    from coming c
    join lives l on l.key = c.key
      and (l.version_id = c.version_id or (c.version_id is null and c.tree = any (l.trees)))
    where not exists (
      select from revision_workflows r
      where r.environment = ${environment} and r.key = c.key
        and (r.version_id = c.version_id or (c.version_id is null and r.tree = c.tree))
    )
    group by c.key
    having max(extract(epoch from coalesce(l.until, ${now}) - l.since)) * 1000 < ${soakMs}
    order by c.key`)
  return found.map(({ key, liveSince }) => {
    return { key, readyAt: liveSince && new Date(liveSince.getTime() + soakMs) }
  })
}

/** When the last of these is ready; undefined where one of them is not live there any more, or there is none. */
export function readyAt(found: readonly Unsoaked[]): Date | undefined {
  const times = found.map((one) => one.readyAt?.getTime() ?? Infinity)
  const last = Math.max(...times)
  return Number.isFinite(last) ? new Date(last) : undefined
}

/** A duration as it is written in a file. */
export function durationText(duration: Duration): string {
  return typeof duration === 'string' ? duration : `${duration.value} ${duration.unit}`
}
