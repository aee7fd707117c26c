import { textOf } from './template-escape.ts'
import { localeOf } from './template-date.ts'

/** Formatters kept; making one costs fifty times a use. */
const FORMATTERS_MAX = 500

/** What `style=` of the helper `number` can be. */
export const NUMBER_STYLES = ['decimal', 'percent', 'compact'] as const

const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i

/** A helper was given what it cannot work with. */
export class HelperFailure extends Error {
  override readonly name = 'HelperFailure'
}

const numbers = new Map<string, Intl.NumberFormat>()
const relatives = new Map<string, Intl.RelativeTimeFormat>()
const plurals = new Map<string, Intl.PluralRules>()

/** The number that a value is, or that its text spells; undefined where it is unset or empty. Throws `HelperFailure`. */
export function numberOf(helper: string, value: unknown): number | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'number' && Number.isFinite(value)) return value
  if (typeof value === 'string' && NUMBER.test(value.trim())) {
    return Number(value)
  }
  throw new HelperFailure(`${helper} takes a number, not ${shown(value)}`)
}

/** A value as an error shows it, cut short. */
export function shown(value: unknown): string {
  const text = JSON.stringify(typeof value === 'object' ? textOf(value) : value) ?? 'nothing'
  return text.length > 40 ? `${text.slice(0, 39)}…` : text
}

/** A number as people of the first locale that there is write it. */
export function formatNumber(
  value: number,
  locales: readonly unknown[],
  options: Intl.NumberFormatOptions,
): string {
  const locale = firstLocale(locales)
  const key = `${locale} ${JSON.stringify(options)}`
  const format = kept(numbers, key, () => new Intl.NumberFormat(locale, options))
  return plainSpaces(format.format(value))
}

/** The digits behind the point that `decimals=` asks for. Throws `HelperFailure`. */
export function decimalsOf(helper: string, value: unknown): Intl.NumberFormatOptions {
  const digits = numberOf(`decimals of ${helper}`, value)
  if (digits === undefined) return {}
  if (!Number.isInteger(digits) || digits < 0 || digits > 20) {
    throw new HelperFailure(`decimals of ${helper} is a whole number from 0 to 20`)
  }
  return { minimumFractionDigits: digits, maximumFractionDigits: digits }
}

/** The code of a currency, `EUR`. Throws `HelperFailure`. */
export function currencyOf(value: unknown): string {
  if (typeof value === 'string' && /^[A-Za-z]{3}$/.test(value)) return value.toUpperCase()
  throw new HelperFailure(
    `currency takes the code of a currency such as "EUR", not ${shown(value)}`,
  )
}

const UNITS = [
  ['year', 365 * 86_400],
  ['month', 30 * 86_400],
  ['week', 7 * 86_400],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
] as const

/** A time as seen from another, in milliseconds: `in 3 days`, `2 hours ago`. */
export function formatRelative(time: number, from: number, locales: readonly unknown[]): string {
  const locale = firstLocale(locales)
  const format = kept(
    relatives,
    locale,
    () => new Intl.RelativeTimeFormat(locale, { numeric: 'always' }),
  )
  const seconds = (time - from) / 1_000
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return format.format(Math.trunc(seconds / size), unit)
  }
  return format.format(Math.trunc(seconds), 'second')
}

/** Which form of a word a number takes in a language: `one`, `few`, `other` … */
export function pluralForm(count: number, locale: string): Intl.LDMLPluralRule {
  return kept(plurals, locale, () => new Intl.PluralRules(locale)).select(count)
}

/** The first that is a language tag; English where none is. */
export function firstLocale(locales: readonly unknown[]): string {
  for (const one of locales) {
    const locale = localeOf(one)
    if (locale !== undefined) return locale
  }
  return 'en'
}

/** Narrow and unbreakable spaces break mail programs' fonts, and comparisons. */
function plainSpaces(text: string): string {
  return text.replaceAll('\u202f', ' ')
}

function kept<Value>(known: Map<string, Value>, key: string, make: () => Value): Value {
  const found = known.get(key)
  if (found !== undefined) return found
  const made = make()
  if (known.size >= FORMATTERS_MAX) known.delete(known.keys().next().value!)
  known.set(key, made)
  return made
}
