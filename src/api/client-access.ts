import { RequestError } from '../errors.ts'
import type { MessageReach } from '../messages/engagement-store.ts'
import { USERS } from '../recipients/recipient.ts'
import type { Caller } from './route.ts'

/** For whom a public key calls. */
export interface Client {
  /** Null where users need not be signed for: whoever calls may say who it is. */
  readonly user: string | null
  readonly grants: ReadonlyMap<string, ReadonlySet<string>>
  /** From then on the token counts no more; null without one. */
  readonly expiresAt: Date | null
}

/** What a route asks of a client. */
interface ClientAccess {
  readonly grant: string
  /** The user or object that the path names, or else what the handler finds to be the user's own. */
  readonly of: 'path' | 'own'
}

const path = (grant: string): ClientAccess => ({ grant, of: 'path' })
const OWN: ClientAccess = { grant: 'user/feed_write', of: 'own' }

/**
 * All that a public key opens, `:` standing for each parameter. It is said in one place, so that a new route
 * is closed to browsers until somebody opens it here.
 */
const OPEN: Readonly<Record<string, ClientAccess>> = {
  'GET /v1/users/:': path('user/read'),
  'PUT /v1/users/:': path('user/write'),
  'GET /v1/users/:/preferences': path('preferences/read'),
  'GET /v1/users/:/preferences/:': path('preferences/read'),
  'PUT /v1/users/:/preferences/:': path('preferences/write'),
  'GET /v1/users/:/channel_data/:': path('channel_data/read'),
  'PUT /v1/users/:/channel_data/:': path('channel_data/write'),
  'GET /v1/objects/:/:/channel_data/:': path('channel_data/read'),
  'PUT /v1/objects/:/:/channel_data/:': path('channel_data/write'),
  'GET /v1/users/:/feeds/:': path('user/feed_read'),
  'GET /v1/users/:/feeds/:/settings': path('user/feed_read'),
  'PUT /v1/messages/:/seen': OWN,
  'DELETE /v1/messages/:/seen': OWN,
  'PUT /v1/messages/:/read': OWN,
  'DELETE /v1/messages/:/read': OWN,
  'PUT /v1/messages/:/interacted': OWN,
  'PUT /v1/messages/:/archived': OWN,
  'DELETE /v1/messages/:/archived': OWN,
  'DELETE /v1/messages/:/unseen': OWN,
  'DELETE /v1/messages/:/unread': OWN,
  'DELETE /v1/messages/:/unarchived': OWN,
  'POST /v1/messages/batch/seen': OWN,
  'POST /v1/messages/batch/unseen': OWN,
  'POST /v1/messages/batch/read': OWN,
  'POST /v1/messages/batch/unread': OWN,
  'POST /v1/messages/batch/interacted': OWN,
  'POST /v1/messages/batch/archived': OWN,
  'POST /v1/messages/batch/unarchived': OWN,
  'POST /v1/channels/:/messages/bulk/:': OWN,
}

interface Place {
  readonly method: string
  readonly path: string
}

/** What a route asks of a client; undefined for a route that no public key opens. */
export function clientAccess(route: Place): ClientAccess | undefined {
  return OPEN[`${route.method} ${route.path.replaceAll(/:\w+/g, ':')}`]
}

/** Throws a 403 unless the client may do what a route of this path does. */
export function requireClient(
  client: Client,
  route: Place,
  params: Readonly<Record<string, string>>,
): void {
  const access = clientAccess(route)
  if (!access) throw publicKeyRefused()
  if (access.of === 'own') return
  const entity = entityOf(route.path, params)
  if (mayAct(client, entity, access.grant)) return
  const message = `the user token is for another user, and grants no "${access.grant}" of this one`
  throw new RequestError(403, 'user_mismatch', message)
}

/** Whether a client may do this with the user or object that a path names. */
export function mayAct(client: Client, entity: string, grant: string): boolean {
  if (client.user === null || entity === userEntity(client.user)) return true
  return client.grants.get(entity)?.has(grant) ?? false
}

/** How grants name a user. */
export function userEntity(id: string): string {
  return `/v1/users/${id}`
}

/** The user or the object at the beginning of a path, as grants name it. */
function entityOf(template: string, params: Readonly<Record<string, string>>): string {
  const names = [...template.matchAll(/:(\w+)/g)].map(([, name = '']) => params[name] ?? '')
  const [first = '', second = ''] = names
  return template.startsWith('/v1/objects/') ? `/v1/objects/${first}/${second}` : userEntity(first)
}

/** Whose messages a caller may change: all that are asked for, or those in the feeds of one user or of any. */
export function reachOf({ client }: Caller): MessageReach {
  if (!client) return { recipient: null, inAppOnly: false }
  const recipient = client.user === null ? null : { collection: USERS, id: client.user }
  return { recipient, inAppOnly: true }
}

/** What a public key is told where it opens nothing. */
export function publicKeyRefused(): RequestError {
  const message = 'this is a public key; the call needs a secret key, sk_…'
  return new RequestError(403, 'incorrect_token_type', message)
}

/** What a secret key is told where only a public one opens anything. */
export function publicKeyNeeded(): RequestError {
  const message = 'connections of browsers need a public key, pk_…'
  return new RequestError(403, 'incorrect_token_type', message)
}
