const TIMESTAMP =
  /^(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))(?:[Tt ]((?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?)(?:[Zz]|([+-](?:[01]\d|2[0-3])):?([0-5]\d))?)?$/

/**
 * The moment that an ISO 8601 text names, in milliseconds since 1970; undefined where the value is
 * none. A date alone is its midnight, and a time without an offset counts as UTC: what a workflow
 * decides must not depend on the zone of the machine.
 */
export function parseTimestamp(value: unknown): number | undefined {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : value.getTime()
  if (typeof value !== 'string' || value.length > 40) return undefined
  const match = TIMESTAMP.exec(value)
  if (match === null) return undefined
  const [, date = '', time = '00:00', hours = '+00', minutes = '00'] = match
  if (!isInMonth(date)) return undefined
  return Date.parse(`${date}T${time}${hours}:${minutes}`)
}

/** The shortest distance of a relative timestamp: what it is compared with is not more exact. */
export const RELATIVE_MINUTES_MIN = 15

export interface RelativeTimestamp {
  /** Negative where it lies in the past. */
  readonly offsetMs: number
}

const RELATIVE = /^(\d{1,6}) (minute|hour|day|week)s? (ago|from now)$/

const relativeMs: Readonly<Record<string, number>> = {
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  week: 604_800_000,
}

/** A text such as `15 minutes ago` or `2 days from now`; undefined where it is none. */
export function parseRelative(text: string): RelativeTimestamp | undefined {
  const match = text.length > 40 ? null : RELATIVE.exec(text)
  if (match === null) return undefined
  const ms = Number(match[1]) * (relativeMs[match[2] ?? ''] ?? 0)
  return { offsetMs: match[3] === 'ago' ? -ms : ms }
}

/** Whether a relative timestamp lies far enough from the present. */
export function isFarEnough({ offsetMs }: RelativeTimestamp): boolean {
  return Math.abs(offsetMs) >= RELATIVE_MINUTES_MIN * 60_000
}

/** `Date.parse` takes the 31st of February for a day in March. */
function isInMonth(date: string): boolean {
  const day = Number(date.slice(8))
  return day <= 28 || new Date(date).getUTCDate() === day
}
