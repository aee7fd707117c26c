import { isDeepStrictEqual } from 'node:util'
import type { EnvironmentName, WorkflowKey } from '../ids.ts'
import { isTimeZone } from '../language/durations.ts'
import { nextRepeat, parseRepeatRule } from '../language/recurrence.ts'
import type { Properties } from './merge.ts'
import type { RecipientRef } from './recipient.ts'

/** A rule as the wire writes it, whole: null where it was left out. */
export interface WireRule {
  readonly frequency: string
  readonly interval: number
  readonly days: readonly string[] | null
  readonly day_of_month: number | null
  readonly hours: number | null
  readonly minutes: number | null
}

/** When a schedule has its occurrences. */
export interface Timing {
  /** None: it occurs once, at `scheduledAt`. */
  readonly repeats: readonly WireRule[]
  /** Of rules: nothing before it. */
  readonly scheduledAt: Date | null
  /** Nothing after it. */
  readonly endingAt: Date | null
  /** From where the intervals of rules are counted. */
  readonly anchorAt: Date
}

/** What a schedule starts, and for whom. */
export interface Planned extends Timing {
  readonly workflow: WorkflowKey
  readonly recipient: RecipientRef
  readonly actor: RecipientRef | null
  readonly tenant: string | null
  readonly data: Properties
  readonly paused: boolean
}

/** Why an occurrence started nothing. */
export interface ScheduleProblem {
  /** A code of the API's errors. */
  readonly code: string
  readonly message: string
  /** When it should have run, ISO 8601. */
  readonly occurrence_at: string
}

export interface Schedule extends Planned {
  readonly environment: EnvironmentName
  /** Time-ordered. */
  readonly id: string
  /** Its name in the environment's file; null for one that was made through the API. */
  readonly declaredKey: string | null
  /** In which `nextOccurrenceAt` was worked out; null where that is to be done again. */
  readonly timezone: string | null
  readonly lastOccurrenceAt: Date | null
  /** Null where there is no other one. */
  readonly nextOccurrenceAt: Date | null
  readonly lastProblem: ScheduleProblem | null
  readonly insertedAt: Date
  readonly updatedAt: Date
}

/** The zone that counts for a recipient: its own, where it has one, else that of its environment. */
export function zoneOf(properties: Properties | undefined, fallback: string): string {
  const own = properties?.['timezone']
  return typeof own === 'string' && isTimeZone(own) ? own : fallback
}

/**
 * The first occurrence behind `after`, in the recipient's zone; null where there is none. What occurs once has
 * it even where its time has passed: it is late then, and not lost.
 */
export function firstOccurrence(timing: Timing, after: Date, timeZone: string): Date | null {
  const { repeats, scheduledAt, endingAt, anchorAt } = timing
  if (repeats.length === 0) return within(scheduledAt, endingAt)
  // The start itself counts, where a rule names it.
  const begin = new Date((scheduledAt ?? after).getTime() - 1)
  const start = scheduledAt !== null && begin > after ? begin : after
  const times = repeats.flatMap((rule) => {
    const parsed = parseRepeatRule(rule)
    if (!parsed) throw new RangeError(`${JSON.stringify(rule)} is no rule`)
    return nextRepeat(parsed, start, { timeZone, anchor: anchorAt }) ?? []
  })
  const [first] = times.toSorted((one, other) => one.getTime() - other.getTime())
  return within(first ?? null, endingAt)
}

/** As `firstOccurrence`, where what has passed is over: also for what occurs once. */
export function nextOccurrenceOf(timing: Timing, after: Date, timeZone: string): Date | null {
  const next = firstOccurrence(timing, after, timeZone)
  return next !== null && next > after ? next : null
}

/**
 * A schedule that says something else now. Its next occurrence stays what it is, unless its time is another one or it
 * pauses no more: then it is the first from now on, by `first` where the time is new.
 */
export function replan(
  before: Schedule,
  after: Omit<Planned, 'anchorAt'>,
  { now, timezone, first }: Replanning,
): Schedule {
  const isRuled = isDeepStrictEqual(rulesOf(before), rulesOf(after))
  const anchorAt = isRuled ? before.anchorAt : (after.scheduledAt ?? now)
  const planned = { ...before, ...after, anchorAt, updatedAt: now }
  if (after.paused) return { ...planned, nextOccurrenceAt: null }
  if (!isRuled) return { ...planned, timezone, nextOccurrenceAt: first(planned, now, timezone) }
  const isEndSame = isDeepStrictEqual(before.endingAt, after.endingAt)
  if (isEndSame && !before.paused) return planned
  // What fell into a pause is not made up for, and what is due already stays due.
  const { nextOccurrenceAt: next } = before
  const from = next !== null && next <= now ? new Date(next.getTime() - 1) : now
  return { ...planned, timezone, nextOccurrenceAt: nextOccurrenceOf(planned, from, timezone) }
}

interface Replanning {
  readonly now: Date
  readonly timezone: string
  readonly first: typeof firstOccurrence
}

/** What the intervals of rules are counted anew for, where it changes. */
function rulesOf({ repeats, scheduledAt }: Omit<Planned, 'anchorAt'>): readonly unknown[] {
  return [repeats, scheduledAt]
}

function within(at: Date | null, endingAt: Date | null): Date | null {
  return at !== null && endingAt !== null && at > endingAt ? null : at
}

const dayGroups = {
  weekdays: ['mon', 'tue', 'wed', 'thu', 'fri'],
  weekends: ['sat', 'sun'],
} as const

/** A rule that fits `repeatRuleSchema`, as it is stored: the same rule always reads the same. */
export function toWireRule(rule: Readonly<Record<string, unknown>>): WireRule {
  const { frequency, interval, days, day_of_month, hours, minutes } = rule as {
    readonly frequency: string
    readonly interval?: number | null
    readonly days?: readonly string[] | 'weekdays' | 'weekends' | null
    readonly day_of_month?: number | null
    readonly hours?: number | null
    readonly minutes?: number | null
  }
  return {
    frequency,
    interval: interval ?? 1,
    days: typeof days === 'string' ? dayGroups[days] : (days ?? null),
    day_of_month: day_of_month ?? null,
    hours: hours ?? null,
    minutes: minutes ?? null,
  }
}
