import { createHash } from 'node:crypto'
import { isLockTimeout } from '../db/database.ts'
import type { Database, Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { RequestError } from '../errors.ts'
import type { EnvironmentName } from '../ids.ts'
import type { Reply } from './route.ts'

/** How long a reply is kept and given again. */
const KEPT_MS = 24 * 60 * 60 * 1000
/** How long a call waits for another one with its key that is under way. */
const PATIENCE = '5s'
const KEY_LENGTH_MAX = 255
const SWEEP_ROWS_MAX = 1_000

/** One request under an idempotency key. */
export interface KeyedCall {
  readonly environment: EnvironmentName
  readonly method: string
  readonly path: string
  readonly key: string
  /** Of all that makes it this request and not another. */
  readonly requestHash: Buffer
  readonly requestId: string
  readonly now: Date
}

/** A reply, and the request that it was first given to where it is given again. */
export interface Answer {
  readonly reply: Reply
  readonly originalRequestId?: string
}

/** The value of an `idempotency-key` header, or undefined where there is none; 400 where it cannot be one. */
export function readIdempotencyKey(header: string | undefined): string | undefined {
  if (header === undefined) return undefined
  if (header !== '' && header.length <= KEY_LENGTH_MAX) return header
  const message = `an idempotency-key has 1 to ${KEY_LENGTH_MAX} characters`
  throw new RequestError(400, 'invalid_idempotency_key', message)
}

/** The digest that two requests share only when they ask for the same. */
export function hashRequest(parts: readonly (string | Buffer)[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest()
}

/**
 * Runs `work` in a transaction that keeps its reply under the call's key, so that all calls with this key have
 * one effect and one answer. The key is written last, which costs a first call one statement: a call that
 * comes second does its work, finds the key taken, undoes what it did and gives the first one's reply.
 * Throws a `RequestError`: 400 where the key belongs to another request, 409 where the first call takes too long.
 */
export async function answerOnce(
  database: Database,
  call: KeyedCall,
  work: (tx: Transaction) => Promise<Reply>,
): Promise<Answer> {
  try {
    return await database.transaction(async (tx) => {
      const reply = await work(tx)
      if (await keepReply(tx, call, reply)) return { reply }
      throw new KeyTaken()
    })
  } catch (error) {
    // What failed may have failed because the first call changed things: its reply is the answer then.
    const first = await findReply(database, call)
    if (!first) throw error instanceof KeyTaken || isLockTimeout(error) ? underWay() : error
    if (!first.request_hash.equals(call.requestHash)) throw otherRequest()
    const { status, reply, request_id: originalRequestId } = first
    return { reply: { status, body: parseReply(reply) }, originalRequestId }
  }
}

/** Another call has this key; what was done here is to be undone. */
class KeyTaken extends Error {
  override readonly name = 'KeyTaken'
}

function underWay(): RequestError {
  const message = 'another request with this idempotency-key is under way; try again'
  return new RequestError(409, 'idempotency_key_in_use', message)
}

function otherRequest(): RequestError {
  const message = 'this idempotency-key belongs to another request; use a new one'
  return new RequestError(400, 'idempotency_key_reused', message)
}

function parseReply(reply: string | null): unknown {
  return reply === null ? undefined : JSON.parse(reply)
}

/**
 * Keeps a reply under its key, unless a call with this key has been answered in the last day; waits for one that
 * is under way, with bounded patience. The limit is set in the same statement, which saves a round trip.
 */
async function keepReply(tx: Transaction, call: KeyedCall, reply: Reply): Promise<boolean> {
  const { environment, method, path, key, requestHash, requestId, now } = call
  // As a JSON string and not as a value: `jsonb` would give the properties back in another order.
  const body = reply.body === undefined ? null : JSON.stringify(JSON.stringify(reply.body))
  const rows = await tx.query(sql`
    with patience as materialized (select set_config('lock_timeout', ${PATIENCE}, true))
    insert into idempotency_keys as kept
      (environment, method, path, key, request_hash, request_id, status, reply, created_at)
    select ${environment}::text, ${method}::text, ${path}::text, ${key}::text,
      ${requestHash}::bytea, ${requestId}::text, ${reply.status}::integer, ${body}::jsonb,
      ${now}::timestamptz
    from patience
    on conflict (environment, method, path, key) do update
      set request_hash = excluded.request_hash, request_id = excluded.request_id,
        status = excluded.status, reply = excluded.reply, created_at = excluded.created_at
      where kept.created_at < ${expiry(now)}
    returning environment
  `)
  return rows.length > 0
}

interface KeptReply {
  readonly request_hash: Buffer
  readonly request_id: string
  readonly status: number
  readonly reply: string | null
}

async function findReply(db: Queryable, call: KeyedCall): Promise<KeptReply | undefined> {
  const { environment, method, path, key, now } = call
  const [row] = await db.query<KeptReply>(sql`
    select request_hash, request_id, status, reply
    from idempotency_keys
    where environment = ${environment} and method = ${method} and path = ${path} and key = ${key}
      and created_at >= ${expiry(now)}
  `)
  return row
}

function expiry(now: Date): Date {
  return new Date(now.getTime() - KEPT_MS)
}

/** Deletes some of the keys that are older than a day, of all environments. Answers how many. */
export async function sweepIdempotencyKeys(db: Queryable, now: Date): Promise<number> {
  const rows = await db.query(sql`
    delete from idempotency_keys
    where (environment, method, path, key) in (
      select environment, method, path, key from idempotency_keys
      where created_at < ${expiry(now)}
      order by created_at
      limit ${SWEEP_ROWS_MAX}
      for update skip locked
    )
    returning environment
  `)
  return rows.length
}
