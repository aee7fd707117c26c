import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import type { Database, Transaction } from '../db/database.ts'
import type { Queue, QueueName } from '../db/queue.ts'
import { messageOf } from '../errors.ts'
import type { RunId } from '../ids.ts'
import type { Log } from '../log.ts'
import { settleFetches, type EndedFetch, type FetchClaim } from './fetch-store.ts'
import { runJobs } from './jobs.ts'

export interface SettlerOptions {
  readonly database: Database
  readonly queue: Queue
  readonly clock: Clock
  /** Aborted when the process stops. */
  readonly signal: AbortSignal
  readonly log: Pick<Log, 'warn'>
}

/** The end of one call, to be written, and which queue its run goes on in. */
export interface Ending {
  readonly ended: EndedFetch
  /** How much there is to write. */
  readonly bytes: number
  readonly queue: QueueName
}

interface Waiting extends Ending {
  readonly done: () => void
}

const FLUSH_MAX = 200
/** Bounds what one commit, and then one job, holds in memory. */
const FLUSH_BYTES_MAX = 8 * 1024 * 1024
const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 5_000

/**
 * Writes the ends of calls and queues their runs. What comes while one commit is under way goes into the next, so
 * that a busy process commits in sets and an idle one at once. It tries until it succeeds, or until the process
 * stops: then the claim ends with the lease.
 */
export class FetchSettler {
  readonly #options: SettlerOptions
  readonly #waiting: Waiting[] = []
  #flushing = false

  constructor(options: SettlerOptions) {
    this.#options = options
  }

  /** Resolves when the end is committed, the claim was found to be another's, or the process stops. */
  settle(ending: Ending): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push({ ...ending, done: resolve })
    if (!this.#flushing) void this.#flushAll()
    return promise
  }

  async #flushAll(): Promise<void> {
    this.#flushing = true
    while (this.#waiting.length > 0) {
      const endings = this.#take()
      // One bad row must not hold up the others.
      if (!(await this.#tried(endings))) for (const ending of endings) await this.#alone(ending)
      for (const { done } of endings) done()
    }
    this.#flushing = false
  }

  #take(): readonly Waiting[] {
    let bytes = 0
    const end = this.#waiting.findIndex((ending) => (bytes += ending.bytes) > FLUSH_BYTES_MAX)
    const count = end === -1 ? this.#waiting.length : Math.max(end, 1)
    return this.#waiting.splice(0, Math.min(count, FLUSH_MAX))
  }

  async #alone(ending: Waiting): Promise<void> {
    const { signal } = this.#options
    let waitMs = RETRY_MS_MIN
    while (!(await this.#tried([ending]))) {
      // It rejects when the process stops.
      await sleep(waitMs, undefined, { ref: false, signal }).catch(() => {})
      if (signal.aborted) return
      waitMs = Math.min(waitMs * 2, RETRY_MS_MAX)
    }
  }

  async #tried(endings: readonly Ending[]): Promise<boolean> {
    const { database, log } = this.#options
    try {
      await database.transaction((tx) => this.#write(tx, endings))
      return true
    } catch (error) {
      const fields = { requests: endings.length, error: messageOf(error) }
      log.warn('what requests were answered could not be written', fields)
      return false
    }
  }

  async #write(tx: Transaction, endings: readonly Ending[]): Promise<void> {
    const { queue, clock } = this.#options
    const settled = await settleFetches(
      tx,
      endings.map(({ ended }) => ended),
      clock.now(),
    )
    const queueOf = new Map(endings.map(({ ended, queue: name }) => [ended.runId, name]))
    for (const [name, claims] of Map.groupBy(settled, ({ runId }) => queueOf.get(runId)!))
      await enqueueSettled(tx, { queue, name }, claims)
  }
}

/** Has these runs go on, each environment's by itself. */
export async function enqueueSettled(
  tx: Transaction,
  { queue, name }: { readonly queue: Queue; readonly name: QueueName },
  settled: readonly FetchClaim[],
): Promise<void> {
  const jobs = [...Map.groupBy(settled, ({ environment }) => environment)].flatMap(
    ([environment, claims]) => runJobs(environment, claims.map(idOf)),
  )
  await queue.enqueue(tx, name, jobs)
}

function idOf({ runId }: FetchClaim): RunId {
  return runId
}
