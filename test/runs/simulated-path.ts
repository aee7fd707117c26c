import type { StepRef } from '../../src/ids.ts'
import type { QueuedRun } from '../../src/runs/run.ts'
import type { LoadedVersion } from '../../src/runs/versions.ts'
import { bucketOf } from '../../src/steps/cohort.ts'
import {
  childrenOf,
  stepsOf,
  type SimulatedChild,
  type SimulatedStep,
} from './simulated-workflow.ts'

/** A version that a run has left, behind a batch that the next one has as well. */
export interface Leg {
  readonly version: LoadedVersion
  readonly at: StepRef
}

/**
 * Where a run whose recipient has the number `n` has to come to if nothing ends it, by a second reading of its
 * workflows that knows neither positions nor waits.
 */
export function expectedPath(
  stored: {
    readonly run: QueuedRun
    readonly version: LoadedVersion
    readonly left: readonly Leg[]
  },
  n: number,
): readonly StepRef[] {
  const reader = new Reader(stored.run, n)
  let behind: StepRef | undefined
  for (const { version, at } of [...stored.left, { version: stored.version, at: undefined }]) {
    const steps = stepsOf(version)
    const from = reader.path.length
    if (behind === undefined) reader.go(steps)
    else reader.goBehind(steps, behind)
    if (at !== undefined) reader.path.length = reader.path.indexOf(at, from) + 1
    behind = at
  }
  return reader.path
}

class Reader {
  readonly path: StepRef[] = []
  readonly #run: QueuedRun
  readonly #n: number

  constructor(run: QueuedRun, n: number) {
    this.#run = run
    this.#n = n
  }

  /** Goes through a list, and says whether its end was come to. */
  go(steps: readonly SimulatedStep[]): boolean {
    for (const step of steps) {
      this.path.push(step.ref)
      const children = childrenOf(step)
      if (children.length === 0) continue
      const at = step.branches ? branchOf(step.branches, this.#n) : cohortOf(step, this.#run)
      const child = children[at]!
      if (!this.go(child.steps) || child.terminates) return false
    }
    return true
  }

  /** The same from behind a step on; undefined where the list does not have it. */
  goBehind(steps: readonly SimulatedStep[], ref: StepRef): boolean | undefined {
    for (const [index, step] of steps.entries()) {
      const rest = steps.slice(index + 1)
      if (step.ref === ref) return this.go(rest)
      for (const child of childrenOf(step)) {
        const isOver = this.goBehind(child.steps, ref)
        if (isOver !== undefined) return isOver && !child.terminates && this.go(rest)
      }
    }
    return undefined
  }
}

function branchOf(branches: readonly SimulatedChild[], n: number): number {
  return branches.findIndex(
    ({ conditions }) => !conditions || conditions.all.every(({ argument }) => argument === n),
  )
}

function cohortOf(
  { ref, cohorts = [] }: SimulatedStep,
  { workflow, recipient }: QueuedRun,
): number {
  const bucket = bucketOf(workflow, ref, recipient)
  let sum = 0
  return cohorts.findIndex(({ percentage = 0 }) => (sum += percentage * 10) > bucket)
}
