import type { Queryable } from '../db/database.ts'
import type { EnvironmentName, MessageId } from '../ids.ts'
import type { MessageRow } from '../messages/log-store.ts'
import { messageToWire } from '../messages/wire.ts'
import type { Recipient, RecipientRef } from '../recipients/recipient.ts'
import { findBatches, loadActivities, summarizeBatches } from '../runs/batch-summary.ts'
import type { FeedView } from './feed-view.ts'

/** How many actors and activities of a batch stand in a message or an item of a feed. */
const SHOWN_MAX = 10

/** How large the activities of a page may be together: the data of each may be 10 MB, and a reply is one text in memory. */
const ACTIVITIES_BYTES_MAX = 10 * 1024 * 1024

/** Messages in the contract's shape, each with those who caused what its batch collected. */
export async function messagesToWire(
  db: Queryable,
  environment: EnvironmentName,
  rows: readonly MessageRow[],
): Promise<readonly object[]> {
  const batches = await findBatches(db, environment, rows)
  const ids = [...new Set(batches.values())]
  const summaries = await summarizeBatches(db, environment, ids, SHOWN_MAX)
  return rows.map((row) => {
    const batch = batches.get(row.id)
    return messageToWire(row, batch && summaries.get(batch)?.actors)
  })
}

/** What a message is about, as far as it is shown. */
export interface Subject {
  readonly activities: readonly {
    readonly id: string
    readonly actor: RecipientRef | null
    readonly data: MessageRow['data']
    readonly at: Date
  }[]
  readonly totalActivities: number
  readonly actors: readonly RecipientRef[]
  /** Undefined where it is those who are still known. */
  readonly totalActors?: number
}

/** Whose feed it is, and how much of it is wanted. */
export interface Wanted {
  readonly user: Recipient
  readonly mode: FeedView['mode']
}

/** The batches of a page of a feed: no activities where they are not shown. */
export async function loadFeedBatches(
  db: Queryable,
  environment: EnvironmentName,
  rows: readonly MessageRow[],
  { user, mode }: Wanted,
): Promise<ReadonlyMap<MessageId, Subject>> {
  const batches = await findBatches(db, environment, rows)
  const ids = [...new Set(batches.values())]
  const summaries = await summarizeBatches(db, environment, ids, SHOWN_MAX)
  const limits = {
    activitiesMax: SHOWN_MAX,
    bytesMax: ACTIVITIES_BYTES_MAX,
    bytesEach: Buffer.byteLength(JSON.stringify(user.properties)),
  }
  const shown = mode === 'compact' ? undefined : await loadActivities(db, environment, ids, limits)
  return new Map(
    [...batches].flatMap(([message, batch]) => {
      const summary = summaries.get(batch)
      if (!summary) return []
      const activities = (shown?.get(batch) ?? []).map(({ workflowRunId: id, ...activity }) => ({
        ...activity,
        id,
      }))
      return [[message, { ...summary, activities }] as const]
    }),
  )
}

/** What a message is about: its batch, or, where it came from none or nothing is left of it, its own trigger. */
export function subjectOf(row: MessageRow, batch: Subject | undefined): Subject {
  const { id, actor, data, insertedAt: at } = row
  const own = { activities: [{ id, actor, data, at }], totalActivities: 1 }
  return batch ?? { ...own, actors: actor === null ? [] : [actor] }
}
