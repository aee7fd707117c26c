import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { ChannelKey, EnvironmentName } from '../ids.ts'
import { narrowed, type MessageFilter } from './log-store.ts'
import type { MessageStatus } from './message.ts'
import type { RecipientRef } from './store.ts'

/** Messages that are in a feed at all: what was not sent is in none. */
export const FEED_STATUSES: readonly MessageStatus[] = ['sent', 'delivered']

/** Whose feed, and what it is narrowed to. */
export interface Feed {
  readonly recipient: RecipientRef
  readonly channel: ChannelKey
  readonly filter: MessageFilter
}

export interface FeedCounts {
  readonly total: number
  readonly unread: number
  readonly unseen: number
  /** When one of them was made or marked last; null for an empty feed. */
  readonly changedAt: Date | null
}

/** What there is in the feed of somebody who is not known. */
export const EMPTY_FEED: FeedCounts = { total: 0, unread: 0, unseen: 0, changedAt: null }

/** How much there is in a feed. What was done with its items narrows the list, and not these counts, but for `archived`. */
export async function countFeed(
  tx: Queryable,
  environment: EnvironmentName,
  { recipient, channel, filter }: Feed,
): Promise<FeedCounts> {
  const [counts] = await tx.query<FeedCounts>(sql`
    select count(*)::integer as total,
           (count(*) filter (where m.read_at is null))::integer as unread,
           (count(*) filter (where m.seen_at is null))::integer as unseen,
           max(m.updated_at) as "changedAt"
    from messages m
    left join versions v on v.id = m.version_id
    where m.environment = ${environment}
      and m.collection = ${recipient.collection}
      and m.recipient = ${recipient.id}
      and m.channel = ${channel}
      and m.channel_type = 'in_app'
      and m.status = any(${FEED_STATUSES}::text[])
      ${narrowed(filter)}
  `)
  return counts ?? EMPTY_FEED
}
