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

const frequencies = ['hourly', 'daily', 'weekly', 'monthly'] as const
type Frequency = (typeof frequencies)[number]

const weekdays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const
const dayGroups = { weekdays: [1, 2, 3, 4, 5], weekends: [6, 7] } as const

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
  if (value === 'weekdays' || value === 'weekends') return new Set(dayGroups[value])
  const named = Array.isArray(value) ? (value as readonly unknown[]) : [value]
  const days = named.map((name) => weekdays.findIndex((day) => day === name) + 1)
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

/**
 * The first moment after `after` that the rule names in `timeZone` (an IANA name). A time that does
 * not exist there runs that much later by the clock, and one that exists twice counts once, at the first.
 */
export function nextOccurrence(rule: Recurrence, after: Date, timeZone: string): Date {
  const from = Temporal.Instant.fromEpochMilliseconds(after.getTime()).toZonedDateTimeISO(timeZone)
  return new Date(rule.frequency === 'hourly' ? nextHour(rule, from) : nextDay(rule, from))
}

function nextHour({ days, minutes }: Recurrence, from: Temporal.ZonedDateTime): number {
  let at = from.with({ minute: minutes, second: 0, millisecond: 0 })
  for (;;) {
    const isLater = at.epochMilliseconds > from.epochMilliseconds
    if (isLater && (!days || days.has(at.dayOfWeek))) return at.epochMilliseconds
    at = at.add({ hours: 1 })
  }
}

function nextDay(rule: Recurrence, from: Temporal.ZonedDateTime): number {
  const { days, hours, minutes, dayOfMonth, frequency } = rule
  const time = { hour: hours, minute: minutes }
  let date = from.toPlainDate()
  for (;;) {
    const day = Math.min(dayOfMonth, date.daysInMonth)
    const isMeant = frequency === 'monthly' ? date.day === day : !days || days.has(date.dayOfWeek)
    const at = date.toPlainDateTime(time).toZonedDateTime(from.timeZoneId)
    if (isMeant && at.epochMilliseconds > from.epochMilliseconds) return at.epochMilliseconds
    date = date.add({ days: 1 })
  }
}
