import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { StatusState } from '../forges/forge.ts'
import type { EnvironmentName, ProcessId } from '../ids.ts'
import { isSilent } from '../messages/leases.ts'

/** What one check says about a commit from now on. */
export interface Said {
  readonly context: string
  readonly state: StatusState
  readonly description: string
  /** Whether it takes back what was said before; else a `pending` is only a first word. */
  readonly restarts: boolean
}

export interface Subject {
  readonly environment: EnvironmentName
  readonly sha: string
  readonly gitRef: string
  readonly now: Date
}

/**
 * Notes what is to be told about a commit. What was told already is not told again, and what is
 * being told now is told anew when that is done.
 */
export async function saveStatuses(
  tx: Transaction,
  { environment, sha, gitRef, now }: Subject,
  said: readonly Said[],
): Promise<void> {
  await tx.query(sql`
    insert into commit_statuses as s
      (environment, sha, context, git_ref, state, description, due_at, updated_at)
    select ${environment}, ${sha}, context, ${gitRef}, state, description, ${now}, ${now}
    from unnest(
      ${said.map(({ context }) => context)}::text[],
      ${said.map(({ state }) => state)}::text[],
      ${said.map(({ description }) => description)}::text[],
      ${said.map(({ restarts }) => restarts)}::boolean[]
    ) as n (context, state, description, restarts)
    where n.state <> 'pending' or n.restarts or not exists (
      select from commit_statuses k where k.sha = ${sha} and k.context = n.context)
    on conflict on constraint commit_statuses_pkey do update
    set state = excluded.state, description = excluded.description, git_ref = excluded.git_ref,
      updated_at = excluded.updated_at, given_up_at = null,
      problem = case when s.given_up_at is null then s.problem end,
      attempts = case when s.given_up_at is null then s.attempts else 0 end,
      due_at = case
        when s.claim is not null then s.due_at
        when s.posted_state = excluded.state and s.posted_description = excluded.description then null
        else greatest(s.due_at, excluded.due_at)
      end
    where (s.state, s.description) is distinct from (excluded.state, excluded.description)`)
}

/** A status that is to be told. */
export interface DueStatus {
  readonly environment: EnvironmentName
  readonly sha: string
  readonly context: string
  readonly gitRef: string
  readonly state: StatusState
  readonly description: string
  readonly attempts: number
  /** Whether the forge may show something that nobody noted. */
  readonly isUnsure: boolean
  /** Posts of ours for this commit, in all contexts. */
  readonly posts: number
}

/** Whom nobody else works beside, and until when. */
export interface Claim {
  readonly id: string
  readonly process: ProcessId
  readonly place: string
  readonly now: Date
  readonly until: Date
}

/** Claims the status that has been due longest. One whose claim has run out is due as any other. */
export async function claimStatus(
  database: Queryable,
  { id, process, place, now, until }: Claim,
): Promise<DueStatus | undefined> {
  const [row] = await database.query<DueStatus>(sql`
    with due as (
      select d.sha, d.context, d.claim is not null as interrupted
      from commit_statuses d
      where d.due_at <= ${now}
        and not exists (select from forge_pauses p where p.place = ${place} and p.until > ${now})
      order by d.due_at
      limit 1
      for update of d skip locked
    )
    update commit_statuses s
    set claim = ${id}, claimed_by = ${process}, due_at = ${until}
    from due
    where s.sha = due.sha and s.context = due.context
    returning s.environment, s.sha, s.context, s.git_ref as "gitRef", s.state, s.description, s.attempts,
      due.interrupted or s.posted_state is null or s.attempts > 0 as "isUnsure",
      (select sum(o.posts)::integer from commit_statuses o where o.sha = s.sha) as posts`)
  return row
}

/** What a process was telling that has not been heard of is due at once. */
export async function releaseDeadTellers(database: Queryable, now: Date): Promise<number> {
  const statuses = await database.query(sql`
    update commit_statuses s
    set due_at = ${now}
    where s.claim is not null and s.due_at > ${now} and ${isSilent(sql`s.claimed_by`)}
    returning s.environment`)
  const comments = await database.query(sql`
    update pull_requests s
    set due_at = ${now}
    where s.claim is not null and s.due_at > ${now} and ${isSilent(sql`s.claimed_by`)}
    returning s.number`)
  return statuses.length + comments.length
}

/** Notes what the forge shows now. Answers whether the claim still held. */
export async function settleTold(
  database: Queryable,
  { sha, context, state, description }: DueStatus,
  { claim, posts, now }: { readonly claim: string; readonly posts: number; readonly now: Date },
): Promise<boolean> {
  const rows = await database.query(sql`
    update commit_statuses
    set posted_state = ${state}, posted_description = ${description}, posts = posts + ${posts},
      attempts = 0, problem = null, claim = null,
      due_at = case when state = ${state} and description = ${description} then null else ${now}::timestamptz end
    where sha = ${sha} and context = ${context} and claim = ${claim}
    returning environment`)
  return rows.length > 0
}

/** What was told late may stand over what another process has told meanwhile, so that is told again. */
export async function tellAgain(
  database: Queryable,
  { sha, context }: DueStatus,
  now: Date,
): Promise<void> {
  await database.query(sql`
    update commit_statuses
    set posted_state = null, posted_description = null, due_at = coalesce(due_at, ${now})
    where sha = ${sha} and context = ${context} and claim is null and given_up_at is null
    returning environment`)
}

/** Notes an attempt that failed, and when the next one is due. */
export async function settleFailed(
  database: Queryable,
  { sha, context }: DueStatus,
  failed: {
    readonly claim: string
    readonly problem: string
    readonly attempts: number
    readonly dueAt: Date
  },
): Promise<void> {
  await database.query(sql`
    update commit_statuses
    set attempts = ${failed.attempts}, problem = ${failed.problem}, claim = null, due_at = ${failed.dueAt}
    where sha = ${sha} and context = ${context} and claim = ${failed.claim}
    returning environment`)
}

/** Notes that the forge will not be told this, and why; something newer is due as if nothing had been. */
export async function settleGivenUp(
  database: Queryable,
  { sha, context, state, description }: DueStatus,
  failed: { readonly claim: string; readonly problem: string; readonly now: Date },
): Promise<void> {
  await database.query(sql`
    update commit_statuses
    set problem = ${failed.problem}, attempts = 0, claim = null,
      given_up_at = case when state = ${state} and description = ${description} then ${failed.now}::timestamptz end,
      due_at = case when state = ${state} and description = ${description} then null else ${failed.now}::timestamptz end
    where sha = ${sha} and context = ${context} and claim = ${failed.claim}
    returning environment`)
}

/** Leaves the forge alone until then. */
export async function savePause(database: Queryable, place: string, until: Date): Promise<void> {
  await database.query(sql`
    insert into forge_pauses as p (place, until)
    values (${place}, ${until})
    on conflict (place) do update
    set until = greatest(p.until, excluded.until)`)
}

/** Until when the forge is to be left alone; undefined where it is not. */
export async function findPause(
  database: Queryable,
  place: string,
  now: Date,
): Promise<Date | undefined> {
  const [row] = await database.query<{ until: Date }>(sql`
    select until from forge_pauses where place = ${place} and until > ${now}`)
  return row?.until
}

/** Forgets some statuses that were settled before `before`; answers how many. */
export async function sweepStatuses(database: Queryable, before: Date): Promise<number> {
  const rows = await database.query(sql`
    delete from commit_statuses
    where (sha, context) in (
      select sha, context from commit_statuses
      where due_at is null and updated_at < ${before}
      order by updated_at
      limit 500)
    returning environment`)
  return rows.length
}
