import { isFarEnough, parseRelative, parseTimestamp } from './timestamps.ts'
import { compareValues, isSame } from './values.ts'

/** What kind of argument an operator takes. */
export type ArgumentShape =
  | 'none'
  | 'any'
  | 'ordered'
  | 'pair'
  | 'timestamp'
  | 'timestamp_pair'
  | 'audience'

interface OperatorType {
  readonly argument: ArgumentShape
  readonly summary: string
  /** `left` is undefined where the path names nothing; `nowMs` is the present. */
  readonly holds: (left: unknown, right: unknown, nowMs: number) => boolean
}

function ordered(summary: string, test: (order: number) => boolean): OperatorType {
  return {
    argument: 'ordered',
    summary,
    holds: (left, right) => {
      const order = compareValues(left ?? '', right)
      return order !== undefined && test(order)
    },
  }
}

function timestamp(
  summary: string,
  test: (leftMs: number, rightMs: number) => boolean,
): OperatorType {
  return {
    argument: 'timestamp',
    summary,
    holds: (left, right, nowMs) => {
      const [leftMs, rightMs] = [parseTimestamp(left), momentOf(right, nowMs)]
      return leftMs !== undefined && rightMs !== undefined && test(leftMs, rightMs)
    },
  }
}

function negated(operator: OperatorType, summary: string): OperatorType {
  const { argument, holds } = operator
  return { argument, summary, holds: (left, right, nowMs) => !holds(left, right, nowMs) }
}

function unary(summary: string, holds: OperatorType['holds']): OperatorType {
  return { argument: 'none', summary, holds }
}

const equalTo: OperatorType = {
  argument: 'any',
  summary: 'is the same; a number or truth value equals its text',
  holds: (left, right) => isSame(left ?? (left === undefined ? '' : null), right),
}
const contains: OperatorType = {
  argument: 'any',
  summary: 'the list has the item, the text has the part; of a list as argument: one of them',
  holds: (left, right) => itemsOf(right).some((item) => hasItem(left, item)),
}
const containsAll: OperatorType = {
  argument: 'any',
  summary: 'as `contains`, with each item of the argument',
  holds: (left, right) => itemsOf(right).every((item) => hasItem(left, item)),
}
const empty = unary('unset, null, "" or []', (left) => isEmpty(left))
const exists = unary('set and not null', (left) => left !== undefined && left !== null)
const isTimestamp = unary(
  'is an ISO 8601 date or time',
  (left) => parseTimestamp(left) !== undefined,
)
/** Asked of the audiences that the recipient is in, whatever the variable. */
const audienceMember: OperatorType = {
  argument: 'audience',
  summary: 'the `recipient` is in the audience of that key',
  holds: (left, right) => Array.isArray(left) && left.includes(right),
}
const before = timestamp('lies before the argument', (left, right) => left < right)
const onOrAfter = timestamp('is the argument or lies after it', (left, right) => left >= right)

/** Every operator of a condition: its argument, what it says, and whether it holds. */
export const operators = {
  equal_to: equalTo,
  not_equal_to: negated(equalTo, 'is not the same'),
  greater_than: ordered('is greater, of numbers or texts', (order) => order > 0),
  less_than: ordered('is less, of numbers or texts', (order) => order < 0),
  greater_than_or_equal_to: ordered('is greater or the same', (order) => order >= 0),
  less_than_or_equal_to: ordered('is less or the same', (order) => order <= 0),
  contains,
  not_contains: negated(contains, 'the opposite of `contains`'),
  contains_all: containsAll,
  not_contains_all: negated(containsAll, 'the opposite of `contains_all`'),
  empty,
  not_empty: negated(empty, 'the opposite of `empty`'),
  exists,
  not_exists: negated(exists, 'the opposite of `exists`'),
  is_between: {
    argument: 'pair',
    summary: 'lies between the two of `[from, to]`, or is one of them',
    holds: (left, right) => isWithin(left ?? '', right, compareValues),
  },
  is_timestamp: isTimestamp,
  is_not_timestamp: negated(isTimestamp, 'the opposite of `is_timestamp`'),
  is_timestamp_before: before,
  is_timestamp_before_date: before,
  is_timestamp_on_or_after: onOrAfter,
  is_timestamp_on_or_after_date: onOrAfter,
  is_timestamp_between: {
    argument: 'timestamp_pair',
    summary: 'lies between the two of `[from, to]`, or is one of them',
    holds: (left, right) => isWithin(left, right, compareTimestamps),
  },
  is_timestamp_before_now: unary('lies in the past', (left, _right, nowMs) => {
    const leftMs = parseTimestamp(left)
    return leftMs !== undefined && leftMs < nowMs
  }),
  is_timestamp_on_or_after_now: unary('is now or in the future', (left, _right, nowMs) => {
    const leftMs = parseTimestamp(left)
    return leftMs !== undefined && leftMs >= nowMs
  }),
  is_audience_member: audienceMember,
  is_not_audience_member: negated(audienceMember, 'the opposite of `is_audience_member`'),
} as const satisfies Readonly<Record<string, OperatorType>>

export type Operator = keyof typeof operators

/** The behaviour of an operator; undefined for a word that is none. */
export function operatorType(name: string): OperatorType | undefined {
  return Object.hasOwn(operators, name) ? operators[name as Operator] : undefined
}

/** The names of all operators. */
export const operatorNames = Object.keys(operators) as readonly Operator[]

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true
  return Array.isArray(value) && value.length === 0
}

function itemsOf(argument: unknown): readonly unknown[] {
  return Array.isArray(argument) ? argument : [argument]
}

/** An empty text is part of no text: an argument that names nothing must not match everything. */
function hasItem(value: unknown, item: unknown): boolean {
  if (Array.isArray(value)) return value.some((one) => isSame(one, item))
  if (typeof value !== 'string' || item === '') return false
  if (typeof item === 'string') return value.includes(item)
  return typeof item === 'number' || typeof item === 'boolean'
    ? value.includes(String(item))
    : false
}

function momentOf(argument: unknown, nowMs: number): number | undefined {
  const absolute = parseTimestamp(argument)
  if (absolute !== undefined || typeof argument !== 'string') return absolute
  const relative = parseRelative(argument)
  return relative === undefined || !isFarEnough(relative) ? undefined : nowMs + relative.offsetMs
}

function isWithin(
  value: unknown,
  range: unknown,
  compare: (left: unknown, right: unknown) => number | undefined,
): boolean {
  if (!Array.isArray(range) || range.length !== 2) return false
  const [low, high] = [compare(value, range[0]), compare(value, range[1])]
  return low !== undefined && high !== undefined && low >= 0 && high <= 0
}

function compareTimestamps(left: unknown, right: unknown): number | undefined {
  const [leftMs, rightMs] = [parseTimestamp(left), parseTimestamp(right)]
  return leftMs === undefined || rightMs === undefined ? undefined : leftMs - rightMs
}
