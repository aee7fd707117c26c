import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'

/** A count, by environment and by one or two more words. */
export interface Counted {
  readonly environment: string
  readonly channel?: string
  readonly status: string
  readonly count: number
}

export interface EnvironmentFigure {
  readonly name: string
  readonly state: string
  readonly reason: string
  readonly applied: string | null
  /** The one that was tried last, where that is not the applied one. */
  readonly attempted: string | null
  readonly live: number
  readonly archived: number
}

/** So much of a table is read at most; of a larger one a sample of its pages, by chance. */
const SAMPLE_BYTES = 32 * 1024 * 1024

/** The share of each table that is read, in percent. */
export async function findSamplePercents(
  db: Queryable,
): Promise<{ readonly runs: number; readonly messages: number }> {
  const [row] = await db.query<{ runs: number; messages: number }>(sql`
    select least(100, 100.0 * ${SAMPLE_BYTES} / greatest(pg_relation_size('runs'), 1))::float8 as runs,
      least(100, 100.0 * ${SAMPLE_BYTES} / greatest(pg_relation_size('messages'), 1))::float8 as messages`)
  return row ?? { runs: 100, messages: 100 }
}

/** Runs by status, from so many percent of the table. */
export async function countRuns(db: Queryable, percent: number): Promise<Counted[]> {
  return db.query<Counted>(sql`
    select environment, status, round(count(*) * 100.0 / ${percent}::float8)::float8 as count
    from runs tablesample system (${percent}::float8)
    group by environment, status`)
}

/** Messages by type of channel and status, from so many percent of the table. */
export async function countMessages(db: Queryable, percent: number): Promise<Counted[]> {
  return db.query<Counted>(sql`
    select environment, channel_type as channel, status,
      round(count(*) * 100.0 / ${percent}::float8)::float8 as count
    from messages tablesample system (${percent}::float8)
    group by environment, channel_type, status`)
}

/** States, revisions and numbers of workflows. */
export async function listEnvironmentFigures(db: Queryable): Promise<EnvironmentFigure[]> {
  return db.query<EnvironmentFigure>(sql`
    select e.name, e.state, e.reason, e.observed_revision as applied,
      case when e.attempted_revision is distinct from e.observed_revision then e.attempted_revision end as attempted,
      (select count(*) from workflows w where w.environment = e.name and w.archived_at is null)::integer as live,
      (select count(*) from workflows w where w.environment = e.name and w.archived_at is not null)::integer as archived
    from environments e
    where e.retirement is null`)
}

/** The run and the message that were due first and still are, of whatever environment; null where none is. */
export async function findOldestDue(
  db: Queryable,
  now: Date,
): Promise<{ readonly run: Date | null; readonly message: Date | null }> {
  const [row] = await db.query<{ run: Date | null; message: Date | null }>(sql`
    select
      (select wakes_at from (
        select environment, wakes_at from runs
        where wakes_at is not null and wakes_at <= ${now}
        order by wakes_at limit 1) as r) as run,
      (select due_at from (
        select environment, due_at from messages
        where due_at is not null and claimed_by is null and enqueued_at is null and due_at <= ${now}
        order by due_at limit 1) as m) as message`)
  return row ?? { run: null, message: null }
}
