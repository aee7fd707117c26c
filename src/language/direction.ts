/** What was asked before: there are few locales, and people may write anything. */
const known = new Map<string, Direction>()
const KNOWN_MAX = 500

export type Direction = 'ltr' | 'rtl'

/** The direction in which a locale is written; that of most where it is none. */
export function directionOf(locale: unknown): Direction {
  if (typeof locale !== 'string') return 'ltr'
  const found = known.get(locale)
  if (found !== undefined) return found
  if (known.size >= KNOWN_MAX) known.clear()
  const direction = read(locale)
  known.set(locale, direction)
  return direction
}

/** What newer runtimes know of a locale, and the types of the language do not. */
interface WithText extends Intl.Locale {
  getTextInfo(): { readonly direction?: string }
}

function read(locale: string): Direction {
  try {
    const { direction } = (new Intl.Locale(locale) as WithText).getTextInfo()
    return direction === 'rtl' ? 'rtl' : 'ltr'
  } catch {
    return 'ltr'
  }
}
