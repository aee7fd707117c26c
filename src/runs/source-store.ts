import type { Queryable, Transaction } from '../db/database.ts'
import { inOrder, newestFirst, type Place } from '../db/pages.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, VersionId, WorkflowKey } from '../ids.ts'
import type {
  EventResult,
  EventStatus,
  Json,
  SourceEvent,
  SourceEventKind,
} from './source-event.ts'

/** An event with the id that it is stored by. */
export interface NumberedEvent extends SourceEvent {
  readonly id: string
}

/** Of which source events are. */
export interface SourceRef {
  readonly environment: EnvironmentName
  readonly source: string
}

/**
 * Logs events; answers the ids of those that are new. One that is being logged by somebody else with the same
 * message id is waited for.
 */
export async function insertEvents(
  tx: Transaction,
  { environment, source }: SourceRef,
  events: readonly NumberedEvent[],
  { now, replayOf = null }: { readonly now: Date; readonly replayOf?: string | null },
): Promise<ReadonlySet<string>> {
  const rows = events.map((event) => ({
    id: event.id,
    message_id: event.messageId,
    kind: event.kind,
    event: event.event,
    user_id: event.userId,
    body: event.body,
    happened_at: event.happenedAt,
  }))
  const inserted = await tx.query<{ readonly id: string }>(sql`
    insert into source_events (environment, id, source, message_id, kind, event, user_id, body, status,
      replay_of, happened_at, received_at)
    select ${environment}, id, ${source}, message_id, kind, event, user_id, body, 'received',
      ${replayOf}, happened_at, ${now}
    from json_to_recordset(${JSON.stringify(rows)}::json) as i (id uuid, message_id text, kind text,
      event text, user_id text, body jsonb, happened_at timestamptz)
    -- Two senders of the same messages never wait for each other in a circle.
    order by message_id, id
    on conflict (environment, source, message_id) where message_id is not null do nothing
    returning id
  `)
  return new Set(inserted.map(({ id }) => id))
}

/** Writes down what came of events. */
export async function saveResults(
  tx: Transaction,
  environment: EnvironmentName,
  results: readonly {
    readonly id: string
    readonly status: EventStatus
    readonly results: readonly EventResult[]
  }[],
): Promise<void> {
  if (results.length === 0) return
  await tx.query(sql`
    update source_events e set status = i.status, results = i.results
    from json_to_recordset(${JSON.stringify(results)}::json)
      as i (id uuid, status text, results jsonb)
    where e.environment = ${environment} and e.id = i.id
  `)
}

/** A workflow that an event starts. */
export interface EventWorkflow {
  readonly event: string
  readonly workflow: WorkflowKey
  readonly versionId: VersionId
}

/** The live workflows that name one of these events of a source. */
export async function listEventWorkflows(
  db: Queryable,
  { environment, source }: SourceRef,
  names: readonly string[],
): Promise<readonly EventWorkflow[]> {
  if (names.length === 0) return []
  return db.query<EventWorkflow>(sql`
    select n.event, w.key as workflow, w.version_id as "versionId"
    from unnest(${names}::text[]) as n (event)
    join versions v on v.workflow -> 'trigger' -> 'events'
      @> jsonb_build_array(jsonb_build_object('source', ${source}::text, 'event', n.event))
    join workflows w on w.environment = ${environment} and w.key = v.key and w.version_id = v.id
    where w.archived_at is null
    order by w.key, n.event
  `)
}

/** An event as it was logged. */
export interface LoggedEvent {
  readonly id: string
  readonly source: string
  readonly messageId: string | null
  readonly kind: SourceEventKind
  readonly event: string | null
  readonly userId: string | null
  readonly body: Json | null
  readonly status: EventStatus
  readonly results: readonly EventResult[]
  readonly replayOf: string | null
  readonly happenedAt: Date | null
  readonly receivedAt: Date
}

/** What a list of events is narrowed to; null: all. */
export interface EventFilter {
  readonly status: string | null
  readonly event: string | null
  readonly messageId: string | null
}

const COLUMNS = sql`
  id, source, message_id as "messageId", kind, event, user_id as "userId", body, status,
  results, replay_of as "replayOf", happened_at as "happenedAt", received_at as "receivedAt"`

/** The events of a source, newest first. */
export async function listEvents(
  db: Queryable,
  { environment, source }: SourceRef,
  { status, event, messageId }: EventFilter,
  place: Place,
): Promise<readonly LoggedEvent[]> {
  const rows = await db.query<LoggedEvent>(sql`
    select ${COLUMNS}
    from source_events
    where environment = ${environment} and source = ${source}
      and (${status}::text is null or status = ${status})
      and (${event}::text is null or event = ${event})
      and (${messageId}::text is null or message_id = ${messageId})
      ${newestFirst(sql`id`, place)}
  `)
  return inOrder(rows, place)
}

/** One event of a source by its id, which is a UUID. */
export async function findEvent(
  db: Queryable,
  { environment, source }: SourceRef,
  id: string,
): Promise<LoggedEvent | undefined> {
  const [row] = await db.query<LoggedEvent>(sql`
    select ${COLUMNS} from source_events
    where environment = ${environment} and source = ${source} and id = ${id}
  `)
  return row
}

const SWEEP_ROWS_MAX = 1_000
const DAY_MS = 86_400_000

/** Deletes some of the events that are older than so many days, of all environments. Answers how many. */
export async function sweepSourceEvents(db: Queryable, now: Date, days: number): Promise<number> {
  const rows = await db.query(sql`
    delete from source_events
    where (environment, id) in (
      select environment, id from source_events
      where received_at < ${new Date(now.getTime() - days * DAY_MS)}
      order by received_at
      limit ${SWEEP_ROWS_MAX}
      for update skip locked
    )
    returning environment
  `)
  return rows.length
}
