import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { notify } from '../db/topics.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import { HINTED, RECONCILE_TOPIC } from './read.ts'

/** A branch, and the commit that somebody who is not trusted says it is at. */
export interface Hint {
  readonly branch: string
  readonly revision: Revision
  readonly hintedAt: Date
}

/** How long a hint may keep the reconciler looking for a commit that does not show. */
export const HINT_MS_MAX = 30_000
/** More at the same time are not waited for; the safety poll finds what they were about. */
const HINTS_MAX = 100

/** Whom branches concern. */
export interface Followers {
  /** The declared environments that follow one of them, by name. */
  readonly environments: readonly EnvironmentName[]
  /** The branches that anything depends on: what an environment follows, or what says which there are. */
  readonly branches: readonly string[]
}

/**
 * Whom these branches concern. While no default branch is known any of them may turn out to be it, so each
 * of them counts.
 */
export async function findFollowers(
  db: Queryable,
  branches: readonly string[],
): Promise<Followers> {
  const [row] = await db.query<Followers>(sql`
    with named as (select unnest(${branches}::text[]) as branch),
      known as (select default_branch from reconcilers where default_branch is not null),
      followed as (select name, git_ref from environments where declared)
    select
      array(select name from followed join named on branch = git_ref order by name) as environments,
      array(
        select branch from named
        where branch in (select git_ref from followed)
          or branch in (select default_branch from known) or not exists (select from known)
      ) as branches`)
  return row ?? { environments: [], branches: [] }
}

/** Asks for a look, as soon as this transaction is committed, that goes on until these commits show. */
export async function requestLook(
  tx: Transaction,
  hints: readonly Omit<Hint, 'hintedAt'>[],
  now: Date,
): Promise<void> {
  await tx.query(sql`
    insert into git_hints (branch, revision, hinted_at)
    select branch, revision, ${now}
    from unnest(
      ${hints.map(({ branch }) => branch)}::text[],
      ${hints.map(({ revision }) => revision)}::text[]
    ) as h (branch, revision)
    group by branch, revision
    on conflict (branch, revision) do update set hinted_at = excluded.hinted_at`)
  await notify(tx, RECONCILE_TOPIC, HINTED)
}

/** Oldest first. */
export async function listHints(db: Queryable): Promise<Hint[]> {
  return db.query<Hint>(sql`
    select branch, revision, hinted_at as "hintedAt"
    from git_hints
    order by hinted_at
    limit ${HINTS_MAX}`)
}

/** Forgets hints, unless they were given anew since. */
export async function dropHints(tx: Transaction, hints: readonly Hint[]): Promise<void> {
  await tx.query(sql`
    delete from git_hints h
    using unnest(
      ${hints.map(({ branch }) => branch)}::text[],
      ${hints.map(({ revision }) => revision)}::text[],
      ${hints.map(({ hintedAt }) => hintedAt)}::timestamptz[]
    ) as d (branch, revision, hinted_at)
    where h.branch = d.branch and h.revision = d.revision and h.hinted_at <= d.hinted_at`)
}
