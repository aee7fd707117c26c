import type { Door, Reply, RequestOptions } from './door.ts'
import type { Answer, Exchange, SendContext } from './provider.ts'
import { parseRetryAfter } from './retry-after.ts'
import { DoorError } from './target.ts'

/** One request to the API of a service. */
export interface ApiRequest {
  readonly method?: 'POST' | 'PUT'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
  /** The body as the log keeps it. */
  readonly shown: unknown
  /** Whether the path of the URL is a secret by itself, as that of an incoming webhook is. */
  readonly hidden?: boolean
}

/** What a service answered; its body as JSON, where it is. */
export interface ApiReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

type WithoutExchange<One> = One extends unknown ? Omit<One, 'exchange'> : never

/** An answer before the log of what went over the wire is put to it. */
export type Verdict = WithoutExchange<Exclude<Answer, { readonly kind: 'unknown' }>>

const TOTAL_MS = 25_000
const IDLE_MS = 20_000
const DETAILS_LENGTH_MAX = 500
/** Retrying changes nothing about these: the request is wrong. */
const PERMANENT = new Set([400, 404, 405, 406, 410, 411, 413, 414, 415, 422, 431, 501])

/** The setting with another address of the API: a region, or a gateway of one's own. */
export const endpointSchema = {
  description: 'Another address of the API: that of a region, or of a gateway.',
  type: 'string',
  maxLength: 500,
  pattern: '^https?://[^\\s?#@]+$',
} as const

/** The URL of `path` at the endpoint of the settings, else at `usual`. */
export function endpointUrl(
  settings: { readonly endpoint?: string },
  usual: string,
  path: string,
): string {
  return `${(settings.endpoint ?? usual).replace(/\/+$/, '')}${path}`
}

/**
 * Sends one request and makes an answer of what comes back. `judge` knows the service; where it says
 * nothing, the status decides as with any HTTP API.
 */
export async function callApi(
  request: ApiRequest,
  context: Pick<SendContext<unknown>, 'signal' | 'now'> & {
    readonly door: Pick<Door, 'request'>
  },
  judge: (reply: ApiReply) => Verdict | undefined,
): Promise<Answer> {
  const shown = describe(request)
  try {
    const reply = readReply(await context.door.request(request.url, optionsOf(request, context)))
    const verdict = judgeEdge(reply) ?? judge(reply) ?? judgeStatus(reply, context.now)
    return withExchange(verdict, { request: shown, response: reply })
  } catch (error) {
    if (!(error instanceof DoorError)) throw error
    return judgeFailure(error, shown, request)
  }
}

/** How `request` goes through the door; also for what a provider asks before it sends. */
export function optionsOf(
  request: ApiRequest,
  { signal }: Pick<SendContext<unknown>, 'signal'>,
): RequestOptions {
  return {
    method: request.method ?? 'POST',
    headers: { 'user-agent': 'Belfry', ...request.headers },
    body: request.body,
    signal,
    totalMs: TOTAL_MS,
    idleMs: IDLE_MS,
  }
}

/** A reply with its body as JSON, where it is. */
export function readReply(reply: Reply): ApiReply {
  const text = reply.body.toString()
  return { status: reply.status, headers: reply.headers, body: readJson(text) }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** What any HTTP API means by its status. */
export function judgeStatus(reply: ApiReply, now: Date): Verdict {
  const { status } = reply
  if (status >= 200 && status < 300) return accepted(null)
  const wait = parseRetryAfter(reply.headers['retry-after'], now)
  const retryAfter = wait === undefined ? {} : { retryAfterMs: wait }
  const details = detailsOf(reply)
  if (status === 429 || (status === 503 && wait !== undefined)) {
    return { kind: 'throttled', details, ...retryAfter }
  }
  if (status === 401 || status === 403) return channelFailure(details)
  if (status >= 300 && status < 400) {
    return { kind: 'rejected', reason: 'redirected', details: `${details}; not followed` }
  }
  if (PERMANENT.has(status)) return rejected(details)
  return { kind: 'failed', details, ...retryAfter }
}

/** The service took the message; `reference` is its id there. */
export function accepted(reference: unknown): Verdict {
  return {
    kind: 'accepted',
    status: 'sent',
    reference: typeof reference === 'string' && reference !== '' ? reference : null,
  }
}

/** The service will not take this message, however often it is asked. */
export function rejected(details: string): Verdict {
  return { kind: 'rejected', reason: 'provider_rejected', details }
}

/** The address is no more. */
export function bounced(details: string): Verdict {
  return { kind: 'bounced', reason: 'address_gone', details }
}

/** The cause is the channel and not the message: it is worth trying again once somebody has mended it. */
export function channelFailure(details: string): Verdict {
  return { kind: 'failed', channel: true, details: `the service refused the channel: ${details}` }
}

/** The channel cannot send anything as it is set up, so nothing has gone out; the same holds until somebody mends it. */
export function brokenChannel(details: string): Answer {
  return { kind: 'failed', channel: true, details, exchange: null }
}

/** As an answer about what this one message goes to, whose credentials were not those of the channel. */
export function ofConnection(answer: Answer): Answer {
  if (answer.kind !== 'failed') return answer
  const { channel: _, ...rest } = answer
  return rest
}

/** The refusal of what must not be sent; nothing has gone out. */
export function refused(reason: string, details: string): Answer {
  return { kind: 'rejected', reason, details, exchange: null }
}

/** The answer as one line for people: the status, and what the body says. */
export function detailsOf({ status, body }: ApiReply): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const line = text.replaceAll(/\s+/g, ' ').trim().slice(0, DETAILS_LENGTH_MAX)
  return line === '' ? `the service answered ${status}` : `the service answered ${status}: ${line}`
}

/** The value under `keys` of a body that may be anything. */
export function pick(body: unknown, ...keys: readonly (string | number)[]): unknown {
  return keys.reduce<unknown>((value, key) => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    return (value as Record<string | number, unknown>)[key]
  }, body)
}

/** A page of HTML comes from something in front of the API, which says nothing about the message. */
function judgeEdge({ status, headers }: ApiReply): Verdict | undefined {
  const isPage = status >= 400 && /^text\/html\b/i.test(headers['content-type'] ?? '')
  if (!isPage || status === 429 || status === 503) return undefined
  return { kind: 'failed', details: `the service answered ${status} with a page of HTML` }
}

function withExchange(verdict: Verdict, exchange: Exchange): Answer {
  return { ...verdict, exchange }
}

function describe({ method = 'POST', url, headers, shown, hidden }: ApiRequest) {
  const { host, pathname, search } = URL.canParse(url)
    ? new URL(url)
    : { host: '', pathname: '', search: '' }
  return { method, host, path: hidden ? '•••' : pathname + search, headers, body: shown }
}

function judgeFailure(
  error: DoorError,
  shown: Exchange['request'],
  { url, hidden }: ApiRequest,
): Answer {
  const { message: details } = error
  if (error.code === 'forbidden_target') return refused('forbidden_target', details)
  if (error.code === 'invalid_target') {
    return refused('invalid_request', hidden ? 'the URL cannot be used' : `${details} (${url})`)
  }
  const exchange = { request: shown, response: null }
  return error.sent ? { kind: 'unknown', details, exchange } : { kind: 'failed', details, exchange }
}
