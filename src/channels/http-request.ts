import { createHmac } from 'node:crypto'
import { urlNext, urlPart } from '../language/template-url.ts'
import type { RequestContent } from '../steps/step.ts'
import { hasControls } from './address.ts'
import type { Reply } from './door.ts'
import type { Exchange } from './provider.ts'

/** What a request needs beside its content. */
export interface WireOptions {
  /** The same for each repetition of this request. */
  readonly id: string
  /** Signs it as Standard Webhooks says: `whsec_` and the key in base64, or any text. */
  readonly signingSecret: string | undefined
  readonly now: Date
  /** The value of a secret variable of the environment. */
  secret(variable: string): string
}

const METHODS = new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
/** Headers that the connection sets, or that are ours. */
const RESERVED =
  /^(host|connection|content-length|transfer-encoding|keep-alive|upgrade|te|trailer|expect|proxy-.*|idempotency-key|webhook-(id|timestamp|signature))$/i
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** The request as the log keeps it: the placeholders of secrets stay where they are. */
export function describeRequest(content: RequestContent, wire: Wire): Exchange['request'] {
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

export interface Wire {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** The headers among them that are ours. */
  readonly added: Readonly<Record<string, string>>
  readonly body: string | undefined
}

/** The request as it goes out, secrets in place; or what is wrong with it. */
export function writeRequest(content: RequestContent, options: WireOptions): Wire | string {
  const method = content.method.toUpperCase()
  if (!METHODS.has(method)) return `the method ${method.slice(0, 20)} is not taken`
  const secrets = secretsOf(content, options)
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
    'idempotency-key': options.id,
    ...signature(body ?? '', options),
  }
  return { method, url: url.href, headers: { ...own, ...added }, added, body }
}

function withQuery(text: string, query: Readonly<Record<string, string>>): URL | string {
  if (!URL.canParse(text)) return 'the URL is not complete'
  const url = new URL(text)
  for (const [name, value] of Object.entries(query)) url.searchParams.append(name, value)
  return url
}

/** What stands for a secret in the content, and the secret. */
type Filling = readonly [placeholder: string, value: string]

function secretsOf(content: RequestContent, options: WireOptions): readonly Filling[] {
  return Object.entries(content.secrets).map(([placeholder, variable]) => [
    placeholder,
    options.secret(variable),
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

/** The Standard Webhooks headers; the signature only where there is a secret. */
function signature(body: string, { id, now, signingSecret: secret }: WireOptions) {
  const timestamp = Math.floor(now.getTime() / 1000).toString()
  const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp }
  if (secret === undefined) return headers
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : secret
  const hash = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return { ...headers, 'webhook-signature': `v1,${hash}` }
}

/** The answer as the log keeps it. */
export function responseOf(reply: Reply): Exchange['response'] {
  return { status: reply.status, headers: reply.headers, body: readable(reply.body) }
}

/** The log keeps less of it anyway, so that more is not worth to be read. */
const READABLE_BYTES_MAX = 64 * 1024

function readable(body: Buffer): unknown {
  const text = body.subarray(0, READABLE_BYTES_MAX).toString()
  try {
    const value: unknown = JSON.parse(text)
    return isDeep(value) ? text : value
  } catch {
    return text
  }
}

/** Nesting of a value from outside, as for what a request to the API brings. */
const DEPTH_MAX = 100

/** Whether a value is nested deeper than what later steps could walk. */
export function isDeep(value: unknown, depth = 0): boolean {
  if (typeof value !== 'object' || value === null) return false
  return depth >= DEPTH_MAX || Object.values(value).some((item) => isDeep(item, depth + 1))
}

/** The host of a URL that is a secret as a whole is part of the secret. */
export function withoutHost(text: string, { host, hostname }: URL): string {
  return text.replaceAll(host, '•••').replaceAll(hostname, '•••')
}
