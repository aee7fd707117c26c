/**
 * A second, plain reading of calendars: it knows a zone only by what `Intl.DateTimeFormat` shows, and tries one
 * day, or one minute, after the other.
 */

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

export interface Wall {
  readonly year: number
  readonly month: number
  readonly day: number
  readonly hour: number
  readonly minute: number
  readonly second: number
}

const formats = new Map<string, Intl.DateTimeFormat>()

/** What a clock on the wall of the zone shows. */
export function wallOf(ms: number, timeZone: string): Wall {
  let format = formats.get(timeZone)
  if (!format) {
    const numeric = { year: 'numeric', month: 'numeric', day: 'numeric' } as const
    const time = { hour: 'numeric', minute: 'numeric', second: 'numeric' } as const
    const options = {
      timeZone,
      hourCycle: 'h23',
      calendar: 'gregory',
      ...numeric,
      ...time,
    } as const
    format = new Intl.DateTimeFormat('en-US', options)
    formats.set(timeZone, format)
  }
  const parts: Record<string, number> = {}
  for (const { type, value } of format.formatToParts(ms)) parts[type] = Number(value)
  return parts as unknown as Wall
}

function offsetMs(ms: number, timeZone: string): number {
  const { year, month, day, hour, minute, second } = wallOf(ms, timeZone)
  const whole = Math.floor(ms / 1000) * 1000
  return Date.UTC(year, month - 1, day, hour, minute, second) - whole
}

/** The moment that a wall clock shows; the first of two, and that much later where it shows none. */
export function momentOf(wallMs: number, timeZone: string): number {
  const before = offsetMs(wallMs - DAY_MS, timeZone)
  const after = offsetMs(wallMs + DAY_MS, timeZone)
  const shown = [before, after]
    .map((offset) => wallMs - offset)
    .filter((ms) => ms + offsetMs(ms, timeZone) === wallMs)
  return shown.length > 0 ? Math.min(...shown) : wallMs - before
}

export interface OracleRule {
  readonly frequency: 'hourly' | 'daily' | 'weekly' | 'monthly'
  readonly days?: readonly string[] | undefined
  readonly hours?: number
  readonly minutes?: number
  readonly day_of_month?: number
}

const NAMES = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

/** The first moment after `after` that the rule names. */
export function nextByOracle(rule: OracleRule, after: number, timeZone: string): number {
  const { frequency, hours = 0, minutes = 0, day_of_month: wanted = 1 } = rule
  const days = rule.days ?? (frequency === 'weekly' ? ['mon'] : NAMES)
  if (frequency === 'hourly') return nextMinute({ days, minutes }, after, timeZone)
  const { year, month, day } = wallOf(after, timeZone)
  for (let count = 0; ; count += 1) {
    const midnight = new Date(Date.UTC(year, month - 1, day + count))
    const length = new Date(
      Date.UTC(midnight.getUTCFullYear(), midnight.getUTCMonth() + 1, 0),
    ).getUTCDate()
    const isMeant =
      frequency === 'monthly'
        ? midnight.getUTCDate() === Math.min(wanted, length)
        : days.includes(NAMES[midnight.getUTCDay()]!)
    if (!isMeant) continue
    const at = momentOf(midnight.getTime() + (hours * 60 + minutes) * MINUTE_MS, timeZone)
    if (at > after) return at
  }
}

function nextMinute(
  { days, minutes }: { readonly days: readonly string[]; readonly minutes: number },
  after: number,
  timeZone: string,
): number {
  let at = Math.floor(after / MINUTE_MS) * MINUTE_MS
  for (;;) {
    at += MINUTE_MS
    const { year, month, day, minute } = wallOf(at, timeZone)
    const name = NAMES[new Date(Date.UTC(year, month - 1, day)).getUTCDay()]!
    if (minute === minutes && days.includes(name)) return at
  }
}

const UNIT_MS: Readonly<Record<string, number>> = {
  seconds: 1000,
  minutes: MINUTE_MS,
  hours: 3_600_000,
  days: DAY_MS,
  weeks: 7 * DAY_MS,
}

/** `value` units after `at`; months by the calendar, on the last day of one that is too short. */
export function addByOracle(
  at: number,
  { unit, value }: { readonly unit: string; readonly value: number },
  timeZone: string,
): number {
  const unitMs = UNIT_MS[unit]
  if (unitMs !== undefined) return at + value * unitMs
  const { year, month, day, hour, minute, second } = wallOf(at, timeZone)
  const length = new Date(Date.UTC(year, month + value, 0)).getUTCDate()
  const date = Date.UTC(year, month - 1 + value, Math.min(day, length), hour, minute, second)
  return momentOf(date, timeZone) + (at - Math.floor(at / 1000) * 1000)
}
