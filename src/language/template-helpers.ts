import Handlebars from 'handlebars'
import { chargeRound, chargeStep } from './template-budget.ts'
import { DATE_FORMATS, formatDate, TIME_FORMATS } from './template-date.ts'
import { textOf } from './template-escape.ts'
import { HelperFailure } from './template-format.ts'
import {
  isUnset,
  localesOf,
  lookup,
  plain,
  work,
  type Call,
  type Helper,
} from './template-helper.ts'
import { libraryHelpers } from './template-library.ts'
import { listHelpers } from './template-lists.ts'

export type { Helper } from './template-helper.ts'

function block(summary: string, run: Helper['run']): Helper {
  return { summary, use: 'block', arguments: [1, 1], named: {}, passesSecrets: true, run }
}

/** A helper of plain values that hands them on as they are. */
function passing(...given: Parameters<typeof plain>): Helper {
  return { ...plain(...given), passesSecrets: true }
}

/** Every helper there is, by name. A test holds each name out of the words of the scope. */
export const helpers: Readonly<Record<string, Helper>> = {
  if: block(
    'Renders the block where the value is set and not false, 0 or empty.',
    (self, [value], call) => (holds(value) ? call.fn(self) : call.inverse(self)),
  ),
  unless: block('Renders the block where `if` would not.', (self, [value], call) =>
    holds(value) ? call.inverse(self) : call.fn(self),
  ),
  each: block(
    'Renders the block for each item of a list or entry of an object; else-part where there is none.',
    (self, [items], call) => each(self, items, call),
  ),
  with: block('Renders the block inside the value.', (self, [value], call) =>
    holds(value) || value === 0
      ? call.fn(value, { data: call.data, blockParams: [value] })
      : call.inverse(self),
  ),
  lookup: passing(2, 2, 'The item or entry of a list or object under a computed key.', lookup),
  eq: plain(2, 2, 'Whether two values are the same.', same),
  ne: plain(2, 2, 'Whether two values differ.', (left, right) => !same(left, right)),
  gt: plain(2, 2, 'Whether the first value is greater.', (left, right) => order(left, right) > 0),
  gte: plain(
    2,
    2,
    'Whether the first value is greater or equal.',
    (left, right) => order(left, right) >= 0,
  ),
  lt: plain(2, 2, 'Whether the first value is less.', (left, right) => order(left, right) < 0),
  lte: plain(
    2,
    2,
    'Whether the first value is less or equal.',
    (left, right) => order(left, right) <= 0,
  ),
  and: passing(
    2,
    20,
    'The first value that does not hold, else the last one.',
    (...values) => values.find((value) => !holds(value)) ?? values.at(-1),
  ),
  or: passing(
    2,
    20,
    'The first value that holds, else the last one.',
    (...values) => values.find(holds) ?? values.at(-1),
  ),
  not: passing(1, 1, 'Whether the value does not hold.', (value) => !holds(value)),
  default: passing(
    2,
    2,
    'The value, or the second one where it is unset or empty.',
    (value, other) => (value === undefined || value === null || value === '' ? other : value),
  ),
  upper: plain(1, 1, 'The text in capital letters.', (value) => work(textOf(value)).toUpperCase()),
  lower: plain(1, 1, 'The text in small letters.', (value) => work(textOf(value)).toLowerCase()),
  json: plain(1, 1, 'The value as JSON.', (value) => work(JSON.stringify(value ?? null))),
  truncate: plain(
    2,
    3,
    'The text cut to that many characters, with "…" or a third value at the cut.',
    truncate,
  ),
  pluralize: plain(
    2,
    3,
    'The singular word for 1, else the plural word (the singular with "s" where it is left out).',
    (count, one, many) => (Number(count) === 1 ? one : (many ?? `${textOf(one)}s`)),
  ),
  date: {
    summary:
      'A date or time for people: format="short|medium|long|full|iso", time="short|medium|long|full", zone="Europe/Vienna", locale="de".',
    use: 'value',
    arguments: [1, 1],
    named: { format: DATE_FORMATS, time: TIME_FORMATS, zone: null, locale: null },
    run: (_, [value], call) => date(value, call),
  },
  ...libraryHelpers,
  ...listHelpers,
}

/** The helper as Handlebars calls it. Each call pays one step. */
export function callable(helper: Helper): (this: unknown, ...given: unknown[]) => unknown {
  return function run(this: unknown, ...given: unknown[]) {
    chargeStep()
    const call = given.pop() as Call
    return helper.run(this, given, call)
  }
}

/** Whether `if` renders its block: false, 0, and what is unset or empty do not hold. */
function holds(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : Boolean(value)
}

function each(self: unknown, items: unknown, call: Call): string {
  const entries = entriesOf(items)
  if (entries.length === 0) return call.inverse(self)
  const data = Handlebars.createFrame(call.data ?? {}) as Record<string, unknown>
  const last = entries.length - 1
  let text = ''
  for (const [index, [key, value]] of entries.entries()) {
    Object.assign(data, { key, index, first: index === 0, last: index === last })
    text += chargeRound(() => call.fn(value, { data, blockParams: [value, key] }))
  }
  return text
}

function entriesOf(items: unknown): readonly (readonly [string | number, unknown])[] {
  if (Array.isArray(items)) return items.map((item, index) => [index, item as unknown] as const)
  return typeof items === 'object' && items !== null ? Object.entries(items) : []
}

function same(left: unknown, right: unknown): boolean {
  if (typeof left === 'string' && typeof right === 'string') chargeStep(left.length)
  return left === right || (isUnset(left) && isUnset(right))
}

/** Negative, 0 or positive; NaN where two values have no order. */
function order(left: unknown, right: unknown): number {
  if (isUnset(left) || isUnset(right)) return Number.NaN
  if (typeof left === 'string' && typeof right === 'string') {
    chargeStep(left.length)
    if (left === right) return 0
    return left < right ? -1 : 1
  }
  return Number(left) - Number(right)
}

function truncate(value: unknown, length: unknown, mark: unknown): string {
  const text = work(textOf(value))
  const most = Math.max(0, Math.floor(Number(length)) || 0)
  if (text.length <= most) return text
  // A character takes one or two units, so no more of the text matters.
  const characters = Array.from(text.slice(0, most * 2 + 2))
  if (characters.length <= most) return text
  const end = Array.from(mark === undefined ? '…' : textOf(mark)).slice(0, most)
  return (
    characters
      .slice(0, most - end.length)
      .join('')
      .trimEnd() + end.join('')
  )
}

function date(value: unknown, call: Call): string {
  const { hash, data } = call
  const root = data?.root
  const recipient = lookup(root, 'recipient')
  const format = limited('format', hash.format ?? 'medium', DATE_FORMATS)
  const time = isUnset(hash.time) ? undefined : limited('time', hash.time, TIME_FORMATS)
  return formatDate(value, {
    format,
    time,
    zones: [hash.zone, lookup(recipient, 'timezone'), lookup(root, 'timezone')],
    locales: localesOf(call),
  })
}

function limited(name: string, value: unknown, allowed: readonly string[]): string {
  const text = textOf(value)
  if (allowed.includes(text)) return text
  throw new HelperFailure(
    `${name} of date is one of ${allowed.join(', ')}, not ${JSON.stringify(text)}`,
  )
}
