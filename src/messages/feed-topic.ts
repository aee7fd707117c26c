import { hash } from 'node:crypto'
import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { ChannelKey, EnvironmentName } from '../ids.ts'

/** On which processes hear that feeds have changed. */
export const FEED_TOPIC = 'feeds'

/** One recipient's feed in one channel. */
export interface FeedRef {
  readonly environment: EnvironmentName
  readonly channel: ChannelKey
  readonly collection: string
  readonly recipient: string
}

/** Nine bytes, in base64. */
const DIGEST_LENGTH = 12
/** Postgres takes messages of less than 8000 bytes. */
const DIGESTS_MAX = 600

/** Names a feed in few bytes; two that share a name only make somebody look for nothing. */
export function feedDigest({ environment, channel, collection, recipient }: FeedRef): string {
  const parts = JSON.stringify([environment, channel, collection, recipient])
  return hash('sha256', parts, 'base64url').slice(0, DIGEST_LENGTH)
}

/** Tells all processes, at the commit, that these feeds have changed; one statement for any number. */
export async function notifyFeeds(tx: Queryable, feeds: readonly FeedRef[]): Promise<void> {
  const digests = [...new Set(feeds.map(feedDigest))]
  if (digests.length === 0) return
  const payloads: string[] = []
  for (let at = 0; at < digests.length; at += DIGESTS_MAX)
    payloads.push(digests.slice(at, at + DIGESTS_MAX).join(''))
  await tx.query(sql`
    select pg_notify(${FEED_TOPIC}, payload) from unnest(${payloads}::text[]) payload
  `)
}

/** The feeds that a message on the topic names. */
export function readDigests(payload: string): readonly string[] {
  return Array.from({ length: Math.floor(payload.length / DIGEST_LENGTH) }, (_, index) =>
    payload.slice(index * DIGEST_LENGTH, (index + 1) * DIGEST_LENGTH),
  )
}
