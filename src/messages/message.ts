import type { Answer } from '../channels/provider.ts'
import { unreachable } from '../errors.ts'
import type { Happened } from './engagement.ts'

export const MESSAGE_STATUSES = [
  'queued',
  'sent',
  'delivered',
  'delivery_attempted',
  'undelivered',
  'not_sent',
  'bounced',
] as const
export type MessageStatus = (typeof MESSAGE_STATUSES)[number]

/** Why a message is in its state; the words of docs/spec/delivery.md. A provider may add its own. */
export type MessageReason =
  | 'workflow_inactive'
  | 'workflow_archived'
  | 'cancelled'
  | 'expired'
  | 'sandbox'
  | 'channel_missing'
  | 'recipient_deleted'
  | 'preferences'
  | 'suppressed'
  | 'throttled'
  | 'channel_refused'
  | 'delivery_failed'
  | 'attempts_exhausted'
  | 'handover_unknown'

/** What happened to a message, before it gets its id and time. */
export interface MessageHappening {
  readonly type: `message.${MessageStatus | Happened | 'created'}`
  readonly data: Readonly<Record<string, unknown>> | null
}

/** A claimed message, as far as its next state depends on it. */
export interface Claimed {
  /** The number of this attempt, from 1. */
  readonly attempt: number
  readonly status: 'queued' | 'delivery_attempted'
  readonly reason: string | null
  /** When its first hand-over was due. */
  readonly plannedAt: Date
  /** Whether it was cancelled while it was being handed over. */
  readonly cancelled: boolean
  /** Whether the outcome of an earlier attempt is unknown: the provider may have the message. */
  readonly ambiguous: boolean
  readonly onAmbiguous: 'retry' | 'hold'
}

/** The state of a message after a hand-over. */
export interface Settlement {
  readonly status: MessageStatus
  readonly reason: string | null
  /** When the next hand-over is due; null when none is. */
  readonly dueAt: Date | null
  /** The attempts used up. */
  readonly attempt: number
  readonly reference: string | null
  readonly happenings: readonly MessageHappening[]
}

export interface SettleOptions {
  readonly now: Date
  /** From 0 to 1; spreads the retries of messages that failed together. */
  readonly random: number
}

/** Waits between the eight attempts, in milliseconds: each about three times the one before, 30 minutes in all. */
export const BACK_OFF_MS: readonly number[] = [
  2_000, 6_000, 20_000, 60_000, 180_000, 540_000, 992_000,
]
export const ATTEMPTS_MAX = BACK_OFF_MS.length + 1
/** How long a message is postponed by throttling before it is given up. */
export const THROTTLE_MS_MAX = 86_400_000
const THROTTLE_MS_MIN = 1_000
/** What a failure may ask for between two attempts; longer waits would draw out eight of them. */
const FAILED_WAIT_MS_MAX = 300_000
/** Messages of a channel that was refused come back within this time after one may try again. */
const REFUSED_SPREAD_MS = 30_000
/** A postponed message waits at least this part of its age, which bounds how often it is tried in a day. */
const THROTTLE_AGE_PART = 0.05
const JITTER = 0.2

/**
 * The next state of a message from the provider's answer. Pure: an accepted message is done, a
 * rejected one too, a failed one is tried again until its attempts are used up, a throttled one
 * until a day has passed, and one of unknown outcome as its channel says.
 */
export function settle(message: Claimed, answer: Answer, options: SettleOptions): Settlement {
  switch (answer.kind) {
    case 'accepted':
      return {
        status: answer.status,
        reason: null,
        dueAt: null,
        attempt: message.attempt,
        reference: answer.reference,
        happenings: [happening(answer.status, message, {})],
      }
    case 'rejected': {
      const { reason, details } = answer
      if (answer.exchange !== null) return end(message, 'undelivered', reason, { details })
      return stop(message, reason, { attempt: message.attempt, details })
    }
    case 'bounced':
      return end(message, 'bounced', answer.reason, { details: answer.details })
    case 'failed':
      if (answer.channel) return settleRefused(message, answer, options)
      return settleFailed(message, answer, options)
    case 'throttled':
      return settleThrottled(message, answer, options)
    case 'unknown':
      return settleUnknown(message, answer.details, options)
    default:
      return unreachable(answer)
  }
}

/** The state of a message whose process died while it held it: of unknown outcome, and due at once. */
export function settleLost(message: Claimed, options: SettleOptions): Settlement {
  const details = 'the process that handed it over ended before it had an answer'
  const settled = settleUnknown(message, details, options)
  return settled.dueAt === null ? settled : { ...settled, dueAt: options.now }
}

/** The state of a claimed message that is not handed over after all; `details` go into its event. The attempt is not used up. */
export function settleUnsent(
  message: Claimed,
  reason: MessageReason,
  details: Readonly<Record<string, unknown>> = {},
): Settlement {
  return { ...stop(message, reason, details), attempt: message.attempt - 1 }
}

/** What a message becomes that is not tried again for a cause of ours, and what its event says. */
export function stopped(
  ambiguous: boolean,
  cause: string,
): Pick<Settlement, 'status' | 'reason'> & { readonly data: Readonly<Record<string, unknown>> } {
  // Nothing went out: the message was not sent, which is more than not delivered.
  if (!ambiguous) return { status: 'not_sent', reason: cause, data: { reason: cause } }
  const reason = 'handover_unknown'
  return { status: 'undelivered', reason, data: { reason, stopped_by: cause, ambiguous: true } }
}

/** The state of a claimed message that goes back as it was, because the process stops. */
export function settleReleased(message: Claimed, options: SettleOptions): Settlement {
  return {
    status: message.status,
    reason: message.reason,
    dueAt: options.now,
    attempt: message.attempt - 1,
    reference: null,
    happenings: [],
  }
}

/**
 * The state of a message whose channel is refused by its service as a whole: it comes back some time after
 * `probeAt`, without an attempt used up, until a day has passed. It says so once.
 */
export function settleHeldBack(
  message: Claimed,
  { probeAt, details }: { readonly probeAt: Date; readonly details: string },
  options: SettleOptions,
): Settlement {
  const retryAfterMs = Math.max(probeAt.getTime() - options.now.getTime(), 0)
  const settled = settleRefused(message, { details, retryAfterMs }, options)
  const isTold = message.reason === 'channel_refused' && settled.dueAt !== null
  return isTold ? { ...settled, happenings: [] } : settled
}

/** The state of a message that its channel's rate has no room for in the day that it has. */
export function settleOverdue(message: Claimed): Settlement {
  const details = 'the rate of the channel left no room for it within a day'
  return { ...end(message, 'undelivered', 'expired', { details }), attempt: message.attempt - 1 }
}

function settleFailed(
  message: Claimed,
  answer: Answer & { readonly kind: 'failed' },
  options: SettleOptions,
): Settlement {
  const { details } = answer
  if (message.cancelled) return cancelledAfter(message, details)
  if (message.attempt >= ATTEMPTS_MAX) {
    return end(message, 'undelivered', 'attempts_exhausted', { details })
  }
  const askedMs = Math.min(answer.retryAfterMs ?? 0, FAILED_WAIT_MS_MAX)
  const waitMs = Math.max(backOffMs(message.attempt, options.random), askedMs)
  return again(message, 'delivery_failed', { at: later(options.now, waitMs), details })
}

function settleThrottled(
  message: Claimed,
  answer: Answer & { readonly kind: 'throttled' },
  options: SettleOptions,
): Settlement {
  const leastMs = Math.max(THROTTLE_MS_MIN, ageMsOf(message, options.now) * THROTTLE_AGE_PART)
  const waitMs = Math.max(answer.retryAfterMs ?? 0, leastMs * spread(options.random))
  return postpone(message, { reason: 'throttled', details: answer.details, waitMs }, options.now)
}

function settleRefused(
  message: Claimed,
  answer: { readonly details: string; readonly retryAfterMs?: number },
  { now, random }: SettleOptions,
): Settlement {
  const { details, retryAfterMs = REFUSED_SPREAD_MS } = answer
  const waitMs = Math.max(retryAfterMs, THROTTLE_MS_MIN) + random * REFUSED_SPREAD_MS
  return postpone(message, { reason: 'channel_refused', details, waitMs }, now)
}

interface Postponement {
  readonly reason: MessageReason
  readonly details: string
  readonly waitMs: number
}

function postpone(
  message: Claimed,
  { reason, details, waitMs }: Postponement,
  now: Date,
): Settlement {
  const unused = message.attempt - 1
  if (message.cancelled) return { ...cancelledAfter(message, details), attempt: unused }
  const leftMs = THROTTLE_MS_MAX - ageMsOf(message, now)
  if (leftMs <= 0) {
    return { ...end(message, 'undelivered', 'expired', { details }), attempt: unused }
  }
  return {
    // Nothing failed, so what the message was it still is.
    status: message.status,
    reason,
    // The last try comes when the day is over, however long the provider asked to wait.
    dueAt: later(now, Math.min(waitMs, leftMs)),
    attempt: unused,
    reference: null,
    happenings: [happening('delivery_attempted', message, { reason, details })],
  }
}

function ageMsOf({ plannedAt }: Claimed, now: Date): number {
  return Math.max(now.getTime() - plannedAt.getTime(), 0)
}

function settleUnknown(message: Claimed, details: string, options: SettleOptions): Settlement {
  if (message.cancelled || message.attempt >= ATTEMPTS_MAX) {
    return end(message, 'undelivered', 'handover_unknown', { details, ambiguous: true })
  }
  const waitMs = backOffMs(message.attempt, options.random)
  const at = message.onAmbiguous === 'hold' ? null : later(options.now, waitMs)
  return again(message, 'handover_unknown', { at, details, ambiguous: true })
}

function again(
  message: Claimed,
  reason: MessageReason,
  {
    at,
    ...data
  }: { readonly at: Date | null; readonly details: string; readonly ambiguous?: true },
): Settlement {
  return {
    status: 'delivery_attempted',
    reason,
    dueAt: at,
    attempt: message.attempt,
    reference: null,
    happenings: [happening('delivery_attempted', message, { reason, ...data })],
  }
}

function end(
  message: Claimed,
  status: 'undelivered' | 'bounced',
  reason: string,
  data: Readonly<Record<string, unknown>>,
): Settlement {
  return {
    status,
    reason,
    dueAt: null,
    attempt: message.attempt,
    reference: null,
    happenings: [happening(status, message, { reason, ...data })],
  }
}

function cancelledAfter(message: Claimed, details: string): Settlement {
  return stop(message, 'cancelled', { attempt: message.attempt, details })
}

function stop(
  message: Claimed,
  cause: string,
  more: Readonly<Record<string, unknown>>,
): Settlement {
  const { status, reason, data } = stopped(message.ambiguous, cause)
  return {
    status,
    reason,
    dueAt: null,
    attempt: message.attempt,
    reference: null,
    happenings: [{ type: `message.${status}`, data: { ...more, ...data } }],
  }
}

function happening(
  status: MessageStatus,
  message: Claimed,
  data: Readonly<Record<string, unknown>>,
): MessageHappening {
  return { type: `message.${status}`, data: { attempt: message.attempt, ...data } }
}

function backOffMs(attempt: number, random: number): number {
  return (BACK_OFF_MS[attempt - 1] ?? BACK_OFF_MS.at(-1) ?? 0) * spread(random)
}

function spread(random: number): number {
  return 1 - JITTER + random * 2 * JITTER
}

function later(now: Date, ms: number): Date {
  return new Date(now.getTime() + Math.round(ms))
}
