import { ForgeFailure } from '../forges/failure.ts'
import { decideAfter } from './outbox-send.ts'
import type { Outbox } from './outbox-send.ts'
import { findPause } from './outbox-store.ts'
import { lookAtPulls, planPulls } from './pulls.ts'
import type { Pulls } from './pulls.ts'

/** Between two looks at the forge that somebody asks for, in milliseconds. */
const LOOK_MS_MIN = 2_000
/** After which it is looked at in any case. */
const LOOK_MS_MAX = 30_000
/** After an answer that will not change by itself, such as that there is no such repository; looking is never given up. */
const REST_MS = 10 * 60_000

export interface PullWatch {
  /** Something may have changed: look at the forge soon. */
  wake(): void
  /**
   * Does what is due; answers how much was done. A plan that is void is told so in a turn of its own, before
   * another one is worked out.
   */
  turn(): Promise<number>
}

/** Keeps the plans of pull requests at what their tips are, in the process that leads. */
export function openPullWatch(pulls: Pulls, outbox: Outbox, isLeading: () => boolean): PullWatch {
  const { clock, database, place } = outbox
  let isWanted = false
  let lookedAt = Number.NEGATIVE_INFINITY
  let failures = 0
  let restsUntil = Number.NEGATIVE_INFINITY

  const look = async (): Promise<number> => {
    isWanted = false
    lookedAt = clock.now().getTime()
    try {
      const moved = await lookAtPulls(pulls)
      failures = 0
      return moved
    } catch (error) {
      // Whatever was to be seen still is.
      isWanted = true
      if (!(error instanceof ForgeFailure)) throw error
      const attempts = failures
      failures += 1
      const next = await decideAfter(outbox, error, { attempts, what: 'the pull requests' })
      restsUntil = clock.now().getTime() + (next.kind === 'retry' ? next.delayMs : REST_MS)
      return 0
    }
  }
  const isDue = async () => {
    const now = clock.now()
    const sinceMs = now.getTime() - lookedAt
    if (sinceMs < (isWanted ? LOOK_MS_MIN : LOOK_MS_MAX) || now.getTime() < restsUntil) return false
    return !(await findPause(database, place, now))
  }
  return {
    wake() {
      isWanted = true
    },
    async turn() {
      if (!isLeading()) return 0
      const moved = (await isDue()) ? await look() : 0
      return moved > 0 ? moved : planPulls(pulls)
    },
  }
}
