import type { Queryable } from './database.ts'
import { inspectSchema, newestMigration } from './migrate.ts'
import { sql } from './sql.ts'

/** How a database stands beside this program. */
export interface DatabaseReport {
  /** As Postgres writes it, such as 15.4. */
  readonly version: string
  /** Such as 15. */
  readonly major: number
  /** The number of the last migration that was applied; 0 where none was. */
  readonly migration: number
  /** The number of this program's last one. */
  readonly newest: number
  /** Whether this program refuses to run on it, and why. */
  readonly refusal: string | null
  /** By how much the clock of the database is ahead of ours, in milliseconds. */
  readonly aheadMs: number
}

/** Looks at a database without changing it. `now`: what our clock says just before the call. */
export async function inspectDatabase(database: Queryable, now: Date): Promise<DatabaseReport> {
  const [row] = await database.query<{
    readonly version: string
    readonly number: number
    readonly at: Date
    readonly isMigrated: boolean
  }>(sql`
    select current_setting('server_version') as version,
      current_setting('server_version_num')::integer as number,
      clock_timestamp() as at,
      to_regclass('migrations') is not null as "isMigrated"`)
  if (!row) throw new Error('Postgres answered without a row')
  const { version, number, at, isMigrated } = row
  const schema = isMigrated ? await inspectSchema(database) : { migration: 0, refusal: null }
  const aheadMs = at.getTime() - now.getTime()
  const major = Math.floor(number / 10_000)
  return { version, major, ...schema, newest: newestMigration(), aheadMs }
}
