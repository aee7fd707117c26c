import { Temporal } from 'temporal-polyfill'

/** A rule that names moments by the clock on the wall, such as each weekday at 9:00. */
export interface Recurrence {
  readonly frequency: Frequency
  /** ISO weekdays, 1 (Monday) to 7; every day where it is null. */
  readonly days: ReadonlySet<number> | null
  readonly hours: number
  readonly minutes: number
  /** 1 to 31; a month that is shorter has its last day in its place. */
  readonly dayOfMonth: number
}

export const frequencies = ['hourly', 'daily', 'weekly', 'monthly'] as const
type Frequency = (typeof frequencies)[number]

/** Days of the week as files name them, from Monday. */
export const WEEKDAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const
const dayGroups = {
  weekdays: new Set([1, 2, 3, 4, 5]),
  weekends: new Set([6, 7]),
} as const

/** Days of the week: a group of them, or a list. */
export type WeekdayNames = keyof typeof dayGroups | readonly (typeof WEEKDAYS)[number][]

/** The ISO numbers of the days, 1 (Monday) to 7. */
export function weekdaysOf(names: WeekdayNames): ReadonlySet<number> {
  if (typeof names === 'string') return dayGroups[names]
  return new Set(names.map((name) => WEEKDAYS.indexOf(name) + 1))
}

/** A rule's minutes are a multiple of this. */
const MINUTES_STEP = 5

/**
 * A recurrence rule from data: `{ frequency, days, hours, minutes, day_of_month }`; undefined where
 * the value is none. A weekly rule without days means Monday, a monthly one without a day the first.
 */
export function parseRecurrence(value: unknown): Recurrence | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const rule = value as Readonly<Record<string, unknown>>
  const frequency = frequencies.find((one) => one === rule['frequency'])
  const days = parseDays(rule['days'])
  const hours = wholeNumber(rule['hours'], { min: 0, max: 23 })
  const minutes = wholeNumber(rule['minutes'], { min: 0, max: 55, step: MINUTES_STEP })
  const dayOfMonth = wholeNumber(rule['day_of_month'], { min: 1, max: 31 })
  if (frequency === undefined || days === undefined) return undefined
  if (hours === undefined || minutes === undefined || dayOfMonth === undefined) return undefined
  const isWeekly = frequency === 'weekly' && days === null
  return { frequency, days: isWeekly ? new Set([1]) : days, hours, minutes, dayOfMonth }
}

/** Undefined where the value names no days; null where it is left out. */
function parseDays(value: unknown): ReadonlySet<number> | null | undefined {
  if (value === undefined || value === null) return null
  if (value === 'weekdays' || value === 'weekends') return dayGroups[value]
  const named = Array.isArray(value) ? (value as readonly unknown[]) : [value]
  const days = named.map((name) => WEEKDAYS.findIndex((day) => day === name) + 1)
  return days.length === 0 || days.includes(0) ? undefined : new Set(days)
}

interface Range {
  /** Also what holds where the number is left out. */
  readonly min: number
  readonly max: number
  readonly step?: number
}

function wholeNumber(value: unknown, { min, max, step = 1 }: Range): number | undefined {
  if (value === undefined || value === null) return min
  if (typeof value !== 'number' || !Number.isInteger(value / step)) return undefined
  return value >= min && value <= max ? value : undefined
}

/** A rule that counts its periods: each second Monday, each third hour. */
export interface RepeatRule extends Recurrence {
  /** In periods of its frequency, 1 for each of them. */
  readonly interval: number
}

/** Hours, days, weeks or months between two occurrences; more is hardly meant. */
export const INTERVAL_MAX = 1000

/** A recurrence rule with an `interval`; undefined where the value is none. */
export function parseRepeatRule(value: unknown): RepeatRule | undefined {
  const rule = parseRecurrence(value)
  if (!rule) return undefined
  const given = (value as Readonly<Record<string, unknown>>)['interval']
  const interval = wholeNumber(given, { min: 1, max: INTERVAL_MAX })
  return interval === undefined ? undefined : { ...rule, interval }
}

/** JSON Schema of a repeat rule, as calls and files write it. What it lets pass is parsed to a rule. */
export const repeatRuleSchema = {
  type: 'object',
  required: ['frequency'],
  properties: {
    frequency: {
      description: 'Of which periods: `hourly`, `daily`, `weekly` or `monthly`.',
      enum: frequencies,
    },
    interval: {
      description: 'Each how many of them, counted from the start; 1 when left out.',
      type: ['integer', 'null'],
      minimum: 1,
      maximum: INTERVAL_MAX,
    },
    days: {
      description:
        'Only on these: a list of `mon` to `sun`, `weekdays` or `weekends`. A weekly rule without is for Mondays.',
      type: ['array', 'string', 'null'],
      minItems: 1,
      maxItems: WEEKDAYS.length,
      items: { enum: WEEKDAYS },
      pattern: '^(?:weekdays|weekends)$',
    },
    day_of_month: {
      description: 'Of a monthly rule; 1 when left out. A shorter month has its last day.',
      type: ['integer', 'null'],
      minimum: 1,
      maximum: 31,
    },
    hours: {
      description: 'The hour of the day, 0 when left out; not for hourly rules.',
      type: ['integer', 'null'],
      minimum: 0,
      maximum: 23,
    },
    minutes: {
      description: 'The minute of the hour, a multiple of 5; 0 when left out.',
      type: ['integer', 'null'],
      minimum: 0,
      maximum: 55,
      multipleOf: MINUTES_STEP,
    },
  },
  additionalProperties: false,
} as const

/**
 * The first moment after `after` that the rule names in `timeZone` (an IANA name). A time that does
 * not exist there runs that much later by the clock, and one that exists twice counts once, at the first.
 */
export function nextOccurrence(rule: Recurrence, after: Date, timeZone: string): Date {
  const next = nextRepeat({ ...rule, interval: 1 }, after, { timeZone, anchor: after })
  if (next === undefined) throw new RangeError('a rule of every period names no time')
  return next
}

/** Where a rule is at home. */
export interface Place {
  /** An IANA name. */
  readonly timeZone: string
  /** In the first period that counts, from which the interval goes on. */
  readonly anchor: Date
}

/**
 * As `nextOccurrence`, for a rule with an interval. Undefined where the interval passes over all of its
 * days, as each seventh day from a Monday on does with Tuesdays.
 */
export function nextRepeat(
  rule: RepeatRule,
  after: Date,
  { timeZone, anchor }: Place,
): Date | undefined {
  const [from, start] = [after, anchor].map((at) =>
    Temporal.Instant.fromEpochMilliseconds(at.getTime()).toZonedDateTimeISO(timeZone),
  ) as [Temporal.ZonedDateTime, Temporal.ZonedDateTime]
  const candidates =
    rule.frequency === 'hourly' ? hoursOf(rule, from, start) : daysOf(rule, from, start)
  for (const at of candidates)
    if (at.epochMilliseconds > from.epochMilliseconds) return new Date(at.epochMilliseconds)
  return undefined
}

const HOUR_MS = 3_600_000
const HOURS_OF_WEEK = 7 * 24

function* hoursOf(
  { days: wanted, minutes, interval }: RepeatRule,
  from: Temporal.ZonedDateTime,
  start: Temporal.ZonedDateTime,
): Iterable<Temporal.ZonedDateTime> {
  const first = start.with({ minute: minutes, second: 0, millisecond: 0 })
  const gone = (from.epochMilliseconds - first.epochMilliseconds) / HOUR_MS
  const behind = Math.max(0, Math.floor(gone / interval) - 1)
  // Behind as many steps the hours of the week repeat; a change of the clock shifts some.
  const last = behind + HOURS_OF_WEEK / greatestCommonDivisor(interval, HOURS_OF_WEEK) + 2
  for (let step = behind; step <= last; step += 1) {
    // Where the clock changes by half an hour, the minute stays as the rule says.
    const at = first.add({ hours: step * interval }).with({ minute: minutes })
    if (!wanted || wanted.has(at.dayOfWeek)) yield at
    else step += Math.max(0, Math.floor((22 - at.hour) / interval))
  }
}

function greatestCommonDivisor(one: number, other: number): number {
  return other === 0 ? one : greatestCommonDivisor(other, one % other)
}

/** By as many periods of days the days of the week repeat, whatever the interval. */
const PERIODS = 9

function* daysOf(
  rule: RepeatRule,
  from: Temporal.ZonedDateTime,
  start: Temporal.ZonedDateTime,
): Iterable<Temporal.ZonedDateTime> {
  const time = { hour: rule.hours, minute: rule.minutes }
  const today = from.toPlainDate()
  const first = start.toPlainDate()
  const [period, periodsOf] = PERIOD[rule.frequency === 'hourly' ? 'daily' : rule.frequency]
  const base = periodsOf.startOf(first)
  const gone = base.until(periodsOf.startOf(today), { largestUnit: period })[period]
  const behind = Math.max(0, Math.floor(gone / rule.interval))
  for (let step = behind; step <= behind + PERIODS; step += 1) {
    const begin = base.add({ [period]: step * rule.interval })
    for (const date of periodsOf.datesIn(begin, rule))
      yield date.toPlainDateTime(time).toZonedDateTime(from.timeZoneId)
  }
}

interface Periods {
  readonly startOf: (date: Temporal.PlainDate) => Temporal.PlainDate
  readonly datesIn: (begin: Temporal.PlainDate, rule: RepeatRule) => readonly Temporal.PlainDate[]
}

const WEEK = [0, 1, 2, 3, 4, 5, 6]

const PERIOD: Readonly<
  Record<'daily' | 'weekly' | 'monthly', readonly ['days' | 'weeks' | 'months', Periods]>
> = {
  daily: [
    'days',
    {
      startOf: (date) => date,
      datesIn: (begin, { days: wanted }) => (!wanted || wanted.has(begin.dayOfWeek) ? [begin] : []),
    },
  ],
  weekly: [
    'weeks',
    {
      startOf: (date) => date.subtract({ days: date.dayOfWeek - 1 }),
      datesIn: (begin, { days: wanted }) =>
        WEEK.map((offset) => begin.add({ days: offset })).filter(
          (date) => !wanted || wanted.has(date.dayOfWeek),
        ),
    },
  ],
  monthly: [
    'months',
    {
      startOf: (date) => date.with({ day: 1 }),
      datesIn: (begin, { dayOfMonth }) => [
        begin.with({ day: Math.min(dayOfMonth, begin.daysInMonth) }),
      ],
    },
  ],
}
