import {
  firstLocale,
  formatNumber,
  HelperFailure,
  numberOf,
  pluralForm,
  shown,
} from './template-format.ts'
import { textOf } from './template-escape.ts'

/** Forms of a text that depend on a number; `zero` is taken for 0 in every language. */
export const PLURAL_FORMS = ['zero', 'one', 'two', 'few', 'many', 'other'] as const

/** A text with `{{name}}` where a value goes, or one for each form that a number can take. */
export type Translation = string | Readonly<Partial<Record<(typeof PLURAL_FORMS)[number], string>>>

/** What one file of `_locales/` says. */
export interface LocaleTexts {
  /** A language tag, as `Intl` writes it. */
  readonly locale: string
  /** The tenant that it holds for; null: all. */
  readonly tenant: string | null
  readonly texts: ReadonlyMap<string, Translation>
}

/** The texts of a version, and the locale that stands in where the recipient's has none. */
export interface Translations {
  readonly files: readonly LocaleTexts[]
  readonly fallback: string
}

/** For whom a text is looked up. */
export interface Reader {
  /** The first that is a language tag counts. */
  readonly locales: readonly unknown[]
  readonly tenant: unknown
}

/**
 * The text of a key for a reader, with the named values in their places. The chain: the tenant's own texts in the
 * language and region, in the language, in the fallback; then those of all, in the same order; last
 * any file that has the key, in the order of their locales. Throws `HelperFailure` where none has it.
 */
export function translate(
  translations: Translations,
  key: unknown,
  { locales, tenant }: Reader,
  values: Readonly<Record<string, unknown>>,
): string {
  if (typeof key !== 'string') throw new HelperFailure(`t takes a key, not ${shown(key)}`)
  const found = find(translations, key, { locales, tenant })
  if (!found) {
    if (values['default'] !== undefined && values['default'] !== null)
      return textOf(values['default'])
    throw new HelperFailure(`there is no translation ${shown(key)}`)
  }
  const { text, locale } = found
  const count =
    typeof text === 'string' ? undefined : numberOf(`count of ${shown(key)}`, values['count'])
  const chosen = typeof text === 'string' ? text : formOf(text, count ?? 0, locale)
  return fill(chosen, values, locale)
}

function find(
  { files, fallback }: Translations,
  key: string,
  { locales, tenant }: Reader,
): { readonly text: Translation; readonly locale: string } | undefined {
  const locale = firstLocale([...locales, fallback])
  const chain = [...new Set([...shorter(locale), ...shorter(firstLocale([fallback]))])]
  const own = typeof tenant === 'string' ? tenant : null
  for (const owner of own === null ? [null] : [own, null]) {
    for (const tag of chain) {
      const text = files
        .find((file) => file.tenant === owner && file.locale === tag)
        ?.texts.get(key)
      if (text !== undefined) return { text, locale: tag }
    }
  }
  for (const file of files) {
    const text = file.tenant === null ? file.texts.get(key) : undefined
    if (text !== undefined) return { text, locale: file.locale }
  }
  return undefined
}

/** `zh-Hant-TW`, `zh-Hant`, `zh`. */
function shorter(locale: string): readonly string[] {
  const parts = locale.split('-')
  return parts.map((_, index) => parts.slice(0, parts.length - index).join('-'))
}

function formOf(forms: Exclude<Translation, string>, count: number, locale: string): string {
  if (count === 0 && forms.zero !== undefined) return forms.zero
  return forms[pluralForm(count, locale)] ?? forms.other ?? ''
}

/** What stands for a value in a text. */
export const PLACEHOLDER = /\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}/g

function fill(text: string, values: Readonly<Record<string, unknown>>, locale: string): string {
  if (!text.includes('{{')) return text
  return text.replace(PLACEHOLDER, (_, name: string) => {
    const value = Object.hasOwn(values, name) ? values[name] : undefined
    return name === 'count' && typeof value === 'number'
      ? formatNumber(value, [locale], {})
      : textOf(value)
  })
}
