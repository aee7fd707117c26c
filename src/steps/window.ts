import { addDuration, parseDuration } from '../language/durations.ts'
import { parseTimestamp } from '../language/timestamps.ts'
import type { StepEvent } from './step.ts'

/** The time that the value of a dynamic window names, from `now` on; undefined where it names none. */
export function timeOf(value: unknown, now: Date, timeZone: string): Date | undefined {
  const ms = parseTimestamp(value)
  if (ms !== undefined) return new Date(ms)
  const duration = parseDuration(value)
  return duration === undefined ? undefined : addDuration(now, duration, timeZone)
}

/** A step that is skipped because the window it names is none, or is over. */
export function skippedWindow(
  reason: 'invalid_window' | 'past_window',
  data: NonNullable<StepEvent['data']>,
) {
  const event = reason === 'past_window' ? 'window_past' : 'window_invalid'
  return { kind: 'skip', reason, events: [{ event, status: 'error', data }] } as const
}
