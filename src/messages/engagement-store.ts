import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { isUuid } from '../ids.ts'
import type { ChannelKey, EnvironmentName, MessageId } from '../ids.ts'
import type { ChannelType } from '../steps/step.ts'
import type { RecipientRef } from './store.ts'
import { toEvents } from './delivery-store.ts'
import { noteEvents, type MessageEvent } from './happenings.ts'
import { notifyFeeds, type FeedRef } from './feed-topic.ts'
import { applyMark, type Happened, type MarkOptions, type Stamps } from './engagement.ts'

/** Of entries in a message's history; a message that is marked to and fro does not grow beyond it. */
const EVENTS_MAX = 500

interface Row extends Stamps {
  readonly id: MessageId
  readonly channel: ChannelKey
  readonly channelType: ChannelType
  readonly collection: string
  readonly recipient: string
  readonly events: number
}

/** Whose messages a caller may change. */
export interface MessageReach {
  /** Null: of everybody. */
  readonly recipient: RecipientRef | null
  /** Whether only those in feeds. */
  readonly inAppOnly: boolean
}

const ALL: MessageReach = { recipient: null, inAppOnly: false }

export interface MarkTarget {
  readonly environment: EnvironmentName
  readonly ids: readonly string[]
  /** All of them where it is left out. */
  readonly reach?: MessageReach
}

/** Marks those of these messages that the environment has and the caller reaches, and returns their ids; the others are passed over. */
export async function markMessages(
  tx: Transaction,
  { environment, ids, reach = ALL }: MarkTarget,
  mark: Happened,
  options: MarkOptions,
): Promise<readonly MessageId[]> {
  const rows = await lockMessages(tx, environment, ids.filter(isUuid), reach)
  if (rows.length === 0) return []
  const { now } = options
  const happened: MessageEvent[] = []
  const marked = rows.map((row) => {
    const { stamps, happenings } = applyMark(row, mark, options)
    const { seenAt, readAt, interactedAt, linkClickedAt, archivedAt } = stamps
    const events = row.events < EVENTS_MAX ? toEvents(happenings, now) : []
    happened.push(...happenings.map((one) => ({ environment, message: row.id, ...one })))
    return { id: row.id, seenAt, readAt, interactedAt, linkClickedAt, archivedAt, events }
  })
  await tx.query(sql`
    update messages m
    set seen_at = s."seenAt", read_at = s."readAt", interacted_at = s."interactedAt",
        link_clicked_at = s."linkClickedAt", archived_at = s."archivedAt", events = m.events || s.events, updated_at = ${now}
    from json_to_recordset(${JSON.stringify(marked)}::json) as s (
      id uuid, "seenAt" timestamptz, "readAt" timestamptz, "interactedAt" timestamptz,
      "linkClickedAt" timestamptz, "archivedAt" timestamptz, events jsonb
    )
    where m.environment = ${environment} and m.id = s.id
  `)
  await noteEvents(tx, { messages: happened }, now)
  await notifyFeeds(tx, feedsOf(environment, rows))
  return rows.map(({ id }) => id)
}

/**
 * Deletes these messages with what is known of their deliveries; those that are still to be handed over, or are being so,
 * stay.
 */
export async function deleteMessages(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly MessageId[],
): Promise<void> {
  const deleted = await tx.query<FeedMessage & { readonly id: MessageId }>(sql`
    delete from messages
    where environment = ${environment}
      and id = any(${ids}::uuid[])
      and due_at is null
      and claimed_by is null
    returning id, channel, channel_type as "channelType", collection, recipient
  `)
  await tx.query(sql`
    delete from deliveries
    where environment = ${environment}
      and message_id = any(${deleted.map(({ id }) => id)}::uuid[])
  `)
  await notifyFeeds(tx, feedsOf(environment, deleted))
}

type FeedMessage = Pick<Row, 'channel' | 'channelType' | 'collection' | 'recipient'>

function feedsOf(environment: EnvironmentName, rows: readonly FeedMessage[]): readonly FeedRef[] {
  return rows
    .filter(({ channelType }) => channelType === 'in_app')
    .map(({ channel, collection, recipient }) => ({ environment, channel, collection, recipient }))
}

/** In id order, as everybody locks messages. */
async function lockMessages(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly string[],
  { recipient, inAppOnly }: MessageReach,
): Promise<Row[]> {
  return await tx.query<Row>(sql`
    select id, channel, channel_type as "channelType", collection, recipient, seen_at as "seenAt", read_at as "readAt",
           interacted_at as "interactedAt", link_clicked_at as "linkClickedAt", archived_at as "archivedAt",
           jsonb_array_length(events) as events
    from messages
    where environment = ${environment}
      and id = any(${ids}::uuid[])
      and (${recipient?.id ?? null}::text is null
        or (collection = ${recipient?.collection ?? null} and recipient = ${recipient?.id ?? null}))
      and (not ${inAppOnly}::boolean or channel_type = 'in_app')
    order by id
    for update
  `)
}
