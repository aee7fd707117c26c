import { createHash } from 'node:crypto'
import {
  DURATION_MS_MAX,
  addDuration,
  durationSchema,
  type Duration,
} from '../language/durations.ts'
import { lookUp } from '../language/paths.ts'
import { pathPattern } from './fields.ts'
import { KEY_LENGTH_MAX } from './key.ts'
import type { Outcome, StepContext, StepEvent, StepType } from './step.ts'
import { checkWindow, isWindowPath, windowEnd, windowSchema } from './window.ts'

export interface Batch {
  /** A path, a name in `data`, or a template: what is batched apart. */
  readonly key?: string
  /** A duration, or the path to a time, a duration or a recurrence rule. */
  readonly window: Duration
  readonly window_type?: 'fixed' | 'sliding'
  /** Of a sliding window: how long the batch may stay open in all. */
  readonly extension_limit?: Duration
  readonly mode?: 'accumulate' | 'flush_leading'
  readonly order?: 'asc' | 'desc'
  readonly max_items?: number
  readonly render_limit?: number
  readonly version?: 'latest' | 'pinned'
}

const RENDER_LIMIT_DEFAULT = 10

/** How much of a batch its run shows, and from which end. */
export interface BatchView {
  readonly limit: number
  readonly newest: boolean
}

/** Collects what happens for a recipient while a window is open, and goes on once with all of it. */
export const batch: StepType<'batch', Batch> = {
  type: 'batch',
  summary:
    'Collects what happens for a recipient while a window is open, and goes on once with all of it.',
  schema: {
    required: ['window'],
    properties: {
      key: {
        description:
          'What is batched apart: a path such as `data.page_id`, a name in `data`, or a template.',
        type: 'string',
        pattern: `(?:${pathPattern})|(?:^[A-Za-z0-9_$-]+$)|(?:\\{\\{)`,
        maxLength: 1000,
      },
      window: {
        ...windowSchema,
        description:
          'How long the batch stays open, such as `15m`, or a path to a duration, a time (ISO 8601) or a recurrence rule.',
      },
      window_type: {
        description:
          '`fixed` (the default), or `sliding`: each activity opens the window anew, up to `extension_limit`.',
        enum: ['fixed', 'sliding'],
      },
      extension_limit: {
        ...durationSchema,
        description:
          'How long after its opening a batch with a sliding window closes at the latest.',
      },
      mode: {
        description:
          '`accumulate` (the default), or `flush_leading`: the first one goes on at once, and what follows is batched.',
        enum: ['accumulate', 'flush_leading'],
      },
      order: {
        description:
          'Which activities are shown: the oldest (`asc`, the default) or the newest (`desc`); the oldest of them stands first.',
        enum: ['asc', 'desc'],
      },
      max_items: {
        description: 'How many activities close the batch at once.',
        type: 'integer',
        minimum: 2,
        maximum: 1000,
      },
      render_limit: {
        description: 'How many activities and actors are shown; 10 when left out.',
        type: 'integer',
        minimum: 1,
        maximum: 100,
      },
      version: {
        description:
          'The run goes on with the newest version that has this step (`latest`, the default), or with its own (`pinned`).',
        enum: ['latest', 'pinned'],
      },
    },
  },
  example: {
    key: 'data.page_id',
    window: '15m',
    window_type: 'sliding',
    extension_limit: '2h',
    mode: 'accumulate',
    order: 'asc',
    max_items: 100,
    render_limit: 10,
    version: 'latest',
  },
  conditional: true,

  templates({ key }) {
    if (key === undefined || !isTemplate(key)) return []
    return [{ path: ['key'], template: key, kind: 'text', secrets: false }]
  },

  paths({ key, window }) {
    return [
      ...(key === undefined || isTemplate(key) ? [] : [{ path: ['key'], value: keyPath(key) }]),
      ...(isWindowPath(window) ? [{ path: ['window'], value: window }] : []),
    ]
  },

  check({ window, window_type: type, extension_limit: limit }) {
    const problems = [...checkWindow(window, ['window'])]
    if (type === 'sliding' && limit === undefined) {
      const message = 'a sliding window needs "extension_limit": it could stay open for ever'
      problems.push({ path: ['window_type'], code: 'missing_key', message })
    }
    if (type !== 'sliding' && limit !== undefined) {
      const message = 'only a sliding window can be extended'
      problems.push({ path: ['extension_limit'], code: 'invalid_value', message })
    }
    if (limit !== undefined) problems.push(...checkWindow(limit, ['extension_limit']))
    return problems
  },

  execute(step, context) {
    const until = windowEnd(step.window, context)
    if (!(until instanceof Date)) return until
    const { key, events } = keyOf(step, context)
    const isSliding = step.window_type === 'sliding'
    return {
      kind: 'batch',
      key,
      until,
      extensionLimit: isSliding ? (step.extension_limit ?? null) : null,
      timeZone: context.timeZone,
      maxItems: step.max_items ?? null,
      flushLeading: step.mode === 'flush_leading',
      pinned: step.version === 'pinned',
      events,
    }
  },
}

/** What a batch step shows once its batch has closed. */
export function batchView({ render_limit: limit, order }: Batch): BatchView {
  return { limit: limit ?? RENDER_LIMIT_DEFAULT, newest: order === 'desc' }
}

/** When a batch that was opened at `openedAt` closes at the latest; never more than a year later. */
export function extensionEnd(
  openedAt: Date,
  { extensionLimit, timeZone }: Pick<Outcome & { kind: 'batch' }, 'extensionLimit' | 'timeZone'>,
): Date {
  const latest = openedAt.getTime() + DURATION_MS_MAX
  if (extensionLimit === null) return new Date(latest)
  return new Date(Math.min(addDuration(openedAt, extensionLimit, timeZone).getTime(), latest))
}

function isTemplate(key: string): boolean {
  return key.includes('{{')
}

function keyPath(key: string): string {
  return key.includes('.') ? key : `data.${key}`
}

/** A key that is missing is no failure: what has none is batched together, and the timeline says so. */
function keyOf(
  { key }: Batch,
  context: StepContext,
): { readonly key: string | null; readonly events: readonly StepEvent[] } {
  if (key === undefined) return { key: '', events: [] }
  const value = isTemplate(key)
    ? context.render(key, 'text').trim()
    : lookUp(context.scope, keyPath(key))
  const text = ['string', 'number', 'boolean'].includes(typeof value) ? String(value) : ''
  if (text !== '') return { key: bounded(text), events: [] }
  const isMissing = value === undefined || value === null || value === ''
  const details = isMissing ? 'missing' : 'no text, number or boolean'
  return { key: null, events: [{ event: 'key_missing', status: 'ok', data: { key, details } }] }
}

/** Long keys are told apart by their hash. */
function bounded(text: string): string {
  if (text.length <= KEY_LENGTH_MAX) return text
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}
