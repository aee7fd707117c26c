import { KEY_PATTERN } from '../ids.ts'
import type { Conditions } from '../language/conditions.ts'
import {
  addDuration,
  DURATION_MS_MAX,
  durationSchema,
  type Duration,
} from '../language/durations.ts'
import { didYouMean } from '../language/text.ts'
import type { StepType } from './step.ts'

export interface WaitForEvent {
  readonly event: string
  /** The key of a source, of which `event` is one. */
  readonly source?: string
  /** With `event` in their scope. */
  readonly match?: Conditions
  readonly expires_after?: Duration
  readonly on_match?: 'continue' | 'halt'
  readonly on_timeout?: 'halt' | 'continue'
}

/** What a run can wait for. */
export const AWAITED_EVENTS = [
  'message.created',
  'message.queued',
  'message.sent',
  'message.not_sent',
  'message.delivered',
  'message.delivery_attempted',
  'message.undelivered',
  'message.bounced',
  'message.seen',
  'message.unseen',
  'message.read',
  'message.unread',
  'message.interacted',
  'message.link_clicked',
  'message.archived',
  'message.unarchived',
  'workflow.started',
  'workflow.completed',
] as const

const AWAITED: readonly string[] = AWAITED_EVENTS

/** What an event of a source is called where waits and what has happened meet; no other event has such a name. */
export function sourceEvent(source: string, event: string): string {
  return `source:${source}:${event}`
}

/** What a step waits for, by that name. */
export function awaitedEvent({ event, source }: WaitForEvent): string {
  return source === undefined ? event : sourceEvent(source, event)
}

const EXPIRES_AFTER_DEFAULT: Duration = '15m'

/** Holds the run until something has happened to its recipient. */
export const waitForEvent: StepType<'wait_for_event', WaitForEvent> = {
  type: 'wait_for_event',
  summary: 'Holds the run until something has happened to its recipient, or for a while.',
  schema: {
    required: ['event'],
    properties: {
      event: {
        description: 'What it waits for, such as `message.read`; with `source`, an event of it.',
        type: 'string',
        minLength: 1,
        maxLength: 255,
      },
      source: {
        description: 'The key of a source of the environment: the wait is for an event of it.',
        type: 'string',
        pattern: KEY_PATTERN,
      },
      match: {
        $ref: '#/$defs/conditions',
        description: 'Which events count: conditions that can name `event`.',
      },
      expires_after: {
        ...durationSchema,
        description: 'How long it waits, such as `1d`; `15m` when left out.',
      },
      on_match: {
        description: 'What the run does when the event comes: `continue` (the default) or `halt`.',
        enum: ['continue', 'halt'],
      },
      on_timeout: {
        description: 'What the run does when none has come: `halt` (the default) or `continue`.',
        enum: ['halt', 'continue'],
      },
    },
  },
  example: {
    event: 'Order Completed',
    source: 'segment',
    match: {
      all: [
        {
          variable: 'event.properties.order_id',
          operator: 'equal_to',
          argument: 'data.order_id',
        },
      ],
    },
    expires_after: '1d',
    on_match: 'halt',
    on_timeout: 'continue',
  },
  conditional: true,

  templates() {
    return []
  },

  conditions({ match }) {
    return match === undefined ? [] : [{ path: ['match'], conditions: match }]
  },

  check({ event, source, match, expires_after: after }) {
    const problems = []
    if (source === undefined && !AWAITED.includes(event)) {
      const message = `"${event}" is nothing that a run can wait for`
      const hint = didYouMean(event, AWAITED).hint ?? 'An event of a source needs its "source".'
      problems.push({ path: ['event'], code: 'invalid_value', message, hint })
    }
    if (source === undefined && match === undefined) {
      const message = 'a wait for messages or workflows needs "match": which of them it means'
      const hint = 'Those of the run: `event.run_id`, `equal_to`, `run.id`.'
      problems.push({ path: [], code: 'missing_key', message, hint })
    }
    if (after === undefined) return problems
    const ms = addDuration(new Date(0), after, 'UTC').getTime()
    if (ms > 0 && ms <= DURATION_MS_MAX) return problems
    const message = 'a wait lasts longer than nothing, and 365 days at most'
    return [...problems, { path: ['expires_after'], code: 'invalid_value', message }]
  },

  execute(step, { now, timeZone, waited, matched }) {
    if (!waited) {
      const until = addDuration(now, step.expires_after ?? EXPIRES_AFTER_DEFAULT, timeZone)
      return { kind: 'await', event: awaitedEvent(step), until }
    }
    const then = matched ? (step.on_match ?? 'continue') : (step.on_timeout ?? 'halt')
    if (then === 'continue') return { kind: 'next' }
    return { kind: 'cancel', reason: matched ? 'event_matched' : 'wait_expired' }
  },
}
