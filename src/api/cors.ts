import type { Context, Next } from 'koa'

/** Whether pages of this origin may call. */
export type AllowsOrigin = (origin: string) => boolean

const METHODS = 'GET, POST, PUT, DELETE'
/** What the clients in browsers send. */
const HEADERS = [
  'authorization',
  'content-type',
  'idempotency-key',
  'x-knock-user-token',
  'x-knock-client',
  'x-knock-branch',
].join(', ')
const EXPOSED = [
  'x-request-id',
  'idempotent-replayed',
  'retry-after',
  'retry-after-ms',
  'ratelimit-limit',
  'ratelimit-remaining',
  'ratelimit-reset',
].join(', ')
/** Browsers that remember what they may send for longer than this do not do so. */
const MAX_AGE_SECONDS = 7_200

/** Pages of this machine, in development. */
const LOOPBACK_ORIGIN =
  /^https?:\/\/(localhost|[a-z0-9.-]+\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i

/** Which origins may call, as the setting says; without one in development those of this machine. */
export function originCheck(origins: readonly string[], dev: boolean): AllowsOrigin {
  if (origins.includes('*')) return () => true
  const known = new Set(origins)
  if (origins.length > 0 || !dev) return (origin) => known.has(origin)
  return (origin) => LOOPBACK_ORIGIN.test(origin)
}

/** Tells browsers which pages may read the answers, and answers them when they ask before a call. */
export function cors(allows: AllowsOrigin) {
  return async (ctx: Context, next: Next): Promise<void> => {
    const origin = ctx.get('origin')
    ctx.vary('origin')
    const isAllowed = origin !== '' && allows(origin)
    if (isAllowed) {
      ctx.set('access-control-allow-origin', origin)
      ctx.set('access-control-expose-headers', EXPOSED)
    }
    const asks = ctx.method === 'OPTIONS' && ctx.get('access-control-request-method') !== ''
    if (!asks || origin === '') return await next()
    ctx.status = 204
    if (!isAllowed) return
    ctx.set('access-control-allow-methods', METHODS)
    ctx.set('access-control-allow-headers', HEADERS)
    ctx.set('access-control-max-age', String(MAX_AGE_SECONDS))
  }
}
