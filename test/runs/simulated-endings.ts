import { NESTED_DEPTH_MAX } from '../../src/runs/nested-step.ts'
import { haltOf } from './simulated-events.ts'
import { expectedPath } from './simulated-path.ts'
import { recipientOf, type Stored } from './simulated-runs.ts'
import type { SimulatedTriggers } from './simulated-triggers.ts'
import { findSimulated, refusedBy, stepsOf } from './simulated-workflow.ts'

/** What is wrong with the way in which a run has ended; undefined where it had to end so. */
export function faultOfEnding(stored: Stored, triggers: SimulatedTriggers): string | undefined {
  return (
    faultOfPath(stored) ??
    faultOfHalt(stored) ??
    faultOfLastStep(stored) ??
    faultOfTriggers(stored, triggers)
  )
}

/** It has come to all that it had to come to, and to nothing else. */
function faultOfPath(stored: Stored): string | undefined {
  const path = expectedPath(stored, recipientOf(stored))
  const seen = stored.visited
  if (stored.outcome === 'completed' && seen.join() !== path.join())
    return `came to ${seen.join()} and not to ${path.join()}`
  if (path.slice(0, seen.length).join() !== seen.join())
    return `came to ${seen.join()}, which is no part of ${path.join()}`
  return undefined
}

/** Conditions and waits have held it back, or have not. */
function faultOfHalt(stored: Stored): string | undefined {
  const { outcome, reason, visited, trigger, left, version } = stored
  const isRefused = refusedBy((left[0] ?? { version }).version) === trigger.data['n']
  if (isRefused && visited.length > 0) return 'began although its trigger is not taken'
  if ((outcome === 'halted') !== (isRefused && outcome !== 'cancelled'))
    return `${outcome} although its trigger is ${isRefused ? 'not ' : ''}taken`
  const halt = haltOf(stored)
  const isHalted = reason === 'event_matched' || reason === 'wait_expired'
  if (halt !== null && outcome !== 'cancelled') return `went on behind a wait: ${halt}`
  if (isHalted && halt !== reason) return `ended by ${reason} and not by ${halt}`
  return undefined
}

const ENDED_BY: Readonly<Record<string, readonly string[]>> = {
  throttled: ['throttle'],
  batched: ['batch'],
  failed: ['fetch', 'trigger_workflow'],
}

/** Some ends are those of some steps. */
function faultOfLastStep({ outcome, visited, version }: Stored): string | undefined {
  const types = ENDED_BY[outcome ?? '']
  if (!types) return undefined
  const last = findSimulated(stepsOf(version), visited.at(-1))
  return last && types.includes(last.type) ? undefined : `${outcome} at ${last?.type}`
}

/** Each step that starts another workflow has asked for it once. */
function faultOfTriggers(stored: Stored, triggers: SimulatedTriggers): string | undefined {
  const { run, version, left, visited, trigger, outcome } = stored
  const all = [version, ...left.map((leg) => leg.version)].flatMap(stepsOf)
  const asking = visited.filter((ref) => findSimulated(all, ref)?.type === 'trigger_workflow')
  for (const ref of asking) {
    const isTooDeep = trigger.depth >= NESTED_DEPTH_MAX
    const answers = triggers.answers(run.id, ref)
    if (answers.length !== (isTooDeep ? 0 : 1))
      return `asked for another workflow ${answers.length} times at ${ref}`
    const mustFail = isTooDeep || answers[0] === 'refused'
    if (mustFail && !(outcome === 'failed' && visited.at(-1) === ref))
      return `went on behind ${ref}, which was refused`
  }
  return undefined
}
