import { newId, type RunId, type StepRef } from '../../src/ids.ts'
import type { LoadedWait, Wait } from '../../src/runs/wait-store.ts'
import type { Walk } from '../../src/runs/walk.ts'
import type { Stored } from './simulated-runs.ts'
import { findSimulated, stepsOf, type SimulatedStep } from './simulated-workflow.ts'

interface Happened {
  readonly id: string
  readonly recipient: string
  readonly at: number
  readonly data: { readonly n: number }
}

/** What happens to recipients, and what must come of it for those who wait. */
export class SimulatedEvents {
  readonly #happened: Happened[] = []

  happen(recipient: string, at: number, n: number): void {
    this.#happened.push({ id: newId<RunId>(), recipient, at, data: { n } })
  }

  /** What a run waits for, with all that has happened to its recipient since. */
  waitsOf({ waits }: Stored): readonly LoadedWait[] {
    return [...waits.values()].map((wait) => {
      if (wait.matched !== null) return { ...wait, candidates: [] }
      const candidates = this.#during(wait).filter(({ id }) => !wait.seen.includes(id))
      return { ...wait, candidates }
    })
  }

  /** Takes over how the waits of a run stand. Answers what is wrong with that. */
  keep(
    stored: Stored,
    { waits, result: { progress } }: Pick<Walk, 'waits' | 'result'>,
    now: number,
  ): string | undefined {
    const looked = openOf(stored)[0]?.stepRef
    for (const wait of waits) {
      const before = stored.waits.get(wait.stepRef)
      if (before && before.matched !== null) return 'ended a wait twice'
      const fault = wait.matched === null ? undefined : this.#faultOf(stored, wait, now)
      if (fault !== undefined) return fault
      stored.waits.set(wait.stepRef, wait)
    }
    const isWaiting = progress.kind === 'paused' && progress.waitsFor === 'event'
    return isWaiting ? this.#faultOfSleep(stored, looked) : undefined
  }

  /** A run that waits has one open wait, and if it was open before, has looked at all that has happened since. */
  #faultOfSleep(stored: Stored, looked: StepRef | undefined): string | undefined {
    const [open, ...others] = openOf(stored)
    if (!open || others.length > 0) return 'waits for less or more than one thing'
    const known = open.stepRef === looked ? this.#during(open).map(({ id }) => id) : []
    return open.seen.join() === known.join() ? undefined : `did not look at all of ${known.join()}`
  }

  /** A wait ends with the first event that matches, or at its time where there is none. */
  #faultOf(stored: Stored, wait: Wait, now: number): string | undefined {
    const wanted = waitStep(stored, wait)?.match?.all[0]?.argument
    const first = this.#during(wait).find(({ data }) => data.n === wanted)
    if (wait.matched !== (first !== undefined) || wait.eventId !== (first?.id ?? null))
      return `ended the wait of ${wait.stepRef} with ${wait.eventId}, not with ${first?.id}`
    const isEarly = stored.run.asleep && now < wait.expiresAt.getTime()
    return first || !isEarly ? undefined : `gave up the wait of ${wait.stepRef} before its time`
  }

  #during({ recipient, openedAt, expiresAt }: Wait): readonly Happened[] {
    const [from, to] = [openedAt.getTime(), expiresAt.getTime()]
    return this.#happened.filter(
      (one) => one.recipient === recipient && one.at >= from && one.at < to,
    )
  }
}

function openOf({ waits }: Stored): readonly Wait[] {
  return [...waits.values()].filter(({ matched }) => matched === null)
}

/** For what a run has to end after its waits; null where it goes on behind each of them. */
export function haltOf(stored: Stored): 'event_matched' | 'wait_expired' | null {
  for (const wait of stored.waits.values()) {
    const { on_match: onMatch = 'continue', on_timeout: onTimeout = 'halt' } =
      waitStep(stored, wait) ?? {}
    if (wait.matched === true && onMatch === 'halt') return 'event_matched'
    if (wait.matched === false && onTimeout === 'halt') return 'wait_expired'
  }
  return null
}

/** The step of a wait, in the version of the run or in one that it has left. */
function waitStep({ version, left }: Stored, { stepRef }: Wait): SimulatedStep | undefined {
  for (const one of [version, ...left.map((leg) => leg.version)]) {
    const step = findSimulated(stepsOf(one), stepRef)
    if (step) return step
  }
  return undefined
}
