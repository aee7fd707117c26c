import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import type { EnvironmentSettings } from '../workflow/environment.ts'

/** What an environment's newest applied revision says. */
export interface AppliedEnvironment {
  readonly sequence: number
  readonly revision: Revision
  readonly settings: EnvironmentSettings
  readonly appliedAt: Date
}

interface Row {
  readonly row: string
  readonly sequence: string
  readonly revision: Revision | null
  readonly settings: EnvironmentSettings | null
  readonly applied_at: Date | null
}

const CACHED_MAX = 100

/** Settings are large and change seldom: they are read again only when the row has changed. */
const cache = new Map<EnvironmentName, AppliedEnvironment & { readonly row: string }>()

/**
 * What the environment's newest applied revision says, as this transaction sees it; undefined where
 * there is none. The row's version decides whether what is remembered still holds, so that nothing
 * stale is ever given.
 */
export async function loadEnvironment(
  tx: Queryable,
  environment: EnvironmentName,
): Promise<AppliedEnvironment | undefined> {
  const known = cache.get(environment)
  const [found] = await tx.query<Row>(sql`
    select xmin::text || ctid::text as row, sequence, observed_revision as revision, applied_at,
           case when xmin::text || ctid::text is distinct from ${known?.row ?? null} then settings end as settings
    from environments
    where name = ${environment}
  `)
  if (!found || found.revision === null || found.applied_at === null) return undefined
  if (known && found.row === known.row) return known
  if (found.settings === null) return undefined
  const applied = {
    row: found.row,
    sequence: Number(found.sequence),
    revision: found.revision,
    settings: found.settings,
    appliedAt: found.applied_at,
  }
  cache.delete(environment)
  cache.set(environment, applied)
  const [oldest] = cache.keys()
  if (cache.size > CACHED_MAX && oldest !== undefined) cache.delete(oldest)
  return applied
}
