import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../errors.ts'
import type { Log } from '../log.ts'

export interface SetWriterOptions<Item> {
  /** Commits these together, or throws and commits nothing of them. */
  readonly write: (items: readonly Item[]) => Promise<void>
  /** What the log says where that failed. */
  readonly failure: string
  readonly log: Pick<Log, 'warn'>
  /** What is left of one that cannot be written alone; all of it where nothing is said. */
  readonly reduce?: (item: Item) => Item
  /** How much there is to write of one, in bytes. */
  readonly weigh?: (item: Item) => number
  /** Aborted when the process stops. */
  readonly signal: AbortSignal
}

interface Waiting<Item> {
  readonly item: Item
  readonly done: () => void
}

const ITEMS_MAX = 200
/** Bounds what one commit holds in memory. */
const BYTES_MAX = 8 * 1024 * 1024
const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 5_000

/**
 * Writes what comes one by one in sets: what comes while one commit is under way goes into the next, so that a busy
 * process commits in sets and an idle one at once. It tries until it succeeds, or until the process stops. One bad row
 * does not hold up the others: where a set fails, each goes alone.
 */
export class SetWriter<Item> {
  readonly #options: SetWriterOptions<Item>
  readonly #waiting: Waiting<Item>[] = []
  #writing = false

  constructor(options: SetWriterOptions<Item>) {
    this.#options = options
  }

  /** Resolves when it is committed, or the process stops. */
  add(item: Item): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push({ item, done: resolve })
    if (!this.#writing) void this.#writeAll()
    return promise
  }

  async #writeAll(): Promise<void> {
    this.#writing = true
    while (this.#waiting.length > 0) {
      const some = this.#take()
      if (!(await this.#write(some.map(({ item }) => item))))
        for (const { item } of some) await this.#writeAlone(item)
      for (const { done } of some) done()
    }
    this.#writing = false
  }

  #take(): readonly Waiting<Item>[] {
    const { weigh = () => 0 } = this.#options
    let bytes = 0
    const end = this.#waiting.findIndex(({ item }) => (bytes += weigh(item)) > BYTES_MAX)
    const count = end === -1 ? this.#waiting.length : Math.max(end, 1)
    return this.#waiting.splice(0, Math.min(count, ITEMS_MAX))
  }

  async #writeAlone(item: Item): Promise<void> {
    const { reduce = (same) => same, signal } = this.#options
    if (await this.#write([item])) return
    const rest = reduce(item)
    let waitMs = RETRY_MS_MIN
    while (!(await this.#write([rest]))) {
      // It rejects when the process stops; then what was not written is left to whoever takes over.
      await sleep(waitMs, undefined, { ref: false, signal }).catch(() => {})
      if (signal.aborted) return
      waitMs = Math.min(waitMs * 2, RETRY_MS_MAX)
    }
  }

  /** Whether they are committed. */
  async #write(items: readonly Item[]): Promise<boolean> {
    const { write, failure, log } = this.#options
    try {
      await write(items)
      return true
    } catch (error) {
      log.warn(failure, { count: items.length, error: messageOf(error) })
      return false
    }
  }
}
