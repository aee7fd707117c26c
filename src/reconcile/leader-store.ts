import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { RetryableFailure } from '../errors.ts'
import type { ProcessId } from '../ids.ts'

/** How long a leader that does not beat keeps the lead, by the database's clock: those of processes may differ. */
export const LEASE_MS = 6000

/**
 * One Postgres serves one repository, wherever its processes have it mounted. So there is one lead,
 * and it does not depend on a path.
 */
const REPOSITORY = 'repository'

/** The right to write what a revision says, until another process has a higher number. */
export interface Leadership {
  readonly process: ProcessId
  readonly fence: string
}

/** What is remembered about the default branch across restarts. */
export interface DefaultBranch {
  readonly branch: string | null
  /** The id of `environments/` there when its declarations were last taken over. */
  readonly declaredTree: string | null
}

/** Another process leads by now; nothing was written. */
export class LeadershipLost extends RetryableFailure {
  readonly code = 'leadership_lost'

  constructor() {
    super('another process reconciles now')
  }
}

/** Takes the lead where nobody holds it. Undefined while another process does. */
export async function takeLead(
  database: Queryable,
  process: ProcessId,
): Promise<Leadership | undefined> {
  const [row] = await database.query<{ fence: string }>(sql`
    insert into reconcilers (repository, process, fence, expires_at)
    values (${REPOSITORY}, ${process}, 1, clock_timestamp() + ${LEASE_MS} * interval '1 millisecond')
    on conflict (repository) do update
    set process = excluded.process, fence = reconcilers.fence + 1, expires_at = excluded.expires_at
    where reconcilers.expires_at <= clock_timestamp()
    returning fence::text as fence`)
  return row && { process, fence: row.fence }
}

/** Holds the lead for another while; false when another process has it. */
export async function keepLead(
  database: Queryable,
  { process, fence }: Leadership,
): Promise<boolean> {
  const rows = await database.query(sql`
    update reconcilers
    set expires_at = clock_timestamp() + ${LEASE_MS} * interval '1 millisecond'
    where repository = ${REPOSITORY} and process = ${process} and fence = ${fence}
    returning repository`)
  return rows.length > 0
}

/** Until when the lead is held; undefined where nobody ever led. */
export async function findLead(
  database: Queryable,
): Promise<{ readonly expiresAt: Date; readonly isHeld: boolean } | undefined> {
  const [row] = await database.query<{ expiresAt: Date; isHeld: boolean }>(sql`
    select expires_at as "expiresAt", expires_at > clock_timestamp() as "isHeld"
    from reconcilers
    where repository = ${REPOSITORY}`)
  return row
}

/** Gives the lead up, so that the next process need not wait for its end. */
export async function leaveLead(
  database: Queryable,
  { process, fence }: Leadership,
): Promise<void> {
  await database.query(sql`
    update reconcilers
    set expires_at = clock_timestamp()
    where repository = ${REPOSITORY} and process = ${process} and fence = ${fence}`)
}

/**
 * A leader that stands still in the middle of a transaction would keep the lead, lease or not, for as
 * long as its connection lives. So Postgres ends the transaction of one that says nothing for that long.
 */
const SILENCE_MS_MAX = 4000

/**
 * Throws `LeadershipLost` unless the lead is still held, and keeps it from changing hands before
 * this transaction ends. First statement of every transaction that writes.
 */
export async function assertLead(tx: Transaction, { process, fence }: Leadership): Promise<void> {
  const rows = await tx.query(sql`
    select set_config('idle_in_transaction_session_timeout', ${String(SILENCE_MS_MAX)}, true)
    from reconcilers
    where repository = ${REPOSITORY} and process = ${process} and fence = ${fence}
    for share`)
  if (rows.length === 0) throw new LeadershipLost()
}

export async function loadDefaultBranch(database: Queryable): Promise<DefaultBranch> {
  const [row] = await database.query<DefaultBranch>(sql`
    select default_branch as branch, declared_tree as "declaredTree"
    from reconcilers
    where repository = ${REPOSITORY}`)
  return row ?? { branch: null, declaredTree: null }
}

export async function saveDefaultBranch(
  tx: Transaction,
  { branch, declaredTree }: DefaultBranch,
): Promise<void> {
  await tx.query(sql`
    update reconcilers
    set default_branch = ${branch}, declared_tree = ${declaredTree}
    where repository = ${REPOSITORY}`)
}
