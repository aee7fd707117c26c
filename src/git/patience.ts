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
  async wait<Result>(work: Promise<Result>): Promise<Result> {
    const seconds = this.#ms / 1000
    const message = `${this.#url} needs longer than ${seconds} s to answer; it is still being read`
    let timer: NodeJS.Timeout | undefined
    const over = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new RetryableFailure(message)), this.#ms)
    })
    try {
      return await Promise.race([work, over])
    } finally {
      clearTimeout(timer)
    }
  }
}
