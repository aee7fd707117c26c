import { expect, test } from 'vitest'
import { simulate } from './simulation.ts'

const SCRIPTS = 300
/** A second or two, but not on a busy machine. */
const TIMEOUT_MS = 90_000

test(
  'random scripts of triggers, pushes, switches, cancels, crashes, answers, events, batches and late jobs end each run once',
  () => {
    const outcomes = new Set<string>()
    let runs = 0
    for (let seed = 1; seed <= SCRIPTS; seed += 1) {
      const result = simulate(seed)
      runs += result.runs
      for (const outcome of result.outcomes) outcomes.add(outcome)
    }
    // Each way to end came up, or the scripts do not try much.
    expect([...outcomes].toSorted()).toEqual([
      'batched',
      'cancelled',
      'completed',
      'failed',
      'halted',
      'throttled',
    ])
    expect(runs).toBeGreaterThan(SCRIPTS * 5)
  },
  TIMEOUT_MS,
)
