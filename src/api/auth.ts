import { memoized } from '../memo.ts'
import { createPublicKey, timingSafeEqual, type KeyObject } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { RequestError } from '../errors.ts'
import type { EnvironmentName } from '../ids.ts'
import { loadEnvironment } from '../messages/environments.ts'
import type { EnvironmentSettings } from '../workflow/environment.ts'
import { publicKeyRefused, type Client } from './client-access.ts'
import { findKey, hashKey, kindOf, type FoundKey } from './keys.ts'
import type { Caller, EnvironmentFrom, Scope } from './route.ts'
import { readUserToken } from './user-token.ts'

/** How long a key that was revoked elsewhere may still be taken. */
const CACHE_MS = 3_000
const CACHED_KEYS_MAX = 10_000

/** What a request says of who sends it. */
export interface Credentials {
  readonly authorization: string | undefined
  /** Of a public key: what says for which user it calls. */
  readonly userToken: string | undefined
}

/** Answers who a request comes from, and what it may do. */
export interface Authenticate {
  /** `isPublic`: whether a public key opens what is asked for. */
  (credentials: Credentials, isPublic: boolean): Promise<Caller>
}

export interface AuthOptions {
  readonly database: Queryable
  readonly clock: Clock
  readonly operatorToken: string | undefined
  /** Where users need no signed token as long as the environment names no key that signs them. */
  readonly unsignedIn?: EnvironmentName | undefined
}

/**
 * Makes the check of what a request says of its sender. What it answers of a key was true at most three seconds ago.
 * Throws a `RequestError`: 401 without a key, or with a key or token that is not known, 403 for one of the wrong kind.
 */
export function authenticator(options: AuthOptions): Authenticate {
  const { database, clock, operatorToken } = options
  const operatorHash = operatorToken === undefined ? undefined : hashKey(operatorToken)
  const find = keyFinder(database, clock)
  return async ({ authorization, userToken }, isPublic) => {
    const key = keyOf(authorization)
    const hash = hashKey(key)
    if (operatorHash && timingSafeEqual(hash, operatorHash)) return OPERATOR
    const isClient = kindOf(key) === 'public'
    if (isClient && !isPublic) throw publicKeyRefused()
    const found = await find(hash)
    if (!found || !timingSafeEqual(hash, found.hash) || (found.kind === 'public') !== isClient) {
      const message = 'the API key is not known, or it was revoked'
      throw new RequestError(401, 'api_key_missing', message)
    }
    const { environment, scopes } = found
    const name = `key ${found.name} (${found.id})`
    if (!isClient) return { name, environment, scopes }
    const client = await readClient(options, environment, userToken)
    return { name, environment, scopes: [], client }
  }
}

const OPERATOR: Caller = {
  name: 'operator',
  environment: null,
  scopes: ['trigger', 'read', 'write', 'operate'],
}

/** Finds keys by their digests, and remembers them for a moment. */
function keyFinder(
  database: Queryable,
  clock: Clock,
): (hash: Buffer) => Promise<FoundKey | undefined> {
  const cache = new Map<string, { readonly found: FoundKey; readonly at: number }>()
  return async (hash) => {
    const name = hash.toString('base64')
    const cached = cache.get(name)
    const at = clock.now().getTime()
    if (cached && Math.abs(at - cached.at) < CACHE_MS) return cached.found
    cache.delete(name)
    const found = await findKey(database, hash)
    if (!found || found.revoked_at) return undefined
    if (cache.size >= CACHED_KEYS_MAX) cache.clear()
    cache.set(name, { found, at })
    return found
  }
}

/** For whom a public key calls, as the keys say that the environment's applied revision names. */
async function readClient(
  { database, clock, unsignedIn }: AuthOptions,
  environment: EnvironmentName,
  userToken: string | undefined,
): Promise<Client> {
  const applied = await loadEnvironment(database, environment)
  const keys = applied ? signingKeys(applied.settings) : []
  if (keys.length === 0 && environment === unsignedIn)
    return { user: null, grants: new Map(), expiresAt: null }
  if (keys.length === 0) {
    const message = `${environment} names no client_keys, so that nobody can sign for a user`
    throw new RequestError(401, 'missing_jwt_signing_key', message)
  }
  if (userToken === undefined) {
    const message = 'a public key calls for a user: send its token as "x-knock-user-token"'
    throw new RequestError(401, 'missing_user_token', message)
  }
  return readUserToken(userToken, keys, clock.now())
}

const signingKeys = memoized((settings: EnvironmentSettings): readonly KeyObject[] =>
  Object.values(settings.client_keys ?? {}).map(({ pem }) => createPublicKey(pem)),
)

function keyOf(authorization: string | undefined): string {
  const key = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
  if (key) return key
  const message = 'no API key: send the header "authorization: Bearer sk_…"'
  throw new RequestError(401, 'authentication_required', message)
}

/** Throws a 403 unless the caller may use routes of this scope. */
export function requireScope({ scopes }: Caller, scope: Scope): void {
  if (scopes.includes(scope)) return
  const message = `this key has no scope "${scope}", only ${scopes.join(', ')}`
  throw new RequestError(403, 'insufficient_scope', message)
}

/** What names the environment of a call. */
export interface EnvironmentQuestion {
  readonly route: { readonly environment: EnvironmentFrom }
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, unknown>>
}

/**
 * The environment that a call is about; empty for a route of none.
 * Throws a `RequestError`: 403 for another one than the key's, 404 for one that does not exist, 422 where an
 * operator has not said which.
 */
export async function environmentOf(
  db: Queryable,
  caller: Caller,
  question: EnvironmentQuestion,
): Promise<EnvironmentName> {
  const { route, params, query } = question
  const named = route.environment === 'path' ? params['environment'] : query['environment']
  if (caller.environment !== null) {
    if (named !== undefined && named !== caller.environment) {
      const message = `this key belongs to the environment "${caller.environment}"`
      throw new RequestError(403, 'environment_mismatch', message)
    }
    return caller.environment
  }
  if (route.environment === 'none') return '' as EnvironmentName
  return named === undefined ? onlyEnvironment(db) : knownEnvironment(db, named)
}

async function knownEnvironment(db: Queryable, named: unknown): Promise<EnvironmentName> {
  const [row] = await db.query<{ name: EnvironmentName }>(sql`
    select name from environments where name = ${String(named)}
  `)
  if (row) return row.name
  throw new RequestError(404, 'environment_missing', `there is no environment "${String(named)}"`)
}

async function onlyEnvironment(db: Queryable): Promise<EnvironmentName> {
  const rows = await db.query<{ name: EnvironmentName }>(sql`
    select name from environments where declared order by name limit 2
  `)
  const [first, second] = rows
  if (first && !second) return first.name
  const message = 'say which environment this is about, with ?environment=<name>'
  throw new RequestError(422, 'environment_required', message)
}
