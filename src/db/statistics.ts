import type { Database } from './database.ts'
import { sql } from './sql.ts'

/** Fewer changed rows than that change no plan. */
const CHANGED_ROWS_MIN = 2_000
/** Half of all rows: a table that has grown to twice its size. */
const CHANGED_SHARE = 0.5

/**
 * Brings the planner's statistics of our tables up to date where many rows have changed, and says of how many
 * tables. Autovacuum does the same up to a minute later, in which a large trigger on a new installation would
 * take four times as long: the planner then reads whole tables for a few rows.
 */
export async function analyzeChanged(database: Database): Promise<number> {
  const changed = await database.query<{ name: string }>(sql`
    select quote_ident(schemaname) || '.' || quote_ident(relname) as name
    from pg_stat_user_tables
    where schemaname in ('belfry', 'belfry_queue')
      and n_mod_since_analyze > ${CHANGED_ROWS_MIN} + ${CHANGED_SHARE}::float8 * n_live_tup
  `)
  for (const { name } of changed) await database.execute(`analyze ${name}`)
  return changed.length
}
