import type { Queryable, Transaction } from '../db/database.ts'
import { inOrder, newestFirst, type Place } from '../db/pages.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, Revision, WorkflowKey } from '../ids.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import type { EnvironmentSettings } from '../workflow/environment.ts'
import type { Parts } from './plan.ts'
import type { AppliedAt, WorkflowRow } from './store.ts'

/** Keeps which versions a revision gave to the workflows that it changed. */
export async function saveHistory(
  tx: Transaction,
  { environment, sequence }: AppliedAt,
  rows: readonly WorkflowRow[],
): Promise<void> {
  await tx.query(sql`
    insert into revision_workflows (environment, key, sequence, version_id, tree)
    select ${environment}, key, ${sequence}, version_id, tree
    from unnest(
      ${rows.map(({ key }) => key)}::text[],
      ${rows.map(({ versionId }) => versionId)}::text[],
      ${rows.map(({ tree }) => tree)}::text[]
    ) as w (key, version_id, tree)`)
}

/** Keeps which workflows a revision archived. */
export async function saveArchivedHistory(
  tx: Transaction,
  { environment, sequence }: AppliedAt,
  keys: readonly WorkflowKey[],
): Promise<void> {
  await tx.query(sql`
    insert into revision_workflows (environment, key, sequence)
    select ${environment}, key, ${sequence} from unnest(${keys}::text[]) as w (key)`)
}

/** The workflows that were live when this sequence was the applied one. */
export async function listWorkflowsAt(
  database: Queryable,
  environment: EnvironmentName,
  sequence: string,
): Promise<WorkflowRow[]> {
  return database.query<WorkflowRow>(sql`
    select key, version_id as "versionId", tree
    from (
      select distinct on (key) key, version_id, tree
      from revision_workflows
      where environment = ${environment} and sequence <= ${sequence}
      order by key, sequence desc
    ) as newest
    where version_id is not null
    order by key`)
}

/** What an applied revision said beside its workflows. */
export interface PastRevision {
  readonly settings: EnvironmentSettings
  readonly parts: Parts
  readonly diagnostics: readonly Diagnostic[]
}

export async function findPastRevision(
  database: Queryable,
  environment: EnvironmentName,
  sequence: string,
): Promise<PastRevision | undefined> {
  const [row] = await database.query<PastRevision>(sql`
    select settings, parts, diagnostics
    from revisions
    where environment = ${environment} and sequence = ${sequence} and parts is not null`)
  return row
}

const TIPS_MAX = 20

/** What an environment has applied from Git up to this sequence, newest first; twenty at most. */
export async function listAppliedTips(
  database: Queryable,
  environment: EnvironmentName,
  followed: string,
): Promise<Revision[]> {
  const rows = await database.query<{ revision: Revision }>(sql`
    select revision
    from revisions
    where environment = ${environment} and sequence <= ${followed} and origin is distinct from 'pin'
    order by sequence desc
    limit ${TIPS_MAX}`)
  return rows.map(({ revision }) => revision)
}

/** A workflow that was applied neither where it has to come from nor here before. */
export interface NewContent {
  readonly key: WorkflowKey
  /** Its own directory was; its layouts, partials or translations were others. */
  readonly isDirectoryKnown: boolean
}

/** Which of these versions were never applied in `from`, nor in the environment itself. */
export async function listNewContent(
  database: Queryable,
  { environment, from }: { readonly environment: EnvironmentName; readonly from: EnvironmentName },
  rows: readonly WorkflowRow[],
): Promise<NewContent[]> {
  return database.query<NewContent>(sql`
    select w.key, exists (
      select from revision_workflows r
      where r.environment = ${from} and r.key = w.key and r.tree = w.tree
    ) as "isDirectoryKnown"
    from unnest(
      ${rows.map(({ key }) => key)}::text[],
      ${rows.map(({ versionId }) => versionId)}::text[],
      ${rows.map(({ tree }) => tree)}::text[]
    ) as w (key, version_id, tree)
    where not exists (
      select from revision_workflows r
      where r.environment in (${from}, ${environment}) and r.key = w.key and r.version_id = w.version_id
    )
    order by w.key`)
}

/** Which of these live workflows still have content that was never applied in `from`. */
export async function listLiveContentNewTo(
  database: Queryable,
  { environment, from }: { readonly environment: EnvironmentName; readonly from: EnvironmentName },
  keys: readonly string[],
): Promise<WorkflowKey[]> {
  const rows = await database.query<{ key: WorkflowKey }>(sql`
    select w.key
    from workflows w
    where w.environment = ${environment} and w.key = any (${keys}::text[]) and w.archived_at is null
      and not exists (
        select from revision_workflows r
        where r.environment = ${from} and r.key = w.key and r.version_id = w.version_id
      )`)
  return rows.map(({ key }) => key)
}

/** How often something was applied in an environment; null where there is none of that name. */
export async function findSequence(
  database: Queryable,
  environment: EnvironmentName,
): Promise<string | null> {
  const [row] = await database.query<{ sequence: string }>(sql`
    select sequence::text as sequence from environments where name = ${environment}`)
  return row?.sequence ?? null
}

/** An applied revision that somebody has named. */
export interface NamedRevision {
  readonly revision: Revision
  readonly sequence: string
  /** False where it was applied before the content of revisions was kept. */
  readonly isKept: boolean
}

/** The applied revisions whose commit begins so, and whose tree, if one is named, is that; two at most. */
export async function findNamedRevisions(
  database: Queryable,
  environment: EnvironmentName,
  { commit, tree }: { readonly commit: string; readonly tree: string },
): Promise<NamedRevision[]> {
  return database.query<NamedRevision>(sql`
    select distinct on (revision) revision, sequence::text as sequence, parts is not null as "isKept"
    from revisions
    where environment = ${environment} and starts_with(revision, ${commit})
      and (${tree} = '' or split_part(revision, '+', 2) = ${tree})
    order by revision, revisions.sequence desc
    limit 2`)
}

/** An applied revision as the API shows it. */
export interface RevisionView {
  /** Its sequence: later ones are higher, by number. */
  readonly id: string
  readonly revision: Revision
  /** Null where it was applied before that was kept. */
  readonly origin: 'git' | 'pin' | null
  readonly appliedAt: Date
  readonly added: readonly WorkflowKey[]
  readonly changed: readonly WorkflowKey[]
  readonly archived: readonly WorkflowKey[]
  readonly rewrittenFrom: Revision | null
  readonly signer: string | null
}

/** What was applied in an environment, newest first. */
export async function listRevisions(
  database: Queryable,
  environment: EnvironmentName,
  place: Place,
): Promise<RevisionView[]> {
  const rows = await database.query<RevisionView>(sql`
    select sequence::text as id, revision, origin, applied_at as "appliedAt", added, changed, archived,
      rewritten_from as "rewrittenFrom", signer
    from revisions
    where environment = ${environment} ${newestFirst(sql`sequence`, place)}`)
  return inOrder(rows, place)
}
