import {
  DURATION_MS_MAX,
  addDuration,
  signedDurationSchema,
  type Duration,
} from '../language/durations.ts'
import { lookUp } from '../language/paths.ts'
import { pathSchema } from './fields.ts'
import type { StepType } from './step.ts'
import { skippedWindow, timeOf } from './window.ts'

export interface Delay {
  readonly for?: Duration
  /** Path to a time or a duration. */
  readonly until?: string
}

/** Holds the run for a while, or until a time that its data names. */
export const delay: StepType<'delay', Delay> = {
  type: 'delay',
  summary: 'Holds the run for a while, or until a time that its data names.',
  schema: {
    required: [],
    properties: {
      for: {
        ...signedDurationSchema,
        description:
          'How long, such as `15m`; with `until` how much later than that, negative for earlier.',
      },
      until: pathSchema(
        'A path to a time (ISO 8601), a duration or a recurrence rule, such as `data.starts_at`.',
      ),
    },
  },
  example: { for: '-1h', until: 'data.starts_at' },
  conditional: true,

  templates() {
    return []
  },

  paths(step) {
    return step.until === undefined ? [] : [{ path: ['until'], value: step.until }]
  },

  check(step) {
    if (step.for === undefined) {
      if (step.until !== undefined) return []
      return [{ path: [], code: 'missing_key', message: 'a delay needs "for" or "until"' }]
    }
    const start = new Date(0)
    const shiftMs = addDuration(start, step.for, 'UTC').getTime()
    if (Math.abs(shiftMs) > DURATION_MS_MAX) {
      return [
        { path: ['for'], code: 'invalid_value', message: 'a delay may last 365 days, not longer' },
      ]
    }
    if (shiftMs > 0 || step.until !== undefined) return []
    const message = 'only with "until" can "for" be zero or negative'
    return [{ path: ['for'], code: 'invalid_value', message }]
  },

  execute(step, { now, timeZone, scope, waited, skipDelay }) {
    if (waited) return { kind: 'next' }
    if (skipDelay) return { kind: 'skip', reason: 'delay_skipped' }
    const from = step.until === undefined ? now : timeOf(lookUp(scope, step.until), now, timeZone)
    if (from === undefined) return invalidWindow(step, 'no time and no duration')
    const until = step.for === undefined ? from : addDuration(from, step.for, timeZone)
    const ms = until.getTime() - now.getTime()
    if (ms <= 0) {
      const data = { until: step.until ?? null, at: until.toISOString() }
      return skippedWindow('past_window', data)
    }
    if (ms > DURATION_MS_MAX) return invalidWindow(step, 'more than 365 days ahead')
    return { kind: 'wait', until, reason: 'delay' }
  },
}

function invalidWindow(step: Delay, details: string) {
  return skippedWindow('invalid_window', { until: step.until ?? null, details })
}
