import {
  newId,
  type RunId,
  type StepRef,
  type VersionId,
  type WorkflowRunId,
} from '../../src/ids.ts'
import type { Nested, NestedAnswer, NestedRequest } from '../../src/runs/nested.ts'
import type { Random } from '../support/random.ts'
import type { Kept } from './simulated-runs.ts'

/** What runs ask other workflows to do: each request is answered somehow, and nothing begins. */
export class SimulatedTriggers implements Kept {
  readonly #random: Random
  #answered: readonly {
    readonly runId: RunId
    readonly stepRef: StepRef
    readonly nested: Nested
  }[] = []

  constructor(chance: Random) {
    this.#random = chance
  }

  save(): () => void {
    const answered = this.#answered
    return () => void (this.#answered = answered)
  }

  answer({ run, stepRef }: NestedRequest): NestedAnswer {
    const nested = this.#random.pick<Nested>([
      ...Array.from({ length: 4 }, triggered),
      { kind: 'unavailable', reason: 'workflow_missing' },
      { kind: 'refused', message: 'x' },
    ])
    this.#answered = [...this.#answered, { runId: run.id, stepRef, nested }]
    return { kind: 'nested', nested }
  }

  /** What this run was answered at this step, each time that it asked. */
  answers(runId: RunId, stepRef: StepRef): readonly Nested['kind'][] {
    return this.#answered
      .filter((one) => one.runId === runId && one.stepRef === stepRef)
      .map(({ nested }) => nested.kind)
  }
}

function triggered(): Nested {
  const versionId = newId() as string as VersionId
  return { kind: 'triggered', workflowRunId: newId<WorkflowRunId>(), versionId }
}
