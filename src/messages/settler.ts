import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import type { Database, Transaction } from '../db/database.ts'
import { messageOf } from '../errors.ts'
import type { ProcessId } from '../ids.ts'
import { forgetDevices } from './bounce-store.ts'
import { insertDeliveries, lockClaims, saveSettlements } from './delivery-store.ts'
import type { ClaimRef, Delivery } from './delivery-store.ts'
import type { Settlement } from './message.ts'

/** The end of one hand-over, to be written. */
export interface Ending {
  readonly claim: ClaimRef
  /** The next state, once it is known whether the message was cancelled meanwhile. */
  readonly decide: (cancelled: boolean) => Settlement
  readonly delivery: Delivery | null
  /** Whether the device that it went to is to be forgotten, since it is no more. */
  readonly forget?: boolean
}

/** The part of a log that is needed here. */
export interface Warnings {
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
}

export interface SettlerOptions {
  readonly database: Database
  readonly clock: Clock
  readonly process: ProcessId
  /** Aborted when the process stops. */
  readonly signal: AbortSignal
  readonly log: Warnings
}

interface Waiting extends Ending {
  readonly done: () => void
}

const FLUSH_MAX = 200
const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 5_000

/**
 * Writes the ends of hand-overs. What comes while one commit is under way goes into the next, so
 * that a busy process commits in sets and an idle one at once. It tries until it succeeds, or until
 * the process stops: a claim that is not settled is only freed when this process ends.
 */
export class Settler {
  readonly #options: SettlerOptions
  #waiting: Waiting[] = []
  #flushing = false

  constructor(options: SettlerOptions) {
    this.#options = options
  }

  /** Resolves when the ending is committed, the claim has been found to be another's, or the process stops. */
  settle(ending: Ending): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push({ ...ending, done: resolve })
    if (!this.#flushing) void this.#flushAll()
    return promise
  }

  async #flushAll(): Promise<void> {
    this.#flushing = true
    while (this.#waiting.length > 0) {
      const endings = this.#waiting.splice(0, FLUSH_MAX)
      await this.#flush(endings)
      for (const { done } of endings) done()
    }
    this.#flushing = false
  }

  async #flush(endings: readonly Waiting[]): Promise<void> {
    if (await this.#tried(endings)) return
    // One bad row must not hold up the others: each goes alone, and then without what it brings.
    for (const ending of endings) await this.#flushAlone(ending)
  }

  async #flushAlone(ending: Waiting): Promise<void> {
    if (await this.#tried([ending])) return
    const { signal } = this.#options
    let waitMs = RETRY_MS_MIN
    while (!(await this.#tried([{ ...ending, delivery: null }]))) {
      // It rejects when the process stops. Without Postgres nothing is written then, and the claim ends with the lease.
      await sleep(waitMs, undefined, { ref: false, signal }).catch(() => {})
      if (signal.aborted) return
      waitMs = Math.min(waitMs * 2, RETRY_MS_MAX)
    }
  }

  async #tried(endings: readonly Waiting[]): Promise<boolean> {
    const { database, log } = this.#options
    try {
      await database.transaction((tx) => this.#write(tx, endings))
      return true
    } catch (error) {
      log.warn('the ends of hand-overs could not be written', {
        messages: endings.length,
        error: messageOf(error),
      })
      return false
    }
  }

  async #write(tx: Transaction, endings: readonly Waiting[]): Promise<void> {
    const { clock, process } = this.#options
    const held = await lockClaims(
      tx,
      endings.map(({ claim }) => claim),
      process,
    )
    const cancelled = new Map(held.map((claim) => [claim.id, claim.cancelled]))
    const settled = endings.flatMap(({ claim, decide }) => {
      const wasCancelled = cancelled.get(claim.id)
      return wasCancelled === undefined ? [] : [{ ...claim, ...decide(wasCancelled) }]
    })
    if (settled.length > 0) await saveSettlements(tx, settled, clock.now())
    const dead = endings.flatMap(({ claim, forget }) => (forget ? [claim] : []))
    if (dead.length > 0) await forgetDevices(tx, dead, clock.now())
    // Also for a claim that was lost meanwhile: the attempt was made, and the log says so.
    const deliveries = endings.flatMap(({ delivery }) => (delivery ? [delivery] : []))
    if (deliveries.length > 0) await insertDeliveries(tx, deliveries)
  }
}
