import type { WorkflowKey } from '../ids.ts'
import { nextRepeat, parseRepeatRule, repeatRuleSchema } from '../language/recurrence.ts'
import { didYouMean } from '../language/text.ts'
import { parseTimestamp } from '../language/timestamps.ts'
import { errorAt, type Diagnostic, type Problem } from './diagnostic.ts'
import type { DeclaredSchedule, EnvironmentSettings } from './environment.ts'
import type { ParsedFile, Pointer } from './parse.ts'

/** A schedule as `environments/<name>.yaml` writes it. */
export interface ScheduleEntry {
  readonly workflow: WorkflowKey
  readonly recipients: readonly ReferenceEntry[]
  readonly repeats?: readonly Readonly<Record<string, unknown>>[]
  readonly scheduled_at?: string
  readonly ending_at?: string
  readonly data?: Readonly<Record<string, unknown>>
  readonly tenant?: string
  readonly actor?: ReferenceEntry
  readonly paused?: boolean
}

type ReferenceEntry = string | { readonly collection: string; readonly id: string }

const idPattern = '^[^/#]*$'

const reference = {
  type: ['string', 'object'],
  minLength: 1,
  maxLength: 256,
  pattern: idPattern,
  required: ['collection', 'id'],
  properties: {
    collection: { type: 'string', minLength: 1, maxLength: 256, pattern: '^[^/#$][^/#]*$' },
    id: { type: 'string', minLength: 1, maxLength: 256, pattern: idPattern },
  },
  additionalProperties: false,
} as const

/** The fields of a schedule. */
export const scheduleFields = {
  workflow: { description: 'The key of the workflow that it starts.', type: 'string' },
  recipients: {
    description: 'For whom, each with a run of its own: ids of users, or `{ collection, id }`.',
    type: 'array',
    minItems: 1,
    maxItems: 100,
    items: reference,
  },
  repeats: {
    description: 'The rules by which it occurs; once, at `scheduled_at`, when left out.',
    type: 'array',
    minItems: 1,
    maxItems: 20,
    items: repeatRuleSchema,
  },
  scheduled_at: {
    description: 'When it occurs, or, with `repeats`, before when it does not; ISO 8601.',
    type: 'string',
  },
  ending_at: { description: 'After when it does not occur; ISO 8601.', type: 'string' },
  data: { description: 'What the workflow sees as `data`.', type: 'object' },
  tenant: {
    description: 'On whose behalf.',
    type: 'string',
    minLength: 1,
    maxLength: 256,
    pattern: idPattern,
  },
  actor: { ...reference, description: 'Who causes it: the id of a user, or `{ collection, id }`.' },
  paused: { description: 'It does not occur for as long as this is `true`.', type: 'boolean' },
} as const

/** The JSON Schema of a schedule. */
export const scheduleSchema = {
  type: 'object',
  required: ['workflow', 'recipients'],
  properties: scheduleFields,
  additionalProperties: false,
} as const

/** What is wrong with the times of schedules whose shape is right. */
export function checkSchedules(
  file: ParsedFile,
  schedules: Readonly<Record<string, ScheduleEntry>> = {},
): readonly Diagnostic[] {
  return Object.entries(schedules).flatMap(([key, entry]) => {
    const found: Diagnostic[] = []
    const refuse = (pointer: Pointer, problem: Problem) =>
      found.push(errorAt(file.path, file.locate(['schedules', key, ...pointer]), problem))
    checkTimes(entry, refuse)
    checkRules(entry, refuse)
    return found
  })
}

type Refuse = (pointer: Pointer, problem: Problem) => void

function checkTimes(entry: ScheduleEntry, refuse: Refuse): void {
  const { repeats, scheduled_at: start, ending_at: end } = entry
  if (repeats === undefined && start === undefined) {
    const message = 'the schedule says neither "repeats" nor "scheduled_at": it has no time'
    refuse([], { code: 'missing_key', message })
  }
  for (const [name, text] of [
    ['scheduled_at', start],
    ['ending_at', end],
  ] as const) {
    if (text === undefined || parseTimestamp(text) !== undefined) continue
    const hint = 'Use one such as "2027-01-31T09:00:00Z"; without an offset it is UTC.'
    refuse([name], { code: 'invalid_value', message: `"${text}" is no ISO 8601 time`, hint })
  }
  const [from, to] = [start, end].map((text) => parseTimestamp(text))
  if (from === undefined || to === undefined || to >= from) return
  const message = 'the schedule ends before it begins'
  refuse(['ending_at'], { code: 'invalid_value', message })
}

/** Where intervals are counted from the day of the revision, nobody knows before which days they meet. */
function checkRules({ repeats = [], scheduled_at: start }: ScheduleEntry, refuse: Refuse): void {
  const from = parseTimestamp(start)
  if (from === undefined) return
  const anchor = new Date(from)
  for (const [index, entry] of repeats.entries()) {
    const rule = parseRepeatRule(entry)
    if (rule && nextRepeat(rule, anchor, { timeZone: 'UTC', anchor })) continue
    const message = 'the interval passes over all of the days: this never occurs'
    refuse(['repeats', index], { code: 'invalid_value', message })
  }
}

/** Schedules that start workflows which the revision does not have. */
export function checkScheduledWorkflows(
  { schedules = {} }: Pick<EnvironmentSettings, 'schedules'>,
  workflows: Iterable<string>,
): readonly Diagnostic[] {
  const known = new Set(workflows)
  return Object.entries(schedules).flatMap(([key, { workflow, at }]) => {
    if (known.has(workflow)) return []
    const message = `the schedule "${key}" starts the workflow "${workflow}", which is not there`
    return [
      errorAt(at.path, at, { code: 'unknown_workflow', message, ...didYouMean(workflow, known) }),
    ]
  })
}

/** The schedules of a file, as they are kept. */
export function schedulesOf(
  file: ParsedFile,
  schedules: Readonly<Record<string, ScheduleEntry>>,
): Readonly<Record<string, DeclaredSchedule>> {
  return Object.fromEntries(
    Object.entries(schedules).map(([key, entry]) => {
      const { line, column } = file.locate(['schedules', key, 'workflow'])
      return [key, scheduleOf(entry, { path: file.path, line, column })]
    }),
  )
}

function scheduleOf(entry: ScheduleEntry, at: DeclaredSchedule['at']): DeclaredSchedule {
  return {
    workflow: entry.workflow,
    recipients: entry.recipients.map(referenceOf),
    actor: entry.actor === undefined ? null : referenceOf(entry.actor),
    tenant: entry.tenant ?? null,
    data: entry.data ?? {},
    repeats: entry.repeats ?? [],
    scheduled_at: entry.scheduled_at ?? null,
    ending_at: entry.ending_at ?? null,
    paused: entry.paused ?? false,
    at,
  }
}

function referenceOf(entry: ReferenceEntry): { readonly collection: string; readonly id: string } {
  return typeof entry === 'string' ? { collection: '$users', id: entry } : entry
}
