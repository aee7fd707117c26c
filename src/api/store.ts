import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'

/** Throws where the database does not answer. */
export async function pingDatabase(db: Queryable): Promise<void> {
  await db.query(sql`select 1`)
}

/** How many environments have neither an applied revision nor one look that came to an end. */
export async function countEnvironmentsNeverLookedAt(db: Queryable): Promise<number> {
  const [row] = await db.query<{ count: number }>(sql`
    select count(*)::integer as count from environments
    where declared and sequence = 0 and reason = 'progressing'
  `)
  return row?.count ?? 0
}
