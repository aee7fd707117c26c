import type { FetchContent } from '../steps/step.ts'
import type { Door, Reply } from './door.ts'
import {
  describeRequest,
  isDeep,
  responseOf,
  withoutHost,
  writeRequest,
  type WireOptions,
} from './http-request.ts'
import type { Exchange } from './provider.ts'
import { parseRetryAfter } from './retry-after.ts'
import { DoorError } from './target.ts'

export interface FetchOptions extends WireOptions {
  readonly door: Door
  /** Aborted when the process stops. */
  readonly signal: AbortSignal
}

/**
 * What became of one request. Texts, values and exchange may hold secrets: whoever keeps an answer scrubs it.
 * `exchange` is null where nothing went out.
 */
export type FetchAnswer =
  /** `value`: what was answered, as JSON; undefined where the answer has no body. */
  | { readonly kind: 'fetched'; readonly value: unknown; readonly exchange: Exchange }
  /** Asking again changes nothing. */
  | { readonly kind: 'refused'; readonly details: string; readonly exchange: Exchange | null }
  /** Worth another attempt. */
  | {
      readonly kind: 'failed'
      readonly details: string
      readonly retryAfterMs?: number
      readonly exchange: Exchange | null
    }
  /** To be asked again later, without using up an attempt. */
  | {
      readonly kind: 'throttled'
      readonly details: string
      readonly retryAfterMs?: number
      readonly exchange: Exchange
    }

const TOTAL_MS = 15_000
/** How much one answer may bring. */
export const ANSWER_BYTES_MAX = 5 * 1024 * 1024
const SUCCESS = new Set([200, 201, 204])

/** Makes a request through the door, once, and reads the JSON that comes back. Throws where a secret is missing. */
export async function fetchJson(
  content: FetchContent,
  options: FetchOptions,
): Promise<FetchAnswer> {
  const wire = writeRequest(content, options)
  if (typeof wire === 'string') return { kind: 'refused', details: wire, exchange: null }
  const request = describeRequest(content, wire)
  try {
    const reply = await options.door.request(wire.url, {
      method: wire.method,
      headers: { accept: 'application/json', ...wire.headers },
      ...(wire.body !== undefined && { body: wire.body }),
      signal: options.signal,
      totalMs: TOTAL_MS,
      idleMs: TOTAL_MS,
      bytesMax: ANSWER_BYTES_MAX,
    })
    return judge(reply, { request, response: responseOf(reply) }, options.now)
  } catch (error) {
    if (!(error instanceof DoorError)) throw error
    return judgeFailure(error, { request, response: null }, wire.url)
  }
}

function judge(reply: Reply, exchange: Exchange, now: Date): FetchAnswer {
  const { status } = reply
  if (SUCCESS.has(status)) return read(reply, exchange)
  const details = `the endpoint answered ${status}`
  const wait = parseRetryAfter(reply.headers['retry-after'], now)
  const retryAfter = wait === undefined ? {} : { retryAfterMs: wait }
  if (status === 429 || (status === 503 && wait !== undefined))
    return { kind: 'throttled', details, ...retryAfter, exchange }
  if (status >= 500) return { kind: 'failed', details, ...retryAfter, exchange }
  if (status >= 300 && status < 400)
    return { kind: 'refused', details: `${details}; redirects are not followed`, exchange }
  return { kind: 'refused', details, exchange }
}

function read(reply: Reply, exchange: Exchange): FetchAnswer {
  const refused = (details: string) => ({ kind: 'refused', details, exchange }) as const
  if (reply.truncated) return refused(`the answer is larger than ${ANSWER_BYTES_MAX} bytes`)
  // What is no UTF-8 becomes U+FFFD, and a byte order mark is left out.
  const text = new TextDecoder().decode(reply.body)
  if (reply.status === 204 || text.trim() === '')
    return { kind: 'fetched', value: undefined, exchange }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return refused('the answer is not JSON')
  }
  if (isDeep(value)) return refused('the answer is nested too deep')
  return { kind: 'fetched', value, exchange }
}

function judgeFailure(error: DoorError, exchange: Exchange, url: string): FetchAnswer {
  const isHidden = exchange.request.host === ''
  const details = isHidden ? withoutHost(error.message, new URL(url)) : error.message
  if (error.code === 'forbidden_target' || error.code === 'invalid_target')
    return { kind: 'refused', details, exchange: null }
  return { kind: 'failed', details, exchange: error.sent ? exchange : null }
}
