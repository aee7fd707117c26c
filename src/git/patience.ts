import { RetryableFailure } from '../errors.ts'

/** How long somebody waits for a remote. Others, such as the brakes of an operator, wait behind them. */
export class Patience {
  readonly #url: string
  readonly #ms: number

  constructor(url: string, ms: number) {
    this.#url = url
    this.#ms = ms
  }

  /** Answers what `work` does; throws a `RetryableFailure` when it takes too long, and lets it go on. */
  async wait<Result>(work: Promise<Result>, late?: () => void): Promise<Result> {
    let timer: NodeJS.Timeout | undefined
    const over = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        late?.()
        reject(
          new RetryableFailure(
            `${this.#url} needs longer than ${this.#ms / 1000} s to answer; it is still being read`,
          ),
        )
      }, this.#ms)
    })
    try {
      return await Promise.race([work, over])
    } finally {
      clearTimeout(timer)
    }
  }
}
