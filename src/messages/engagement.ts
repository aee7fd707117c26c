import type { MessageHappening } from './message.ts'

/** What a recipient can do with a message, and take back. */
export const MARKS = [
  'seen',
  'unseen',
  'read',
  'unread',
  'interacted',
  'archived',
  'unarchived',
] as const
export type Mark = (typeof MARKS)[number]

/** As `Mark`, with what nobody takes back and only a link tells. */
export type Happened = Mark | 'link_clicked'

/** When each was last done with a message. */
export interface Stamps {
  readonly seenAt: Date | null
  readonly readAt: Date | null
  readonly interactedAt: Date | null
  readonly linkClickedAt: Date | null
  readonly archivedAt: Date | null
}

const CHANGES: Readonly<
  Record<Happened, { readonly stamp: keyof Stamps; readonly isSet: boolean }>
> = {
  seen: { stamp: 'seenAt', isSet: true },
  unseen: { stamp: 'seenAt', isSet: false },
  read: { stamp: 'readAt', isSet: true },
  unread: { stamp: 'readAt', isSet: false },
  interacted: { stamp: 'interactedAt', isSet: true },
  link_clicked: { stamp: 'linkClickedAt', isSet: true },
  archived: { stamp: 'archivedAt', isSet: true },
  unarchived: { stamp: 'archivedAt', isSet: false },
}

export interface Marked {
  readonly stamps: Stamps
  readonly happenings: readonly MessageHappening[]
}

/** What a mark says beside itself: `data` of its event. */
export interface MarkOptions {
  readonly now: Date
  readonly data: Readonly<Record<string, unknown>> | null
}

/**
 * A message's stamps after a mark, and what that adds to its history. A stamp holds the latest time; the
 * history tells changes, and each interaction and click. What was read or interacted with was seen, too.
 */
export function applyMark(stamps: Stamps, mark: Happened, { now, data }: MarkOptions): Marked {
  const { stamp, isSet } = CHANGES[mark]
  const isEach = mark === 'interacted' || mark === 'link_clicked'
  const isNews = isEach || (stamps[stamp] !== null) !== isSet
  const own: readonly MessageHappening[] = isNews ? [{ type: `message.${mark}`, data }] : []
  const changed = { ...stamps, [stamp]: isSet ? now : null }
  const isSeenByIt = (mark === 'read' || mark === 'interacted') && stamps.seenAt === null
  if (!isSeenByIt) return { stamps: changed, happenings: own }
  return {
    stamps: { ...changed, seenAt: now },
    happenings: [{ type: 'message.seen', data: null }, ...own],
  }
}
