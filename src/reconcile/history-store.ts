import type { Queryable, Transaction } from '../db/database.ts'
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
