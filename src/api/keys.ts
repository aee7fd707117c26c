import { createHash, randomBytes } from 'node:crypto'
import type { Database, Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { newRowId, type EnvironmentName } from '../ids.ts'
import type { Scope } from './route.ts'

/** Where a key comes from: `belfry keys create`, `BELFRY_API_KEYS`, or the start in development mode. */
export type KeySource = 'command' | 'settings' | 'development'

/** A secret key acts for an application, a public one for the user whose token comes with it. */
export type KeyKind = 'secret' | 'public'

/** A key as it is stored and listed; the key itself is kept nowhere. */
export interface ApiKey {
  readonly environment: EnvironmentName
  readonly id: string
  readonly kind: KeyKind
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly source: KeySource
  readonly created_at: Date
  readonly revoked_at: Date | null
}

export interface NewKey {
  readonly environment: EnvironmentName
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly source: KeySource
  /** Of a key that is made; a secret one unless told. */
  readonly kind?: KeyKind
  /** The key itself, where it is given from outside; else one is made. */
  readonly key?: string
  readonly now: Date
}

/** What keys of `BELFRY_API_KEYS` and the development key may do. */
export const APPLICATION_SCOPES: readonly Scope[] = ['trigger', 'read', 'write']

const KEY_BYTES = 24

/** A new key: `sk_<environment>_<192 random bits>`, or `pk_…` for a public one. */
export function makeKey(environment: EnvironmentName, kind: KeyKind = 'secret'): string {
  return `${PREFIXES[kind]}${environment}_${randomBytes(KEY_BYTES).toString('base64url')}`
}

const PREFIXES = { secret: 'sk_', public: 'pk_' } as const

/** What a key says of itself: a public one starts with `pk_`. */
export function kindOf(key: string): KeyKind {
  return key.startsWith(PREFIXES.public) ? 'public' : 'secret'
}

/** The public key that goes with a secret one; it tells nothing of it, and needs to be kept nowhere. */
export function derivePublicKey(environment: EnvironmentName, secret: string): string {
  const digest = hashKey(`public key of ${secret}`).subarray(0, KEY_BYTES)
  return `${PREFIXES.public}${environment}_${digest.toString('base64url')}`
}

/** A new operator token. */
export function makeOperatorToken(): string {
  return `op_${randomBytes(KEY_BYTES).toString('base64url')}`
}

/** Keys have 192 random bits, so a plain digest is as good as a slow one. */
export function hashKey(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}

/** Stores a key, or restores it where the same key was revoked. Answers the key, for the only time. */
export async function createKey(
  db: Queryable,
  request: NewKey,
): Promise<{ readonly id: string; readonly key: string }> {
  const { environment, name, scopes, source, now } = request
  const key = request.key ?? makeKey(environment, request.kind)
  const [row] = await db.query<{ id: string }>(sql`
    insert into api_keys (environment, id, kind, name, hash, scopes, source, created_at)
    values (${environment}, ${newRowId()}, ${kindOf(key)}, ${name}, ${hashKey(key)},
      ${kindOf(key) === 'public' ? [] : [...scopes]}::text[], ${source}, ${now})
    on conflict (hash) do update
      set revoked_at = null, environment = excluded.environment, scopes = excluded.scopes
    returning id
  `)
  if (!row) throw new Error('a key was neither stored nor restored')
  return { id: row.id, key }
}

/** The keys of one environment, or of all, newest first. */
export function listKeys(db: Queryable, environment: EnvironmentName | null): Promise<ApiKey[]> {
  return db.query<ApiKey>(sql`
    select environment, id, kind, name, scopes, source, created_at, revoked_at
    from api_keys
    where ${environment}::text is null or environment = ${environment}
    order by environment, created_at desc, id desc
  `)
}

/** Revokes a key by its id. False where no such key is in use. */
export async function revokeKey(db: Queryable, id: string, now: Date): Promise<boolean> {
  const rows = await db.query(sql`
    update api_keys set revoked_at = ${now} where id = ${id} and revoked_at is null
    returning environment
  `)
  return rows.length > 0
}

export interface FoundKey extends ApiKey {
  readonly hash: Buffer
}

/** The key with this digest, revoked or not. */
export async function findKey(db: Queryable, hash: Buffer): Promise<FoundKey | undefined> {
  const [row] = await db.query<FoundKey>(sql`
    select environment, id, kind, name, hash, scopes, source, created_at, revoked_at
    from api_keys
    where hash = ${hash}
  `)
  return row
}

/** A pair of `BELFRY_API_KEYS`. */
export interface SettingsKey {
  readonly environment: EnvironmentName
  readonly key: string
}

/**
 * Makes the stored keys of `BELFRY_API_KEYS` what the setting says now: new ones are added, and those
 * that are gone from it are revoked.
 */
export async function syncSettingsKeys(
  database: Database,
  keys: readonly SettingsKey[],
  now: Date,
): Promise<void> {
  const hashes = keys.map(({ key }) => hashKey(key))
  await database.transaction(async (tx) => {
    await tx.query(sql`
      update api_keys set revoked_at = ${now}
      where source = 'settings' and revoked_at is null and hash <> all(${hashes}::bytea[])
        and environment is not null
    `)
    for (const { environment, key } of keys) {
      const name = 'BELFRY_API_KEYS'
      await createKey(tx, {
        environment,
        name,
        scopes: APPLICATION_SCOPES,
        source: 'settings',
        key,
        now,
      })
    }
  })
}

/** Those of these environments that Postgres does not know. */
export async function findUnknownEnvironments(
  db: Queryable,
  names: readonly EnvironmentName[],
): Promise<readonly EnvironmentName[]> {
  const rows = await db.query<{ name: EnvironmentName }>(sql`
    select name from environments where name = any(${[...names]}::text[])
  `)
  const known = new Set(rows.map((row) => row.name))
  return [...new Set(names)].filter((name) => !known.has(name))
}
