import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { newRowId } from '../ids.ts'
import type { EnvironmentName, Revision } from '../ids.ts'

/** What an operator did with a brake of an environment. */
export interface BrakeChange {
  readonly environment: EnvironmentName
  readonly kind: 'allow_prune' | 'suspend' | 'resume' | 'pin' | 'unpin'
  readonly revision: Revision | null
  readonly reason: string | null
  readonly actor: string
  readonly expiresAt: Date | null
  readonly now: Date
}

export interface BrakeEvent extends Omit<BrakeChange, 'environment' | 'now'> {
  readonly id: string
  readonly insertedAt: Date
}

const EVENTS_MAX = 200

/** Writes down who used a brake, and why. */
export async function saveBrakeEvent(tx: Transaction, change: BrakeChange): Promise<void> {
  const { environment, kind, revision, reason, actor, expiresAt, now } = change
  await tx.query(sql`
    insert into brake_events (environment, id, kind, revision, reason, actor, expires_at, inserted_at)
    values (${environment}, ${newRowId()}, ${kind}, ${revision}, ${reason}, ${actor}, ${expiresAt}, ${now})`)
}

/** Newest first. */
export async function listBrakeEvents(
  database: Queryable,
  environment: EnvironmentName,
): Promise<BrakeEvent[]> {
  return database.query<BrakeEvent>(sql`
    select id, kind, revision, reason, actor, expires_at as "expiresAt", inserted_at as "insertedAt"
    from brake_events
    where environment = ${environment}
    order by id desc
    limit ${EVENTS_MAX}`)
}

/** Whether an operator has confirmed what this revision archives. */
export async function isPruneAllowed(
  database: Queryable,
  environment: EnvironmentName,
  revision: Revision,
): Promise<boolean> {
  const rows = await database.query(sql`
    select id from brake_events
    where environment = ${environment} and kind = 'allow_prune' and revision = ${revision}
    limit 1`)
  return rows.length > 0
}
