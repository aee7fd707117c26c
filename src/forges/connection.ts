import { isJsonObject } from '../json.ts'
import type { Door, Reply } from '../channels/door.ts'
import { scrubText } from '../channels/exchange.ts'
import { parseRetryAfter } from '../channels/retry-after.ts'
import type { Clock } from '../clock.ts'
import { messageOf } from '../errors.ts'
import type { ForgeSettings } from '../forge-settings.ts'
import { ForgeFailure } from './failure.ts'

export interface ConnectOptions {
  /** A door of its own that may reach every address: the only host that is asked is the operator's setting. */
  readonly door: Door
  readonly clock: Clock
  readonly credentials: Readonly<Record<string, string>>
  /** Aborted when calls under way must end. */
  readonly signal?: AbortSignal
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** The JSON of the body; null where it holds none. */
  readonly body: unknown
}

/** Speaks to the API of one forge, and to nothing else. */
export interface Connection {
  /** `owner/name`. */
  readonly repository: string
  /** Throws a `ForgeFailure` for every answer that is not a success. `path` begins with a slash. */
  readonly call: (method: string, path: string, body?: object) => Promise<Answer>
  /** The entries of all pages of a list, as far as `PAGES_MAX` goes. */
  readonly list: (path: string, page: PageOptions) => Promise<readonly Record<string, unknown>[]>
}

export interface PageOptions {
  /** The name of the parameter that bounds a page. */
  readonly sizeName: 'per_page' | 'limit'
  readonly size: number
  /** Where the entries stand in the answer's object; absent where it is a list itself. */
  readonly field?: string
}

const TOTAL_MS = 15_000
/** A page of pull requests with all their texts. */
const BYTES_MAX = 16 * 1024 * 1024
const PAGES_MAX = 20
const TEXT_LENGTH_MAX = 200
const DAY_MS = 86_400_000

/** Nothing is sent before the first call. */
export function connect(settings: ForgeSettings, options: ConnectOptions): Connection {
  const call = (method: string, path: string, body?: object) =>
    send(settings, options, { method, path, body })
  return {
    repository: settings.repository,
    call,
    async list(path, page) {
      const entries: Record<string, unknown>[] = []
      for (let number = 1; number <= PAGES_MAX; number += 1) {
        const mark = path.includes('?') ? '&' : '?'
        const size = `${page.sizeName}=${page.size}&page=${number}`
        const answer = await call('GET', `${path}${mark}${size}`)
        const found = page.field === undefined ? answer.body : field(answer.body, page.field)
        if (Array.isArray(found)) entries.push(...found.filter(isJsonObject))
        // The address in it is not followed: it could lead elsewhere.
        if (!/rel="?next"?/.test(answer.headers['link'] ?? '')) break
      }
      return entries
    },
  }
}

interface Call {
  readonly method: string
  readonly path: string
  readonly body: object | undefined
}

async function send(
  settings: ForgeSettings,
  options: ConnectOptions,
  { method, path, body }: Call,
): Promise<Answer> {
  const say = (text: string) => scrubText(text, [settings.token]).slice(0, TEXT_LENGTH_MAX)
  let reply: Reply
  try {
    reply = await options.door.request(`${settings.url}${path}`, {
      method,
      headers: {
        accept: 'application/json',
        'user-agent': 'belfry',
        ...options.credentials,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
      ...(options.signal && { signal: options.signal }),
      totalMs: TOTAL_MS,
      bytesMax: BYTES_MAX,
    })
  } catch (error) {
    throw new ForgeFailure('unavailable', say(messageOf(error)))
  }
  const { status, headers } = reply
  if (reply.truncated) {
    throw new ForgeFailure('unavailable', `the answer to ${method} is too long`, { status })
  }
  const answer = { status, headers, body: parse(reply.body) }
  if (status >= 200 && status < 300) return answer
  const text = `the forge answered ${status} to ${method}: ${explanation(answer.body)}`
  throw failureOf(answer, say(text), options.clock.now())
}

function failureOf({ status, headers }: Answer, message: string, now: Date): ForgeFailure {
  const asked = parseRetryAfter(headers['retry-after'], now)
  // Forges answer 403 as well as 429 to one who asks too often.
  if (status === 429 || (status === 403 && (isSpent(headers) || asked !== undefined))) {
    return new ForgeFailure('limited', message, {
      status,
      retryMs: asked ?? untilReset(headers, now),
    })
  }
  if (status === 401 || status === 403) return new ForgeFailure('denied', message, { status })
  // A redirect is not followed: it could lead elsewhere with the token.
  const isTrouble = status >= 500 || status === 408 || status === 425
  return new ForgeFailure(isTrouble ? 'unavailable' : 'refused', message, {
    status,
    retryMs: asked,
  })
}

function isSpent(headers: Readonly<Record<string, string>>): boolean {
  return headers['x-ratelimit-remaining'] === '0' || headers['ratelimit-remaining'] === '0'
}

/** Both name the second since 1970 at which the limit is counted anew. */
function untilReset(headers: Readonly<Record<string, string>>, now: Date): number | undefined {
  const reset = Number(headers['x-ratelimit-reset'] ?? headers['ratelimit-reset'])
  if (!Number.isFinite(reset) || reset <= 0) return undefined
  return Math.min(Math.max(reset * 1000 - now.getTime(), 0), DAY_MS)
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    return null
  }
}

/** What the forge says about it, in the few forms that forges have for that. */
function explanation(body: unknown): string {
  const said = field(body, 'message') ?? field(body, 'error') ?? ''
  const errors = field(body, 'errors')
  const more = Array.isArray(errors) ? errors.map((one) => field(one, 'message') ?? one) : []
  return [said, ...more]
    .map((one) => (typeof one === 'string' ? one : JSON.stringify(one)))
    .join('; ')
}

/** A field of an object; undefined of anything else. */
export function field(value: unknown, name: string): unknown {
  return isJsonObject(value) ? value[name] : undefined
}

/** A field that holds a text; an empty one where it does not. */
export function textField(value: unknown, name: string): string {
  const found = field(value, name)
  return typeof found === 'string' ? found : ''
}

/** A field that holds a number, or the text of one; 0 where it does not. */
export function numberField(value: unknown, name: string): number {
  const found = Number(field(value, name))
  return Number.isFinite(found) ? found : 0
}
