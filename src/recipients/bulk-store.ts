import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { newRowId, type EnvironmentName } from '../ids.ts'
import type { RecipientRef } from './recipient.ts'

/** A call for many, and how far it is. */
export interface BulkOperation {
  readonly id: string
  readonly name: string
  readonly status: 'queued' | 'processing' | 'completed' | 'failed'
  readonly total: number
  readonly processed: number
  readonly succeeded: number
  readonly errors: readonly RecipientRef[]
  readonly insertedAt: Date
  readonly startedAt: Date | null
  readonly completedAt: Date | null
  readonly failedAt: Date | null
  readonly updatedAt: Date
}

const KEPT_MS = 30 * 86_400_000
const SWEEP_ROWS_MAX = 1_000

/** Notes a call for many that is done with the caller's transaction. */
export async function saveCompletedBulk(
  tx: Queryable,
  environment: EnvironmentName,
  { name, total }: Pick<BulkOperation, 'name' | 'total'>,
  now: Date,
): Promise<BulkOperation> {
  const operation: BulkOperation = {
    id: newRowId(),
    name,
    status: 'completed',
    total,
    processed: total,
    succeeded: total,
    errors: [],
    insertedAt: now,
    startedAt: now,
    completedAt: now,
    failedAt: null,
    updatedAt: now,
  }
  await tx.query(sql`
    insert into bulk_operations (environment, id, name, status, total, processed, succeeded, errors,
      inserted_at, started_at, completed_at, updated_at)
    values (${environment}, ${operation.id}, ${name}, 'completed', ${total}, ${total}, ${total}, '[]',
      ${now}, ${now}, ${now}, ${now})
  `)
  return operation
}

/** One call for many; undefined where there is none of this id, which is a UUID. */
export async function findBulk(
  db: Queryable,
  environment: EnvironmentName,
  id: string,
): Promise<BulkOperation | undefined> {
  const [row] = await db.query<BulkOperation>(sql`
    select id, name, status, total, processed, succeeded, errors, inserted_at as "insertedAt",
      started_at as "startedAt", completed_at as "completedAt", failed_at as "failedAt",
      updated_at as "updatedAt"
    from bulk_operations
    where environment = ${environment} and id = ${id}
  `)
  return row
}

/** Deletes some of those that are older than thirty days, of all environments. Answers how many. */
export async function sweepBulks(db: Queryable, now: Date): Promise<number> {
  const rows = await db.query(sql`
    delete from bulk_operations
    where (environment, id) in (
      select environment, id from bulk_operations
      where inserted_at < ${new Date(now.getTime() - KEPT_MS)}
      order by inserted_at
      limit ${SWEEP_ROWS_MAX}
      for update skip locked
    )
    returning environment
  `)
  return rows.length
}
