import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import type { Claim } from './outbox-store.ts'

/** An environment, and the branch that it follows. */
export interface Follower {
  readonly environment: EnvironmentName
  readonly gitRef: string
}

/** All that is declared. */
export async function listFollowers(database: Queryable): Promise<Follower[]> {
  return database.query<Follower>(sql`
    select name as environment, git_ref as "gitRef" from environments where declared order by name`)
}

/** A pull request at the tips that its plan is of. */
export interface KnownPull {
  readonly number: number
  readonly base: string
  readonly baseRevision: Revision
  readonly headRevision: Revision
}

/** Notes a pull request as open. Answers whether that is news: it was not known so, at these tips. */
export async function saveOpenPull(
  tx: Transaction,
  place: string,
  { number, base, baseRevision, headRevision, now }: KnownPull & { readonly now: Date },
): Promise<boolean> {
  const rows = await tx.query(sql`
    insert into pull_requests as p
      (place, number, base, base_revision, head_revision, is_open, updated_at)
    values (${place}, ${number}, ${base}, ${baseRevision}, ${headRevision}, true, ${now})
    on conflict on constraint pull_requests_pkey do update
    set base = excluded.base, base_revision = excluded.base_revision,
      head_revision = excluded.head_revision, is_open = true, updated_at = excluded.updated_at,
      body = null, due_at = case when p.claim is not null then p.due_at end, attempts = 0, problem = null
    where (p.base, p.base_revision, p.head_revision, p.is_open)
      is distinct from (excluded.base, excluded.base_revision, excluded.head_revision, true)
    returning number`)
  return rows.length > 0
}

/** The base and head that a pull request was known at, where it leaves them and no other one stands there. */
export async function findLeftPlan(
  tx: Transaction,
  place: string,
  { number, base, headRevision }: KnownPull,
): Promise<Pick<KnownPull, 'base' | 'headRevision'> | undefined> {
  const [row] = await tx.query<Pick<KnownPull, 'base' | 'headRevision'>>(sql`
    select p.base, p.head_revision as "headRevision"
    from pull_requests p
    where p.place = ${place} and p.number = ${number}
      and (p.base, p.head_revision) is distinct from (${base}, ${headRevision})
      and not exists (
        select from pull_requests o
        where o.place = p.place and o.number <> p.number and o.is_open
          and o.base = p.base and o.head_revision = p.head_revision)
    for update of p`)
  return row
}

/** Those that are open and have no plan yet. */
export async function listUnplannedPulls(database: Queryable, place: string): Promise<KnownPull[]> {
  return database.query<KnownPull>(sql`
    select number, base, base_revision as "baseRevision", head_revision as "headRevision"
    from pull_requests
    where place = ${place} and is_open and body is null
    order by number`)
}

/** Notes the comment that a pull request is to have. Answers false where its tips have moved meanwhile. */
export async function savePlanned(
  tx: Transaction,
  place: string,
  {
    number,
    baseRevision,
    headRevision,
    body,
    now,
  }: KnownPull & { readonly body: string; readonly now: Date },
): Promise<boolean> {
  const rows = await tx.query(sql`
    update pull_requests
    set body = ${body}, updated_at = ${now},
      due_at = case when claim is not null then due_at else ${now}::timestamptz end
    where place = ${place} and number = ${number} and is_open and body is null
      and base_revision = ${baseRevision} and head_revision = ${headRevision}
    returning number`)
  return rows.length > 0
}

/** Notes that all others are closed; where a comment was written, it is to be `body`. */
export async function saveClosedPulls(
  database: Queryable,
  place: string,
  {
    open,
    body,
    now,
  }: { readonly open: readonly number[]; readonly body: string; readonly now: Date },
): Promise<void> {
  await database.query(sql`
    update pull_requests
    set is_open = false, attempts = 0, updated_at = ${now},
      body = case when comment_id is not null or claim is not null then ${body} end,
      due_at = case when claim is not null then due_at when comment_id is not null then ${now}::timestamptz end
    where place = ${place} and is_open and number <> all (${open}::integer[])`)
}

/** A comment that is to be written. */
export interface DueComment {
  readonly number: number
  readonly body: string
  readonly commentId: string | null
  readonly written: string | null
  readonly attempts: number
}

/** Claims the comment that has been due longest; see `claimStatus`. */
export async function claimComment(
  database: Queryable,
  { id, process, place, now, until }: Claim,
  comments: string,
): Promise<DueComment | undefined> {
  const [row] = await database.query<DueComment>(sql`
    with due as (
      select d.number
      from pull_requests d
      where d.place = ${comments} and d.due_at <= ${now} and d.body is not null
        and not exists (select from forge_pauses p where p.place = ${place} and p.until > ${now})
      order by d.due_at
      limit 1
      for update of d skip locked
    )
    update pull_requests p
    set claim = ${id}, claimed_by = ${process}, due_at = ${until}
    from due
    where p.place = ${comments} and p.number = due.number
    returning p.number, p.body, p.comment_id as "commentId", p.written, p.attempts`)
  return row
}

/** One attempt at a comment. */
export interface Attempted {
  readonly number: number
  readonly claim: string
  readonly body: string
  readonly commentId: string | null
  readonly now: Date
}

/** Notes the comment as it stands now. Where the claim was lost, another one may stand over it by now. */
export async function settleWritten(
  database: Queryable,
  comments: string,
  { number, claim, body, commentId, written, now }: Attempted & { readonly written: string },
): Promise<void> {
  await database.query(sql`
    update pull_requests
    set comment_id = ${commentId},
      written = ${written},
      attempts = case when claim = ${claim} then 0 else attempts end,
      problem = case when claim = ${claim} then null else problem end,
      due_at = case
        when body is null or (claim = ${claim} and body = ${body}) then null
        when claim = ${claim} then ${now}::timestamptz
        else coalesce(due_at, ${now})
      end,
      claim = case when claim = ${claim} or body is null then null else claim end
    where place = ${comments} and number = ${number}`)
}

/** Notes an attempt that failed; without `dueAt` there is no further one. */
export async function settleUnwritten(
  database: Queryable,
  comments: string,
  failed: Attempted & {
    readonly problem: string
    readonly attempts: number
    readonly dueAt: Date | null
  },
): Promise<void> {
  const { number, claim, body, commentId, problem, attempts, dueAt, now } = failed
  await database.query(sql`
    update pull_requests
    set comment_id = ${commentId}, problem = ${problem}, attempts = ${attempts}, claim = null,
      due_at = case
        when body is null then null
        when body <> ${body} then ${now}::timestamptz
        else ${dueAt}::timestamptz
      end
    where place = ${comments} and number = ${number} and claim = ${claim}`)
}

/** Forgets some pull requests that were closed before `before`; answers how many. */
export async function sweepPulls(database: Queryable, before: Date): Promise<number> {
  const rows = await database.query(sql`
    delete from pull_requests
    where (place, number) in (
      select place, number from pull_requests
      where not is_open and due_at is null and updated_at < ${before}
      limit 500)
    returning number`)
  return rows.length
}
