import type { Queryable, Transaction } from '../db/database.ts'
import { plainList, Shared } from '../db/shared.ts'
import { sql } from '../db/sql.ts'
import type {
  ChannelKey,
  EnvironmentName,
  MessageId,
  RunId,
  StepRef,
  VersionId,
  WorkflowKey,
  WorkflowRunId,
} from '../ids.ts'
import type { ChannelType, MessageContent } from '../steps/step.ts'
import { AMBIGUOUS, toEvents } from './delivery-store.ts'
import { noteEvents } from './happenings.ts'
import type { DeliverJob } from './claim.ts'
import { notifyFeeds, type FeedRef } from './feed-topic.ts'
import { toDeliverJobs } from './due.ts'
import type { ShortLink } from './short-links.ts'
import {
  stopped,
  type MessageHappening,
  type MessageReason,
  type MessageStatus,
} from './message.ts'

/** Who gets a message, or caused it; users are the collection `$users`. */
export interface RecipientRef {
  readonly collection: string
  readonly id: string
}

/** A message as a run makes it. */
export interface NewMessage {
  readonly environment: EnvironmentName
  readonly id: MessageId
  readonly runId: RunId
  readonly workflowRunId: WorkflowRunId
  readonly workflow: WorkflowKey
  readonly versionId: VersionId
  readonly stepRef: StepRef
  /** Of the messages that the step makes for one recipient, from 0. */
  readonly part?: number
  readonly channel: ChannelKey
  readonly channelType: ChannelType
  readonly provider: string
  readonly recipient: RecipientRef
  readonly actor: RecipientRef | null
  readonly tenant: string | null
  /** Laid over the data of the trigger, or, where it is `dataWhole`, in its place. */
  readonly data: Readonly<Record<string, unknown>> | null
  readonly dataWhole: boolean
  readonly content: MessageContent
  /** Links in it that are stored beside it. */
  readonly shortLinks?: readonly ShortLink[]
  /** `queued`: to be handed over; `delivered`: stored is delivered; `not_sent`: made and rendered only. */
  readonly status: 'queued' | 'delivered' | 'not_sent'
  /** Why, where it is not sent. */
  readonly reason?: MessageReason
  /** When it is to be handed over, where that is not at once. */
  readonly scheduledAt?: Date | null
  readonly expiresAt?: Date | null
}

/**
 * Writes messages in one statement; one that its run has made before is left as it is. Returns the
 * `deliver` jobs of those that are due now, which the caller puts into the queue in the same
 * transaction; what is scheduled for later is found by the loop.
 */
export async function insertMessages(
  tx: Transaction,
  messages: readonly NewMessage[],
  now: Date,
): Promise<readonly DeliverJob[]> {
  if (messages.length === 0) return []
  const kinds = new Shared()
  const places = messages.map((message) => kinds.place(kindOf(message, now)))
  const inserted = await tx.query<{ id: MessageId }>(sql`
    insert into messages
      (environment, id, run_id, workflow_run_id, workflow, version_id, step_ref, part, channel, channel_type,
       provider, collection, recipient, actor, tenant, data, data_whole, status, reason, content, due_at,
       enqueued_at, scheduled_at, expires_at, events, inserted_at, updated_at)
    select k.environment, m.id, m.run_id, k.workflow_run_id, k.workflow, k.version_id, k.step_ref, k.part,
           k.channel, k.channel_type, k.provider, k.collection, m.recipient, k.actor, k.tenant, m.data,
           k.data_whole, k.status, k.reason, m.content, k.due_at, k.enqueued_at, k.scheduled_at,
           k.expires_at, k.events, ${now}, ${now}
    from rows from (
      unnest(${plainList(messages.map(({ id }) => id))}::uuid[],
        ${plainList(messages.map(({ runId }) => runId))}::uuid[],
        ${messages.map(({ recipient }) => recipient.id)}::text[],
        ${messages.map(({ data }) => data && JSON.stringify(data))}::jsonb[],
        ${plainList(places)}::integer[]),
      -- One JSON text costs half of what a list of them does, here and there.
      jsonb_array_elements(${JSON.stringify(messages.map(({ content }) => content))}::jsonb))
      as m (id, run_id, recipient, data, place, content)
    join rows from (json_to_recordset(${kinds.json()}::json) as (environment text,
      workflow_run_id uuid, workflow text, version_id text, step_ref text, part integer, channel text,
      channel_type text, provider text, collection text, actor jsonb, tenant text, data_whole boolean,
      status text, reason text, due_at timestamptz, enqueued_at timestamptz, scheduled_at timestamptz,
      expires_at timestamptz, events jsonb)) with ordinality
      as k (environment, workflow_run_id, workflow, version_id, step_ref, part, channel, channel_type,
        provider, collection, actor, tenant, data_whole, status, reason, due_at, enqueued_at,
        scheduled_at, expires_at, events, place)
      on k.place = m.place
    on conflict on constraint messages_once_per_step do nothing
    returning id
  `)
  await notifyFeeds(tx, messages.filter(isInFeed).map(feedOf))
  const made = new Set(inserted.map(({ id }) => id))
  return toDeliverJobs(messages.filter((message) => isDue(message, now) && made.has(message.id)))
}

function isInFeed({ channelType, status }: NewMessage): boolean {
  return channelType === 'in_app' && status === 'delivered'
}

function feedOf({ environment, channel, recipient }: NewMessage): FeedRef {
  return { environment, channel, collection: recipient.collection, recipient: recipient.id }
}

function isDue(message: NewMessage, now: Date): boolean {
  return message.status === 'queued' && !isLater(message.scheduledAt, now)
}

function isLater(at: Date | null | undefined, now: Date): at is Date {
  return at !== null && at !== undefined && at > now
}

/** All of a message that is not its own: the messages of one step mostly have it in common. */
function kindOf(message: NewMessage, now: Date) {
  const scheduledAt = isLater(message.scheduledAt, now) ? message.scheduledAt : null
  const queued = message.status === 'queued'
  const data = message.reason === undefined ? null : { reason: message.reason }
  const happenings: MessageHappening[] = [
    { type: 'message.created', data: null },
    { type: `message.${message.status}`, data },
  ]
  return {
    environment: message.environment,
    workflow_run_id: message.workflowRunId,
    workflow: message.workflow,
    version_id: message.versionId,
    step_ref: message.stepRef,
    part: message.part ?? 0,
    channel: message.channel,
    channel_type: message.channelType,
    provider: message.provider,
    collection: message.recipient.collection,
    actor: message.actor,
    tenant: message.tenant,
    data_whole: message.dataWhole,
    status: message.status,
    reason: message.reason ?? null,
    due_at: queued ? (scheduledAt ?? now) : null,
    enqueued_at: queued && scheduledAt === null ? now : null,
    scheduled_at: scheduledAt,
    expires_at: message.expiresAt ?? null,
    events: toEvents(happenings, now),
  }
}

/**
 * Cancels what runs have not yet handed over, and returns how many messages that matched. A message
 * that is being handed over keeps its claim and is not tried again. One that an earlier attempt may
 * have handed over ends as undelivered: only of the others is it known that nothing went out.
 */
export async function cancelMessages(
  tx: Transaction,
  environment: EnvironmentName,
  runIds: readonly RunId[],
  now: Date,
): Promise<number> {
  const plain = cancelledAs(false, now)
  const ambiguous = cancelledAs(true, now)
  const matched = await tx.query<Ended>(sql`
    with open as (
      select id, events @> ${AMBIGUOUS}::jsonb as ambiguous
      from messages
      where environment = ${environment}
        and run_id = any(${runIds}::uuid[])
        and status in ('queued', 'delivery_attempted')
        and cancelled_at is null
      order by id
      for update
    )
    update messages m
    set cancelled_at = ${now},
        status = case when m.claimed_by is not null then m.status
                      when open.ambiguous then ${ambiguous.status} else ${plain.status} end,
        reason = case when m.claimed_by is not null then m.reason
                      when open.ambiguous then ${ambiguous.reason} else ${plain.reason} end,
        due_at = case when m.claimed_by is null then null else m.due_at end,
        enqueued_at = null,
        events = case when m.claimed_by is not null then m.events
                      when open.ambiguous then m.events || ${ambiguous.events}::jsonb
                      else m.events || ${plain.events}::jsonb end,
        updated_at = ${now}
    from open
    where m.environment = ${environment} and m.id = open.id
    returning m.id as message, m.status, m.claimed_by is null as ended
  `)
  const messages = matched.flatMap(({ message, status, ended }) =>
    ended
      ? [{ environment, message, type: `message.${status}`, data: { reason: 'cancelled' } }]
      : [],
  )
  await noteEvents(tx, { messages }, now)
  return matched.length
}

interface Ended {
  readonly message: MessageId
  readonly status: MessageStatus
  readonly ended: boolean
}

function cancelledAs(wasAmbiguous: boolean, now: Date) {
  const { status, reason, data } = stopped(wasAmbiguous, 'cancelled')
  const events = JSON.stringify(toEvents([{ type: `message.${status}`, data }], now))
  return { status, reason, events }
}

/** What goes over from one recipient to another of the same collection. */
export interface Move {
  readonly collection: string
  readonly from: string
  readonly into: string
  /** What has ended, and is older than this, stays. */
  readonly since: Date
  readonly now: Date
}

/** Gives one recipient's messages to another. Those that are still to be handed over go too, however old. */
export async function moveMessages(
  tx: Transaction,
  environment: EnvironmentName,
  { collection, from, into, since, now }: Move,
): Promise<void> {
  const moved = await tx.query<{ channel: ChannelKey; channelType: ChannelType }>(sql`
    with theirs as (
      select id
      from messages
      where environment = ${environment}
        and collection = ${collection}
        and recipient = ${from}
        and (inserted_at >= ${since} or status in ('queued', 'delivery_attempted'))
      order by id
      for update
    )
    update messages m
    set recipient = ${into}, updated_at = ${now}
    from theirs
    where m.environment = ${environment} and m.id = theirs.id
    returning m.channel, m.channel_type as "channelType"
  `)
  const feeds = moved
    .filter(({ channelType }) => channelType === 'in_app')
    .map(({ channel }) => ({ environment, channel, collection, recipient: into }))
  await notifyFeeds(tx, feeds)
}

/** How a step's message fares, as conditions see it in `refs.<step>`. */
export interface RefStatus {
  readonly runId: RunId
  readonly stepRef: StepRef
  readonly status: MessageStatus
  readonly reason: string | null
  readonly engagement: readonly Engagement[]
}

export type Engagement = 'seen' | 'read' | 'interacted' | 'link_clicked' | 'archived'

/** The states of all messages of these runs. */
export async function loadMessageStatuses(
  tx: Queryable,
  environment: EnvironmentName,
  runIds: readonly RunId[],
): Promise<RefStatus[]> {
  return await tx.query<RefStatus>(sql`
    select run_id as "runId", step_ref as "stepRef", status, reason,
           array_remove(array[
             case when seen_at is not null then 'seen' end,
             case when read_at is not null then 'read' end,
             case when interacted_at is not null then 'interacted' end,
             case when link_clicked_at is not null then 'link_clicked' end,
             case when archived_at is not null then 'archived' end
           ], null) as engagement
    from messages
    where environment = ${environment}
      and run_id = any(${runIds}::uuid[])
  `)
}
