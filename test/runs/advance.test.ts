import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { advance, stepAt, type Decision } from '../../src/runs/advance.ts'
import type { Position, Progress } from '../../src/runs/run.ts'
import { stepTypeOf } from '../../src/steps/index.ts'
import type { Workflow } from '../../src/workflow/workflow.ts'

const now = new Date('2027-03-01T09:00:00Z')

/** A feed item by its ref, or a branch as [[steps of the first branch], …]; `!` ends the run behind it. */
type Sketch =
  | string
  | { readonly branches: readonly (readonly Sketch[])[]; readonly terminates?: number }

let made = 0

function steps(sketches: readonly Sketch[]): readonly object[] {
  return sketches.map((sketch) => {
    if (typeof sketch === 'string') return { ref: sketch, type: 'in_app', body: 'x' }
    const branches = sketch.branches.map((inner, index) => ({
      name: `b${index}`,
      steps: steps(inner),
      ...(index === sketch.terminates && { terminates: true }),
    }))
    return { ref: `branch${(made += 1)}`, type: 'branch', branches }
  })
}

function aWorkflow(...sketches: Sketch[]): Workflow {
  return { name: 'w', steps: steps(sketches) } as Workflow
}

function after(workflow: Workflow, position: Position, decision: Decision, attempt = 0): Progress {
  return advance(workflow, { position, attempt }, decision, now)
}

const next: Decision = { kind: 'next' }

describe('advance', () => {
  test('goes from step to step, and ends behind the last', () => {
    const workflow = aWorkflow('a', 'b')
    expect(after(workflow, [0], next)).toEqual({ kind: 'queued', position: [1] })
    expect(after(workflow, [1], next)).toEqual({
      kind: 'ended',
      outcome: 'completed',
      reason: null,
    })
  })

  test('goes on behind a skipped step and behind a message', () => {
    const workflow = aWorkflow('a', 'b')
    const skip: Decision = { kind: 'skip', reason: 'conditions_not_met' }
    expect(after(workflow, [0], skip)).toEqual({ kind: 'queued', position: [1] })
  })

  test('enters a branch, and goes on behind it', () => {
    const workflow = aWorkflow({ branches: [['a', 'b'], ['c']] }, 'd')
    const enter: Decision = { kind: 'enter', child: 1 }
    expect(after(workflow, [0], enter)).toEqual({ kind: 'queued', position: [0, 1, 0] })
    expect(after(workflow, [0, 0, 0], next)).toEqual({ kind: 'queued', position: [0, 0, 1] })
    expect(after(workflow, [0, 1, 0], next)).toEqual({ kind: 'queued', position: [1] })
  })

  test('goes on behind a branch without steps', () => {
    const workflow = aWorkflow({ branches: [['a'], []] }, 'd')
    const enter: Decision = { kind: 'enter', child: 1 }
    expect(after(workflow, [0], enter)).toEqual({ kind: 'queued', position: [1] })
  })

  test('ends behind a branch that terminates, however deep', () => {
    const workflow = aWorkflow({ branches: [[{ branches: [['a']] }], ['z']], terminates: 0 }, 'd')
    expect(after(workflow, [0, 0, 0, 0, 0], next)).toEqual({
      kind: 'ended',
      outcome: 'completed',
      reason: 'branch_terminated',
    })
  })

  test('sleeps where it stands', () => {
    const until = new Date('2027-03-01T10:00:00Z')
    const progress = after(aWorkflow('a'), [0], { kind: 'wait', until, reason: 'delay' })
    expect(progress).toEqual({
      kind: 'paused',
      position: [0],
      waitsFor: 'delay',
      wakesAt: until,
      attempt: 0,
    })
  })

  test('tries a failed step three times, later each time, and then has failed', () => {
    const workflow = aWorkflow('a')
    const fail: Decision = { kind: 'fail', message: 'no', retryable: true }
    const attempts = [0, 1, 2].map((attempt) => after(workflow, [0], fail, attempt))
    expect(attempts).toMatchObject([
      { kind: 'paused', waitsFor: 'retry', attempt: 1, wakesAt: new Date('2027-03-01T09:00:05Z') },
      { kind: 'paused', waitsFor: 'retry', attempt: 2, wakesAt: new Date('2027-03-01T09:00:30Z') },
      { kind: 'ended', outcome: 'failed', reason: 'step_failed' },
    ])
  })

  test('does not repeat what cannot succeed', () => {
    const fail: Decision = { kind: 'fail', message: 'no', retryable: false }
    expect(after(aWorkflow('a', 'b'), [0], fail)).toMatchObject({
      kind: 'ended',
      outcome: 'failed',
    })
  })

  test('visits every step of the path it chose exactly once, and ends', () => {
    const sketch: fc.Memo<Sketch> = fc.memo((depth) =>
      depth <= 1
        ? fc.constantFrom('a', 'b', 'c')
        : fc.oneof(
            fc.constantFrom('a', 'b', 'c'),
            fc.record({
              branches: fc.array(fc.array(sketch(depth - 1), { maxLength: 3 }), {
                minLength: 1,
                maxLength: 3,
              }),
            }),
          ),
    )
    fc.assert(
      fc.property(
        fc.array(sketch(4), { maxLength: 4 }),
        fc.infiniteStream(fc.nat(2)),
        (sketches, choices) => {
          const workflow = aWorkflow(...sketches)
          const visited = new Set<string>()
          let progress: Progress = { kind: 'queued', position: [0] }
          while (progress.kind === 'queued') {
            const { position }: { position: Position } = progress
            expect(visited.has(position.join('.'))).toBe(false)
            visited.add(position.join('.'))
            const step = stepAt(workflow, position)
            if (!step) break
            const children = stepTypeOf(step).children?.(step) ?? []
            const child: number = (choices.next().value ?? 0) % Math.max(children.length, 1)
            progress = after(
              workflow,
              position,
              children.length > 0 ? { kind: 'enter', child } : next,
            )
          }
          // Each top-level step was visited: none is lost behind a branch.
          for (const index of workflow.steps.keys()) expect(visited.has(String(index))).toBe(true)
        },
      ),
    )
  })
})
