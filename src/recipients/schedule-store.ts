import type { Queryable, Transaction } from '../db/database.ts'
import { inOrder, newestFirst, type Place } from '../db/pages.ts'
import { planned, sql } from '../db/sql.ts'
import { newRowId, type EnvironmentName, type WorkflowKey } from '../ids.ts'
import type { Properties } from './merge.ts'
import type { RecipientRef } from './recipient.ts'
import type { Planned, Schedule, ScheduleProblem, WireRule } from './schedule.ts'

interface Row {
  readonly environment: EnvironmentName
  readonly id: string
  readonly declared_key: string | null
  readonly workflow: WorkflowKey
  readonly collection: string
  readonly recipient: string
  readonly actor: RecipientRef | null
  readonly tenant: string | null
  readonly data: Properties
  readonly repeats: readonly WireRule[]
  readonly scheduled_at: Date | null
  readonly ending_at: Date | null
  readonly anchor_at: Date
  readonly paused: boolean
  readonly timezone: string | null
  readonly last_occurrence_at: Date | null
  readonly next_occurrence_at: Date | null
  readonly last_problem: ScheduleProblem | null
  readonly inserted_at: Date
  readonly updated_at: Date
}

const COLUMNS = sql`
  id, declared_key, workflow, collection, recipient, actor, tenant, data, repeats,
  scheduled_at, ending_at, anchor_at, paused, timezone, last_occurrence_at, next_occurrence_at,
  last_problem, inserted_at, updated_at`

/** A schedule to be, with its first occurrence. */
export interface NewSchedule extends Planned {
  readonly declaredKey: string | null
  readonly timezone: string
  readonly nextOccurrenceAt: Date | null
}

/** Stores new schedules; answers them in their order. */
export async function insertSchedules(
  tx: Transaction,
  environment: EnvironmentName,
  schedules: readonly NewSchedule[],
  now: Date,
): Promise<readonly Schedule[]> {
  const made = schedules.map((one) => ({
    ...one,
    environment,
    id: newRowId(),
    lastOccurrenceAt: null,
    lastProblem: null,
    insertedAt: now,
    updatedAt: now,
  }))
  await tx.query(sql`
    insert into schedules (environment, id, declared_key, workflow, collection, recipient, actor, tenant,
      data, repeats, scheduled_at, ending_at, anchor_at, paused, timezone, next_occurrence_at,
      inserted_at, updated_at)
    select ${environment}, s.id, s.declared_key, s.workflow, s.collection, s.recipient, s.actor, s.tenant,
      s.data, s.repeats, s.scheduled_at, s.ending_at, s.anchor_at, s.paused, s.timezone,
      s.next_occurrence_at, ${now}, ${now}
    from json_to_recordset(${JSON.stringify(made.map(toRecord))}::json) as s (
      id uuid, declared_key text, workflow text, collection text, recipient text, actor jsonb,
      tenant text, data jsonb, repeats jsonb, scheduled_at timestamptz, ending_at timestamptz,
      anchor_at timestamptz, paused boolean, timezone text, next_occurrence_at timestamptz
    )
  `)
  return made
}

/** Stores what others have made of schedules that are locked. */
export async function saveSchedules(
  tx: Transaction,
  environment: EnvironmentName,
  schedules: readonly Schedule[],
): Promise<void> {
  if (schedules.length === 0) return
  await tx.query(sql`
    update schedules
    set workflow = s.workflow, actor = s.actor, tenant = s.tenant, data = s.data, repeats = s.repeats,
      scheduled_at = s.scheduled_at, ending_at = s.ending_at, anchor_at = s.anchor_at,
      paused = s.paused, timezone = s.timezone, next_occurrence_at = s.next_occurrence_at,
      updated_at = s.updated_at
    from json_to_recordset(${JSON.stringify(schedules.map(toRecord))}::json) as s (
      id uuid, workflow text, actor jsonb, tenant text, data jsonb, repeats jsonb,
      scheduled_at timestamptz, ending_at timestamptz, anchor_at timestamptz, paused boolean,
      timezone text, next_occurrence_at timestamptz, updated_at timestamptz
    )
    where schedules.environment = ${environment} and schedules.id = s.id
  `)
}

function toRecord(
  one: Omit<Schedule, 'environment' | 'lastOccurrenceAt' | 'lastProblem' | 'insertedAt'>,
): object {
  return {
    id: one.id,
    declared_key: one.declaredKey,
    workflow: one.workflow,
    collection: one.recipient.collection,
    recipient: one.recipient.id,
    actor: one.actor,
    tenant: one.tenant,
    data: one.data,
    repeats: one.repeats,
    scheduled_at: one.scheduledAt,
    ending_at: one.endingAt,
    anchor_at: one.anchorAt,
    paused: one.paused,
    timezone: one.timezone,
    next_occurrence_at: one.nextOccurrenceAt,
    updated_at: one.updatedAt,
  }
}

/** Locks those of the named schedules that there are, in the order of their ids. */
export async function lockSchedules(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly string[],
): Promise<readonly Schedule[]> {
  const rows = await tx.query<Row>(sql`
    select environment, ${COLUMNS}
    from schedules
    where environment = ${environment} and id = any(${ids}::uuid[])
    order by id
    for update
  `)
  return rows.map(toSchedule)
}

/** Locks the schedules that the environment's file has declared. */
export async function lockDeclaredSchedules(
  tx: Transaction,
  environment: EnvironmentName,
): Promise<readonly Schedule[]> {
  const rows = await tx.query<Row>(sql`
    select environment, ${COLUMNS}
    from schedules
    where environment = ${environment} and declared_key is not null
    order by id
    for update
  `)
  return rows.map(toSchedule)
}

/** Ends schedules for good. */
export async function deleteSchedules(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly string[],
): Promise<void> {
  await tx.query(sql`
    delete from schedules where environment = ${environment} and id = any(${ids}::uuid[])
  `)
}

/** What a list of schedules is narrowed to; all that is given must hold. */
export interface ScheduleFilter {
  readonly workflow?: string | undefined
  readonly tenant?: string | undefined
  /** One of these. */
  readonly recipients?: readonly RecipientRef[] | undefined
}

/** Schedules, newest first. */
export async function listSchedules(
  db: Queryable,
  environment: EnvironmentName,
  { workflow, tenant, recipients }: ScheduleFilter,
  place: Place,
): Promise<readonly Schedule[]> {
  const theirs =
    recipients &&
    sql`and (collection, recipient) in (
        select c, i from unnest(${recipients.map(({ collection }) => collection)}::text[],
          ${recipients.map(({ id }) => id)}::text[]) as r (c, i))`
  const rows = await db.query<Row>(
    planned(sql`
    select environment, ${COLUMNS}
    from schedules
    where environment = ${environment}
      and (${workflow}::text is null or workflow = ${workflow})
      and (${tenant}::text is null or tenant = ${tenant})
      ${theirs ?? sql``}
      ${newestFirst(sql`id`, place)}
  `),
  )
  return inOrder(rows, place).map(toSchedule)
}

/** Ends all schedules of a recipient that is deleted, but for those that a file declares: that is Git's to say. */
export async function forgetScheduled(
  tx: Queryable,
  environment: EnvironmentName,
  { collection, id }: RecipientRef,
): Promise<void> {
  await tx.query(sql`
    delete from schedules
    where environment = ${environment} and collection = ${collection} and recipient = ${id}
      and declared_key is null
  `)
}

/** Gives the schedules of one recipient to another, in whose zone they go on. */
export async function moveSchedules(
  tx: Transaction,
  environment: EnvironmentName,
  {
    collection,
    from,
    into,
  }: { readonly collection: string; readonly from: string; readonly into: string },
  now: Date,
): Promise<void> {
  await tx.query(sql`
    with theirs as (
      select id from schedules
      where environment = ${environment} and collection = ${collection} and recipient = ${from}
        and declared_key is null
      order by id
      for update
    )
    update schedules s
    set recipient = ${into}, updated_at = ${now}
    from theirs
    where s.environment = ${environment} and s.id = theirs.id
  `)
  await rezoneSchedules(tx, environment, [{ collection, id: into }], now)
}

/**
 * Has the next occurrence of repeated schedules worked out again, by the loop that starts them: the zone of these
 * recipients is another one. What is due already stays due.
 */
export async function rezoneSchedules(
  tx: Queryable,
  environment: EnvironmentName,
  recipients: readonly RecipientRef[],
  now: Date,
): Promise<void> {
  if (recipients.length === 0) return
  await tx.query(sql`
    with theirs as (
      select s.id
      from unnest(${recipients.map(({ collection }) => collection)}::text[],
        ${recipients.map(({ id }) => id)}::text[]) as r (collection, id)
      join schedules s
        on s.environment = ${environment} and s.collection = r.collection and s.recipient = r.id
      where s.next_occurrence_at > ${now} and s.repeats <> '[]'
      order by s.id
      for update of s
    )
    update schedules s
    set timezone = null, next_occurrence_at = ${now}
    from theirs
    where s.environment = ${environment} and s.id = theirs.id
  `)
}

/** The same for all schedules that go by the zone that the environment had. */
export async function rezoneEnvironment(
  tx: Transaction,
  environment: EnvironmentName,
  before: string,
  now: Date,
): Promise<void> {
  await tx.query(sql`
    with theirs as (
      select id from schedules
      where environment = ${environment} and timezone = ${before}
        and next_occurrence_at > ${now} and repeats <> '[]'
      order by id
      for update
    )
    update schedules s
    set timezone = null, next_occurrence_at = ${now}
    from theirs
    where s.environment = ${environment} and s.id = theirs.id
  `)
}

/** The schedules that are due, the longest first, locked; those that another process works on are left to it. */
export async function lockDueSchedules(
  tx: Transaction,
  now: Date,
  limit: number,
): Promise<readonly Schedule[]> {
  const rows = await tx.query<Row>(sql`
    select environment, ${COLUMNS}
    from schedules
    where next_occurrence_at <= ${now}
    order by next_occurrence_at
    limit ${limit}
    for update skip locked
  `)
  return rows.map(toSchedule)
}

/** What has become of an occurrence. */
export interface Occurred {
  readonly schedule: Pick<Schedule, 'environment' | 'id'>
  readonly timezone: string | null
  /** When it ran; null where it did not. */
  readonly occurredAt: Date | null
  readonly nextOccurrenceAt: Date | null
  /** Null where nothing is wrong; undefined where nothing was tried. */
  readonly problem: ScheduleProblem | null | undefined
}

/** Moves schedules on to their next occurrence, and says what became of the one that was due. */
export async function saveOccurred(tx: Transaction, occurred: readonly Occurred[]): Promise<void> {
  await tx.query(sql`
    update schedules s
    set timezone = o.timezone, next_occurrence_at = o.next_occurrence_at,
      last_occurrence_at = coalesce(o.occurred_at, s.last_occurrence_at),
      last_problem = case when o.tried then o.problem else s.last_problem end
    from unnest(${occurred.map(({ schedule }) => schedule.environment)}::text[],
      ${occurred.map(({ schedule }) => schedule.id)}::uuid[],
      ${occurred.map(({ timezone }) => timezone)}::text[],
      ${occurred.map(({ occurredAt }) => occurredAt)}::timestamptz[],
      ${occurred.map(({ nextOccurrenceAt }) => nextOccurrenceAt)}::timestamptz[],
      ${occurred.map(({ problem }) => problem !== undefined)}::boolean[],
      ${occurred.map(({ problem }) => (problem ? JSON.stringify(problem) : null))}::jsonb[])
      as o (environment, id, timezone, occurred_at, next_occurrence_at, tried, problem)
    where s.environment = o.environment and s.id = o.id
  `)
}

function toSchedule(row: Row): Schedule {
  return {
    environment: row.environment,
    id: row.id,
    declaredKey: row.declared_key,
    workflow: row.workflow,
    recipient: { collection: row.collection, id: row.recipient },
    actor: row.actor,
    tenant: row.tenant,
    data: row.data,
    repeats: row.repeats,
    scheduledAt: row.scheduled_at,
    endingAt: row.ending_at,
    anchorAt: row.anchor_at,
    paused: row.paused,
    timezone: row.timezone,
    lastOccurrenceAt: row.last_occurrence_at,
    nextOccurrenceAt: row.next_occurrence_at,
    lastProblem: row.last_problem,
    insertedAt: row.inserted_at,
    updatedAt: row.updated_at,
  }
}
