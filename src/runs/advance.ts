import { assert, unreachable } from '../errors.ts'
import type { ChildSteps, Outcome, StepBase, StepEvent } from '../steps/step.ts'
import { stepTypeOf, type Step } from '../steps/index.ts'
import type { Workflow } from '../workflow/workflow.ts'
import type { Position, Progress } from './run.ts'

/** How long a run sleeps before its step is tried again, after each failure; the one behind them is the last. */
const RETRY_DELAYS_MS = [5_000, 30_000] as const

/** What a step decided, as far as a run moves by it; or the failure that kept it from deciding. */
export type Decision =
  | Exclude<Outcome, { readonly kind: 'throttle' | 'update' }>
  /** The gate of the step let no more runs pass. */
  | {
      readonly kind: 'throttled'
      readonly events: readonly StepEvent[]
    }
  | { readonly kind: 'fail'; readonly message: string; readonly retryable: boolean }

/** The step a run stands before; undefined where the version has no step at that position. */
export function stepAt(workflow: Workflow, position: Position): Step | undefined {
  let steps: readonly StepBase[] = workflow.steps
  for (let depth = 0; depth + 2 < position.length; depth += 2) {
    const step = steps[position[depth]!] as Step | undefined
    const child = step && childrenOf(step)[position[depth + 1]!]
    if (!child) return undefined
    steps = child.steps
  }
  return steps[position.at(-1)!] as Step | undefined
}

/** Moves a run on by one decision. The only place where a run's position changes. */
export function advance(
  workflow: Workflow,
  run: { readonly position: Position; readonly attempt: number },
  decision: Decision,
  now: Date,
): Progress {
  const { position, attempt } = run
  switch (decision.kind) {
    case 'next':
    case 'skip':
    case 'message':
      return settle(workflow, following(position))
    case 'enter':
      return settle(workflow, [...position, decision.child, 0])
    case 'wait':
      return { kind: 'paused', position, waitsFor: 'delay', wakesAt: decision.until, attempt: 0 }
    case 'throttled':
      return { kind: 'ended', outcome: 'throttled', reason: 'throttle_limit' }
    case 'halt':
      return { kind: 'ended', outcome: 'halted', reason: decision.reason }
    case 'fail': {
      const delayMs = RETRY_DELAYS_MS[attempt]
      if (!decision.retryable || delayMs === undefined)
        return { kind: 'ended', outcome: 'failed', reason: 'step_failed' }
      const wakesAt = new Date(now.getTime() + delayMs)
      return { kind: 'paused', position, waitsFor: 'retry', wakesAt, attempt: attempt + 1 }
    }
    default:
      return unreachable(decision)
  }
}

function childrenOf(step: Step): readonly ChildSteps[] {
  return stepTypeOf(step).children?.(step) ?? []
}

function following(position: Position): Position {
  return [...position.slice(0, -1), position.at(-1)! + 1]
}

/** Leaves the lists that end at `position`, until a step stands there or the workflow is over. */
function settle(workflow: Workflow, position: Position): Progress {
  let at = position
  for (;;) {
    if (stepAt(workflow, at)) return { kind: 'queued', position: at }
    if (at.length === 1) return { kind: 'ended', outcome: 'completed', reason: null }
    const parent = at.slice(0, -2)
    const step = stepAt(workflow, parent)
    assert(step, `no step at ${parent.join('.')}`)
    const child = childrenOf(step)[at.at(-2)!]
    if (child?.terminates)
      return { kind: 'ended', outcome: 'completed', reason: 'branch_terminated' }
    at = following(parent)
  }
}
