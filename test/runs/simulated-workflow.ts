import type { StepRef, WorkflowKey } from '../../src/ids.ts'
import type { QueuedRun } from '../../src/runs/run.ts'
import { bucketOf } from '../../src/steps/cohort.ts'
import type { Random } from '../support/random.ts'

/** The key of every simulated workflow. */
export const SIMULATED = 'simulated' as WorkflowKey

const STEPS_MAX = 5
const DEPTH_MAX = 2

/** Makes the steps of random workflows; the refs of one are unique. */
export class WorkflowMaker {
  readonly #random: Random
  #made = 0

  constructor(chance: Random) {
    this.#random = chance
  }

  steps(depth: number): object[] {
    const count = this.#random.below(STEPS_MAX) + (depth === 0 ? 1 : 0)
    return Array.from({ length: count }, () => this.#step(depth))
  }

  #step(depth: number): object {
    const { pick, chance, below } = this.#random
    const ref = `s${(this.#made += 1)}`
    const leaf = depth >= DEPTH_MAX || chance(0.7)
    const type = pick(
      leaf
        ? ['in_app', 'in_app', 'delay', 'throttle', 'update_data', 'fetch', 'wait_for_event']
        : ['branch', 'cohort'],
    )
    switch (type) {
      case 'in_app': {
        const skipped = { all: [{ variable: 'data.n', operator: 'equal_to', argument: 1 }] }
        return { ref, type, body: 'x {{recipient.n}}', ...(chance(0.3) && { conditions: skipped }) }
      }
      case 'delay':
        return { ref, type, for: `${1 + below(90)}m` }
      case 'wait_for_event':
        return {
          ref,
          type,
          event: 'message.read',
          match: { all: [{ variable: 'event.n', operator: 'equal_to', argument: below(2) }] },
          expires_after: `${1 + below(90)}m`,
          ...(chance(0.2) && { on_match: 'halt' }),
          ...(chance(0.7) && { on_timeout: 'continue' }),
        }
      case 'throttle':
        return { ref, type, window: '1h', limit: 1 + below(3) }
      case 'fetch':
        return { ref, type, url: 'https://crm.example.com/{{recipient.n}}', into: ref }
      case 'update_data':
        return { ref, type, properties: { seen: ref } }
      case 'branch': {
        const children = Array.from({ length: 1 + below(2) }, (_, index) => ({
          ...this.#child(depth, `b${index}`),
          conditions: {
            all: [{ variable: 'recipient.n', operator: 'equal_to', argument: below(4) }],
          },
        }))
        return { ref, type, branches: [...children, this.#child(depth, 'default')] }
      }
      default: {
        const first = below(101)
        const one = { ...this.#child(depth, 'one'), percentage: first }
        return {
          ref,
          type,
          cohorts: [one, { ...this.#child(depth, 'two'), percentage: 100 - first }],
        }
      }
    }
  }

  #child(depth: number, name: string): { name: string; steps: object[]; terminates?: boolean } {
    const steps = this.steps(depth + 1)
    return { name, steps, ...(this.#random.chance(0.2) && { terminates: true }) }
  }
}

export interface SimulatedChild {
  readonly steps: readonly object[]
  readonly terminates?: boolean
  readonly percentage?: number
  readonly conditions?: { readonly all: readonly { readonly argument: number }[] }
}

export interface SimulatedStep {
  readonly ref: StepRef
  readonly type: string
  readonly branches?: readonly SimulatedChild[]
  readonly cohorts?: readonly SimulatedChild[]
}

/** Which branch is taken by whoever has this `n`. */
export function branchOf(branches: readonly SimulatedChild[], n: number): number {
  return branches.findIndex(
    ({ conditions }) => !conditions || conditions.all.every(({ argument }) => argument === n),
  )
}

/** Which cohort the recipient of a run falls into. */
export function cohortOf({ ref, cohorts = [] }: SimulatedStep, { recipient }: QueuedRun): number {
  const bucket = bucketOf(SIMULATED, ref, recipient)
  let sum = 0
  return cohorts.findIndex(({ percentage = 0 }) => (sum += percentage * 10) > bucket)
}
