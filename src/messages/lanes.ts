/**
 * How many hand-overs run at the same time: in all, and through one channel. A channel through which none runs gets its
 * first beyond the total, so that no number of channels that hang holds it up.
 */
export interface LaneLimits {
  readonly total: number
  readonly perLane: number
}

/** Lets work run side by side within limits, in the order in which it came. */
export class Lanes {
  readonly #limits: LaneLimits
  readonly #running = new Map<string, number>()
  readonly #waiting: { readonly lane: string; readonly start: () => void }[] = []
  #total = 0

  constructor(limits: LaneLimits) {
    this.#limits = limits
  }

  /** Runs `work` when its lane is free. */
  async run<T>(lane: string, work: () => Promise<T>): Promise<T> {
    if (this.#isFree(lane)) this.#enter(lane)
    else {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.push({ lane, start: resolve })
      await promise
    }
    try {
      return await work()
    } finally {
      this.#leave(lane)
    }
  }

  #isFree(lane: string): boolean {
    const inLane = this.#running.get(lane) ?? 0
    return inLane === 0 || (this.#total < this.#limits.total && inLane < this.#limits.perLane)
  }

  #enter(lane: string): void {
    this.#total += 1
    this.#running.set(lane, (this.#running.get(lane) ?? 0) + 1)
  }

  /** Passes the place on to the first that may have it, which need not be of the same lane. */
  #leave(lane: string): void {
    this.#total -= 1
    const left = (this.#running.get(lane) ?? 1) - 1
    if (left === 0) this.#running.delete(lane)
    else this.#running.set(lane, left)
    const index = this.#waiting.findIndex((waiting) => this.#isFree(waiting.lane))
    const [next] = index === -1 ? [] : this.#waiting.splice(index, 1)
    if (!next) return
    this.#enter(next.lane)
    next.start()
  }
}
