import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { messageOf } from '../errors.ts'
import { DoorError, isOpenAddress, resolveTarget } from './target.ts'
import type { Lookup, ResolvedAddress, TargetPolicy } from './target.ts'

export interface RequestOptions {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  readonly signal?: AbortSignal
  /** From the look-up to the last byte of the answer; 15 s unless told. */
  readonly totalMs?: number
  /** Without a byte in either direction; 10 s unless told. */
  readonly idleMs?: number
  /** What is kept of the answer's body; the rest is not read. 64 kB unless told. */
  readonly bytesMax?: number
}

export interface Reply {
  readonly status: number
  /** Names in lower case; a repeated header is joined by a comma. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Whether the body was longer than `bytesMax`. */
  readonly truncated: boolean
}

export interface ConnectOptions {
  readonly signal: AbortSignal
  readonly connectMs: number
}

/**
 * The one door for connections whose host comes from a file, a recipient or an answer. It connects
 * only to addresses that it has checked itself, follows no redirect, and bounds time and bytes.
 */
export interface Door extends AsyncDisposable {
  /** One HTTP(S) request. Throws a `DoorError`. */
  request(url: string, options: RequestOptions): Promise<Reply>
  /** A TCP connection to a checked address of `host`. Throws a `DoorError`. */
  connect(host: string, port: number, options: ConnectOptions): Promise<net.Socket>
  /** Runs when the door closes; for connections that a provider keeps open. */
  onClose(effect: () => void): void
  close(): void
}

const TOTAL_MS = 15_000
const IDLE_MS = 10_000
const BODY_BYTES_MAX = 64 * 1024
const HEADER_BYTES_MAX = 16 * 1024
/** Below the five seconds after which many servers drop an idle connection, which would look like a lost request. */
const KEEP_ALIVE_MS = 4_000
const SOCKETS_PER_HOST_MAX = 32
const SOCKETS_MAX = 256

/** Opens the door. Nothing is connected before the first request. */
export function openDoor(policy: TargetPolicy, options: { readonly lookup?: Lookup } = {}): Door {
  const agentOptions = {
    keepAlive: true,
    timeout: KEEP_ALIVE_MS,
    maxSockets: SOCKETS_PER_HOST_MAX,
    maxTotalSockets: SOCKETS_MAX,
    maxFreeSockets: SOCKETS_PER_HOST_MAX,
  }
  const agents = { 'http:': new http.Agent(agentOptions), 'https:': new https.Agent(agentOptions) }
  const effects: (() => void)[] = []
  const close = () => {
    for (const effect of effects.splice(0)) effect()
    agents['http:'].destroy()
    agents['https:'].destroy()
  }
  const resolve = (host: string) => resolveTarget(host, policy, options.lookup)
  return {
    async request(url, request) {
      const target = parseTarget(url)
      return await send(target, request, {
        policy,
        agent: agents[target.protocol as keyof typeof agents],
        resolve,
      })
    },
    async connect(host, port, connection) {
      const addresses = await race(resolve(host), connection.signal)
      return await connectToAny(addresses, port, { policy, ...connection })
    },
    onClose: (effect) => effects.push(effect),
    close,
    [Symbol.asyncDispose]: async () => close(),
  }
}

function parseTarget(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const web = url?.protocol === 'http:' || url?.protocol === 'https:'
  if (!url || !web) throw new DoorError('invalid_target', 'the URL is not an http or https URL')
  if (url.username !== '' || url.password !== '') {
    throw new DoorError('invalid_target', 'a URL must not hold credentials; send a header instead')
  }
  return url
}

interface Passage {
  readonly policy: TargetPolicy
  readonly agent: http.Agent
  resolve(host: string): Promise<readonly ResolvedAddress[]>
}

async function send(url: URL, options: RequestOptions, passage: Passage): Promise<Reply> {
  const timeout = AbortSignal.timeout(options.totalMs ?? TOTAL_MS)
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
  let sent = false
  try {
    const addresses = await race(passage.resolve(url.hostname), signal)
    return await exchange(url, options, {
      ...passage,
      addresses,
      signal,
      onSent: () => (sent = true),
    })
  } catch (error) {
    if (timeout.aborted || (error instanceof DoorError && error.code === 'timeout')) {
      throw new DoorError('timeout', `no answer from ${url.host} in time`, sent)
    }
    if (error instanceof DoorError) throw error
    if (signal.aborted) throw new DoorError('aborted', 'the request was given up', sent)
    throw classify(error, url.host, sent)
  }
}

interface Attempt extends Passage {
  readonly addresses: readonly ResolvedAddress[]
  readonly signal: AbortSignal
  onSent(): void
}

function exchange(url: URL, options: RequestOptions, attempt: Attempt): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const secure = url.protocol === 'https:'
  const request = (secure ? https : http).request(url, {
    method: options.method,
    headers: inUtf8(options.headers),
    agent: attempt.agent,
    signal: attempt.signal,
    lookup: pinned(attempt.addresses),
    maxHeaderSize: HEADER_BYTES_MAX,
  })
  request.once('error', reject)
  request.once('socket', (socket) => {
    const connected = () => {
      if (!isOpenAddress(socket.remoteAddress ?? '', attempt.policy)) {
        request.destroy(new DoorError('forbidden_target', `${url.host} led to a closed address`))
      }
      attempt.onSent()
    }
    if (!socket.connecting) connected()
    else socket.once(secure ? 'secureConnect' : 'connect', connected)
  })
  request.setTimeout(options.idleMs ?? IDLE_MS, () => {
    request.destroy(new DoorError('timeout', 'idle'))
  })
  request.once('response', (response) => {
    readBody(response, options.bytesMax ?? BODY_BYTES_MAX).then(resolve, reject)
  })
  // As bytes: a text would be written together with the headers, and in its encoding.
  request.end(options.body === undefined ? undefined : Buffer.from(options.body as string))
  return promise
}

/** Node writes a header one byte a character; a text beyond ASCII goes out in UTF-8, as the body does. */
function inUtf8(headers: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(headers)
  return Object.fromEntries(
    entries.map(([name, value]) => [name, Buffer.from(value).toString('latin1')]),
  )
}

/** Gives `net.connect` the addresses that were checked, so that the name cannot change in between. */
function pinned(addresses: readonly ResolvedAddress[]): net.LookupFunction {
  return (_host, options, callback) => {
    if (options.all === true) return callback(null, [...addresses])
    const [first] = addresses
    callback(null, first?.address ?? '', first?.family)
  }
}

function readBody(response: http.IncomingMessage, bytesMax: number): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const chunks: Buffer[] = []
  let bytes = 0
  const finish = (truncated: boolean) =>
    resolve({
      status: response.statusCode ?? 0,
      headers: flatHeaders(response.headers),
      body: Buffer.concat(chunks).subarray(0, bytesMax),
      truncated,
    })
  response.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes <= bytesMax) return
    finish(true)
    response.destroy()
  })
  response.once('end', () => finish(false))
  response.once('error', reject)
  response.once('close', () => reject(new Error('the answer ended early')))
  return promise
}

function flatHeaders(headers: http.IncomingHttpHeaders): Record<string, string> {
  const entries = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value] as const],
  )
  return Object.fromEntries(entries)
}

function classify(error: unknown, host: string, sent: boolean): DoorError {
  const text = messageOf(error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (/^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO)/.test(code)) {
    return new DoorError('tls', `no trusted TLS connection to ${host}: ${text}`)
  }
  if (/^(ERR_INVALID|ERR_HTTP_INVALID|ERR_UNESCAPED)/.test(code)) {
    return new DoorError('invalid_target', `the request cannot be written: ${text}`)
  }
  if (!sent) return new DoorError('unreachable', `no connection to ${host}: ${code || text}`)
  return new DoorError('broken', `the connection to ${host} broke: ${code || text}`, true)
}

interface Connecting extends ConnectOptions {
  readonly policy: TargetPolicy
}

async function connectToAny(
  addresses: readonly ResolvedAddress[],
  port: number,
  options: Connecting,
): Promise<net.Socket> {
  let failure: DoorError | undefined
  for (const { address } of addresses) {
    try {
      return await connectTo(address, port, options)
    } catch (error) {
      if (!(error instanceof DoorError) || error.code === 'aborted') throw error
      failure ??= error
    }
  }
  throw failure ?? new DoorError('unresolved', 'the name has no address')
}

function connectTo(address: string, port: number, options: Connecting): Promise<net.Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<net.Socket>()
  const socket = net.connect({ host: address, port })
  const fail = (error: DoorError) => {
    options.signal.removeEventListener('abort', abort)
    socket.destroy()
    reject(error)
  }
  const abort = () => fail(new DoorError('aborted', 'the connection was given up'))
  if (options.signal.aborted) abort()
  options.signal.addEventListener('abort', abort, { once: true })
  socket.setTimeout(options.connectMs, () =>
    fail(new DoorError('timeout', `no connection to ${address}:${port} in time`)),
  )
  const onError = (error: Error) =>
    fail(new DoorError('unreachable', `no connection to ${address}:${port}: ${messageOf(error)}`))
  socket.once('error', onError)
  socket.once('connect', () => {
    options.signal.removeEventListener('abort', abort)
    if (!isOpenAddress(socket.remoteAddress ?? '', options.policy)) {
      return fail(new DoorError('forbidden_target', `${address} led to a closed address`))
    }
    socket.setTimeout(0)
    socket.removeAllListeners('timeout')
    // The next listener is the caller's; this one stays so that a late error cannot end the process.
    socket.off('error', onError)
    socket.on('error', () => {})
    resolve(socket)
  })
  return promise
}

/** A look-up cannot be stopped, but it need not be waited for. */
async function race<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const abort = () => reject(new DoorError('aborted', 'the look-up was given up'))
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
