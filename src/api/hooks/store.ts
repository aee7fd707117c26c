import type { Queryable, Transaction } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'

/** How long a delivery is known again. */
const KEPT_MS = 24 * 60 * 60 * 1000
const SWEEP_ROWS_MAX = 1_000

export interface Delivery {
  readonly provider: string
  /** Null where the host gives it none: it cannot be known again. */
  readonly id: string | null
  readonly now: Date
}

/** Writes down a delivery that has proved who sent it; false where it was written down in the last day. */
export async function saveDelivery(
  tx: Transaction,
  { provider, id, now }: Delivery,
): Promise<boolean> {
  await tx.query(sql`
    insert into git_hooks as known (provider, last_delivery_at)
    values (${provider}, ${now})
    on conflict (provider) do update set last_delivery_at = excluded.last_delivery_at
    where known.last_delivery_at < excluded.last_delivery_at`)
  if (id === null) return true
  const rows = await tx.query(sql`
    insert into git_deliveries as known (provider, id, received_at)
    values (${provider}, ${id}, ${now})
    on conflict (provider, id) do update set received_at = excluded.received_at
    where known.received_at < ${expiry(now)}
    returning provider`)
  return rows.length > 0
}

/** When each provider last delivered something, to whichever process. */
export async function listLastDeliveries(
  db: Queryable,
): Promise<readonly { readonly provider: string; readonly lastDeliveryAt: Date }[]> {
  return db.query(sql`
    select provider, last_delivery_at as "lastDeliveryAt" from git_hooks order by provider`)
}

/** Deletes some of the deliveries that are older than a day. Answers how many. */
export async function sweepGitDeliveries(db: Queryable, now: Date): Promise<number> {
  const rows = await db.query(sql`
    delete from git_deliveries
    where (provider, id) in (
      select provider, id from git_deliveries
      where received_at < ${expiry(now)}
      order by received_at
      limit ${SWEEP_ROWS_MAX}
      for update skip locked
    )
    returning provider`)
  return rows.length
}

function expiry(now: Date): Date {
  return new Date(now.getTime() - KEPT_MS)
}
