import type { Fate } from '../channels/report.ts'
import { applyMark, type Happened, type Stamps } from './engagement.ts'
import type { MessageHappening, MessageStatus } from './message.ts'

/** A message, as far as what is reported of it depends on that. */
export interface ReportedMessage extends Stamps {
  readonly status: MessageStatus
  readonly reason: string | null
  /** The attempts used up, with the one under way. */
  readonly attempt: number
}

/** What a service says, in our words. */
export interface Said {
  readonly fate: Fate
  /** In the service's words. */
  readonly details: string | null
  readonly url: string | null
}

export interface AfterReport {
  readonly message: ReportedMessage
  readonly happenings: readonly MessageHappening[]
}

/** What each fate makes of a message's delivery; those that are left out say nothing of it. */
const MOVES: Readonly<
  Partial<Record<Fate, { readonly status: MessageStatus; readonly reason: string | null }>>
> = {
  delivered: { status: 'delivered', reason: null },
  gone: { status: 'bounced', reason: 'address_gone' },
  returned: { status: 'bounced', reason: 'returned' },
  rejected: { status: 'undelivered', reason: 'provider_rejected' },
}
const MARKS: Readonly<Partial<Record<Fate, Happened>>> = { opened: 'read', clicked: 'link_clicked' }
/** Reports come in any order, and what they make of a message does not depend on it: it only moves on in this one. */
const RANKS: Readonly<Record<MessageStatus, number>> = {
  queued: 0,
  delivery_attempted: 0,
  sent: 1,
  undelivered: 2,
  delivered: 3,
  bounced: 4,
  // Nothing of it went out, whatever is reported.
  not_sent: 5,
}

/**
 * What a report makes of a message; undefined where it tells nothing new. The service has what it reports of, so a
 * message whose attempt is still under way, failed or is of unknown outcome, was sent.
 */
export function applyReport(
  message: ReportedMessage,
  said: Said,
  now: Date,
): AfterReport | undefined {
  // Nothing was handed over yet.
  if (message.attempt === 0 || message.status === 'not_sent') return undefined
  // It is the address that a complaint changes.
  if (said.fate === 'complained') return { message, happenings: [] }
  const mark = MARKS[said.fate]
  if (mark !== undefined) return applyEngagement(message, mark, said, now)
  const move = MOVES[said.fate]
  if (move === undefined || RANKS[move.status] <= RANKS[message.status]) return undefined
  const { attempt } = message
  const { status, reason } = move
  const data = {
    attempt,
    ...(reason !== null && { reason }),
    ...(said.details !== null && { details: said.details }),
    by: 'report',
  }
  const isFirstWord = RANKS[message.status] < RANKS.sent
  const sent: MessageHappening = { type: 'message.sent', data: { attempt, by: 'report' } }
  return {
    message: { ...message, status, reason },
    happenings: [...(isFirstWord ? [sent] : []), { type: `message.${status}`, data }],
  }
}

function applyEngagement(
  message: ReportedMessage,
  mark: Happened,
  { url }: Said,
  now: Date,
): AfterReport | undefined {
  const data = url === null ? { by: 'report' } : { by: 'report', url }
  const { stamps, happenings } = applyMark(message, mark, { now, data })
  return happenings.length === 0 ? undefined : { message: { ...message, ...stamps }, happenings }
}
