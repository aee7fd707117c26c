import { chargeStep } from './template-budget.ts'
import type { Translations } from './translations.ts'

/** What Handlebars hands to a helper behind its arguments. */
export interface Call {
  readonly fn: (context: unknown, options?: object) => string
  readonly inverse: (context: unknown, options?: object) => string
  readonly hash: Readonly<Record<string, unknown>>
  readonly data: { readonly root?: unknown; readonly translations?: Translations } | undefined
}

/** A helper: how it may be written, and what it does. */
export interface Helper {
  readonly summary: string
  /** Written as `{{#name}}…{{/name}}`, or as a value. */
  readonly use: 'block' | 'value'
  readonly arguments: readonly [least: number, most: number]
  /** Named arguments, and what a literal one may be where that is limited. */
  readonly named: Readonly<Record<string, readonly string[] | null>>
  /** Any other named argument is taken too. */
  readonly isOpen?: true
  /** Answers safe HTML, which stands as it is in the text of HTML and nowhere else. */
  readonly isMarkup?: true
  /** Only hands its arguments on or asks whether they are set, so that a secret may be one. */
  readonly passesSecrets?: true
  run(self: unknown, given: readonly unknown[], call: Call): unknown
}

/** A helper of plain values without named arguments. */
export function plain(
  least: number,
  most: number,
  summary: string,
  run: (...given: readonly unknown[]) => unknown,
): Helper {
  return {
    summary,
    use: 'value',
    arguments: [least, most],
    named: {},
    run: (_, given) => run(...given),
  }
}

/** Pays for work on the text, and answers it. Throws `BudgetExceeded`. */
export function work(text: string): string {
  chargeStep(text.length)
  return text
}

/** A property of its own of what holds it; undefined where there is none. */
export function lookup(holder: unknown, key: unknown): unknown {
  if (holder === null || holder === undefined) return undefined
  if (typeof key !== 'string' && typeof key !== 'number') return undefined
  return Object.hasOwn(holder, key) ? (holder as Record<string, unknown>)[key] : undefined
}

/** Whether a value is neither there nor null. */
export function isUnset(value: unknown): value is null | undefined {
  return value === undefined || value === null
}

/** The locales that a helper writes for, the nearest first. */
export function localesOf({ hash, data }: Call): readonly unknown[] {
  const root = data?.root
  return [hash['locale'], lookup(lookup(root, 'recipient'), 'locale'), lookup(root, 'locale')]
}
