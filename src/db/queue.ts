import { setTimeout as pause } from 'node:timers/promises'
import { PgBoss, type Job as BossJob } from 'pg-boss'
import { messageOf, RetryableFailure } from '../errors.ts'
import { newRowId } from '../ids.ts'
import type { Log } from '../log.ts'
import type { Database, Queryable, Transaction } from './database.ts'
import { startLoop, within, type Loop } from './loop.ts'
import { groupOf, openQueueLanes, startLaneLoop, type QueueLanes } from './queue-lanes.ts'
import { sql } from './sql.ts'
import type { Listening, Topics } from './topics.ts'

/**
 * `run` is for what a person waits for, `run_bulk` for the chunks of large triggers, and so are `fetch` and `fetch_bulk` for
 * the requests of their steps; `deliver` is for hand-overs.
 */
export const QUEUES = ['run', 'run_bulk', 'fetch', 'fetch_bulk', 'deliver'] as const
export type QueueName = (typeof QUEUES)[number]

export interface Job<Payload extends object> {
  readonly id: string
  readonly payload: Payload
  /** 0 at the first try. */
  readonly retryCount: number
}

/** Jobs fetched together, to be completed together. Jobs that failed before come alone. */
export interface Batch<Payload extends object> {
  readonly jobs: readonly Job<Payload>[]
  /** Aborted when the process stops. */
  readonly signal: AbortSignal
  /**
   * Ends the jobs as part of the transaction. Throws a `RetryableFailure` when one of them has been
   * given to somebody else meanwhile, so that the transaction is rolled back.
   */
  readonly complete: (tx: Transaction) => Promise<void>
}

export interface Work<Payload extends object> {
  /** How many jobs a batch holds at most; 1 when not given. */
  readonly take?: number
  /** Whether a job is a batch by itself. */
  readonly alone?: (payload: Payload) => boolean
  /** How many batches are handled at the same time; 1 when not given. */
  readonly concurrency?: number
  /** How many of them may be of one lane, a payload's `lane`; any number when not given. A lane of which none is handled never waits for others. */
  readonly perLane?: number
  /** A batch that is not completed in a transaction is completed after this resolves; a rejection means retry. */
  readonly handle: (batch: Batch<Payload>) => Promise<void>
}

export interface Drained {
  readonly handled: number
  /** What handlers threw; the jobs were failed as they are in a loop. */
  readonly failures: readonly unknown[]
}

/** The jobs of a queue, at the last count. */
export interface QueueDepth {
  readonly queue: string
  readonly ready: number
  readonly deferred: number
  readonly active: number
}

export interface Queue extends AsyncDisposable {
  /** Adds one job per payload, in one statement, visible to workers when the transaction commits. */
  enqueue(
    tx: Transaction,
    name: QueueName,
    payloads: readonly object[],
    options?: { readonly priority?: number },
  ): Promise<void>
  /** Says who does the jobs of a queue. Takes effect with `start` or `drain`. */
  work<Payload extends object>(name: QueueName, work: Work<Payload>): void
  /**
   * Gives jobs back that somebody fetched more than so many milliseconds ago and has not ended; to be called when
   * a process was seen to die. A living one that is only slow loses its claim, and with it its transaction.
   */
  retryAbandoned(olderThanMs: number): Promise<number>
  /** Puts jobs that have used up their retries back into their queues. */
  redrive(): Promise<number>
  /** How many jobs the queues hold, as it counts them itself every few seconds. */
  depths(): Promise<readonly QueueDepth[]>
  /** Begins to fetch jobs. */
  start(): void
  /** For tests: does due jobs, without loops, until none is left; with `retries` also those that wait for their retry. */
  drain(options?: { readonly retries?: boolean }): Promise<Drained>
  /** Stops fetching and waits for what is under way, 10 s at most. */
  close(): Promise<void>
}

export interface QueueOptions {
  readonly log: Log
  /** Wakes the loops for jobs of other processes; without it they are found within a second. */
  readonly topics?: Topics
}

const SCHEMA = 'belfry_queue'
const DEAD_LETTERS = 'dead_letters'
const RETRY_LIMIT = 5
const QUEUE_SETTINGS = {
  notify: true,
  retryLimit: RETRY_LIMIT,
  retryDelay: 1,
  retryBackoff: true,
  retryDelayMax: 30,
  /** The backstop behind a dead process; statements are cut off below it. */
  expireInSeconds: 60,
  /** The run is the history, not the job. */
  deleteAfterSeconds: 3600,
  deadLetter: DEAD_LETTERS,
}
const SUPERVISE_SECONDS = 5
const CLOSE_TIMEOUT_MS = 10_000
/** Until their expiry, about. */
const FAIL_ATTEMPTS_MAX = 100
const FAIL_PAUSE_MS = 500

/** Brings the queue's own tables and settings to this version. Safe to call from many processes at once. */
export async function installQueue(database: Database): Promise<void> {
  const boss = openBoss(database, { supervise: false })
  await boss.start()
  try {
    await boss.createQueue(DEAD_LETTERS, { deleteAfterSeconds: QUEUE_SETTINGS.deleteAfterSeconds })
    for (const name of QUEUES) {
      await boss.createQueue(name, QUEUE_SETTINGS)
      await boss.updateQueue(name, QUEUE_SETTINGS)
    }
  } finally {
    await boss.stop({ graceful: false })
  }
}

/** Opens the queue of a migrated database. Fetches nothing before `start`. */
export async function openQueue(database: Database, options: QueueOptions): Promise<Queue> {
  const { log, topics } = options
  const loops: (Loop & { readonly name: QueueName })[] = []
  const workers: Worker[] = []
  const closing = new AbortController()
  const wake = (name: string | undefined) => {
    // After a lost connection any queue may have got jobs.
    for (const loop of loops) if (name === undefined || loop.name === name) loop.wake()
  }
  const boss = openBoss(database, { supervise: true, ...(topics && { topics, wake }) })
  boss.on('error', (error) => log.warn('queue', { error: messageOf(error) }))
  boss.on('warning', ({ message }) => log.warn('queue', { warning: message }))
  await boss.start()
  const context = { boss, log, signal: closing.signal }

  const close = async () => {
    if (closing.signal.aborted) return
    closing.abort()
    const ended = await within(CLOSE_TIMEOUT_MS, Promise.all(loops.map((loop) => loop.close())))
    if (!ended) log.warn('stopped before all jobs were done; they will be tried again')
    await boss.stop({ graceful: false })
  }
  return {
    async enqueue(tx, name, payloads, { priority } = {}) {
      if (payloads.length === 0) return
      const extra = priority === undefined ? {} : { priority }
      // Jobs of one transaction have one time; ids in order keep a batch in order.
      const jobs = payloads.map((data) => ({ id: newRowId(), data, ...extra, ...groupOf(data) }))
      await boss.insert(name, jobs, { db: adapter(tx) })
      tx.afterCommit(() => wake(name))
    },
    work(name, { take = 1, alone = () => false, concurrency = 1, perLane, handle }) {
      // The payload of a queue is what its own producer put in; nobody else can.
      const { handle: work, alone: isAlone } = { handle, alone } as Required<Work<object>>
      const lanes =
        perLane === undefined ? undefined : openQueueLanes({ shared: concurrency, perLane })
      workers.push({ name, take, alone: isAlone, concurrency, lanes, handle: work })
    },
    async retryAbandoned(olderThanMs) {
      let count = 0
      for (const name of QUEUES) {
        const jobs = await findAbandoned(database, name, olderThanMs)
        if (jobs.length === 0) continue
        await boss.fail(name, jobs, { message: 'its process died' })
        await retryAtOnce(database, jobs)
        wake(name)
        count += jobs.length
      }
      return count
    },
    redrive: () => boss.redrive(DEAD_LETTERS),
    async depths() {
      const found = await boss.getQueues([...QUEUES, DEAD_LETTERS])
      return found.map(({ name: queue, readyCount, deferredCount, activeCount }) => {
        return { queue, ready: readyCount, deferred: deferredCount, active: activeCount }
      })
    },
    start() {
      for (const worker of workers) {
        const { name, concurrency, lanes } = worker
        const parts = { log, name, ...partsOf(context, worker) }
        if (lanes) loops.push({ name, ...startLaneLoop(lanes, parts) })
        for (let count = lanes ? concurrency : 0; count < concurrency; count += 1)
          loops.push({ name, ...startLoop(() => takeTurn(context, worker), { log, name }) })
      }
    },
    drain: ({ retries = false } = {}) => drain(context, workers, retries),
    close,
    [Symbol.asyncDispose]: close,
  }
}

interface Worker {
  readonly name: QueueName
  readonly take: number
  readonly alone: (payload: object) => boolean
  readonly concurrency: number
  readonly lanes: QueueLanes | undefined
  readonly handle: Work<object>['handle']
}

interface Context {
  readonly boss: PgBoss
  readonly log: Log
  readonly signal: AbortSignal
}

/** Fetches once and handles what came. Resolves to true when more may be waiting. */
async function takeTurn(context: Context, worker: Worker): Promise<boolean> {
  const fetched = await fetch(context, worker, false)
  await handleAll(context, worker, fetched)
  return fetched.length === worker.take
}

/** A turn in its two parts, for who does not wait for the second. */
const partsOf = (context: Context, worker: Worker) => ({
  take: () => fetch(context, worker, false),
  handle: (jobs: readonly BossJob[]) => handleAll(context, worker, jobs),
})

function fetch(
  { boss }: Context,
  { name, take, lanes }: Worker,
  ignoreStartAfter: boolean,
): Promise<BossJob[]> {
  const ignoreGroups = [...(lanes?.full() ?? [])]
  return boss.fetch<object>(name, { batchSize: take, ignoreStartAfter, ignoreGroups })
}

/** Answers what handlers threw. */
async function handleAll(
  context: Context,
  worker: Worker,
  fetched: readonly BossJob[],
): Promise<readonly unknown[]> {
  const failures: unknown[] = []
  for (const jobs of batches(fetched, worker.alone)) {
    const failure = await handleBatch(context, worker, jobs)
    if (failure) failures.push(failure.error)
  }
  return failures
}

/** A job that failed may have been failed by its neighbours, or fail them: from then on it comes alone. */
function batches(jobs: readonly BossJob[], alone: (payload: object) => boolean): BossJob[][] {
  const ordered = jobs.toSorted((one, other) => (one.id < other.id ? -1 : 1))
  const isAlone = (job: BossJob) => job.retryCount > 0 || alone(job.data)
  const together = ordered.filter((job) => !isAlone(job))
  const single = ordered.filter(isAlone)
  return [...(together.length > 0 ? [together] : []), ...single.map((job) => [job])]
}

async function handleBatch(
  context: Context,
  worker: Worker,
  jobs: BossJob[],
): Promise<{ readonly error: unknown } | undefined> {
  const { boss, log, signal } = context
  let completed = false
  const batch: Batch<object> = {
    jobs: jobs.map(({ id, data, retryCount }) => ({ id, payload: data, retryCount })),
    signal,
    async complete(tx) {
      await completeJobs(boss, worker.name, jobs, tx)
      tx.afterCommit(() => (completed = true))
    },
  }
  try {
    await worker.handle(batch)
    if (!completed) await completeJobs(boss, worker.name, jobs)
    return undefined
  } catch (error) {
    const tries = Math.max(...jobs.map((job) => job.retryCount)) + 1
    const level = tries > RETRY_LIMIT ? 'error' : 'warn'
    log[level]('job failed', { queue: worker.name, jobs: jobs.length, tries, error })
    await failJobs(context, worker.name, jobs, error)
    return { error }
  }
}

/** Nothing says that these would fail again, so they need no pause. */
async function retryAtOnce(database: Database, jobs: readonly { id: string }[]): Promise<void> {
  const ids = jobs.map(({ id }) => id)
  await database.query(sql`
    update belfry_queue.job set start_after = now()
    where id = any(${ids}::uuid[]) and state = 'retry'
  `)
}

/** The library keeps no such list; the columns are those of its own expiry check. */
function findAbandoned(
  database: Database,
  name: QueueName,
  olderThanMs: number,
): Promise<{ id: string; retryCount: number }[]> {
  return database.query(sql`
    select id, retry_count as "retryCount" from belfry_queue.job
    where name = ${name} and state = 'active'
      and started_on < now() - ${olderThanMs} * interval '1 millisecond'
  `)
}

async function completeJobs(
  boss: PgBoss,
  name: QueueName,
  jobs: BossJob[],
  tx?: Transaction,
): Promise<void> {
  const options = tx ? { db: adapter(tx) } : {}
  // By job, not by id: so it counts only for the try that was fetched.
  const reply = (await boss.complete(name, jobs, null, options)) as { affected: number }
  if (reply.affected < jobs.length) {
    throw new RetryableFailure(`${jobs.length - reply.affected} jobs of ${name} were taken over`)
  }
}

/**
 * Gives the jobs back for a retry. A database that cannot be reached is waited for, since a worker has
 * nothing else to do without it; in the end, or when the process stops, they come back by their expiry.
 */
async function failJobs(
  { boss, log, signal }: Context,
  name: QueueName,
  jobs: BossJob[],
  error: unknown,
): Promise<void> {
  for (let attempt = 1; attempt <= FAIL_ATTEMPTS_MAX; attempt += 1) {
    try {
      await boss.fail(name, jobs, { message: messageOf(error) })
      return
    } catch (failure) {
      log.debug('could not give jobs back', { queue: name, error: failure })
    }
    // It rejects when the process stops.
    await pause(FAIL_PAUSE_MS, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
  }
}

async function drain(
  context: Context,
  workers: readonly Worker[],
  retries: boolean,
): Promise<Drained> {
  let handled = 0
  const failures: unknown[] = []
  for (;;) {
    let found = 0
    for (const worker of workers) {
      const fetched = await fetch(context, worker, retries)
      found += fetched.length
      failures.push(...(await handleAll(context, worker, fetched)))
    }
    if (found === 0) return { handled, failures }
    handled += found
  }
}

interface BossOptions {
  readonly supervise: boolean
  readonly topics?: Topics
  readonly wake?: (name: string | undefined) => void
}

function openBoss(database: Database, { supervise, topics, wake }: BossOptions): PgBoss {
  const listen = (channel: string): Promise<Listening> => {
    if (!topics || !wake) throw new Error('nobody listens here')
    return topics.listen(channel, wake)
  }
  return new PgBoss({
    db: { ...adapter(database), ...(topics && { listen }) },
    schema: SCHEMA,
    schedule: false,
    supervise,
    superviseIntervalSeconds: SUPERVISE_SECONDS,
    monitorIntervalSeconds: SUPERVISE_SECONDS,
    useListenNotify: topics !== undefined,
    registerInstance: false,
    openTelemetry: { enabled: false },
  })
}

/** pg-boss over our connection or transaction. */
function adapter(queryable: Queryable) {
  return { executeSql: (text: string, values?: unknown[]) => queryable.execute(text, values) }
}
