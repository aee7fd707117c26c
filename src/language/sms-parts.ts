/** The letters of GSM 7-bit, the alphabet of text messages, and those that count twice in it. */
const SINGLE = new Set(
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà',
)
const DOUBLE = new Set('\f^{}\\[~]|€')
/** What one message holds, and what each part of a longer one does. */
const LETTERS = { whole: 160, part: 153 }
/** The same where one letter is foreign: then all are written in UTF-16. */
const UNITS = { whole: 70, part: 67 }

export interface SmsParts {
  /** In how many parts a text is sent, each of which is paid for. */
  readonly parts: number
  /** The letters that are foreign to text messages, each once. */
  readonly foreign: readonly string[]
  /** In how many it would be sent if each of those were a letter of text messages. */
  readonly without: number
}

export function smsParts(text: string): SmsParts {
  let letters = 0
  const foreign = new Set<string>()
  for (const letter of text) {
    letters += DOUBLE.has(letter) ? 2 : 1
    if (!SINGLE.has(letter) && !DOUBLE.has(letter)) foreign.add(letter)
  }
  const without = partsOf(letters, LETTERS)
  const parts = foreign.size === 0 ? without : partsOf(text.length, UNITS)
  return { parts, foreign: [...foreign], without }
}

function partsOf(length: number, { whole, part }: typeof LETTERS): number {
  return length <= whole ? 1 : Math.ceil(length / part)
}
