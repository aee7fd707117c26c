import type { Database, Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { notify } from '../db/topics.ts'
import { newRowId, type EnvironmentName } from '../ids.ts'
import type { BulkOperation } from './bulk-store.ts'
import type { RecipientRef } from './recipient.ts'

/** On which processes hear that there is a call for many to work on. */
export const BULK_TOPIC = 'bulk'

/** A call for many that is under way. */
export interface BulkWork {
  readonly environment: EnvironmentName
  readonly id: string
  readonly name: string
  /** As its kind has written it. */
  readonly request: unknown
  /** Where its last part ended; null before the first. */
  readonly cursor: string | null
}

/** What one part of it has done. */
export interface BulkPart {
  readonly processed: number
  readonly errors: readonly RecipientRef[]
  /** Where to go on; null at the end. */
  readonly cursor: string | null
}

/** Does the next part of a call for many, in its transaction: each part is done once, or not at all. */
export type BulkKind = (tx: Transaction, work: BulkWork, now: Date) => Promise<BulkPart>

/** How often a part that fails is tried. */
const ATTEMPTS_MAX = 5

/** Notes a call for many that is worked on after its answer, and wakes those who work. */
export async function startBulk(
  tx: Queryable,
  environment: EnvironmentName,
  { name, total, request }: Pick<BulkOperation, 'name' | 'total'> & { readonly request: object },
  now: Date,
): Promise<BulkOperation> {
  const id = newRowId()
  await tx.query(sql`
    insert into bulk_operations (environment, id, name, status, total, processed, succeeded, errors,
      request, inserted_at, updated_at)
    values (${environment}, ${id}, ${name}, 'queued', ${total}, 0, 0, '[]',
      ${JSON.stringify(request)}::jsonb, ${now}, ${now})
  `)
  await notify(tx, BULK_TOPIC, '')
  const none = { processed: 0, succeeded: 0, errors: [] }
  const times = { startedAt: null, completedAt: null, failedAt: null }
  return { id, name, status: 'queued', total, ...none, ...times, insertedAt: now, updatedAt: now }
}

/** Does one part of the call that waits longest, and answers how many parts that were: one or none. */
export async function takeBulkTurn(
  database: Pick<Database, 'transaction'> & Queryable,
  kinds: Readonly<Record<string, BulkKind>>,
  now: Date,
): Promise<number> {
  let taken: BulkWork | undefined
  try {
    return await database.transaction(async (tx) => {
      taken = await takeBulk(tx)
      if (!taken) return 0
      const kind = kinds[taken.name]
      if (!kind) throw new Error(`nobody knows how to do ${taken.name}`)
      await saveBulkPart(tx, taken, await kind(tx, taken, now), now)
      return 1
    })
  } catch (error) {
    if (taken) await saveBulkFailure(database, taken, now)
    throw error
  }
}

/** Of all environments, as each process works for all; others pass over what is locked. */
async function takeBulk(tx: Transaction): Promise<BulkWork | undefined> {
  const [work] = await tx.query<BulkWork>(sql`
    select environment, id, name, request, cursor
    from bulk_operations
    where status in ('queued', 'processing')
    order by attempts, inserted_at
    limit 1
    for update skip locked
  `)
  return work
}

async function saveBulkPart(
  tx: Transaction,
  { environment, id }: BulkWork,
  { processed, errors, cursor }: BulkPart,
  now: Date,
): Promise<void> {
  const isDone = cursor === null
  await tx.query(sql`
    update bulk_operations
    set status = ${isDone ? 'completed' : 'processing'}, cursor = ${cursor}, attempts = 0,
      -- What it was about is kept where it belongs, and nowhere else.
      request = case when ${isDone}::boolean then null else request end,
      processed = processed + ${processed}::integer,
      succeeded = succeeded + ${processed - errors.length}::integer,
      total = greatest(total, processed + ${processed}::integer),
      errors = errors || ${JSON.stringify(errors)}::jsonb,
      started_at = coalesce(started_at, ${now}),
      completed_at = ${isDone ? now : null}, updated_at = ${now}
    where environment = ${environment} and id = ${id}
  `)
}

async function saveBulkFailure(
  db: Queryable,
  { environment, id }: BulkWork,
  now: Date,
): Promise<void> {
  await db.query(sql`
    update bulk_operations
    set attempts = attempts + 1,
      status = case when attempts + 1 < ${ATTEMPTS_MAX} then status else 'failed' end,
      request = case when attempts + 1 < ${ATTEMPTS_MAX} then request end,
      failed_at = case when attempts + 1 < ${ATTEMPTS_MAX} then null else ${now}::timestamptz end,
      updated_at = ${now}
    where environment = ${environment} and id = ${id} and status in ('queued', 'processing')
  `)
}
