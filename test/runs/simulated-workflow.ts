import { unreachable } from '../../src/errors.ts'
import { newId, type StepRef, type VersionId, type WorkflowKey } from '../../src/ids.ts'
import type { LoadedVersion } from '../../src/runs/versions.ts'
import type { Workflow } from '../../src/workflow/workflow.ts'
import type { Random } from '../support/random.ts'

/** The key of every simulated workflow. */
export const SIMULATED = 'simulated' as WorkflowKey
/** The refs of batches: a run goes on in a newer version that has its batch as well. */
const BATCHES = ['day', 'hour', 'page'] as const
/** The limit of every sliding window. */
const EXTENSION_LIMIT = '2h'
/** The same. */
export const EXTENSION_MS = 120 * 60_000
/** Triggers and recipients have an `n` below these. */
export const TRIGGER_N = 3
export const RECIPIENT_N = 4
/** Events have an `n` below this. */
export const EVENT_N = 2

const STEPS_MAX = 5
const DEPTH_MAX = 2

export interface SimulatedChild {
  readonly name: string
  readonly steps: readonly SimulatedStep[]
  readonly terminates?: boolean
  readonly percentage?: number
  readonly conditions?: SimulatedConditions
}

export interface SimulatedConditions {
  readonly all: readonly {
    readonly variable: string
    readonly operator: string
    readonly argument: number
  }[]
}

/** A step, as far as the simulation reads what it has made. */
export interface SimulatedStep {
  readonly ref: StepRef
  readonly type: string
  readonly version?: string
  readonly match?: SimulatedConditions
  readonly on_match?: string
  readonly on_timeout?: string
  readonly branches?: readonly SimulatedChild[]
  readonly cohorts?: readonly SimulatedChild[]
}

const LEAVES = [
  'in_app',
  'in_app',
  'in_app',
  'delay',
  'throttle',
  'update_data',
  'fetch',
  'wait_for_event',
  'batch',
  'batch',
  'trigger_workflow',
] as const
type Leaf = (typeof LEAVES)[number]

/** Makes random workflows; no two of their steps have the same ref, but batches of two versions may. */
export class WorkflowMaker {
  readonly #random: Random
  readonly #batches: string[] = []
  #made = 0

  constructor(chance: Random) {
    this.#random = chance
  }

  version(): LoadedVersion {
    this.#batches.splice(0, BATCHES.length, ...BATCHES)
    const { chance, below } = this.#random
    const workflow = {
      name: 'Simulated',
      steps: this.#steps(0),
      ...(chance(0.2) && { conditions: only('data.n', 'not_equal_to', below(TRIGGER_N)) }),
    } as unknown as Workflow
    return { id: newId() as string as VersionId, key: SIMULATED, workflow, files: {} }
  }

  #steps(depth: number): SimulatedStep[] {
    const count = this.#random.below(STEPS_MAX) + (depth === 0 ? 1 : 0)
    return Array.from({ length: count }, () => this.#step(depth))
  }

  #step(depth: number): SimulatedStep {
    const { pick, chance } = this.#random
    const ref = `s${(this.#made += 1)}` as StepRef
    if (depth >= DEPTH_MAX || chance(0.7)) {
      const type = pick(LEAVES)
      return (type === 'batch' && this.#batch()) || { ref, type, ...this.#leaf(ref, type) }
    }
    return chance(0.5) ? this.#branch(ref, depth) : this.#cohort(ref, depth)
  }

  /** What a step of this type says; of a batch that there is no ref for, something else. */
  #leaf(ref: StepRef, type: Leaf): object {
    const { chance, below } = this.#random
    switch (type) {
      case 'in_app': {
        const skipped = chance(0.3) && { conditions: only('data.n', 'equal_to', 1) }
        return { body: '{{total_activities}} for {{recipient.n}}', ...skipped }
      }
      case 'delay':
        return { for: `${1 + below(90)}m` }
      case 'wait_for_event':
        return this.#wait()
      case 'throttle':
        return { window: '1h', limit: 1 + below(3) }
      case 'fetch':
        return { url: 'https://crm.example.com/{{recipient.n}}', into: ref }
      case 'trigger_workflow':
        return { workflow: 'another' }
      case 'batch':
      case 'update_data':
        return { type: 'update_data', properties: { seen: ref } }
      default:
        return unreachable(type)
    }
  }

  #wait(): object {
    const { chance, below } = this.#random
    return {
      event: 'message.read',
      match: only('event.n', 'equal_to', below(EVENT_N)),
      expires_after: `${1 + below(90)}m`,
      ...(chance(0.2) && { on_match: 'halt' }),
      ...(chance(0.7) && { on_timeout: 'continue' }),
    }
  }

  /** Undefined where the workflow has all of them. */
  #batch(): SimulatedStep | undefined {
    const { chance, below } = this.#random
    const [ref] = this.#batches.splice(below(this.#batches.length), 1)
    if (ref === undefined) return undefined
    const step = {
      ref: ref as StepRef,
      type: 'batch',
      window: `${1 + below(90)}m`,
      render_limit: 100,
      ...(chance(0.4) && { window_type: 'sliding', extension_limit: EXTENSION_LIMIT }),
      ...(chance(0.3) && { mode: 'flush_leading' }),
      ...(chance(0.3) && { max_items: 2 + below(3) }),
      ...(chance(0.3) && { version: 'pinned' }),
      ...(chance(0.2) && { key: 'data.n' }),
    }
    return step
  }

  #branch(ref: StepRef, depth: number): SimulatedStep {
    const { below } = this.#random
    const children = Array.from({ length: 1 + below(2) }, (_, index) => ({
      ...this.#child(depth, `b${index}`),
      conditions: only('recipient.n', 'equal_to', below(RECIPIENT_N)),
    }))
    return { ref, type: 'branch', branches: [...children, this.#child(depth, 'default')] }
  }

  #cohort(ref: StepRef, depth: number): SimulatedStep {
    const first = this.#random.below(101)
    const one = { ...this.#child(depth, 'one'), percentage: first }
    const two = { ...this.#child(depth, 'two'), percentage: 100 - first }
    return { ref, type: 'cohort', cohorts: [one, two] }
  }

  #child(depth: number, name: string): SimulatedChild {
    const steps = this.#steps(depth + 1)
    return { name, steps, ...(this.#random.chance(0.2) && { terminates: true }) }
  }
}

/** The steps of a version, as they were made. */
export function stepsOf({ workflow }: LoadedVersion): readonly SimulatedStep[] {
  return workflow.steps as unknown as readonly SimulatedStep[]
}

/** The `n` whose triggers a version does not take; undefined where it takes all. */
export function refusedBy({ workflow }: LoadedVersion): number | undefined {
  return (workflow.conditions as SimulatedConditions | undefined)?.all[0]?.argument
}

export function childrenOf({ branches, cohorts }: SimulatedStep): readonly SimulatedChild[] {
  return branches ?? cohorts ?? []
}

/** The step of that ref, wherever it is nested; undefined where there is none. */
export function findSimulated(
  steps: readonly SimulatedStep[],
  ref: StepRef | undefined,
): SimulatedStep | undefined {
  for (const step of steps) {
    if (step.ref === ref) return step
    for (const child of childrenOf(step)) {
      const found = findSimulated(child.steps, ref)
      if (found) return found
    }
  }
  return undefined
}

function only(variable: string, operator: string, argument: number): SimulatedConditions {
  return { all: [{ variable, operator, argument }] }
}
