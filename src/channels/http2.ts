import http2 from 'node:http2'
import type net from 'node:net'
import tls from 'node:tls'
import { once } from 'node:events'
import { messageOf } from '../errors.ts'
import type { Door, Reply, RequestOptions } from './door.ts'
import { DoorError } from './target.ts'

const CONNECT_MS = 10_000
const IDLE_MS = 20_000
const BODY_BYTES_MAX = 64 * 1024
/** A connection without a request is closed after this long. */
const SESSION_IDLE_MS = 60_000

type Sessions = Map<string, Promise<http2.ClientHttp2Session>>

/** The connections that are open through each door, by whom they lead to and for whom. */
const sessionsOf = new WeakMap<Door, Sessions>()

/**
 * One request over HTTP/2, on a connection that is kept for all requests of the same `user`. It goes
 * through the door like any other, follows no redirect, and is bounded. Throws a `DoorError`.
 */
export async function requestHttp2(
  door: Door,
  url: string,
  options: RequestOptions & { readonly user: string; readonly signal: AbortSignal },
): Promise<Reply> {
  const target = readUrl(url)
  const session = await sessionFor(door, target, options)
  return await exchange(session, target, options)
}

function readUrl(text: string): URL {
  if (URL.canParse(text)) return new URL(text)
  throw new DoorError('invalid_target', 'the URL is not an http or https URL')
}

async function sessionFor(
  door: Door,
  target: URL,
  { user, signal }: { readonly user: string; readonly signal: AbortSignal },
): Promise<http2.ClientHttp2Session> {
  const sessions = sessionsOf.get(door) ?? new Map()
  if (!sessionsOf.has(door)) {
    sessionsOf.set(door, sessions)
    door.onClose(() => closeAll(sessions))
  }
  const key = `${target.origin} ${user}`
  const known = await sessions.get(key)?.catch(() => undefined)
  if (known && !known.closed && !known.destroyed) return known
  const opening = openSession(door, target, signal)
  sessions.set(key, opening)
  const forget = () => {
    if (sessions.get(key) === opening) sessions.delete(key)
  }
  opening.then((session) => session.once('close', forget).once('goaway', forget), forget)
  return await opening
}

function closeAll(sessions: Sessions): void {
  for (const session of sessions.values()) {
    session.then(
      (open) => open.destroy(),
      () => {},
    )
  }
  sessions.clear()
}

async function openSession(
  door: Door,
  target: URL,
  signal: AbortSignal,
): Promise<http2.ClientHttp2Session> {
  const secure = target.protocol === 'https:'
  const port = Number(target.port || (secure ? 443 : 80))
  const socket = await door.connect(target.hostname, port, { signal, connectMs: CONNECT_MS })
  try {
    const ready = secure ? await encrypt(socket, target.hostname, signal) : socket
    const session = http2.connect(target.origin, { createConnection: () => ready })
    // Whoever has a request on it is told by that request.
    session.on('error', () => {})
    session.setTimeout(SESSION_IDLE_MS, () => session.close())
    await once(session, 'connect', { signal })
    return session
  } catch (error) {
    socket.destroy()
    if (error instanceof DoorError) throw error
    if (signal.aborted) throw new DoorError('aborted', 'the request was given up')
    throw new DoorError('unreachable', `no connection to ${target.host}: ${messageOf(error)}`)
  }
}

async function encrypt(
  socket: net.Socket,
  servername: string,
  signal: AbortSignal,
): Promise<tls.TLSSocket> {
  const secured = tls.connect({ socket, servername, ALPNProtocols: ['h2'] })
  try {
    await once(secured, 'secureConnect', { signal })
  } catch (error) {
    throw new DoorError('tls', `no trusted TLS connection to ${servername}: ${messageOf(error)}`)
  }
  if (secured.alpnProtocol === 'h2') return secured
  throw new DoorError('tls', `${servername} does not speak HTTP/2`)
}

async function exchange(
  session: http2.ClientHttp2Session,
  target: URL,
  { method, headers, body = '', signal, idleMs = IDLE_MS, ...options }: RequestOptions,
): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const stream = session.request({
    ':method': method,
    ':path': target.pathname + target.search,
    ...headers,
  })
  const abort = () => stream.destroy(new DoorError('aborted', 'the request was given up', true))
  signal?.addEventListener('abort', abort, { once: true })
  stream.setTimeout(idleMs, () =>
    stream.destroy(new DoorError('timeout', `no answer from ${target.host} in time`, true)),
  )
  stream.once('error', (error) => reject(failure(error, stream, target)))
  stream.once('response', (answer) => {
    readBody(stream, answer, options.bytesMax ?? BODY_BYTES_MAX).then(resolve, (error: unknown) =>
      reject(failure(error, stream, target)),
    )
  })
  stream.once('close', () => reject(failure('the stream was closed', stream, target)))
  stream.end(body)
  try {
    return await promise
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

/** A stream that the server refused was not looked at; of any other nobody knows. */
function failure(error: unknown, stream: http2.ClientHttp2Stream, target: URL): DoorError {
  if (error instanceof DoorError) return error
  const isRefused = stream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM
  const text = typeof error === 'string' ? error : messageOf(error)
  return new DoorError('broken', `the connection to ${target.host} broke: ${text}`, !isRefused)
}

async function readBody(
  stream: http2.ClientHttp2Stream,
  answer: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader,
  bytesMax: number,
): Promise<Reply> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > bytesMax) break
  }
  const headers = Object.entries(answer).flatMap(([name, value]) =>
    name.startsWith(':') || value === undefined ? [] : [[name, [value].flat().join(', ')]],
  )
  return {
    status: answer[':status'] ?? 0,
    headers: Object.fromEntries(headers),
    body: Buffer.concat(chunks).subarray(0, bytesMax),
    truncated: bytes > bytesMax,
  }
}
