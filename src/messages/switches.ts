import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { auditsSince, sweepOldest } from '../db/sweep.ts'
import { newRowId } from '../ids.ts'
import type { EnvironmentName } from '../ids.ts'

/** Whether something may be sent, and who says why not. */
export type Sending =
  | { readonly active: true }
  | { readonly active: false; readonly reason: string | null }

/** What may be sent at present. */
export interface SwitchLookup {
  /** The workflow itself, which decides about triggers and runs. */
  workflow(key: string): Sending
  /** A message of the workflow through the channel: off when any switch above it is. */
  sending(workflow: string, channel: string): Sending
}

/** A switch as it stands. Workflow '' is all sending of the environment, channel '' all channels. */
export interface Switch {
  readonly workflow: string
  readonly channel: string
  readonly active: boolean
  readonly reason: string | null
  readonly actor: string
  /** From then on it counts as on again. */
  readonly expiresAt: Date | null
  readonly updatedAt: Date
}

export interface SwitchEvent extends Omit<Switch, 'updatedAt'> {
  readonly id: string
  readonly insertedAt: Date
}

export interface SwitchChange {
  readonly environment: EnvironmentName
  readonly workflow: string
  readonly channel: string
  readonly active: boolean
  readonly reason: string | null
  readonly actor: string
  readonly expiresAt: Date | null
  readonly now: Date
}

const EVENTS_MAX = 200

/** Reads, never cached, what may not be sent of `workflows`: switched off by themselves or with all. */
export async function loadSwitches(
  tx: Queryable,
  environment: EnvironmentName,
  workflows: readonly string[],
  now: Date,
): Promise<SwitchLookup> {
  const rows = await tx.query<{ workflow: string; channel: string; reason: string | null }>(sql`
    select workflow, channel, reason
    from switches
    where environment = ${environment}
      and workflow = any(${['', ...new Set(workflows)]})
      and not active
      and (expires_at is null or expires_at > ${now})
  `)
  const off = new Map(rows.map((row) => [`${row.workflow}/${row.channel}`, row.reason]))
  const stateAt = (...places: readonly string[]): Sending => {
    const found = places.find((place) => off.has(place))
    return found === undefined
      ? { active: true }
      : { active: false, reason: off.get(found) ?? null }
  }
  return {
    workflow: (key) => stateAt(`${key}/`),
    sending: (workflow, channel) =>
      stateAt('/', `${workflow}/`, `/${channel}`, `${workflow}/${channel}`),
  }
}

/** Turns a switch, and writes down who did and why. It acts when the transaction commits. */
export async function setSwitch(tx: Transaction, change: SwitchChange): Promise<void> {
  const { environment, workflow, channel, active, reason, actor, expiresAt, now } = change
  await tx.query(sql`
    insert into switches (environment, workflow, channel, active, reason, actor, expires_at, updated_at)
    values (${environment}, ${workflow}, ${channel}, ${active}, ${reason}, ${actor}, ${expiresAt}, ${now})
    on conflict on constraint switches_pkey do update
    set active = excluded.active, reason = excluded.reason, actor = excluded.actor,
        expires_at = excluded.expires_at, updated_at = excluded.updated_at
  `)
  await tx.query(sql`
    insert into switch_events
      (environment, id, workflow, channel, active, reason, actor, expires_at, inserted_at)
    values
      (${environment}, ${newRowId()}, ${workflow}, ${channel}, ${active}, ${reason}, ${actor},
       ${expiresAt}, ${now})
  `)
}

/** All switches of an environment that are not on; those whose time is over are left out. */
export async function listSwitches(
  tx: Queryable,
  environment: EnvironmentName,
  now: Date,
): Promise<Switch[]> {
  return await tx.query<Switch>(sql`
    select workflow, channel, active, reason, actor, expires_at as "expiresAt", updated_at as "updatedAt"
    from switches
    where environment = ${environment}
      and not active
      and (expires_at is null or expires_at > ${now})
    order by workflow, channel
  `)
}

/** The audit, newest first: of one workflow ('' for all sending), or of the whole environment. */
export async function listSwitchEvents(
  tx: Queryable,
  environment: EnvironmentName,
  workflow: string | null = null,
): Promise<SwitchEvent[]> {
  return await tx.query<SwitchEvent>(sql`
    select id, workflow, channel, active, reason, actor, expires_at as "expiresAt",
           inserted_at as "insertedAt"
    from switch_events
    where environment = ${environment}
      and (${workflow}::text is null or workflow = ${workflow})
    order by id desc
    limit ${EVENTS_MAX}
  `)
}

/** Deletes some of what tells who switched what, of all environments, after a year; how a switch stands is kept. Answers how many. */
export function sweepSwitchEvents(db: Queryable, now: Date, days: number): Promise<number> {
  return sweepOldest(db, sql`switch_events`, auditsSince(now, days))
}
