import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { newRowId } from '../ids.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import type { Pin, Status, Suspension } from './status.ts'
import type { KnownEnvironment } from './store.ts'

/** What an operator has said is meant about a revision: what it archives, or that it rewrites history. */
export type Confirmation = 'allow_prune' | 'allow_rewrite'

/** What an operator did with a brake of an environment. */
export interface BrakeChange {
  readonly environment: EnvironmentName
  readonly kind: Confirmation | 'suspend' | 'resume' | 'retire' | 'revive' | 'pin' | 'unpin'
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

/** Whether an operator has confirmed this about the revision. */
export async function isConfirmed(
  database: Queryable,
  environment: EnvironmentName,
  { kind, revision }: { readonly kind: Confirmation; readonly revision: Revision },
): Promise<boolean> {
  const rows = await database.query(sql`
    select id from brake_events
    where environment = ${environment} and kind = ${kind} and revision = ${revision}
    limit 1`)
  return rows.length > 0
}

/** What an environment shows at once, before the next look at it. */
export interface Shown {
  readonly status: Status
  readonly now: Date
}

/** Suspends an environment, or replaces why it is. Waits for a revision that is being applied. */
export async function saveSuspension(
  tx: Transaction,
  environment: EnvironmentName,
  { suspension, status, now }: Shown & { readonly suspension: Suspension },
): Promise<void> {
  await tx.query(sql`
    update environments
    set suspension = ${JSON.stringify(suspension)}::jsonb, state = ${status.state},
      reason = ${status.reason}, message = ${status.message}, updated_at = ${now}
    where name = ${environment}`)
}

/** False where the environment was not suspended. */
export async function clearSuspension(
  tx: Transaction,
  environment: EnvironmentName,
  { status, now }: Shown,
): Promise<boolean> {
  const rows = await tx.query(sql`
    update environments
    set suspension = null, state = ${status.state}, reason = ${status.reason},
      message = ${status.message}, updated_at = ${now}
    where name = ${environment} and suspension is not null
    returning name`)
  return rows.length > 0
}

/** Pins an environment, or replaces its pin. Waits for a revision that is being applied. */
export async function savePin(
  tx: Transaction,
  environment: EnvironmentName,
  { pin, status, now }: Shown & { readonly pin: Pin },
): Promise<void> {
  await tx.query(sql`
    update environments
    set pin = ${JSON.stringify(pin)}::jsonb,
      state = case when suspension is null then ${status.state} else state end,
      reason = case when suspension is null then ${status.reason} else reason end,
      message = case when suspension is null then ${status.message} else message end,
      updated_at = ${now}
    where name = ${environment}`)
}

/** False where the environment has another pin by now, or none. */
export async function clearPin(
  tx: Transaction,
  environment: EnvironmentName,
  { pin, status, now }: Shown & { readonly pin: Pin },
): Promise<boolean> {
  const rows = await tx.query(sql`
    update environments
    set pin = null,
      state = case when suspension is null then ${status.state} else state end,
      reason = case when suspension is null then ${status.reason} else reason end,
      message = case when suspension is null then ${status.message} else message end,
      updated_at = ${now}
    where name = ${environment} and pin = ${JSON.stringify(pin)}::jsonb
    returning name`)
  return rows.length > 0
}

/** Those environments of which something ends that only time ends, without what a look needs beside that. */
export async function listTimed(
  database: Queryable,
): Promise<Pick<KnownEnvironment, 'name' | 'reason' | 'pin'>[]> {
  return database.query<Pick<KnownEnvironment, 'name' | 'reason' | 'pin'>>(sql`
    select name, reason, pin
    from environments
    where pin is not null or reason = 'soaking'`)
}
