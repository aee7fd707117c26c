import type { IncomingHttpHeaders } from 'node:http'
import { Router, type RouterContext } from '@koa/router'
import type { Context } from 'koa'
import type { Clock } from '../clock.ts'
import type { Database } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import { environmentOf, requireScope, type Authenticate, type Credentials } from './auth.ts'
import { readJsonBody, readRawBody, takeRawBody } from './body.ts'
import { clientAccess, requireClient } from './client-access.ts'
import { answerOnce, hashRequest, readIdempotencyKey, type Answer } from './idempotency.ts'
import { parseQuery } from './query.ts'
import { callCounter, holdToRate, type Rates } from './rate-limits.ts'
import type {
  MutationRoute,
  OpenRoute,
  ReadRequest,
  ReadRoute,
  Reply,
  Route,
  SignedRequest,
  SignedRoute,
} from './route.ts'
import { bodyCheck, queryCheck, type Check } from './schema.ts'
import type { ApiServices } from './services.ts'

/** What serving a route needs. */
export interface RouterOptions {
  readonly database: Database
  readonly clock: Clock
  readonly services: ApiServices
  readonly authenticate: Authenticate
  /** How often a key may make a call; without it as often as it likes. */
  readonly rates?: Rates | undefined
}

/** Makes the router of these routes; they are tried in order, so the hottest stands first. */
export function createRouter(routes: readonly Route[], options: RouterOptions): Router {
  const router = new Router({ sensitive: true })
  for (const route of routes) {
    const serve = serverOf(route, options)
    router.register(route.path, [route.method.toLowerCase()], async (ctx) => {
      const answer = await serve(ctx)
      const { reply, originalRequestId } = answer
      writeReply(ctx, reply)
      if (originalRequestId === undefined) return
      ctx.set('idempotent-replayed', 'true')
      ctx.set('original-x-request-id', originalRequestId)
    })
  }
  return router
}

/** Puts a reply into koa's response. */
export function writeReply(ctx: Context, reply: Reply): void {
  ctx.status = reply.status
  if (reply.headers !== undefined) ctx.set({ ...reply.headers })
  if (reply.type !== undefined) ctx.type = reply.type
  if (reply.body !== undefined) ctx.body = reply.body
}

type Serve = (ctx: RouterContext) => Promise<Answer>

function serverOf(route: Route, options: RouterOptions): Serve {
  if (route.kind === 'open') return serveOpen(route, options)
  return route.kind === 'signed' ? serveSigned(route, options) : serveKeyed(route, options)
}

function serveOpen(route: OpenRoute, { database, clock, services }: RouterOptions): Serve {
  return async ({ params, req }) => {
    const { headers } = req
    const method = req.method === 'HEAD' ? 'HEAD' : 'GET'
    const request = { method, params, headers, database, services, now: clock.now() } as const
    return { reply: await route.handle(request) }
  }
}

function serveSigned(route: SignedRoute, { database, clock, services }: RouterOptions): Serve {
  return async ({ params, req, querystring }) => {
    const read: Pick<SignedRequest, 'readBody' | 'takeBody' | 'readQuery'> = {
      readBody: () => readRawBody(req, route.bounds),
      takeBody: (take) => takeRawBody(req, route.bounds, take),
      readQuery: () => parseQuery(querystring),
    }
    const { headers, url = '' } = req
    const request = { params, url, headers, ...read, database, services, now: clock.now() }
    return { reply: await route.handle(request) }
  }
}

function serveKeyed(route: ReadRoute | MutationRoute, options: RouterOptions): Serve {
  const { database, clock, services, authenticate, rates } = options
  const checkQuery: Check = route.query ? queryCheck(route.query) : () => {}
  const mutate = route.kind === 'mutation' ? mutation(route, database) : undefined
  const isPublic = clientAccess(route) !== undefined
  const limit = rates?.(route) ?? null
  const count = limit === null ? undefined : callCounter(limit)
  return metered(route, services, async (ctx) => {
    const caller = await authenticate(credentialsOf(ctx.req.headers), isPublic)
    const counted = count?.(caller, clock.now())
    if (counted) holdToRate(route, counted, (headers) => ctx.set({ ...headers }))
    if (caller.client) requireClient(caller.client, route, ctx.params)
    else requireScope(caller, route.scope)
    const query = parseQuery(ctx.querystring)
    checkQuery(query)
    const { params } = ctx
    const environment = await environmentOf(database, caller, { route, params, query })
    const base = { environment, params, query, caller, services, now: clock.now() }
    if (mutate) return mutate(ctx, base)
    if (route.kind === 'read') return { reply: await route.handle({ ...base, database }) }
    throw new Error(`${route.method} ${route.path} is served by nobody`)
  })
}

function credentialsOf(headers: IncomingHttpHeaders): Credentials {
  const userToken = headers['x-knock-user-token']
  return {
    authorization: headers.authorization,
    userToken: typeof userToken === 'string' && userToken !== '' ? userToken : undefined,
  }
}

/** Serves as `serve` does, and measures how long that takes where the route says so. */
function metered(route: ReadRoute | MutationRoute, { metrics }: ApiServices, serve: Serve): Serve {
  if (!metrics || route.kind === 'read' || !route.meter) return serve
  const { meter } = route
  return async (ctx) => {
    const elapsed = metrics.stopwatch()
    let status = '5xx'
    try {
      const answer = await serve(ctx)
      status = classOf(answer.reply.status)
      return answer
    } catch (error) {
      if (error instanceof RequestError) status = classOf(error.status)
      throw error
    } finally {
      metrics.observe(meter, { status }, elapsed())
    }
  }
}

function classOf(status: number): string {
  return `${Math.floor(status / 100)}xx`
}

type Base = Omit<ReadRequest, 'database'>

/** Reads and checks the body, and runs the handler once for its idempotency key. */
function mutation(route: MutationRoute, database: Database) {
  const checkBody: Check = route.body ? bodyCheck(route.body) : () => {}
  return async (ctx: RouterContext, base: Base): Promise<Answer> => {
    const key = readIdempotencyKey(ctx.req.headers['idempotency-key'] as string | undefined)
    const { bytes, value: body } = await readJsonBody(ctx.req)
    if (body !== undefined) checkBody(body)
    else if (route.body && !route.isBodyOptional)
      throw new RequestError(422, 'invalid_params', 'the call needs a JSON body')
    const work = (tx: Parameters<Parameters<Database['transaction']>[0]>[0]) =>
      route.handle({ ...base, tx, body })
    if (key === undefined || route.isIdle?.(base.query) === true)
      return { reply: await database.transaction(work) }
    const { method, path, querystring, state } = ctx
    const { environment, now } = base
    // Two users that send the same are two callers, whatever they take for their key.
    const user = base.caller.client?.user ?? null
    const sent = [method, path, querystring, bytes]
    const requestHash = hashRequest(user === null ? sent : [...sent, user])
    const requestId = String(state['requestId'])
    return answerOnce(
      database,
      { environment, method, path, key, requestHash, requestId, now },
      work,
    )
  }
}
