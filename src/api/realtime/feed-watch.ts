import type { Queryable } from '../../db/database.ts'
import type { Topics } from '../../db/topics.ts'
import { messageOf } from '../../errors.ts'
import { countFeed, type FeedCounts } from '../../messages/feed-store.ts'
import { FEED_TOPIC, feedDigest, readDigests } from '../../messages/feed-topic.ts'
import { metadataToWire } from '../feeds.ts'
import type { Join } from './join.ts'

/** What a client is told: the counts of each of its views that has changed. */
export type OnChange = (changed: ReadonlyMap<string, object>) => void

export interface FeedWatchOptions {
  readonly database: Queryable
  readonly topics: Topics
  readonly log: { warn(message: string, fields: Readonly<Record<string, unknown>>): void }
}

/** Looks at the feeds that clients of this process have open, whoever changes them. */
export interface FeedWatch {
  /** Tells of each change from now on. With `isStale` it also tells at once, of what the client has missed. */
  watch(join: Join, onChange: OnChange, isStale: boolean): Promise<Watched>
  close(): Promise<void>
}

export interface Watched {
  close(): void
}

interface Watcher {
  readonly join: Join
  readonly onChange: OnChange
  /** What each view was when the client was told last. */
  known: ReadonlyMap<string, string>
  /** Whether it is looked at now, and was changed since that began. */
  state: 'idle' | 'waiting' | 'looking' | 'looking_again' | 'closed'
}

/** How many feeds are counted at the same time: calls of the API need connections, too. */
const COUNTS_MAX = 4
const RETRY_MS = 1_000

/** Starts to listen; `close` ends it. */
export async function openFeedWatch(options: FeedWatchOptions): Promise<FeedWatch> {
  const { database, topics } = options
  const watchers = new Map<string, Set<Watcher>>()
  const counter = openCounter(options)
  const lookAtAll = (): void => {
    for (const some of watchers.values()) for (const watcher of some) counter.look(watcher)
  }
  const listening = await topics.listen(FEED_TOPIC, (payload) => {
    // Whatever was sent while the connection was down was not heard.
    if (payload === undefined) return lookAtAll()
    for (const digest of readDigests(payload))
      for (const watcher of watchers.get(digest) ?? []) counter.look(watcher)
  })
  return {
    async watch(join, onChange, isStale) {
      const watcher: Watcher = { join, onChange, known: new Map(), state: 'looking' }
      const digest = feedDigest(join.feed)
      const same = watchers.get(digest) ?? new Set()
      // First, so that no change is missed between the count and it.
      watchers.set(digest, same.add(watcher))
      const close = (): void => {
        watcher.state = 'closed'
        same.delete(watcher)
        if (same.size === 0 && watchers.get(digest) === same) watchers.delete(digest)
      }
      try {
        const views = await countViews(database, join)
        if (!isStale) watcher.known = signaturesOf(views)
      } catch (error) {
        close()
        throw error
      }
      if (release(watcher) || isStale) counter.look(watcher)
      return { close }
    },
    close() {
      counter.close()
      watchers.clear()
      return listening.close()
    },
  }
}

/** Ends a look; true where the feed has changed since it began. */
function release(watcher: Watcher): boolean {
  const { state } = watcher
  if (state !== 'closed') watcher.state = 'idle'
  return state === 'looking_again'
}

/** Counts feeds, a few at a time and each in its turn. */
function openCounter({ database, log }: FeedWatchOptions) {
  const waiting: Watcher[] = []
  let counting = 0
  const state = { isClosed: false }

  const look = (watcher: Watcher): void => {
    if (watcher.state === 'looking') watcher.state = 'looking_again'
    if (watcher.state !== 'idle' || state.isClosed) return
    watcher.state = 'waiting'
    waiting.push(watcher)
    next()
  }
  const next = (): void => {
    while (counting < COUNTS_MAX && !state.isClosed) {
      const watcher = waiting.shift()
      if (!watcher) return
      if (watcher.state !== 'waiting') continue
      counting += 1
      watcher.state = 'looking'
      void lookAt(watcher)
    }
  }
  const lookAt = async (watcher: Watcher): Promise<void> => {
    try {
      await tellChanges(database, watcher)
    } catch (error) {
      log.warn('a feed could not be counted', { error: messageOf(error) })
      setTimeout(() => look(watcher), RETRY_MS).unref()
    }
    counting -= 1
    if (release(watcher)) look(watcher)
    next()
  }
  const close = (): void => void (state.isClosed = true)
  return { look, close }
}

/** Counts a feed again and tells what is not as it was. */
async function tellChanges(db: Queryable, watcher: Watcher): Promise<void> {
  const views = await countViews(db, watcher.join)
  if (watcher.state === 'closed') return
  const before = watcher.known
  watcher.known = signaturesOf(views)
  const changed = [...views].filter(([name]) => before.get(name) !== watcher.known.get(name))
  if (changed.length === 0) return
  watcher.onChange(new Map(changed.map(([name, counts]) => [name, metadataToWire(counts)])))
}

type Views = ReadonlyMap<string, FeedCounts>

async function countViews(db: Queryable, { feed, views }: Join): Promise<Views> {
  const { environment, channel, collection, recipient: id } = feed
  const counts = new Map<string, FeedCounts>()
  for (const [name, filter] of views) {
    const view = { recipient: { collection, id }, channel, filter }
    counts.set(name, await countFeed(db, environment, view))
  }
  return counts
}

function signaturesOf(views: Views): ReadonlyMap<string, string> {
  return new Map([...views].map(([name, counts]) => [name, JSON.stringify(counts)]))
}
