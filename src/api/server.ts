import http from 'node:http'
import type { AddressInfo } from 'node:net'
import Koa, { type Context, type Next } from 'koa'
import type { Clock } from '../clock.ts'
import type { Topics } from '../db/topics.ts'
import type { Database } from '../db/database.ts'
import { ConfigError, RequestError } from '../errors.ts'
import { newRowId, type EnvironmentName } from '../ids.ts'
import { authenticator, type Authenticate } from './auth.ts'
import { drainBody } from './body.ts'
import { cors, type AllowsOrigin } from './cors.ts'
import { failureReply, problemReply, UNROUTED } from './problem.ts'
import { decodeText } from './query.ts'
import type { Rates } from './rate-limits.ts'
import type { Route } from './route.ts'
import { isForSocket, openSockets } from './realtime/sockets.ts'
import { createRouter, writeReply } from './router.ts'
import type { ApiServices } from './services.ts'
import { problemOfText } from './text.ts'
import { refuseUnread } from './unread.ts'

/** Where failures of ours are written down. */
export interface FailureLog {
  error(message: string, fields: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
}

export interface ServerOptions {
  readonly database: Database
  readonly clock: Clock
  readonly log: FailureLog
  readonly services: ApiServices
  /** In the order in which they are tried. */
  readonly routes: readonly Route[]
  readonly operatorToken: string | undefined
  /** Where a public key needs no signed token as long as the environment names no key that signs them. */
  readonly unsignedIn?: EnvironmentName
  readonly host: string
  /** A port that was asked for is taken as it is; one that was not, moves up to the next free one. */
  readonly port: { readonly number: number; readonly explicit: boolean }
  /** Whether only requests to a loopback name are served: in development mode, against DNS rebinding. */
  readonly loopbackOnly: boolean
  /** Which pages of other origins may call; none where it is left out. */
  readonly allowsOrigin?: AllowsOrigin
  /** How often a key may make a call; without it as often as it likes. */
  readonly rates?: Rates | undefined
  /** Where changes of feeds are heard of; without it no browser can listen. */
  readonly topics?: Topics
  /** How often the connections of browsers are looked after, in milliseconds. */
  readonly sweepMs?: number
}

export interface Server {
  readonly port: number
  /** `http://host:port` */
  readonly url: string
  /** Takes no new request, lets those under way end, and cuts what is left after a bound. */
  close(): Promise<void>
}

const PORTS_TRIED_MAX = 50
/** Of a URL and its headers: a thousand UUIDs in a query fit, as the SDKs send them to delete tenants. */
const HEADER_BYTES_MAX = 64 * 1024
const REQUEST_MS_MAX = 60_000
/** Above the idle time of common load balancers, so that it is never us who hangs up on their request. */
const KEEP_ALIVE_MS = 75_000
const CLOSE_MS_MAX = 2_500

/** Starts the API. Throws a `ConfigError` where the port that was asked for is taken. */
export async function startServer(options: ServerOptions): Promise<Server> {
  let closing = false
  const { database, clock, operatorToken, unsignedIn, topics, log } = options
  const authenticate = authenticator({ database, clock, operatorToken, unsignedIn })
  const app = createApp(options, authenticate, () => closing)
  const respond = app.callback()
  // koa answers its own failures; nothing is left to reject.
  const server = http.createServer(
    // Whatever else asks for another protocol is served as it is, as that asks for no more than may be.
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      shouldUpgradeCallback: (request) => options.topics !== undefined && isForSocket(request),
    },
    (request, response) => void respond(request, response),
  )
  server.on('clientError', refuseUnread)
  server.requestTimeout = REQUEST_MS_MAX
  server.keepAliveTimeout = KEEP_ALIVE_MS
  const admit = (request: http.IncomingMessage) => admitSocket(request, options)
  const sweeping = options.sweepMs === undefined ? {} : { sweepMs: options.sweepMs }
  const sockets =
    topics &&
    (await openSockets({ database, clock, log, topics, authenticate, admit, ...sweeping }))
  if (sockets)
    server.on('upgrade', (request, socket, head) => void sockets.take(request, socket, head))
  await listen(server, options)
  const { port } = server.address() as AddressInfo
  const host = options.host.includes(':') ? `[${options.host}]` : options.host
  const close = async (): Promise<void> => {
    closing = true
    // The server waits for what it has handed over, too.
    await Promise.all([closeServer(server), sockets?.close()])
  }
  return { port, url: `http://${host}:${port}`, close }
}

/** Throws a `RequestError` for a page that may not call, as browsers do not ask before a connection. */
function admitSocket({ headers }: http.IncomingMessage, options: ServerOptions): void {
  const { host = '', origin } = headers
  if (options.loopbackOnly) refuseOtherHost(host)
  const isOwn = origin !== undefined && /^https?:\/\/(.*)$/.exec(origin)?.[1] === host
  if (origin === undefined || isOwn || options.allowsOrigin?.(origin)) return
  const message = `pages of ${origin} may not connect: see BELFRY_CORS_ORIGINS`
  throw new RequestError(403, 'origin_not_allowed', message)
}

function createApp(
  options: ServerOptions,
  authenticate: Authenticate,
  isClosing: () => boolean,
): Koa {
  const { database, clock, services, rates } = options
  const router = createRouter(options.routes, { database, clock, services, authenticate, rates })
  const app = new Koa()
  // What is left for this are connections that broke: nobody's failure, and anybody can make any number of them.
  app.on('error', () => {})
  app.use(async (ctx, next) => {
    const requestId = newRowId()
    ctx.state['requestId'] = requestId
    ctx.set('x-request-id', requestId)
    // Without it a busy connection would go on sending requests to a server that has stopped listening.
    if (isClosing()) ctx.set('connection', 'close')
    await answerErrors(ctx, next, options.log)
  })
  app.use(cors(options.allowsOrigin ?? (() => false)))
  app.use((ctx, next) => {
    if (options.loopbackOnly) refuseOtherHost(ctx.get('host'))
    refuseBadPath(ctx.path)
    return next()
  })
  app.use(router.routes())
  app.use((ctx) => {
    const methods = methodsOf(router.match(ctx.path, ctx.method).path)
    if (methods.length === 0) return writeReply(ctx, UNROUTED)
    ctx.set('allow', methods.join(', '))
    const message = `${ctx.path} has ${methods.join(', ')}, not ${ctx.method}`
    throw new RequestError(405, 'method_not_allowed', message)
  })
  return app
}

function methodsOf(layers: readonly { readonly methods: readonly string[] }[]): string[] {
  return [...new Set(layers.flatMap((layer) => layer.methods))]
}

async function answerErrors(ctx: Context, next: Next, log: FailureLog): Promise<void> {
  try {
    await next()
  } catch (error) {
    const refusal = error instanceof RequestError ? error : conflictOf(error)
    if (refusal) {
      writeReply(ctx, problemReply(refusal))
      // Clients try again after a 409 or 503 of ours: none is answered that a second try cannot mend.
      if (refusal.status === 409 || refusal.status === 503) ctx.set('retry-after', '1')
    } else {
      const request = String(ctx.state['requestId'])
      log.error('a request failed', { request, method: ctx.method, path: ctx.path, error })
      writeReply(ctx, failureReply(request))
    }
    await drainBody(ctx.req)
    if (!ctx.req.complete) ctx.set('connection', 'close')
  }
}

/** Two transactions in each other's way: a deadlock, or a failed serialization. */
function conflictOf(error: unknown): RequestError | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code !== '40P01' && code !== '40001') return undefined
  return new RequestError(409, 'conflict', 'another change was made at the same time; try again')
}

const LOOPBACK_NAME = /^(localhost|[a-z0-9.-]+\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i

function refuseOtherHost(host: string): void {
  if (LOOPBACK_NAME.test(host)) return
  const message = 'in development mode only requests to localhost are served'
  throw new RequestError(403, 'host_not_allowed', message)
}

function refuseBadPath(path: string): void {
  const problem = problemOfText(decodeText(path, 'path'))
  if (!problem) return
  const message = `the path ${problem}`
  throw new RequestError(422, 'invalid_params', message, [{ field: 'path', message: problem }])
}

async function listen(server: http.Server, { host, port }: ServerOptions): Promise<void> {
  for (let number = port.number; ; number += 1) {
    const failure = await listenOn(server, host, number)
    if (!failure) return
    if (failure.code !== 'EADDRINUSE') {
      throw new ConfigError(`cannot listen on ${host}:${number}: ${failure.message}`)
    }
    if (port.explicit) {
      throw new ConfigError(
        `port ${number} on ${host} is taken: name another one with PORT or --port`,
      )
    }
    if (number >= port.number + PORTS_TRIED_MAX) {
      throw new ConfigError(`no free port on ${host} from ${port.number} to ${number}`)
    }
  }
}

function listenOn(
  server: http.Server,
  host: string,
  port: number,
): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const onError = (error: NodeJS.ErrnoException) => resolve(error)
    server.once('error', onError)
    server.listen(port, host, () => {
      server.off('error', onError)
      resolve(undefined)
    })
  })
}

function closeServer(server: http.Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS_MAX)
    server.close(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
