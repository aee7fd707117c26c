import { createHmac } from 'node:crypto'
import { urlNext, urlPart } from '../language/template-url.ts'
import type { WebhookContent } from '../steps/step.ts'
import { hasControls } from './address.ts'
import type { Reply } from './door.ts'
import { parseRetryAfter } from './retry-after.ts'
import { secretOr } from './secret.ts'
import type { Answer, Exchange, HandOver, Provider, SendContext } from './provider.ts'
import { DoorError } from './target.ts'

export interface WebhookSettings {
  /** Signs each request as Standard Webhooks says: `whsec_` and the key in base64, or any text. */
  readonly signing_secret?: string
}

const METHODS = new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
const TOTAL_MS = 25_000
const IDLE_MS = 20_000
/** Retrying changes nothing about these: the address, the credentials or the request is wrong. */
const PERMANENT = new Set([400, 401, 403, 404, 405, 406, 410, 411, 413, 414, 415, 422, 431, 501])
/** Headers that the connection or this provider sets itself. */
const RESERVED =
  /^(host|connection|content-length|transfer-encoding|keep-alive|upgrade|te|trailer|expect|proxy-.*|idempotency-key|webhook-(id|timestamp|signature))$/i
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** Sends the rendered request to the URL of the step. */
export const webhook: Provider<'webhook', WebhookContent, WebhookSettings> = {
  name: 'webhook',
  type: 'webhook',
  summary: 'An HTTP request with an idempotency key and Standard Webhooks headers.',
  schema: {
    required: [],
    properties: { signing_secret: secretOr({ type: 'string', minLength: 8, maxLength: 500 }) },
  },
  example: { signing_secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' },
  delivery: 'handed_over',

  async send(message, context) {
    const wire = write(message, context)
    if (typeof wire === 'string') return refused(wire)
    const request = describe(message.content, wire)
    try {
      const reply = await context.door.request(wire.url, {
        method: request.method,
        headers: wire.headers,
        ...(wire.body !== undefined && { body: wire.body }),
        signal: context.signal,
        totalMs: TOTAL_MS,
        idleMs: IDLE_MS,
      })
      return judge(reply, { request, response: responseOf(reply) }, context.now)
    } catch (error) {
      if (!(error instanceof DoorError)) throw error
      return judgeFailure(error, { request, response: null }, wire.url)
    }
  },
}

/** The request as the log keeps it: the placeholders of secrets stay where they are. */
function describe(content: WebhookContent, wire: Wire): Exchange['request'] {
  const url = withQuery(content.url, content.query)
  const whole = typeof url !== 'string'
  return {
    method: content.method.toUpperCase(),
    // A URL that is a secret as a whole is not shown at all.
    host: whole ? url.host : '',
    path: whole ? url.pathname + url.search : content.url,
    headers: { ...wire.added, ...content.headers },
    body: content.body ?? null,
  }
}

interface Wire {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** The headers among them that are ours. */
  readonly added: Readonly<Record<string, string>>
  readonly body: string | undefined
}

/** The request as it goes out, secrets in place; or what is wrong with it. */
function write(
  message: HandOver<WebhookContent>,
  context: SendContext<WebhookSettings>,
): Wire | string {
  const { content } = message
  const method = content.method.toUpperCase()
  if (!METHODS.has(method)) return `the method ${method.slice(0, 20)} is not taken`
  const secrets = secretsOf(content, context)
  const fill = (text: string) =>
    secrets.reduce((all, [placeholder, value]) => all.replaceAll(placeholder, () => value), text)
  const url = withQuery(fillUrl(content.url, secrets), mapValues(content.query, fill))
  if (typeof url === 'string') return url
  const own = mapValues(content.headers, fill)
  const wrong = Object.entries(own).find(([name, value]) => !isHeader(name, value))
  if (wrong) return `the header ${JSON.stringify(wrong[0])} cannot be sent`
  const hasBody = content.body !== null && content.body !== undefined && method !== 'GET'
  const body = hasBody ? bodyText(fillTree(content.body, fill)) : undefined
  const added = {
    ...(hasBody &&
      !hasHeader(own, 'content-type') && { 'content-type': contentType(content.body) }),
    ...(!hasHeader(own, 'user-agent') && { 'user-agent': 'Belfry' }),
    'idempotency-key': message.id,
    ...signature(message.id, body ?? '', context),
  }
  return { url: url.href, headers: { ...own, ...added }, added, body }
}

function withQuery(text: string, query: Readonly<Record<string, string>>): URL | string {
  if (!URL.canParse(text)) return 'the URL is not complete'
  const url = new URL(text)
  for (const [name, value] of Object.entries(query)) url.searchParams.append(name, value)
  return url
}

/** What stands for a secret in the content, and the secret. */
type Filling = readonly [placeholder: string, value: string]

function secretsOf(
  content: WebhookContent,
  context: SendContext<WebhookSettings>,
): readonly Filling[] {
  return Object.entries(content.secrets).map(([placeholder, variable]) => [
    placeholder,
    context.secret(variable),
  ])
}

/** As with any value: one that begins the URL is written as it is, one behind that stays in its part of it. */
function fillUrl(text: string, secrets: readonly Filling[]): string {
  if (secrets.length === 0) return text
  const values = new Map(secrets)
  const marks = new RegExp([...values.keys()].join('|'), 'g')
  return text.replaceAll(marks, (placeholder, at: number) => {
    const value = values.get(placeholder) ?? ''
    if (at === 0) return value
    const isBehindHost = /^(?:[^:/?#]*:\/\/)?[^/?#]*$/.test(text.slice(0, at))
    return isBehindHost ? urlNext(value) : urlPart(value)
  })
}

function fillTree(tree: unknown, fill: (text: string) => string): unknown {
  if (typeof tree === 'string') return fill(tree)
  if (Array.isArray(tree)) return tree.map((item) => fillTree(item, fill))
  if (typeof tree !== 'object' || tree === null) return tree
  return Object.fromEntries(Object.entries(tree).map(([key, item]) => [key, fillTree(item, fill)]))
}

function mapValues(record: Readonly<Record<string, string>>, map: (value: string) => string) {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]))
}

function isHeader(name: string, value: string): boolean {
  return HEADER_NAME.test(name) && !RESERVED.test(name) && !hasControls(value)
}

function hasHeader(headers: Readonly<Record<string, string>>, name: string): boolean {
  return Object.keys(headers).some((key) => key.toLowerCase() === name)
}

function bodyText(body: unknown): string {
  return typeof body === 'string' ? body : JSON.stringify(body)
}

function contentType(body: unknown): string {
  return typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json'
}

/** The Standard Webhooks headers; the signature only where the channel has a secret. */
function signature(id: string, body: string, context: SendContext<WebhookSettings>) {
  const timestamp = Math.floor(context.now.getTime() / 1000).toString()
  const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp }
  const secret = context.settings.signing_secret
  if (secret === undefined) return headers
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : secret
  const hash = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return { ...headers, 'webhook-signature': `v1,${hash}` }
}

function responseOf(reply: Reply): Exchange['response'] {
  return { status: reply.status, headers: reply.headers, body: readable(reply.body) }
}

function readable(body: Buffer): unknown {
  const text = body.toString()
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function refused(details: string): Answer {
  return { kind: 'rejected', reason: 'invalid_request', details, exchange: null }
}

function judge(reply: Reply, exchange: Exchange, now: Date): Answer {
  const { status } = reply
  const details = `the endpoint answered ${status}`
  if (status >= 200 && status < 300) {
    return { kind: 'accepted', status: 'delivered', reference: null, exchange }
  }
  const wait = parseRetryAfter(reply.headers['retry-after'], now)
  const retryAfter = wait === undefined ? {} : { retryAfterMs: wait }
  if (status === 429 || (status === 503 && wait !== undefined)) {
    return { kind: 'throttled', details, ...retryAfter, exchange }
  }
  if (status >= 300 && status < 400) {
    return {
      kind: 'rejected',
      reason: 'redirected',
      details: `${details}; redirects are not followed`,
      exchange,
    }
  }
  if (PERMANENT.has(status))
    return { kind: 'rejected', reason: 'provider_rejected', details, exchange }
  return { kind: 'failed', details, ...retryAfter, exchange }
}

function judgeFailure(error: DoorError, exchange: Exchange, url: string): Answer {
  const isHidden = exchange.request.host === ''
  const details = isHidden ? withoutHost(error.message, new URL(url)) : error.message
  if (error.code === 'forbidden_target') {
    return { kind: 'rejected', reason: 'forbidden_target', details, exchange: null }
  }
  if (error.code === 'invalid_target') return refused(details)
  if (error.sent) return { kind: 'unknown', details, exchange }
  return { kind: 'failed', details, exchange }
}

/** The host of a URL that is a secret as a whole is part of the secret. */
function withoutHost(text: string, { host, hostname }: URL): string {
  return text.replaceAll(host, '•••').replaceAll(hostname, '•••')
}
