import type { Exchange } from '../channels/provider.ts'
import type { Queryable, Transaction } from '../db/database.ts'
import { sql, type Sql } from '../db/sql.ts'
import { newRowId } from '../ids.ts'
import type { ChannelKey, EnvironmentName, MessageId, ProcessId } from '../ids.ts'
import type { ChannelType, MessageContent } from '../steps/step.ts'
import { noteEvents } from './happenings.ts'
import { isSilent } from './leases.ts'
import type { MessageHappening, Settlement } from './message.ts'

/** A message that is due, with all that decides whether it may be handed over. */
export interface DueMessage extends Facts {
  readonly attempt: number
  readonly status: 'queued' | 'delivery_attempted'
  readonly reason: string | null
  readonly workflow: string
  readonly channel: ChannelKey
  readonly channelType: ChannelType
  readonly content: MessageContent
  readonly expiresAt: Date | null
  readonly insertedAt: Date
  readonly plannedAt: Date
  /** Whether the outcome of an earlier attempt is unknown. */
  readonly ambiguous: boolean
  /** The hand-over of its channel's rate that it was given. */
  readonly reservedAt: Date | null
}

/** An event of unknown outcome, as a pattern for the events of a message. */
export const AMBIGUOUS = JSON.stringify([{ data: { ambiguous: true } }])

/** What may change while a message waits to be handed over. */
export interface Facts {
  readonly id: MessageId
  readonly cancelled: boolean
  readonly expired: boolean
  readonly archived: boolean
  readonly recipientKnown: boolean
  /** Switched off: the workflow, one of its channels, or all sending. */
  readonly inactive: boolean
  /** Where the service refuses the channel: when one message may try again. */
  readonly probeAt: Date | null
}

/** The facts about the messages of an environment at a time, and from where they are. */
function factsOf(environment: EnvironmentName, now: Date): Sql {
  return sql`
    f.probe_at as "probeAt",
    m.cancelled_at is not null as cancelled,
    m.expires_at is not null and m.expires_at <= ${now} as expired,
    w.archived_at is not null as archived,
    r.id is not null as "recipientKnown",
    exists (
      select from switches s
      where s.environment = m.environment
        and s.workflow in ('', m.workflow)
        and s.channel in ('', m.channel)
        and not s.active
        and (s.expires_at is null or s.expires_at > ${now})
    ) as inactive
  from messages m
  left join workflows w on w.environment = m.environment and w.key = m.workflow
  left join recipients r
    on r.environment = m.environment and r.collection = m.collection and r.id = m.recipient
  left join channel_refusals f on f.environment = m.environment and f.channel = m.channel
  where m.environment = ${environment}`
}

/** Locks those of `ids` that are due and nobody's, in id order, and reads what decides about them. */
export async function lockDueMessages(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly MessageId[],
  now: Date,
): Promise<DueMessage[]> {
  return await tx.query<DueMessage>(sql`
    select m.id, m.attempt, m.status, m.reason, m.workflow, m.channel,
           m.channel_type as "channelType", m.content, m.expires_at as "expiresAt",
           m.events @> ${AMBIGUOUS}::jsonb as ambiguous,
           m.inserted_at as "insertedAt",
           coalesce(m.scheduled_at, m.inserted_at) as "plannedAt",
           m.reserved_at as "reservedAt", ${factsOf(environment, now)}
      and m.id = any(${ids}::uuid[])
      and m.status in ('queued', 'delivery_attempted')
      and m.due_at <= ${now}
      and m.claimed_by is null
    order by m.id
    for update of m
  `)
}

/** Reads the facts again for messages that this process still holds; others are left out. */
export async function loadFacts(
  database: Queryable,
  held: {
    readonly environment: EnvironmentName
    readonly ids: readonly MessageId[]
    readonly process: ProcessId
    readonly now: Date
  },
): Promise<Facts[]> {
  return await database.query<Facts>(sql`
    select m.id, ${factsOf(held.environment, held.now)}
      and m.id = any(${held.ids}::uuid[])
      and m.claimed_by = ${held.process}
  `)
}

/** Gives locked messages to the process, with one attempt more. */
export async function claimMessages(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly MessageId[],
  by: { readonly process: ProcessId; readonly now: Date },
): Promise<void> {
  await tx.query(sql`
    update messages
    set attempt = attempt + 1, claimed_by = ${by.process}, claimed_at = ${by.now},
        enqueued_at = null, reserved_at = null, updated_at = ${by.now}
    where environment = ${environment}
      and id = any(${ids}::uuid[])
  `)
}

/** One attempt of one process; names a claim and nothing else. */
export interface ClaimRef {
  readonly environment: EnvironmentName
  readonly id: MessageId
  readonly attempt: number
}

/** A claim that still holds, and whether the message was cancelled meanwhile. */
export interface HeldClaim {
  readonly id: MessageId
  readonly cancelled: boolean
}

/** Locks those claims of the process that still hold, in id order: attempt and process are the fence. */
export async function lockClaims(
  tx: Transaction,
  claims: readonly ClaimRef[],
  process: ProcessId,
): Promise<HeldClaim[]> {
  return await tx.query<HeldClaim>(sql`
    select m.id, m.cancelled_at is not null as cancelled
    from unnest(
      ${claims.map((claim) => claim.environment)}::text[],
      ${claims.map((claim) => claim.id)}::uuid[],
      ${claims.map((claim) => claim.attempt)}::integer[]
    ) as c (environment, id, attempt)
    join messages m on m.environment = c.environment and m.id = c.id and m.attempt = c.attempt
    where m.claimed_by = ${process}
    order by m.id
    for update of m
  `)
}

export interface SettledMessage extends Settlement {
  readonly environment: EnvironmentName
  readonly id: MessageId
}

/** Writes the states of locked messages and gives them back; what happened is kept for those that wait for it. */
export async function saveSettlements(
  tx: Transaction,
  settled: readonly SettledMessage[],
  now: Date,
): Promise<void> {
  const rows = settled.map((message) => ({
    environment: message.environment,
    id: message.id,
    status: message.status,
    reason: message.reason,
    attempt: message.attempt,
    due_at: message.dueAt,
    reference: message.reference,
    events: toEvents(message.happenings, now),
  }))
  await tx.query(sql`
    update messages m
    set status = s.status, reason = s.reason, attempt = s.attempt, due_at = s.due_at,
        reference = coalesce(s.reference, m.reference), events = m.events || s.events,
        claimed_by = null, claimed_at = null, enqueued_at = null, updated_at = ${now}
    from json_to_recordset(${JSON.stringify(rows)}::json) as s (
      environment text, id uuid, status text, reason text, attempt integer, due_at timestamptz,
      reference text, events jsonb
    )
    where m.environment = s.environment and m.id = s.id
  `)
  const messages = settled.flatMap(({ environment, id: message, happenings }) =>
    happenings.map((happening) => ({ environment, message, ...happening })),
  )
  await noteEvents(tx, { messages }, now)
}

/** What went over the wire in one attempt. */
export interface Delivery extends ClaimRef {
  readonly service: string
  readonly exchange: Exchange
  readonly at: Date
}

export async function insertDeliveries(
  tx: Transaction,
  deliveries: readonly Delivery[],
): Promise<void> {
  const rows = deliveries.map(({ environment, id, attempt, service, exchange, at }) => ({
    environment,
    message_id: id,
    attempt,
    id: newRowId(),
    service,
    request: exchange.request,
    response: exchange.response,
    inserted_at: at,
  }))
  await tx.query(sql`
    insert into deliveries (environment, message_id, attempt, id, service, request, response, inserted_at)
    select environment, message_id, attempt, id, service, request, response, inserted_at
    from json_to_recordset(${JSON.stringify(rows)}::json) as d (
      environment text, message_id uuid, attempt integer, id uuid, service text,
      request jsonb, response jsonb, inserted_at timestamptz
    )
  `)
}

/** A claim whose process is no more. */
export interface LostMessage {
  readonly environment: EnvironmentName
  readonly id: MessageId
  readonly attempt: number
  readonly status: 'queued' | 'delivery_attempted'
  readonly reason: string | null
  readonly plannedAt: Date
  readonly cancelled: boolean
  readonly ambiguous: boolean
  readonly onAmbiguous: 'retry' | 'hold'
}

/**
 * Locks claims of processes without a lease that counts, of all environments, and those that the own
 * process made before `before` and does not know of; what another sweep has is left to it.
 */
export async function lockLostMessages(
  tx: Transaction,
  own: {
    readonly process: ProcessId
    readonly held: readonly MessageId[]
    readonly before: Date
  },
  count: number,
): Promise<LostMessage[]> {
  return await tx.query<LostMessage>(sql`
    select m.environment, m.id, m.attempt, m.status, m.reason,
           coalesce(m.scheduled_at, m.inserted_at) as "plannedAt",
           m.cancelled_at is not null as cancelled, m.events @> ${AMBIGUOUS}::jsonb as ambiguous,
           coalesce(e.settings -> 'channels' -> m.channel ->> 'on_ambiguous', 'retry') as "onAmbiguous"
    from messages m
    left join environments e on e.name = m.environment
    where (m.environment, m.id) in (
      select c.environment, c.id
      from messages c
      where c.claimed_by is not null
        and (
          c.claimed_by = ${own.process} and c.claimed_at < ${own.before}
            and c.id <> all(${own.held}::uuid[])
          or ${isSilent(sql`c.claimed_by`)}
        )
      offset 0
    )
    order by m.environment, m.id
    limit ${count}
    for update of m skip locked
  `)
}

/** Marks due messages of all environments as enqueued and says which; what another loop has is left to it. */
export async function takeDueMessages(
  tx: Transaction,
  now: Date,
  count: number,
): Promise<DueRef[]> {
  return await tx.query<DueRef>(sql`
    update messages m
    set enqueued_at = ${now}
    from (
      select environment, id
      from messages
      where due_at <= ${now} and claimed_by is null and enqueued_at is null
      order by due_at
      limit ${count}
      for update skip locked
    ) d
    where m.environment = d.environment and m.id = d.id
    returning m.environment, m.channel, m.id
  `)
}

/** As `takeDueMessages`, for those whose job has not come in all the time since `before`. */
export async function takeForgottenMessages(
  tx: Transaction,
  times: { readonly now: Date; readonly before: Date },
  count: number,
): Promise<DueRef[]> {
  return await tx.query<DueRef>(sql`
    update messages m
    set enqueued_at = ${times.now}
    from (
      select environment, id
      from messages
      where enqueued_at < ${times.before} and claimed_by is null
      order by enqueued_at
      limit ${count}
      for update skip locked
    ) d
    where m.environment = d.environment and m.id = d.id
    returning m.environment, m.channel, m.id
  `)
}

export interface DueRef {
  readonly environment: EnvironmentName
  readonly channel: ChannelKey
  readonly id: MessageId
}

/** Happenings with their time, as the messages table keeps them; an event's place in the list is its id. */
export function toEvents(happenings: readonly MessageHappening[], now: Date): readonly object[] {
  return happenings.map(({ type, data }) => ({ type, data, at: now }))
}
