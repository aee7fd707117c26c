import type { Queryable } from './database.ts'
import { sql, type Sql } from './sql.ts'

const DAY_MS = 86_400_000
/** Rows that one turn looks at in each environment. */
const ROWS_MAX = 1_000
/** How long it is kept who did what, at least. */
const AUDIT_DAYS = 365

/** Since when something is kept for so many days. */
export function daysBefore(now: Date, days: number): Date {
  return new Date(now.getTime() - days * DAY_MS)
}

/** Since when it is kept what people did: for a year, and as long as what they did it to. */
export function auditsSince(now: Date, days: number): Date {
  return daysBefore(now, Math.max(days, AUDIT_DAYS))
}

/** Deletes some of the rows of a table that are older, of all environments; their ids are time-ordered. Answers how many. */
export async function sweepOldest(db: Queryable, table: Sql, before: Date): Promise<number> {
  const rows = await db.query(sql`
    delete from ${table}
    where (environment, id) in (
      select o.environment, o.id
      from environments e
      cross join lateral (
        select environment, id, inserted_at
        from ${table}
        where environment = e.name
        order by id
        limit ${ROWS_MAX}
        for update skip locked
      ) o
      where o.inserted_at < ${before}
    )
    returning environment
  `)
  return rows.length
}
