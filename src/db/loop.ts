import type { Log } from '../log.ts'

export interface Loop {
  /** Takes the next turn now, or once more after the present one. */
  wake(): void
  /** Takes no further turn; resolves when the present one has ended. */
  close(): Promise<void>
}

export interface LoopOptions {
  readonly log: Log
  readonly name: string
  /** How long to wait for a wake-up, in milliseconds. */
  readonly pollMs?: number
}

const POLL_MS = 1000
const FAILURE_DELAY_MS_MAX = 5000

/**
 * Calls `turn` again and again: at once while it resolves to true, else when woken, and each second
 * at the latest. A turn that throws is logged and tried again after a growing pause.
 */
export function startLoop(turn: () => Promise<boolean>, options: LoopOptions): Loop {
  const { log, name, pollMs = POLL_MS } = options
  const state = { closed: false }
  let woken = false
  let failures = 0
  let endPause: (() => void) | undefined

  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      endPause = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  const once = async (): Promise<boolean> => {
    try {
      const more = await turn()
      failures = 0
      return more
    } catch (error) {
      failures += 1
      log.warn('loop failed, going on', { loop: name, failures, error })
      // Whatever woke it has been used up by this turn; the pause ends with the poll.
      return false
    }
  }
  const run = async () => {
    while (!state.closed) {
      woken = false
      const more = await once()
      if (more || woken || state.closed) continue
      await pause(failures > 1 ? Math.min(pollMs * failures, FAILURE_DELAY_MS_MAX) : pollMs)
    }
  }
  const running = run()
  return {
    wake() {
      woken = true
      endPause?.()
    },
    close() {
      state.closed = true
      endPause?.()
      return running
    },
  }
}

/** Whether the work ended in time. */
export async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  const ended = await Promise.race([work.then(() => true), late])
  clearTimeout(timer)
  return ended
}
