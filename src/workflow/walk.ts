import { checkConditions, conditionVariables, type Conditions } from '../language/conditions.ts'
import type { StepRef } from '../ids.ts'
import { stepTypeOf, type Step } from '../steps/index.ts'
import { errorAt, type Diagnostic, type Position } from './diagnostic.ts'
import type { ParsedFile, Pointer } from './parse.ts'
import { STEPS_MAX } from './schema.ts'
import { variableUse } from './template-source.ts'
import type { ChannelUse, VariableUse, Workflow } from './workflow.ts'

/** How deep branches may lie in each other. */
export const DEPTH_MAX = 5

/** A step, and where it stands in its file. */
export interface PlacedStep {
  readonly step: Step
  readonly pointer: Pointer
  /** How many branches it lies in. */
  readonly depth: number
}

/** Conditions, and where they stand in their file. */
interface PlacedConditions {
  readonly conditions: Conditions
  readonly pointer: Pointer
}

/**
 * Every step of a workflow in the order of its file, those in branches included. Those that break
 * the schema stand as `null` and are passed over.
 */
export function listSteps(
  steps: readonly (Step | null)[],
  pointer: Pointer = ['steps'],
  depth = 0,
): readonly PlacedStep[] {
  return steps.flatMap((step, index) => {
    if (step === null) return []
    const at = [...pointer, index]
    const children = stepTypeOf(step).children?.(step) ?? []
    const nested = children.flatMap((child) =>
      listSteps(child.steps as readonly (Step | null)[], [...at, ...child.path], depth + 1),
    )
    return [{ step, pointer: at, depth }, ...nested]
  })
}

/** What the schema cannot say of steps: their number, depth and refs, and their own rules. */
export function checkSteps(file: ParsedFile, steps: readonly PlacedStep[]): readonly Diagnostic[] {
  const found: Diagnostic[] = []
  const add = (at: Position, code: string, message: string): void => {
    found.push(errorAt(file.path, at, { code, message }))
  }
  const over = steps[STEPS_MAX]
  if (over !== undefined) {
    const message = `a workflow may have at most ${STEPS_MAX} steps, those in branches included`
    add(file.locate(over.pointer), 'step_limit', message)
  }
  const tooDeep = steps.find(({ depth }) => depth > DEPTH_MAX)
  if (tooDeep !== undefined) {
    const message = `branches may lie ${DEPTH_MAX} deep in each other, not deeper`
    add(file.locate(tooDeep.pointer), 'depth_limit', message)
  }
  const seen = new Map<StepRef, Position>()
  for (const { step, pointer } of steps) {
    const at = file.locate([...pointer, 'ref'])
    const first = seen.get(step.ref)
    if (first === undefined) seen.set(step.ref, at)
    else add(at, 'duplicate_ref', `the step on line ${first.line} has the ref "${step.ref}" too`)
    for (const { path, ...problem } of stepTypeOf(step).check?.(step) ?? []) {
      found.push(errorAt(file.path, file.locateKey([...pointer, ...path]), problem))
    }
  }
  return found
}

/** Every group of conditions in a workflow: its own, those of steps, and those of branches. */
export function listConditions(
  workflow: Workflow,
  steps: readonly PlacedStep[],
): readonly PlacedConditions[] {
  return [
    ...place(workflow.conditions, ['conditions']),
    ...steps.flatMap(({ step, pointer }) => [
      ...place(step.conditions, [...pointer, 'conditions']),
      ...(stepTypeOf(step).conditions?.(step) ?? []).flatMap(({ conditions, path }) =>
        place(conditions, [...pointer, ...path]),
      ),
      ...(stepTypeOf(step).children?.(step) ?? []).flatMap(({ conditions, path }) =>
        place(conditions, [...pointer, ...path.slice(0, -1), 'conditions']),
      ),
    ]),
  ]
}

function place(conditions: Conditions | undefined, pointer: Pointer): readonly PlacedConditions[] {
  return conditions === undefined ? [] : [{ conditions, pointer }]
}

/** What is wrong with conditions beyond their shape. */
export function checkPlacedConditions(
  file: ParsedFile,
  { conditions, pointer }: PlacedConditions,
): readonly Diagnostic[] {
  return checkConditions(conditions).map(({ path, ...problem }) =>
    errorAt(file.path, file.locate([...pointer, ...path]), problem),
  )
}

/** The variables of the environment that conditions name, on either side of an operator. */
export function variablesOf(
  file: ParsedFile,
  { conditions, pointer }: PlacedConditions,
): readonly VariableUse[] {
  return conditionVariables(conditions).flatMap(({ variable, path }) =>
    variableUse(
      variable,
      () => ({ path: file.path, ...file.locate([...pointer, ...path]) }),
      false,
    ),
  )
}

/** The sources whose events start the workflow, or are waited for. */
export function sourceUses(
  file: ParsedFile,
  { trigger: { events = [] } = {} }: Workflow,
  steps: readonly PlacedStep[],
): readonly VariableUse[] {
  const placed = (pointer: Pointer) => ({
    secrets: false,
    path: file.path,
    ...file.locate(pointer),
  })
  return [
    ...events.map(({ source: name }, index) => ({
      name,
      source: 'starts' as const,
      ...placed(['trigger', 'events', index, 'source']),
    })),
    ...steps.flatMap(({ step, pointer }) =>
      step.type === 'wait_for_event' && step.source !== undefined
        ? [{ name: step.source, source: 'awaited' as const, ...placed([...pointer, 'source']) }]
        : [],
    ),
  ]
}

/** What steps need of the environment's channels. */
export function channelUses(file: ParsedFile, steps: readonly PlacedStep[]): readonly ChannelUse[] {
  return steps.flatMap(({ step, pointer }) => {
    const type = stepTypeOf(step).channelType
    if (type === undefined) return []
    const channel = 'channel' in step ? step.channel : undefined
    const at = file.locate(channel === undefined ? pointer : [...pointer, 'channel'])
    return [{ ref: step.ref, type, channel: channel ?? null, path: file.path, ...at }]
  })
}
