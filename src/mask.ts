/** A shorter value would mask ordinary words. */
const LENGTH_MIN = 4
/** Part of a base64 text; a shorter one would hit ordinary words. */
const BASE64_LENGTH_MIN = 6
/** A whole file may be a secret, and an expression has a limit of its own. */
const PIECE_LENGTH_MAX = 4_000
const PATTERN_LENGTH_MAX = 16_000
/** How often a text may have been put into another one, each time with its backslashes doubled. */
const BACKSLASHES_MAX = 8

/** Takes known values out of texts. */
export interface Masker {
  add(value: string): void
  mask(text: string): string
}

/**
 * Opens a masker that puts `mark` in the place of each value, plain or encoded: as JSON, URLs, forms, HTML and
 * base64 write it, also partly and one inside the other, since nobody knows how those write who echo it.
 */
export function createMasker(values: readonly string[], mark: string): Masker {
  const forms = new Set(values.flatMap(formsOf))
  let patterns: readonly RegExp[] | undefined
  return {
    add(value) {
      const before = forms.size
      for (const form of formsOf(value)) forms.add(form)
      if (forms.size > before) patterns = undefined
    },
    mask(text) {
      patterns ??= patternsOf(forms)
      return patterns.reduce((all, pattern) => all.replace(pattern, mark), text)
    },
  }
}

/** A value as a whole, and as part of a base64 text. */
function formsOf(value: string): string[] {
  if (value.length < LENGTH_MIN) return []
  // Headers are read one byte a character, whatever they were written in.
  const inBytes = Buffer.from(value).toString('latin1')
  return [value, value.trim(), inBytes, ...base64Forms(value)]
    .flatMap(piecesOf)
    .filter((form) => form.length >= LENGTH_MIN)
}

/** A form that is too long for one expression is masked piece by piece. */
function piecesOf(form: string): readonly string[] {
  if (form.length <= PIECE_LENGTH_MAX) return [form]
  const count = Math.ceil(form.length / PIECE_LENGTH_MAX)
  // Of about the same length: a short last one would be found where it does not belong.
  const length = Math.ceil(form.length / count)
  return Array.from({ length: count }, (_, index) =>
    form.slice(index * length, (index + 1) * length),
  )
}

/**
 * Inside a longer text, as in `user:password`, a value has one of three base64 forms, by where it
 * starts. The characters at its ends also hold bits of its neighbours and are left out.
 */
function base64Forms(value: string): string[] {
  const bytes = Buffer.from(value)
  const whole = [bytes.toString('base64'), bytes.toString('base64url')]
  const parts = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replace(/=+$/, '')
    const start = offset === 0 ? 0 : offset + 1
    const isEven = (offset + bytes.length) % 3 === 0
    return text.slice(start, isEven ? undefined : -1)
  })
  const long = parts.filter((part) => part.length >= BASE64_LENGTH_MIN)
  return [...whole, ...long, ...long.map((part) => part.replaceAll('+', '-').replaceAll('/', '_'))]
}

/**
 * The longest first, so that a secret that holds another is not masked in part. Without regard to case:
 * hosts are written in small letters, and hexadecimal digits as one likes.
 */
function patternsOf(forms: ReadonlySet<string>): RegExp[] {
  const sorted = [...forms].toSorted((one, other) => other.length - one.length)
  const groups: string[][] = []
  let length = PATTERN_LENGTH_MAX
  for (const form of sorted) {
    if (length + form.length > PATTERN_LENGTH_MAX) {
      groups.push([])
      length = 0
    }
    groups.at(-1)?.push(form)
    length += form.length
  }
  return groups.map((group) => new RegExp(group.map(formPattern).join('|'), 'gi'))
}

function formPattern(form: string): string {
  // A run of backslashes is one unit: two that may each be doubled would be counted in too many ways.
  const units = form.toWellFormed().match(/\\+|[^\\]/gu) ?? []
  return units.map(unitPattern).join('')
}

const NAMED: Readonly<Record<string, string>> = {
  '&': 'amp',
  '<': 'lt',
  '>': 'gt',
  '"': 'quot',
  "'": 'apos',
}
const SHORT: Readonly<Record<string, string>> = {
  '\b': 'b',
  '\f': 'f',
  '\n': 'n',
  '\r': 'r',
  '\t': 't',
}

/** All the ways to write one character. */
function unitPattern(unit: string): string {
  if (/^[A-Za-z0-9]$/.test(unit)) return unit
  const percent = encoded(unit)
  if (unit.startsWith('\\')) {
    const many = `\\\\{${unit.length},${unit.length * BACKSLASHES_MAX}}`
    return `(?:${many}|${percent}|(?:&#0*92;|&#x0*5c;){${unit.length}})`
  }
  const code = unit.codePointAt(0) ?? 0
  const slashes = `\\\\{1,${BACKSLASHES_MAX}}`
  const units = Array.from({ length: unit.length }, (_, index) => unit.charCodeAt(index))
  const hex = units.map((one) => `${slashes}u${one.toString(16).padStart(4, '0')}`).join('')
  const ways = [
    escapeRegExp(unit),
    percent,
    hex,
    `&#0*${code};`,
    `&#x0*${code.toString(16)};`,
    ...(NAMED[unit] === undefined ? [] : [`&${NAMED[unit]};`]),
    ...(SHORT[unit] === undefined ? [] : [`${slashes}${SHORT[unit]}`]),
    ...(/["'/]/.test(unit) ? [`${slashes}${unit}`] : []),
    ...(unit === ' ' ? ['\\+'] : []),
  ]
  return `(?:${ways.join('|')})`
}

/** Percent-encoded, once or twice. */
function encoded(unit: string): string {
  const bytes = [...Buffer.from(unit)].map((byte) => byte.toString(16).padStart(2, '0'))
  return bytes.map((byte) => `%(?:25)?${byte}`).join('')
}

function escapeRegExp(text: string): string {
  return text.replace(/[$()*+.?[\\\]^{|}]/g, '\\$&')
}
