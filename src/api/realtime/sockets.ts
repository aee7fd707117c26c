import type { IncomingMessage } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { messageOf, RequestError } from '../../errors.ts'
import type { Topics } from '../../db/topics.ts'
import type { Authenticate, Credentials } from '../auth.ts'
import { publicKeyNeeded } from '../client-access.ts'
import { failureReply, problemReply } from '../problem.ts'
import type { Reply } from '../route.ts'
import { CLOSE, Connection, type ConnectionOptions, type Visitor } from './connection.ts'
import { openFeedWatch } from './feed-watch.ts'

export interface SocketsOptions extends Omit<ConnectionOptions, 'watch' | 'log'> {
  readonly authenticate: Authenticate
  readonly topics: Topics
  readonly log: ConnectionOptions['log'] & {
    warn(message: string, fields: Readonly<Record<string, unknown>>): void
  }
  /** Throws a `RequestError` for a request that no connection is made for, before anything else of it is looked at. */
  readonly admit: (request: IncomingMessage) => void
  /** How often connections are looked after, in milliseconds. */
  readonly sweepMs?: number
}

/** The connections of this process with browsers. */
export interface Sockets {
  /** Takes a request for a connection, or answers it with a refusal. Never rejects. */
  take(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>
  /** Asks all to come back, and takes no more. */
  close(): Promise<void>
}

const PATH = '/ws/v1/websocket'

/** Whether a request asks for such a connection. */
export function isForSocket({ url = '', headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket' && url.split('?', 1)[0] === PATH
}

const CONNECTIONS_MAX = 10_000
const CONNECTIONS_PER_USER_MAX = 50
const FRAME_BYTES_MAX = 65_536
/** A client sends something every thirty seconds. */
const SILENCE_MS_MAX = 90_000
const SWEEP_MS = 10_000
/** How old the proof of a connection may be: a key that was revoked is shut out after that. */
const PROOF_MS_MAX = 30_000
/** What clients may take to answer a close. */
const CLOSE_MS = 300

interface Guest {
  readonly connection: Connection
  readonly credentials: Credentials
  readonly user: string | undefined
  provedAt: number
}

/** Opens the door for connections; `close` ends all. */
export async function openSockets(options: SocketsOptions): Promise<Sockets> {
  const { database, topics, log, clock } = options
  const watch = await openFeedWatch({ database, topics, log })
  const server = new WebSocketServer({ noServer: true, maxPayload: FRAME_BYTES_MAX })
  const guests = new Set<Guest>()
  let opening = 0
  let isClosing = false

  const enter = async (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (isClosing) throw unavailable('the server is about to stop')
    if (guests.size + opening >= CONNECTIONS_MAX)
      throw unavailable('the server has too many connections')
    opening += 1
    try {
      options.admit(request)
      const credentials = credentialsOf(request)
      const visitor = await prove(options.authenticate, credentials)
      const user = nameOf(visitor)
      if (isTooMany(guests, user)) throw unavailable('this user has too many connections')
      if (socket.destroyed || isClosing) {
        socket.destroy()
        return
      }
      server.handleUpgrade(request, socket, head, (opened) => {
        const connection = new Connection(opened, visitor, { database, clock, watch, log })
        const provedAt = clock.now().getTime()
        const guest: Guest = { connection, credentials, user, provedAt }
        guests.add(guest)
        opened.on('close', () => guests.delete(guest))
      })
    } finally {
      opening -= 1
    }
  }
  const sweeping = startSweeps(guests, options)
  return {
    async take(request, socket, head) {
      // Connections break; nobody has failed by that.
      socket.on('error', () => {})
      try {
        await enter(request, socket, head)
      } catch (error) {
        if (error instanceof RequestError) return refuse(socket, problemReply(error))
        log.error('a connection failed', { error })
        refuse(socket, failureReply('unknown'))
      }
    },
    async close() {
      isClosing = true
      sweeping.stop()
      const all = [...guests]
      for (const { connection } of all) connection.close(CLOSE.restarting, 'restarting')
      await allGone(server, guests)
      for (const { connection } of all) connection.cut()
      server.close()
      await watch.close()
    },
  }
}

/** Shuts out those who fell silent, whose token has run out, and whose key counts no more. */
function startSweeps(
  guests: ReadonlySet<Guest>,
  { authenticate, clock, log, sweepMs = SWEEP_MS }: SocketsOptions,
): { stop(): void } {
  let isBusy = false
  const sweep = async (): Promise<void> => {
    for (const guest of guests) {
      const { connection, credentials } = guest
      const now = clock.now()
      if (now.getTime() - connection.heardAt > SILENCE_MS_MAX) connection.cut()
      else if (connection.hasExpired(now))
        connection.close(CLOSE.refused, 'the user token has expired')
      else if (now.getTime() - guest.provedAt > PROOF_MS_MAX) {
        const holds = await stillHolds(authenticate, credentials)
        if (holds) guest.provedAt = now.getTime()
        else connection.close(CLOSE.refused, 'the key or the token counts no more')
      }
    }
  }
  const timer = setInterval(() => {
    if (isBusy) return
    isBusy = true
    void sweep()
      .catch((error: unknown) => log.warn('connections wait', { error: messageOf(error) }))
      .finally(() => (isBusy = false))
  }, sweepMs)
  timer.unref()
  return { stop: () => clearInterval(timer) }
}

async function stillHolds(authenticate: Authenticate, credentials: Credentials): Promise<boolean> {
  try {
    await prove(authenticate, credentials)
    return true
  } catch (error) {
    if (error instanceof RequestError) return false
    throw error
  }
}

/** Throws a `RequestError` where these are not those of a client. */
async function prove(authenticate: Authenticate, credentials: Credentials): Promise<Visitor> {
  const { client, environment } = await authenticate(credentials, true)
  if (!client || environment === null) throw publicKeyNeeded()
  return { client, environment }
}

/** A browser can set no headers here. */
function credentialsOf(request: IncomingMessage): Credentials {
  const query = new URL(request.url ?? '', 'http://host').searchParams
  const key = query.get('api_key')
  return {
    authorization: key === null || key === '' ? undefined : `Bearer ${key}`,
    userToken: query.get('user_token') || undefined,
  }
}

function nameOf({ environment, client }: Visitor): string | undefined {
  return client.user === null ? undefined : `${environment}/${client.user}`
}

function isTooMany(guests: ReadonlySet<Guest>, user: string | undefined): boolean {
  if (user === undefined) return false
  let count = 0
  for (const guest of guests) if (guest.user === user) count += 1
  return count >= CONNECTIONS_PER_USER_MAX
}

function unavailable(why: string): RequestError {
  return new RequestError(503, 'connections_unavailable', why)
}

/** Answers a request for a connection as one of HTTP, and hangs up. */
function refuse(socket: Duplex, { status, body }: Reply): void {
  if (socket.destroyed) return
  const text = JSON.stringify(body)
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'connection: close',
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(text)}`,
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`, () => socket.destroy())
}

/** Resolves when nobody is left, or after a while. */
function allGone(server: WebSocketServer, guests: ReadonlySet<Guest>): Promise<void> {
  if (guests.size === 0) return Promise.resolve()
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, CLOSE_MS)
    for (const socket of server.clients)
      socket.on('close', () => {
        if (guests.size > 0) return
        clearTimeout(timer)
        resolve()
      })
  })
}
