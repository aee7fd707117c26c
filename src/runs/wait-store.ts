import type { Database, Queryable, Transaction } from '../db/database.ts'
import type { Queue } from '../db/queue.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, RunId, StepRef } from '../ids.ts'
import type { Move } from '../messages/store.ts'
import { CHUNK_RUNS_MAX, runJobs } from './jobs.ts'

type Data = Readonly<Record<string, unknown>>

/** Something that has happened since a run waits for such a thing. */
export interface Candidate {
  readonly id: string
  readonly data: Data
}

/** The wait of a run for an event. */
export interface Wait {
  readonly runId: RunId
  readonly stepRef: StepRef
  readonly event: string
  readonly collection: string
  readonly recipient: string
  readonly openedAt: Date
  readonly expiresAt: Date
  /** Whether what had happened before it was committed is still to be looked for. */
  readonly fresh: boolean
  /** Null while it is open. */
  readonly matched: boolean | null
  readonly eventId: string | null
  /** What the event that matched says. */
  readonly data: Data | null
  readonly seen: readonly string[]
}

/** A wait, with what has happened in it and was not looked at before, in that order. */
export interface LoadedWait extends Wait {
  readonly candidates: readonly Candidate[]
}

/** Events that one look at a wait takes; those behind them are looked at in the next one. */
export const CANDIDATES_MAX = 100

/** The waits of these runs, oldest first: two queries, or one where all are over. */
export async function loadWaits(
  tx: Queryable,
  environment: EnvironmentName,
  runIds: readonly RunId[],
): Promise<ReadonlyMap<RunId, readonly LoadedWait[]>> {
  if (runIds.length === 0) return new Map()
  const waits = await tx.query<Wait>(sql`
    select run_id as "runId", step_ref as "stepRef", event, collection, recipient,
      opened_at as "openedAt", expires_at as "expiresAt", fresh, matched, event_id as "eventId",
      data, seen
    from event_waits
    where environment = ${environment} and run_id = any(${runIds}::uuid[])
    order by opened_at, step_ref
  `)
  const open = waits.filter(({ matched }) => matched === null).map(({ runId }) => runId)
  const candidates = await loadCandidates(tx, environment, open)
  const loaded = waits.map((wait) => ({
    ...wait,
    candidates: wait.matched === null ? (candidates.get(wait.runId) ?? []) : [],
  }))
  return Map.groupBy(loaded, ({ runId }) => runId)
}

async function loadCandidates(
  tx: Queryable,
  environment: EnvironmentName,
  runIds: readonly RunId[],
): Promise<ReadonlyMap<RunId, readonly Candidate[]>> {
  if (runIds.length === 0) return new Map()
  const rows = await tx.query<Candidate & { readonly runId: RunId }>(sql`
    select w.run_id as "runId", e.id, e.data
    from event_waits w
    cross join lateral (
      select id, data, inserted_at from recipient_events
      where environment = ${environment} and collection = w.collection
        and recipient = w.recipient and event = w.event
        and inserted_at >= w.opened_at and inserted_at < w.expires_at and id <> all(w.seen)
      order by inserted_at, id
      limit ${CANDIDATES_MAX}
    ) e
    where w.environment = ${environment} and w.run_id = any(${runIds}::uuid[])
      and w.matched is null
    order by w.run_id, e.inserted_at, e.id
  `)
  return Map.groupBy(rows, ({ runId }) => runId)
}

/** Writes down how these waits stand now, in one statement. */
export async function saveWaits(
  tx: Transaction,
  environment: EnvironmentName,
  waits: readonly Wait[],
): Promise<void> {
  if (waits.length === 0) return
  const rows = waits.map((wait) => ({
    run_id: wait.runId,
    step_ref: wait.stepRef,
    event: wait.event,
    collection: wait.collection,
    recipient: wait.recipient,
    opened_at: wait.openedAt,
    expires_at: wait.expiresAt,
    fresh: wait.fresh,
    matched: wait.matched,
    event_id: wait.eventId,
    data: wait.data,
    seen: wait.seen,
  }))
  await tx.query(sql`
    insert into event_waits (environment, run_id, step_ref, event, collection, recipient, opened_at,
      expires_at, fresh, matched, event_id, data, seen)
    select ${environment}, run_id, step_ref, event, collection, recipient, opened_at, expires_at,
      fresh, matched, event_id, data, seen
    from json_to_recordset(${JSON.stringify(rows)}::json) as i (run_id uuid, step_ref text,
      event text, collection text, recipient text, opened_at timestamptz, expires_at timestamptz,
      fresh boolean, matched boolean, event_id uuid, data jsonb, seen uuid[])
    order by run_id, step_ref
    on conflict on constraint event_waits_pkey do update
      set event = excluded.event, opened_at = excluded.opened_at, expires_at = excluded.expires_at,
        fresh = excluded.matched is null and (event_waits.fresh or excluded.fresh), matched = excluded.matched, event_id = excluded.event_id,
        data = excluded.data, seen = excluded.seen
  `)
}

/** Ends the waits of runs that have ended. */
export async function endWaits(
  tx: Transaction,
  environment: EnvironmentName,
  runIds: readonly RunId[],
): Promise<void> {
  await tx.query(sql`
    update event_waits set matched = false, fresh = false
    where environment = ${environment} and run_id = any(${runIds}::uuid[]) and matched is null
  `)
}

/** What one recipient waits for and has lived through, the other one does. */
export async function moveWaits(
  tx: Transaction,
  environment: EnvironmentName,
  { collection, from, into }: Move,
): Promise<void> {
  await tx.query(sql`
    update event_waits set recipient = ${into}, fresh = true
    where environment = ${environment} and collection = ${collection} and recipient = ${from}
      and matched is null
  `)
  await tx.query(sql`
    update recipient_events set recipient = ${into}, told = false
    where environment = ${environment} and collection = ${collection} and recipient = ${from}
  `)
}

const TOLD_MAX = 1_000

interface Waiting {
  readonly environment: EnvironmentName
  readonly runId: RunId
}

/**
 * Tells the runs that wait for what has happened, and says how much it looked at; called again at once while
 * it gets a full take. Both what happened and what waits are looked at once they are committed, each against all
 * that is committed of the other: whichever of the two comes later finds the earlier one, so that nothing is missed.
 */
export async function tellWaitingRuns(deps: {
  readonly database: Database
  readonly queue: Queue
}): Promise<number> {
  return deps.database.transaction(async (tx) => {
    const events = await takeEvents(tx)
    const waits = await takeFresh(tx)
    if (events.length + waits.length === 0) return 0
    const found = [...(await findByEvents(tx, events)), ...(await findByWaits(tx, waits))]
    for (const [environment, rows] of Map.groupBy(found, (row) => row.environment)) {
      const ids = [...new Set(rows.map(({ runId }) => runId))]
      await deps.queue.enqueue(
        tx,
        ids.length > CHUNK_RUNS_MAX ? 'run_bulk' : 'run',
        runJobs(environment, ids),
      )
    }
    return Math.max(events.length, waits.length)
  })
}

interface EventKey {
  readonly environment: EnvironmentName
  readonly id: string
}

function takeEvents(tx: Transaction): Promise<readonly EventKey[]> {
  return tx.query<EventKey>(sql`
    update recipient_events e set told = true
    from (
      select environment, id from recipient_events
      where not told
      order by inserted_at
      limit ${TOLD_MAX}
      for update skip locked
    ) t
    where e.environment = t.environment and e.id = t.id
    returning e.environment, e.id
  `)
}

function takeFresh(tx: Transaction): Promise<readonly Waiting[]> {
  return tx.query<Waiting>(sql`
    update event_waits w set fresh = false
    from (
      select environment, run_id, step_ref from event_waits
      where fresh
      order by opened_at
      limit ${TOLD_MAX}
      for update skip locked
    ) t
    where w.environment = t.environment and w.run_id = t.run_id and w.step_ref = t.step_ref
    returning w.environment, w.run_id as "runId"
  `)
}

async function findByEvents(
  tx: Transaction,
  events: readonly EventKey[],
): Promise<readonly Waiting[]> {
  if (events.length === 0) return []
  return tx.query<Waiting>(sql`
    select distinct w.environment, w.run_id as "runId"
    from unnest(${events.map(({ environment }) => environment)}::text[],
      ${events.map(({ id }) => id)}::uuid[]) as i (environment, id)
    join recipient_events e on e.environment = i.environment and e.id = i.id
    join event_waits w on w.environment = e.environment and w.collection = e.collection
      and w.recipient = e.recipient and w.event = e.event and w.matched is null
      and e.inserted_at >= w.opened_at and e.inserted_at < w.expires_at
  `)
}

async function findByWaits(
  tx: Transaction,
  waits: readonly Waiting[],
): Promise<readonly Waiting[]> {
  if (waits.length === 0) return []
  return tx.query<Waiting>(sql`
    select w.environment, w.run_id as "runId"
    from unnest(${waits.map(({ environment }) => environment)}::text[],
      ${waits.map(({ runId }) => runId)}::uuid[]) as i (environment, run_id)
    join event_waits w on w.environment = i.environment and w.run_id = i.run_id
      and w.matched is null
    where exists (
      select from recipient_events e
      where e.environment = w.environment and e.collection = w.collection
        and e.recipient = w.recipient and e.event = w.event
        and e.inserted_at >= w.opened_at and e.inserted_at < w.expires_at and e.id <> all(w.seen)
    )
  `)
}

/** The runs that were told have long looked at what is older. */
const KEPT_MS = 24 * 60 * 60_000

/** Deletes some of the events that nobody will look at any more, of all environments. Answers how many. */
export async function sweepEvents(db: Queryable, now: Date): Promise<number> {
  const rows = await db.query(sql`
    delete from recipient_events
    where (environment, id) in (
      select environment, id from recipient_events
      where told and inserted_at < ${new Date(now.getTime() - KEPT_MS)}
      order by inserted_at
      limit ${TOLD_MAX}
      for update skip locked
    )
    returning environment
  `)
  return rows.length
}
