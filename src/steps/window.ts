import {
  DURATION_MS_MAX,
  addDuration,
  durationSchema,
  parseDuration,
  type Duration,
} from '../language/durations.ts'
import { lookUp } from '../language/paths.ts'
import { nextOccurrence, parseRecurrence } from '../language/recurrence.ts'
import { parseTimestamp } from '../language/timestamps.ts'
import { pathPattern } from './fields.ts'
import type { Outcome, StepContext, StepEvent } from './step.ts'

/** JSON Schema of a window: a duration, or the path to what names its end. */
export const windowSchema = {
  ...durationSchema,
  pattern: `(?:${durationSchema.pattern})|(?:${pathPattern})`,
} as const

/** Whether a window is a path into the scope. */
export function isWindowPath(window: Duration): window is string {
  return typeof window === 'string' && parseDuration(window) === undefined
}

/** What is wrong with a window that is a duration, at `path` inside its step. */
export function checkWindow(window: Duration, path: readonly string[]) {
  if (isWindowPath(window)) return []
  const ms = addDuration(new Date(0), window, 'UTC').getTime()
  if (ms > 0 && ms <= DURATION_MS_MAX) return []
  const message =
    ms > 0 ? 'a window may last 365 days, not longer' : 'a window lasts longer than nothing'
  return [{ path, code: 'invalid_value', message }]
}

/** When a window that opens now would close; the step is skipped where that cannot be said. */
export function windowEnd(
  window: Duration,
  { now, timeZone, scope }: StepContext,
): Date | (Outcome & { readonly kind: 'skip' }) {
  const value = isWindowPath(window) ? lookUp(scope, window) : window
  const until = timeOf(value, now, timeZone)
  if (until === undefined) {
    const details = 'no time, no duration and no recurrence rule'
    return skippedWindow('invalid_window', { window, details })
  }
  const ms = until.getTime() - now.getTime()
  if (ms <= 0) return skippedWindow('past_window', { window, at: until.toISOString() })
  if (ms <= DURATION_MS_MAX) return until
  return skippedWindow('invalid_window', { window, details: 'more than 365 days ahead' })
}

/** The time that the value of a dynamic window names, from `now` on; undefined where it names none. */
export function timeOf(value: unknown, now: Date, timeZone: string): Date | undefined {
  const ms = parseTimestamp(value)
  if (ms !== undefined) return new Date(ms)
  const duration = parseDuration(value)
  if (duration !== undefined) return addDuration(now, duration, timeZone)
  const rule = parseRecurrence(value)
  return rule && nextOccurrence(rule, now, timeZone)
}

/** A step that is skipped because the window it names is none, or is over. */
export function skippedWindow(
  reason: 'invalid_window' | 'past_window',
  data: NonNullable<StepEvent['data']>,
) {
  const event = reason === 'past_window' ? 'window_past' : 'window_invalid'
  return { kind: 'skip', reason, events: [{ event, status: 'error', data }] } as const
}
