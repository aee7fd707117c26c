import { Temporal } from 'temporal-polyfill'
import { unreachable } from '../errors.ts'

export type DurationUnit = 'seconds' | 'minutes' | 'hours' | 'days' | 'weeks' | 'months'

export interface ParsedDuration {
  readonly unit: DurationUnit
  /** A whole number; negative where the caller allows it. */
  readonly value: number
}

/** How long: a text such as `15m`, or its unit and value. */
export type Duration = string | ParsedDuration

/** The longest that a run may be held, and that a window may last. */
export const DURATION_DAYS_MAX = 365
export const DURATION_MS_MAX = DURATION_DAYS_MAX * 24 * 60 * 60 * 1000

const VALUE_MAX = 99_999_999

const units = {
  s: 'seconds',
  m: 'minutes',
  h: 'hours',
  d: 'days',
  w: 'weeks',
  mo: 'months',
} as const satisfies Readonly<Record<string, DurationUnit>>

/** A month counts 31 days here, which is used for bounds alone. */
const unitMs: Readonly<Record<DurationUnit, number>> = {
  seconds: 1000,
  minutes: 60_000,
  hours: 3_600_000,
  days: 86_400_000,
  weeks: 604_800_000,
  months: 2_678_400_000,
}

/** JSON Schema of a duration that is not negative. */
export const durationSchema = schemaOf('^[0-9]{1,8}(s|m|h|d|w|mo)$', 0)

/** JSON Schema of a duration that may be negative. */
export const signedDurationSchema = schemaOf('^-?[0-9]{1,8}(s|m|h|d|w|mo)$', -VALUE_MAX)

function schemaOf(pattern: string, minimum: number) {
  return {
    description: 'A duration: `30s`, `15m`, `2h`, `1d`, `1w`, `1mo`, or `{ unit, value }`.',
    type: ['string', 'object'],
    pattern,
    required: ['unit', 'value'],
    properties: {
      unit: { description: 'The unit.', enum: Object.values(units) },
      value: { description: 'How many.', type: 'integer', minimum, maximum: VALUE_MAX },
    },
    additionalProperties: false,
  } as const
}

/** A duration from a file or from data; undefined where the value is none. */
export function parseDuration(value: unknown): ParsedDuration | undefined {
  if (typeof value === 'string') {
    const match = /^(-?[0-9]{1,8})(s|m|h|d|w|mo)$/.exec(value)
    if (match === null) return undefined
    return { unit: units[match[2] as keyof typeof units], value: Number(match[1]) }
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { unit, value: count } = value as Partial<Record<'unit' | 'value', unknown>>
  if (typeof unit !== 'string' || !Object.hasOwn(unitMs, unit)) return undefined
  if (!Number.isInteger(count) || Math.abs(count as number) > VALUE_MAX) return undefined
  return { unit: unit as DurationUnit, value: count as number }
}

/**
 * The moment that lies `duration` after `at`, before it where the duration is negative.
 * Days and weeks are elapsed time; months are those of the calendar in `timeZone` (an IANA name),
 * and a day that the month does not have becomes its last one. A moment beyond what a `Date` can
 * hold becomes the last one that it can. Throws a `RangeError` for an unknown zone or a text that
 * is no duration.
 */
export function addDuration(at: Date, duration: Duration, timeZone: string): Date {
  const parsed = parseDuration(duration)
  if (parsed === undefined) throw new RangeError(`${JSON.stringify(duration)} is no duration`)
  const ms = at.getTime() + parsed.value * unitMs[parsed.unit]
  if (Math.abs(ms) > DATE_MS_MAX - unitMs.months) return new Date(Math.sign(ms) * DATE_MS_MAX)
  switch (parsed.unit) {
    case 'seconds':
    case 'minutes':
    case 'hours':
    case 'days':
    case 'weeks':
      return new Date(ms)
    case 'months':
      return addMonths(at, parsed.value, timeZone)
    default:
      return unreachable(parsed.unit)
  }
}

const DATE_MS_MAX = 8.64e15

function addMonths(at: Date, months: number, timeZone: string): Date {
  const zoned = Temporal.Instant.fromEpochMilliseconds(at.getTime()).toZonedDateTimeISO(timeZone)
  return new Date(zoned.add({ months }, { overflow: 'constrain' }).epochMilliseconds)
}

const ZONE = /^[A-Za-z][A-Za-z0-9_+-]*(?:\/[A-Za-z0-9_+-]+)*$/
const knownZones = new Map<string, boolean>()

/** How many answers are kept: asking Intl takes 50 µs, and every recipient may bring a zone. */
const KNOWN_ZONES_MAX = 1000

/** Whether `text` is an IANA time zone such as `Europe/Berlin`; an offset such as `+02:00` is none. */
export function isTimeZone(text: string): boolean {
  const known = knownZones.get(text)
  if (known !== undefined) return known
  if (text.length > 64 || !ZONE.test(text)) return false
  if (knownZones.size >= KNOWN_ZONES_MAX) knownZones.clear()
  const isKnown = isKnownToIntl(text)
  knownZones.set(text, isKnown)
  return isKnown
}

function isKnownToIntl(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}
