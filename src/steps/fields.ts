import { KEY_PATTERN } from '../ids.ts'
import type { ChannelKey } from '../ids.ts'
import { addDuration, durationSchema, isTimeZone, type Duration } from '../language/durations.ts'
import {
  emptyWindows,
  nextOpening,
  sendWindowsSchema,
  type SendWindow,
} from '../language/send-windows.ts'
import type {
  Address,
  OutputKind,
  StepContext,
  TemplateField,
  TemplateText,
  TemplateTree,
} from './step.ts'

/** What every step that sends has. */
export interface ChannelFields {
  /** A channel of the environment; the only one of the type where it is left out. */
  readonly channel?: ChannelKey
  /** After this long the message is no longer sent. */
  readonly expires_after?: Duration
}

/** What a step has whose messages may wait for a time of the day. */
export interface WindowFields {
  /** When it may be sent; at any time where it is left out. */
  readonly send_windows?: readonly SendWindow[]
}

/** A template: the text itself, or a file. */
export function templateSchema(description: string): object {
  return {
    description,
    type: ['string', 'object'],
    required: ['file'],
    properties: {
      file: { type: 'string', minLength: 1, description: 'A path inside the directory.' },
    },
    additionalProperties: false,
  }
}

export const channelFieldSchemas = {
  channel: {
    description: "A channel's key; left out, the environment's only channel of this type.",
    type: 'string',
    pattern: KEY_PATTERN,
  },
  expires_after: {
    ...durationSchema,
    description: 'How long the message is worth sending, such as `15m`, from when the step runs.',
  },
  send_windows: sendWindowsSchema,
} as const

/**
 * When the messages of a step are due and expire; one for each of `addresses`, whose own zone counts before that
 * of the recipient.
 */
export function timesOf(
  step: ChannelFields & WindowFields,
  context: StepContext,
  addresses: readonly Address[] = [{}],
): { readonly expiresAt?: Date; readonly scheduledAt?: readonly Date[] } {
  const { expires_after: expiresAfter, send_windows: windows } = step
  const zoneOf = ({ timezone }: Address) =>
    typeof timezone === 'string' && isTimeZone(timezone) ? timezone : context.timeZone
  return {
    ...(expiresAfter !== undefined && {
      expiresAt: addDuration(context.now, expiresAfter, context.timeZone),
    }),
    ...(windows !== undefined && {
      scheduledAt: addresses.map((one) => nextOpening(windows, context.now, zoneOf(one))),
    }),
  }
}

/** The windows of a step that are never open. */
export function checkWindows({ send_windows: windows = [] }: WindowFields) {
  return emptyWindows(windows).map((index) => ({
    path: ['send_windows', index, 'until'],
    code: 'invalid_value',
    message: 'a window ends after it begins, on the same day',
    hint: 'a window over midnight is two: one until the end of a day, one from the beginning of the next',
  }))
}

/** What a path looks like, such as `data.at` or `recipient.zone`. */
export const pathPattern =
  '^(?:data|recipient|actor|tenant|vars|workflow|run|refs|event)(?:\\.[A-Za-z0-9_$-]+)+$'

export function pathSchema(description: string): object {
  return { description, type: 'string', pattern: pathPattern }
}

/** The template at `path`, or nothing where the step leaves it out. */
export function templateField(
  path: readonly (string | number)[],
  template: TemplateText | undefined,
  kind: OutputKind,
): readonly TemplateField[] {
  return template === undefined ? [] : [{ path, template, kind, secrets: false }]
}

/** As `treeFields`, for what is kept as it was rendered: no secret may stand in it. */
export function plainTreeFields(
  path: readonly (string | number)[],
  tree: TemplateTree | undefined,
): readonly TemplateField[] {
  return treeFields(path, tree).map((field) => ({ ...field, secrets: false }))
}

/** The string leaves of a tree. In a tree `{ file: … }` is data like any other. */
export function treeFields(
  path: readonly (string | number)[],
  tree: TemplateTree | undefined,
): readonly TemplateField[] {
  if (typeof tree === 'string') return [{ path, template: tree, kind: 'text', secrets: true }]
  if (typeof tree !== 'object' || tree === null) return []
  const entries: readonly (readonly [string | number, TemplateTree])[] = Array.isArray(tree)
    ? (tree as readonly TemplateTree[]).map((leaf, index) => [index, leaf] as const)
    : Object.entries(tree)
  return entries.flatMap(([key, leaf]) => treeFields([...path, key], leaf))
}
