import { assert, unreachable } from '../errors.ts'
import type { StepRef } from '../ids.ts'
import type { ChildSteps, Outcome, StepBase, StepEvent } from '../steps/step.ts'
import { stepTypeOf, type Step } from '../steps/index.ts'
import type { Workflow } from '../workflow/workflow.ts'
import type { Position, Progress } from './run.ts'

/** How long a run sleeps before its step is tried again, after each failure; the one behind them is the last. */
const RETRY_DELAYS_MS = [5_000, 30_000] as const

/** What a step decided, as far as a run moves by it; or the failure that kept it from deciding. */
export type Decision =
  | Exclude<Outcome, { readonly kind: 'throttle' | 'batch' | 'trigger' | 'update' | 'fetch' }>
  /** The gate of the step let no more runs pass. */
  | {
      readonly kind: 'throttled'
      readonly events: readonly StepEvent[]
    }
  /** Wait until the batch closes. */
  | { readonly kind: 'hold'; readonly until: Date; readonly events: readonly StepEvent[] }
  /** The run is an activity of a batch that another one has opened. */
  | { readonly kind: 'absorbed'; readonly events: readonly StepEvent[] }
  /** Make the request of the step, at that time or at once, and come back with what became of it. */
  | {
      readonly kind: 'call'
      readonly until: Date | null
      readonly attempt: number
      readonly events: readonly StepEvent[]
    }
  | {
      readonly kind: 'fail'
      readonly message: string
      readonly retryable: boolean
      readonly events?: readonly StepEvent[]
    }

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

/** Where the step of that ref stands; undefined where the workflow has none. */
export function findStep(workflow: Workflow, ref: StepRef): Position | undefined {
  return findIn(workflow.steps, ref, [])
}

function findIn(steps: readonly StepBase[], ref: StepRef, list: Position): Position | undefined {
  for (const [index, step] of steps.entries()) {
    const position = [...list, index]
    if (step.ref === ref) return position
    for (const [child, { steps: nested }] of childrenOf(step as Step).entries()) {
      const found = findIn(nested, ref, [...position, child])
      if (found) return found
    }
  }
  return undefined
}

/** Moves a run on by one decision. The only place where a run's position changes. */
export function advance(
  workflow: Workflow,
  run: { readonly position: Position; readonly attempt: number },
  decision: Decision,
  now: Date,
): Progress {
  const { position } = run
  if (decision.kind === 'call') return calling(position, decision)
  if ('until' in decision) return asleep(position, decision)
  switch (decision.kind) {
    case 'next':
    case 'skip':
    case 'message':
      return settle(workflow, following(position))
    case 'enter':
      return settle(workflow, [...position, decision.child, 0])
    case 'absorbed':
      return { kind: 'ended', outcome: 'batched', reason: null }
    case 'throttled':
      return { kind: 'ended', outcome: 'throttled', reason: 'throttle_limit' }
    case 'halt':
    case 'cancel':
      return { kind: 'ended', outcome: ENDINGS[decision.kind], reason: decision.reason }
    case 'fail':
      return failed(run, decision, now)
    default:
      return unreachable(decision)
  }
}

function calling(
  position: Position,
  { until: wakesAt, attempt }: Decision & { readonly kind: 'call' },
): Progress {
  if (wakesAt === null) return { kind: 'calling', position, attempt }
  return { kind: 'paused', position, waitsFor: 'fetch', wakesAt, attempt }
}

const ENDINGS = { halt: 'halted', cancel: 'cancelled' } as const
const SLEEPS = { wait: 'delay', await: 'event', hold: 'batch' } as const

function asleep(
  position: Position,
  { kind, until: wakesAt }: { readonly kind: keyof typeof SLEEPS; readonly until: Date },
): Progress {
  return { kind: 'paused', position, waitsFor: SLEEPS[kind], wakesAt, attempt: 0 }
}

/** Sleeps until the step is tried again, or ends the run. */
function failed(
  { position, attempt }: { readonly position: Position; readonly attempt: number },
  { retryable }: { readonly retryable: boolean },
  now: Date,
): Progress {
  const delayMs = RETRY_DELAYS_MS[attempt]
  if (!retryable || delayMs === undefined)
    return { kind: 'ended', outcome: 'failed', reason: 'step_failed' }
  const wakesAt = new Date(now.getTime() + delayMs)
  return { kind: 'paused', position, waitsFor: 'retry', wakesAt, attempt: attempt + 1 }
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
