import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { RequestError } from '../errors.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import { saveBrakeEvent } from './brake-store.ts'
import type { Acting } from './brakes.ts'
import { released, retired, undeclared } from './status.ts'
import type { Status, Suspension } from './status.ts'

/**
 * Takes an environment that is no longer declared out of service, from the moment at which this is committed:
 * what was live is archived. Throws a 422 where it is declared: then a commit decides.
 */
export async function retire(
  tx: Transaction,
  { reason, ...acting }: Acting & { readonly reason: string },
): Promise<void> {
  const { environment, actor, now } = acting
  const { declared, observed } = await lock(tx, environment)
  if (declared) {
    const message = `${environment} is declared: remove environments/${environment}.yaml from the default branch first, and wait until it is read`
    throw new RequestError(422, 'environment_declared', message)
  }
  const retirement = { reason, actor, since: now.toISOString() }
  await save(tx, environment, { retirement, status: retired(environment, retirement), now })
  await tx.query(sql`
    update workflows set archived_at = ${now}, updated_at = ${now}
    where environment = ${environment} and archived_at is null`)
  const kept = { kind: 'retire', revision: observed, reason, expiresAt: null } as const
  await saveBrakeEvent(tx, { ...acting, ...kept })
}

/** Ends a retirement that was a mistake; nothing happens where there is none. What was live is live again. */
export async function revive(tx: Transaction, acting: Acting): Promise<void> {
  const { environment } = acting
  const { retirement, observed } = await lock(tx, environment)
  if (retirement === null) return
  const status = undeclared(environment, observed)
  await end(tx, { ...acting, status, reason: null, revision: observed })
}

/** Ends the retirement of what is declared again: it has what it had, and goes on from there. */
export async function reviveDeclared(
  tx: Transaction,
  names: readonly EnvironmentName[],
  now: Date,
): Promise<void> {
  const rows = await tx.query<{ name: EnvironmentName; observed: Revision | null }>(sql`
    select name, observed_revision as observed from environments
    where name = any (${names}::text[]) and retirement is not null
    for update`)
  for (const { name: environment, observed } of rows) {
    const acting = { environment, actor: 'belfry', reason: 'declared again', now }
    await end(tx, { ...acting, status: released(observed), revision: observed })
  }
}

interface Locked {
  readonly declared: boolean
  readonly retirement: Suspension | null
  readonly observed: Revision | null
}

/** Waits for a revision that is being applied. */
async function lock(tx: Transaction, environment: EnvironmentName): Promise<Locked> {
  const [row] = await tx.query<Locked>(sql`
    select declared, retirement, observed_revision as observed from environments
    where name = ${environment}
    for update`)
  if (!row) throw new RequestError(404, 'environment_missing', `there is no ${environment}`)
  return row
}

interface Saved {
  readonly retirement: Suspension | null
  readonly status: Status
  readonly now: Date
}

async function save(
  tx: Transaction,
  environment: EnvironmentName,
  { retirement, status, now }: Saved,
): Promise<void> {
  await tx.query(sql`
    update environments
    set retirement = ${retirement && JSON.stringify(retirement)}::jsonb, state = ${status.state},
      reason = ${status.reason}, message = ${status.message}, updated_at = ${now}
    where name = ${environment}`)
}

interface Ending extends Acting {
  readonly status: Status
  readonly reason: string | null
  readonly revision: Revision | null
}

/** What was live when it was retired is what the history says. */
async function end(tx: Transaction, { status, ...change }: Ending): Promise<void> {
  const { environment, now } = change
  await tx.query(sql`
    update workflows w set archived_at = null, updated_at = ${now}
    from (
      select distinct on (key) key, version_id from revision_workflows
      where environment = ${environment}
      order by key, sequence desc
    ) as newest
    where w.environment = ${environment} and w.key = newest.key and newest.version_id is not null
      and w.archived_at is not null`)
  await save(tx, environment, { retirement: null, status, now })
  await saveBrakeEvent(tx, { ...change, kind: 'revive', expiresAt: null })
}
