import type { Queryable } from '../db/database.ts'
import { sql, type Sql } from '../db/sql.ts'
import type { ProcessId } from '../ids.ts'

/** How often a process says that it lives. */
export const BEAT_MS = 2_000
/** How long it is believed. */
export const LEASE_MS = 6_000

// Leases compare the times of many machines, so they use the one clock that all of them share: the
// database's. It is the only place that does.

/** Says that the process lives. To be called before its first claim, and then each `BEAT_MS`. */
export async function beat(tx: Queryable, process: ProcessId): Promise<void> {
  await tx.query(sql`
    insert into leases (process, beats_at, started_at)
    values (${process}, clock_timestamp(), clock_timestamp())
    on conflict on constraint leases_pkey do update
    set beats_at = excluded.beats_at
  `)
}

/** Says that the process ends. What it still holds is free at once. */
export async function endLease(tx: Queryable, process: ProcessId): Promise<void> {
  await tx.query(sql`
    delete from leases
    where process = ${process}
  `)
}

/** Whether the process that a column names has not been heard of, or never was. */
export function isSilent(process: Sql): Sql {
  return sql`not exists (
    select from leases l
    where l.process = ${process}
      and l.beats_at >= clock_timestamp() - ${LEASE_MS} * interval '1 millisecond'
  )`
}

/** The processes that have not been heard of. */
export async function listDeadProcesses(tx: Queryable): Promise<ProcessId[]> {
  const rows = await tx.query<{ process: ProcessId }>(sql`
    select process from leases
    where beats_at < clock_timestamp() - ${LEASE_MS} * interval '1 millisecond'
  `)
  return rows.map(({ process }) => process)
}

/** How many processes are heard of, and how many are not. */
export async function countProcesses(
  db: Queryable,
): Promise<{ readonly alive: number; readonly silent: number }> {
  const [row] = await db.query<{ alive: number; silent: number }>(sql`
    select
      count(*) filter (where l.is_alive)::integer as alive,
      count(*) filter (where not l.is_alive)::integer as silent
    from (
      select beats_at >= clock_timestamp() - ${LEASE_MS} * interval '1 millisecond' as is_alive
      from leases
    ) l
  `)
  return row ?? { alive: 0, silent: 0 }
}

/** Ends the leases of dead processes, once their work is taken over. One that was heard of again keeps its own. */
export async function endDeadLeases(tx: Queryable, processes: readonly ProcessId[]): Promise<void> {
  await tx.query(sql`
    delete from leases
    where process = any(${processes}::uuid[])
      and beats_at < clock_timestamp() - ${LEASE_MS} * interval '1 millisecond'
  `)
}
