import type { Watching, WatchSettings } from './source.ts'

/** Asks now and then to look at a remote; each pause is a little longer by chance, so that many processes part. */
export class RemotePoll implements Watching {
  readonly #settings: WatchSettings
  readonly #onClose: () => void
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(settings: WatchSettings, onClose: () => void) {
    this.#settings = settings
    this.#onClose = onClose
  }

  async start(): Promise<void> {
    this.#wait()
  }

  /** Asks at once. */
  ask(): void {
    if (!this.#closed) this.#settings.onChange(null, true)
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#onClose()
  }

  #wait(): void {
    if (this.#closed) return
    const pauseMs = this.#settings.pollMs * (1 + Math.random() / 10)
    this.#timer = setTimeout(() => {
      this.ask()
      this.#wait()
    }, pauseMs)
    this.#timer.unref()
  }
}
