import { createMasker, type Masker } from '../mask.ts'
import type { Exchange } from './provider.ts'

/** What is kept of one body or one text of a delivery log. */
const TEXT_LENGTH_MAX = 8 * 1024
const HEADERS_MAX = 50
const HEADER_LENGTH_MAX = 1024
const MASK = '•••'
/** Headers that carry credentials by their nature; their values are never kept. */
const CREDENTIAL_HEADER =
  /^(authorization|proxy-authorization|cookie|set-cookie|.*(token|secret|password|api-?key|signature).*)$/i

/** Text that Postgres can store: NUL and lone surrogates become U+FFFD, the end is cut off. */
export function storableText(text: string, lengthMax: number = TEXT_LENGTH_MAX): string {
  const clean = text.slice(0, lengthMax).replaceAll('\0', '\uFFFD').toWellFormed()
  return text.length > lengthMax ? `${clean}… (${text.length} characters)` : clean
}

/** The part of an exchange that is kept: bounded, storable, and with the secrets masked by value. */
export function scrubExchange(exchange: Exchange, secrets: readonly string[]): Exchange {
  const { request, response } = exchange
  const scrub = scrubber(secrets)
  return {
    request: {
      method: request.method,
      host: scrub(request.host),
      path: scrub(request.path),
      headers: scrubHeaders(request.headers, scrub),
      body: scrubBody(request.body, scrub),
    },
    response: response && {
      status: response.status,
      headers: scrubHeaders(response.headers, scrub),
      body: scrubBody(response.body, scrub),
    },
  }
}

/** `text` bounded and storable, with each secret and its usual encodings masked. */
export function scrubText(text: string, secrets: readonly string[]): string {
  return scrubber(secrets)(text)
}

/** A value whole and storable, with each secret masked in its texts and keys. */
export function scrubValue(value: unknown, secrets: readonly string[]): unknown {
  if (secrets.length === 0) return storableValue(value)
  const masker = maskerOf(secrets)
  return storableValue(value, (text) => masker.mask(text))
}

type Scrub = (text: string) => string

function scrubber(secrets: readonly string[]): Scrub {
  const masker = maskerOf(secrets)
  return (text) => storableText(masker.mask(text))
}

/** A channel's messages have the same secrets, and making a masker takes longer than using it. */
const maskers = new Map<string, Masker>()
const MASKERS_MAX = 200

function maskerOf(secrets: readonly string[]): Masker {
  const name = JSON.stringify([...new Set(secrets)].toSorted())
  const known = maskers.get(name)
  if (known) return known
  if (maskers.size >= MASKERS_MAX) maskers.clear()
  const masker = createMasker(secrets, MASK)
  maskers.set(name, masker)
  return masker
}

function scrubHeaders(
  headers: Readonly<Record<string, string>>,
  scrub: Scrub,
): Record<string, string> {
  const entries = Object.entries(headers).slice(0, HEADERS_MAX)
  return Object.fromEntries(
    entries.map(([name, value]) => [
      storableText(scrub(name), HEADER_LENGTH_MAX),
      CREDENTIAL_HEADER.test(name) ? MASK : storableText(scrub(value), HEADER_LENGTH_MAX),
    ]),
  )
}

/** A body that fits stays a value; one that does not becomes the beginning of its text. */
function scrubBody(body: unknown, scrub: Scrub): unknown {
  if (body === null || body === undefined) return null
  if (typeof body === 'string') return scrub(body)
  const text = scrub(JSON.stringify(body))
  try {
    return storableValue(JSON.parse(text))
  } catch {
    return text
  }
}

/** A value without what Postgres refuses in jsonb, and with each text and key changed by `change` before. */
export function storableValue(value: unknown, change: Scrub = (text) => text): unknown {
  if (typeof value === 'string') return change(value).replaceAll('\0', '\uFFFD').toWellFormed()
  if (Array.isArray(value)) return value.map((item) => storableValue(item, change))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      storableValue(key, change),
      storableValue(item, change),
    ]),
  )
}
