import type { Duration } from '../language/durations.ts'
import { lookUp } from '../language/paths.ts'
import { pathSchema } from './fields.ts'
import { keyText } from './key.ts'
import type { Outcome, StepType } from './step.ts'
import { checkWindow, isWindowPath, windowEnd, windowSchema } from './window.ts'

export interface Throttle {
  /** Path to what is counted apart; one count for each recipient where it is left out. */
  readonly key?: string
  /** How many runs may pass while a window is open. */
  readonly limit?: number
  /** A duration, or the path to a time or a duration. */
  readonly window: Duration
}

const LIMIT_DEFAULT = 1
const LIMIT_MAX = 1_000_000

/** Lets a number of runs pass for each recipient in a window, and ends the others. */
export const throttle: StepType<'throttle', Throttle> = {
  type: 'throttle',
  summary: 'Lets a number of runs pass for each recipient in a window, and ends the others.',
  schema: {
    required: ['window'],
    properties: {
      key: pathSchema('A path to what is counted apart, such as `data.page_id`.'),
      limit: {
        description: 'How many runs may pass in a window; 1 when left out.',
        type: 'integer',
        minimum: 1,
        maximum: LIMIT_MAX,
      },
      window: {
        ...windowSchema,
        description:
          'How long a window stays open, such as `1h`, or a path to a duration, a time (ISO 8601) or a recurrence rule.',
      },
    },
  },
  example: { key: 'data.page_id', limit: 3, window: '1h' },
  conditional: true,

  templates() {
    return []
  },

  paths(step) {
    const { key, window } = step
    return [
      ...(key === undefined ? [] : [{ path: ['key'], value: key }]),
      ...(isWindowPath(window) ? [{ path: ['window'], value: window }] : []),
    ]
  },

  check({ window }) {
    return checkWindow(window, ['window'])
  },

  execute(step, context) {
    const key = step.key === undefined ? '' : keyText(lookUp(context.scope, step.key))
    if (key === undefined) return invalidKey(step)
    const window = windowEnd(step.window, context)
    if (!(window instanceof Date)) return window
    return { kind: 'throttle', key, limit: step.limit ?? LIMIT_DEFAULT, until: window }
  },
}

function invalidKey(step: Throttle): Outcome {
  const data = {
    key: step.key ?? null,
    details: 'no text, number or boolean of 1 to 255 characters',
  }
  return {
    kind: 'skip',
    reason: 'invalid_key',
    events: [{ event: 'key_invalid', status: 'error', data }],
  }
}
