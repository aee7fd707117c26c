import { Pool, type ClientConfig, type PoolClient, type QueryResult } from 'pg'
import { RetryableFailure } from '../errors.ts'
import type { Sql } from './sql.ts'

/** Anything a statement can be sent to. Rows are typed by the caller, next to its query. */
export interface Queryable {
  query<Row = Record<string, unknown>>(statement: Sql): Promise<Row[]>
  /** Sends SQL that is not ours to write: the queue library's own statements and migrations. */
  execute(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>
}

/** An open transaction. Everything done through it is committed or rolled back together. */
export interface Transaction extends Queryable {
  /** Runs once after a successful commit; for wake-ups that must not precede the data. */
  afterCommit(effect: () => void): void
  /** Runs `work` under a savepoint: what it did is undone, and nothing else, when it throws. */
  savepoint<T>(work: () => Promise<T>): Promise<T>
}

export interface Database extends Queryable, AsyncDisposable {
  readonly url: string
  transaction<T>(work: (tx: Transaction) => Promise<T>, limits?: Limits): Promise<T>
  close(): Promise<void>
}

export interface Limits {
  /** No statement of the transaction waits for a lock any longer: then it fails with a `LockTimeout`. */
  readonly lockWaitMs?: number
}

/** Another session held a lock for longer than was to be waited for; nothing was written. */
export class LockTimeout extends RetryableFailure {
  constructor(cause: unknown) {
    super(
      'another session of Postgres holds a lock on what is to be written; pg_locks and pg_stat_activity say which one',
      { cause },
    )
  }
}

/** Whether a wait for a lock was ended by `lock_timeout`. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '55P03'
}

/** The same database, for work that has to go on where another session holds a lock: that of all its transactions. */
export function withLockWait(database: Database, lockWaitMs: number): Database {
  return {
    ...database,
    transaction: (work, limits) => database.transaction(work, { lockWaitMs, ...limits }),
  }
}

const CONNECTIONS_MAX = 12
const CONNECT_TIMEOUT_MS = 10_000
/** Below the expiry of a job, so that a stuck statement never outlives its claim. */
const STATEMENT_TIMEOUT_MS = 50_000
/**
 * A process that stands still in the middle of a transaction, such as a paused container, holds its locks
 * no longer than that. One that works is never silent for so long: nothing is waited for in a transaction.
 */
const SILENCE_TIMEOUT_MS = 10_000

/** The schema of all our tables; the queue has its own. */
export const SCHEMA = 'belfry'

/** How each connection of ours is made: in our schema, and recognisable in `pg_stat_activity`. */
export function connectionSettings(url: string): ClientConfig {
  const [address = '', search = ''] = url.split('?', 2)
  const parameters = new URLSearchParams(search)
  // What the address itself asks for stays; where both name a setting, the last one counts.
  const options = [parameters.get('options') ?? '', `-c search_path=${SCHEMA}`].join(' ').trim()
  parameters.delete('options')
  const rest = parameters.size > 0 ? `?${parameters.toString()}` : ''
  return {
    connectionString: `${address}${rest}`,
    options,
    application_name: 'belfry',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
  }
}

/** Opens a pool of connections; nothing is sent before the first statement. */
export function openDatabase(
  url: string,
  options: { readonly connectionsMax?: number } = {},
): Database {
  const pool = new Pool({
    ...connectionSettings(url),
    max: options.connectionsMax ?? CONNECTIONS_MAX,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: SILENCE_TIMEOUT_MS,
  })
  // A connection that breaks while idle is replaced by the next query; without a listener it would end the process.
  pool.on('error', () => {})
  let closing: Promise<void> | undefined
  const close = () => (closing ??= pool.end())
  return {
    url,
    ...queryable(pool),
    transaction: (work, limits) => transaction(pool, work, limits),
    close,
    [Symbol.asyncDispose]: close,
  }
}

function queryable(client: Pool | PoolClient): Queryable {
  return {
    async query<Row>(statement: Sql): Promise<Row[]> {
      const { values, ...rest } = statement
      const reply = await client.query({ ...rest, values: [...values] })
      return reply.rows as Row[]
    },
    async execute(text, values) {
      // Without values a text may hold several statements, which cannot be prepared.
      const query = values && values.length > 0 ? { text, values, ...nameOf(text) } : text
      const reply: QueryResult | QueryResult[] = await client.query(query)
      // Several statements in one text have one result each.
      return { rows: Array.isArray(reply) ? reply.flatMap((one) => one.rows) : reply.rows }
    },
  }
}

const STATEMENT_NAMES_MAX = 100
const statementNames = new Map<string, string>()

/** Prepared, a statement of the queue takes half the time: its table has many indexes to plan for. */
function nameOf(text: string): { readonly name?: string } {
  const known = statementNames.get(text)
  if (known) return { name: known }
  if (statementNames.size >= STATEMENT_NAMES_MAX) return {}
  const name = `e${statementNames.size}`
  statementNames.set(text, name)
  return { name }
}

async function transaction<T>(
  pool: Pool,
  work: (tx: Transaction) => Promise<T>,
  limits: Limits = {},
): Promise<T> {
  const effects: (() => void)[] = []
  const result = await committed(pool, effects, { work, ...limits })
  for (const effect of effects) effect()
  return result
}

async function committed<T>(
  pool: Pool,
  effects: (() => void)[],
  { work, lockWaitMs }: Limits & { readonly work: (tx: Transaction) => Promise<T> },
): Promise<T> {
  const client = await pool.connect()
  let broken: Error | undefined
  // A connection cut between two statements raises an event, not a rejection.
  const onError = (error: Error) => (broken = error)
  client.on('error', onError)
  try {
    // In one message, so that the limit costs no round trip.
    const limit = lockWaitMs === undefined ? '' : `; set local lock_timeout = ${lockWaitMs}`
    await client.query(`begin${limit}`)
    const result = await work({
      ...queryable(client),
      afterCommit: (effect) => effects.push(effect),
      savepoint: (inner) => savepoint(client, effects, inner),
    })
    const reply = await client.query('commit')
    // Postgres answers so, without an error, when a statement failed and its error was swallowed.
    if (reply.command === 'ROLLBACK') throw new Error('transaction rolled back: a statement failed')
    return result
  } catch (error) {
    await client.query('rollback').catch((failure: Error) => (broken ??= failure))
    throw lockWaitMs !== undefined && isLockTimeout(error) ? new LockTimeout(error) : error
  } finally {
    client.off('error', onError)
    client.release(broken)
  }
}

async function savepoint<T>(
  client: PoolClient,
  effects: (() => void)[],
  work: () => Promise<T>,
): Promise<T> {
  const effectsBefore = effects.length
  await client.query('savepoint step')
  try {
    const result = await work()
    await client.query('release savepoint step')
    return result
  } catch (error) {
    effects.length = effectsBefore
    // Released too, so that an outer savepoint of the same name is the innermost again.
    await client.query('rollback to savepoint step; release savepoint step')
    throw error
  }
}
