import http from 'node:http'
import https from 'node:https'
import { RetryableFailure } from '../errors.ts'
import { mayCarryCredentials } from '../remote-address.ts'
import type { RemoteAddress } from '../remote-address.ts'
import { AuthenticationFailure, MissingRepository, SourceClosed } from './remote-failure.ts'

/** What one exchange with a remote may take. */
export interface Limits {
  /** Without a byte from the remote, in milliseconds. */
  readonly idleMs: number
  /** From the first byte sent to the last one taken, in milliseconds. */
  readonly totalMs: number
  readonly bytesMax: number
}

export interface RemoteRequest {
  readonly method: 'GET' | 'POST'
  /** Ends in the path that the protocol asks for, such as `/git-upload-pack`. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Buffer
  readonly limits: Limits
}

export interface RemoteAnswer {
  /** The address that answered, which differs after a redirect. */
  readonly url: string
  readonly contentType: string
  /** Throws a `RetryableFailure` where it ends early, is too long or takes too long. */
  readonly body: AsyncIterable<Uint8Array>
}

/** Speaks HTTP to one remote. */
export interface Transport {
  readonly address: RemoteAddress
  /**
   * Sends a request and answers what came back with 200. Throws an `AuthenticationFailure`, a
   * `MissingRepository`, a `SourceClosed` after the abort, or a `RetryableFailure` for all else.
   */
  readonly request: (request: RemoteRequest) => Promise<RemoteAnswer>
  /** Takes the credentials out of what the remote says. */
  readonly scrub: (text: string) => string
}

const REDIRECTS_MAX = 5
const TEXT_LENGTH_MAX = 300

/**
 * Opens the way to a remote. Its address is the operator's own setting, as that of Postgres is, so it
 * may be a private one: the guarded door of `channels/` is for addresses that come from files or
 * recipients. What the remote answers leads nowhere else: a redirect to another host is refused.
 */
export function openTransport(address: RemoteAddress, signal: AbortSignal): Transport {
  // A connection for each request: one that is kept is closed by the server at any time, and its
  // hint for how long it keeps it would count against the time in which a pack is made.
  const agents = {
    'http:': new http.Agent({ keepAlive: false }),
    'https:': new https.Agent({ keepAlive: false }),
  }
  const authorization = authorizationOf(address)
  const secrets = secretsOf(address)
  const scrub = (text: string) =>
    secrets
      .reduce((all, secret) => all.replaceAll(secret, '***'), text)
      .replace(/\p{Cc}+/gu, ' ')
      .slice(0, TEXT_LENGTH_MAX)
  return {
    address,
    scrub,
    request: async (request) => {
      const context = { address, signal, scrub }
      let at = new URL(request.url)
      for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects += 1) {
        const isHttps = at.protocol === 'https:'
        const answer = await send(context, request, {
          url: at,
          client: isHttps ? https : http,
          agent: isHttps ? agents['https:'] : agents['http:'],
          authorization: mayCarryCredentials(at) ? authorization : undefined,
        })
        if (answer.kind === 'answer') return answer.answer
        at = redirected(context, request, { from: at, to: answer.location })
      }
      throw new RetryableFailure(`${address.url} redirects too often`)
    },
  }
}

interface Context {
  readonly address: RemoteAddress
  readonly signal: AbortSignal
  readonly scrub: (text: string) => string
}

interface Way {
  readonly url: URL
  readonly client: typeof http | typeof https
  readonly agent: http.Agent
  readonly authorization: string | undefined
}

type Sent =
  | { readonly kind: 'answer'; readonly answer: RemoteAnswer }
  | { readonly kind: 'redirect'; readonly location: string }

async function send(context: Context, request: RemoteRequest, way: Way): Promise<Sent> {
  const { limits } = request
  const timeout = AbortSignal.timeout(limits.totalMs)
  const signal = AbortSignal.any([context.signal, timeout])
  const fail = (error: unknown) => failureOf(context, error, { limits, timeout })
  const incoming = await exchange(request, way, signal).catch((error) => {
    throw fail(error)
  })
  const status = incoming.statusCode ?? 0
  if (status === 200) {
    const body = bounded(incoming, limits.bytesMax, fail)
    const contentType = incoming.headers['content-type'] ?? ''
    return { kind: 'answer', answer: { url: way.url.href, contentType, body } }
  }
  // What an error page says is for people, and may repeat what it was sent.
  incoming.destroy()
  const { location } = incoming.headers
  if (status >= 300 && status < 400 && location) return { kind: 'redirect', location }
  throw refusal(context.address, status)
}

function exchange(
  { method, headers, body, limits }: RemoteRequest,
  { url, client, agent, authorization }: Way,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = client.request(url, {
      method,
      agent,
      signal,
      headers: {
        'user-agent': 'git/belfry',
        ...headers,
        ...(body && { 'content-length': String(body.length) }),
        ...(authorization !== undefined && { authorization }),
      },
    })
    outgoing.setTimeout(limits.idleMs, () => outgoing.destroy(new IdleTooLong()))
    outgoing.once('response', (incoming) => {
      // The failure of a connection whose answer has begun is that of the answer.
      outgoing.on('error', (error) => incoming.destroy(error))
      resolve(incoming)
    })
    outgoing.once('error', reject)
    outgoing.end(body)
  })
}

class IdleTooLong extends Error {
  override readonly name = 'IdleTooLong'
}

async function* bounded(
  incoming: http.IncomingMessage,
  bytesMax: number,
  fail: (error: unknown) => Error,
): AsyncGenerator<Uint8Array> {
  let bytes = 0
  try {
    for await (const chunk of incoming) {
      bytes += (chunk as Buffer).length
      if (bytes > bytesMax) break
      yield chunk as Buffer
    }
  } catch (error) {
    throw fail(error)
  }
  if (bytes > bytesMax) throw fail(new RetryableFailure(`it sends more than ${bytesMax} bytes`))
}

function failureOf(
  { address, signal, scrub }: Context,
  error: unknown,
  { limits, timeout }: { readonly limits: Limits; readonly timeout: AbortSignal },
): Error {
  if (signal.aborted) return new SourceClosed('the repository was closed')
  if (error instanceof IdleTooLong) {
    return new RetryableFailure(`${address.url} said nothing for ${limits.idleMs / 1000} s`)
  }
  if (timeout.aborted) {
    return new RetryableFailure(
      `${address.url} did not finish its answer in ${limits.totalMs / 1000} s`,
    )
  }
  const { code, message } = error as NodeJS.ErrnoException
  const cause = code === 'ECONNRESET' ? 'the connection was cut' : scrub(message)
  return new RetryableFailure(`${address.url} cannot be read: ${cause}`)
}

function refusal({ url, credentials }: RemoteAddress, status: number): Error {
  if (status === 401 || status === 403) {
    const advice = credentials
      ? 'refuses the credentials: check BELFRY_GIT_USERNAME and BELFRY_GIT_PASSWORD, and that they may read this repository'
      : 'asks for credentials: set BELFRY_GIT_USERNAME and BELFRY_GIT_PASSWORD'
    return new AuthenticationFailure(`${url} ${advice} (HTTP ${status})`)
  }
  if (status === 404 || status === 410) {
    const advice = credentials
      ? 'and that the credentials may read it'
      : 'and set BELFRY_GIT_USERNAME and BELFRY_GIT_PASSWORD if it is private'
    return new MissingRepository(
      `there is no repository at ${url}: check the address, ${advice} (HTTP ${status})`,
    )
  }
  return new RetryableFailure(`${url} answers with HTTP ${status}`)
}

/** Where a redirect leads. Credentials go to the host that they are for, and nothing follows elsewhere. */
function redirected(
  { address, scrub }: Context,
  { method }: RemoteRequest,
  { from, to }: { readonly from: URL; readonly to: string },
): URL {
  const url = URL.canParse(to, from.href) ? new URL(to, from) : undefined
  const shown = url ? scrub(url.origin) : 'an address that is none'
  if (method !== 'GET' || !url || !isSameHost(from, url)) {
    throw new RetryableFailure(
      `${address.url} redirects to ${shown}, which is not followed: name the new address with --repo`,
    )
  }
  url.username = ''
  url.password = ''
  return url
}

/** The same host on the same port, or the step from http to https with the ports that belong to them. */
function isSameHost(from: URL, to: URL): boolean {
  if (from.origin === to.origin) return true
  const isUpgrade = from.protocol === 'http:' && to.protocol === 'https:'
  return isUpgrade && from.hostname === to.hostname && from.port === '' && to.port === ''
}

function authorizationOf({ credentials }: RemoteAddress): string | undefined {
  if (!credentials) return undefined
  const { username, password } = credentials
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

/** What must not come back in a message. */
function secretsOf({ credentials }: RemoteAddress): string[] {
  if (!credentials) return []
  const { username, password } = credentials
  const basic = Buffer.from(`${username}:${password}`).toString('base64')
  const secret = password === '' ? username : password
  return [basic, encodeURIComponent(secret), secret]
}
