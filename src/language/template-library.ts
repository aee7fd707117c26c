import { createHash, createHmac } from 'node:crypto'
import { markdownFragment } from './markdown.ts'
import { checkTime } from './template-budget.ts'
import { chargeStep, OUTPUT_MAX } from './template-budget.ts'
import { dateOf } from './template-date.ts'
import { textOf } from './template-escape.ts'
import {
  currencyOf,
  decimalsOf,
  formatNumber,
  formatRelative,
  HelperFailure,
  NUMBER_STYLES,
  numberOf,
  shown,
} from './template-format.ts'
import {
  isUnset,
  localesOf,
  lookup,
  plain,
  work,
  type Call,
  type Helper,
} from './template-helper.ts'
import { translate } from './translations.ts'

const HASHES = ['sha256', 'sha1', 'sha512', 'md5'] as const
const ENCODINGS = ['hex', 'base64', 'base64url'] as const

/** The helpers of numbers, times, words and digests, by name. */
export const libraryHelpers: Readonly<Record<string, Helper>> = {
  t: {
    summary:
      'The text of a key in the locale of the recipient, with the named values in its places; count= chooses the plural form, default= stands in where no file has the key, locale= and tenant= look for another reader.',
    use: 'value',
    arguments: [1, 1],
    named: { count: null, default: null, locale: null, tenant: null },
    isOpen: true,
    run: (_, [key], call) => translated(key, call),
  },
  number: {
    summary:
      'A number as the recipient writes it: decimals=2, style="decimal|percent|compact", locale="de".',
    use: 'value',
    arguments: [1, 1],
    named: { decimals: null, style: NUMBER_STYLES, locale: null },
    run: (_, [value], call) => number(value, call),
  },
  currency: {
    summary:
      'An amount of money as the recipient writes it, in the currency of the second value: decimals=0, locale="de".',
    use: 'value',
    arguments: [2, 2],
    named: { decimals: null, locale: null },
    run: (_, [value, code], call) => currency(value, code, call),
  },
  relative: {
    summary:
      'A time as seen from now, or from= another one: "in 3 days", "2 hours ago"; locale="de".',
    use: 'value',
    arguments: [1, 1],
    named: { from: null, locale: null },
    run: (_, [value], call) => relative(value, call),
  },
  markdown: {
    summary:
      'The HTML of a value that is Markdown, in the text of HTML only: no HTML or image of its own passes.',
    use: 'value',
    arguments: [1, 1],
    named: {},
    isMarkup: true,
    run(_, [value]) {
      const markdown = work(textOf(value))
      checkTime()
      const html = markdownFragment(markdown)
      checkTime()
      return html
    },
  },
  add: arithmetic('The sum of two numbers.', (left, right) => left + right),
  subtract: arithmetic('The first number less the second.', (left, right) => left - right),
  multiply: arithmetic('The product of two numbers.', (left, right) => left * right),
  divide: arithmetic('The first number divided by the second.', (left, right) => {
    if (right === 0) throw new HelperFailure('divide cannot divide by 0')
    return left / right
  }),
  round: plain(1, 2, 'The number rounded, to so many digits behind the point.', round),
  titlecase: plain(1, 1, 'The text with each word beginning with a capital letter.', (value) =>
    work(textOf(value)).replace(/(?<![\p{L}\p{N}'’])\p{L}/gu, (letter) => letter.toUpperCase()),
  ),
  trim: plain(1, 1, 'The text without the spaces around it.', (value) =>
    work(textOf(value)).trim(),
  ),
  replace: plain(
    3,
    3,
    'The text with each place of the second one replaced by the third.',
    replace,
  ),
  concat: plain(1, 20, 'The values as one text, one behind the other.', (...values) =>
    values.map((value) => work(textOf(value))).join(''),
  ),
  hmac: {
    summary:
      'The HMAC of a text, keyed with key=: hash="sha256|sha1|sha512|md5", encoding="hex|base64|base64url".',
    use: 'value',
    arguments: [1, 1],
    named: { key: null, hash: HASHES, encoding: ENCODINGS },
    run: (_, [value], call) => hmac(value, call),
  },
  digest: {
    summary:
      'The digest of a text: hash="sha256|sha1|sha512|md5", encoding="hex|base64|base64url".',
    use: 'value',
    arguments: [1, 1],
    named: { hash: HASHES, encoding: ENCODINGS },
    run: (_, [value], { hash }) =>
      createHash(oneOf('hash of digest', hash['hash'], HASHES))
        .update(work(textOf(value)))
        .digest(oneOf('encoding of digest', hash['encoding'], ENCODINGS)),
  },
}

function arithmetic(summary: string, run: (left: number, right: number) => number): Helper {
  return plain(2, 2, summary, (left, right) =>
    tidy(run(numberOf('a calculation', left) ?? 0, numberOf('a calculation', right) ?? 0)),
  )
}

/** 0.1 + 0.2 is 0.3 to a reader. */
function tidy(value: number): number {
  return Number.isFinite(value) ? Number(value.toPrecision(15)) : value
}

function round(value: unknown, digits: unknown): number | undefined {
  const found = numberOf('round', value)
  const places = numberOf('round', digits) ?? 0
  if (!Number.isInteger(places) || places < 0 || places > 15) {
    throw new HelperFailure('round takes a whole number of digits from 0 to 15')
  }
  if (found === undefined) return undefined
  const factor = 10 ** places
  return Math.round(tidy(found * factor)) / factor
}

function translated(key: unknown, call: Call): string {
  const { hash, data } = call
  const root = data?.root
  const translations = data?.translations ?? { files: [], fallback: 'en' }
  const tenant = hash['tenant'] ?? lookup(lookup(root, 'tenant'), 'id')
  return work(translate(translations, key, { locales: localesOf(call), tenant }, hash))
}

function number(value: unknown, call: Call): string {
  const found = numberOf('number', value)
  if (found === undefined) return ''
  const style = oneOf('style of number', call.hash['style'], NUMBER_STYLES)
  return formatNumber(found, localesOf(call), {
    ...(style === 'percent' && { style }),
    ...(style === 'compact' && { notation: style }),
    ...decimalsOf('number', call.hash['decimals']),
  })
}

function currency(value: unknown, code: unknown, call: Call): string {
  const found = numberOf('currency', value)
  if (found === undefined) return ''
  return formatNumber(found, localesOf(call), {
    style: 'currency',
    currency: currencyOf(code),
    ...decimalsOf('currency', call.hash['decimals']),
  })
}

function relative(value: unknown, call: Call): string {
  const time = dateOf(value)
  if (!time) {
    if (isUnset(value) || value === '') return ''
    throw new HelperFailure(`relative takes a time, not ${shown(value)}`)
  }
  const from = dateOf(call.hash['from'] ?? lookup(call.data?.root, 'timestamp'))
  if (!from) throw new HelperFailure('from of relative takes a time')
  return formatRelative(time.getTime(), from.getTime(), localesOf(call))
}

function replace(value: unknown, from: unknown, to: unknown): string {
  const text = work(textOf(value))
  const wanted = textOf(from)
  if (wanted === '') return text
  const parts = text.split(wanted)
  const other = textOf(to)
  // Paid for before it is made: what is put in can be much longer than the text.
  chargeStep(parts.length * other.length)
  if (parts.length * other.length > OUTPUT_MAX)
    throw new HelperFailure('replace makes too long a text')
  return parts.join(other)
}

function hmac(value: unknown, { hash }: Call): string {
  const key = textOf(hash['key'])
  if (key === '') throw new HelperFailure('hmac needs key="…", and the one given is empty')
  return createHmac(oneOf('hash of hmac', hash['hash'], HASHES), key)
    .update(work(textOf(value)))
    .digest(oneOf('encoding of hmac', hash['encoding'], ENCODINGS))
}

/** The value where it is one of these, the first of them where it is unset. Throws `HelperFailure`. */
function oneOf<One extends string>(what: string, value: unknown, allowed: readonly One[]): One {
  if (isUnset(value)) return allowed[0]!
  const found = allowed.find((one) => one === value)
  if (found === undefined) {
    throw new HelperFailure(`${what} is one of ${allowed.join(', ')}, not ${shown(value)}`)
  }
  return found
}
