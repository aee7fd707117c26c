import { textOf } from './template-escape.ts'

const FORMATS = ['short', 'medium', 'long', 'full'] as const
/** What `format=` of the helper `date` can be. */
export const DATE_FORMATS: readonly string[] = [...FORMATS, 'iso']
/** What `time=` of the helper `date` can be. */
export const TIME_FORMATS: readonly string[] = FORMATS
/** Formatters kept; making one costs fifty times a use. */
const FORMATTERS_MAX = 500

type Length = (typeof FORMATS)[number]

export interface DateOptions {
  readonly format: string
  /** Length of the time of day behind the date; none where it is undefined. */
  readonly time: string | undefined
  /** The first that is an IANA zone counts. */
  readonly zones: readonly unknown[]
  /** The first that is a BCP 47 tag counts. */
  readonly locales: readonly unknown[]
}

const zones = new Set<string>()
const formatters = new Map<string, Intl.DateTimeFormat>()

/**
 * A point in time, or a day (`2026-03-01`, which is the same day in each zone), as people write it.
 * A value that is neither is answered as it is.
 */
export function formatDate(value: unknown, options: DateOptions): string {
  const date = dateOf(value)
  if (!date) return textOf(value)
  const day = typeof value === 'string' && /^\d{4}-\d\d-\d\d$/.test(value)
  if (options.format === 'iso') return day ? value : date.toISOString()
  const zone = day ? 'UTC' : (options.zones.find(isTimeZone) ?? 'UTC')
  const locale = options.locales.map(localeOf).find((tag) => tag !== undefined) ?? 'en'
  const time = day ? undefined : options.time
  return formatter({
    locale,
    zone,
    format: options.format as Length,
    time: time as Length | undefined,
  })
    .format(date)
    .replaceAll('\u202f', ' ')
}

/** The point in time that a value says: a `Date`, milliseconds, or ISO 8601. */
export function dateOf(value: unknown): Date | undefined {
  if (typeof value !== 'string' && typeof value !== 'number' && !(value instanceof Date)) {
    return undefined
  }
  if (typeof value === 'string' && !/^\d{4}-\d\d-\d\d(?:[T ]|$)/.test(value)) return undefined
  const date = new Date(value)
  return Number.isNaN(date.getTime()) ? undefined : date
}

function formatter(choice: {
  readonly locale: string
  readonly zone: string
  readonly format: Length
  readonly time: Length | undefined
}): Intl.DateTimeFormat {
  const key = `${choice.locale} ${choice.zone} ${choice.format} ${choice.time}`
  const known = formatters.get(key)
  if (known) return known
  const made = new Intl.DateTimeFormat(choice.locale, {
    dateStyle: choice.format,
    timeZone: choice.zone,
    ...(choice.time && { timeStyle: choice.time }),
  })
  if (formatters.size >= FORMATTERS_MAX) formatters.delete(formatters.keys().next().value!)
  formatters.set(key, made)
  return made
}

/** Whether the value is the name of a time zone that this machine knows. */
export function isTimeZone(value: unknown): value is string {
  if (typeof value !== 'string' || value === '') return false
  if (zones.has(value)) return true
  try {
    new Intl.DateTimeFormat('en', { timeZone: value }).format(0)
  } catch {
    return false
  }
  if (zones.size < 1_000) zones.add(value)
  return true
}

/** A language tag as `Intl` writes it, also from `de_AT`; undefined where the value is none. */
export function localeOf(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined
  try {
    return Intl.getCanonicalLocales(value.replaceAll('_', '-'))[0]
  } catch {
    return undefined
  }
}
