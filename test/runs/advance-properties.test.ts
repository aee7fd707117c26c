import fc from 'fast-check'
import { expect, test } from 'vitest'
import { advance, findStep, stepAt, type Decision } from '../../src/runs/advance.ts'
import type { Position, Progress } from '../../src/runs/run.ts'
import type { StepRef } from '../../src/ids.ts'
import type { Step } from '../../src/steps/index.ts'
import type { Workflow } from '../../src/workflow/workflow.ts'

const now = new Date('2027-03-01T09:00:00Z')
const until = new Date('2027-03-01T10:00:00Z')
const ATTEMPTS = 3

/** A step that does something, or one with lists of its own. */
type Node = null | readonly Child[]
interface Child {
  readonly nodes: readonly Node[]
  readonly terminates: boolean
}

const node: fc.Memo<Node> = fc.memo((depth) => {
  const leaf = fc.constant(null)
  if (depth <= 1) return leaf
  const nodes = fc.array(node(depth - 1), { maxLength: 3 })
  const child = fc.record({ nodes, terminates: fc.boolean() })
  return fc.oneof(leaf, fc.array(child, { minLength: 1, maxLength: 3 }))
})
/** Nested as deep as a file may nest, with empty lists as well. */
const workflow = fc.array(node(5), { minLength: 1, maxLength: 4 }).map(toWorkflow)

interface AnyStep {
  readonly ref: StepRef
  readonly branches?: readonly {
    readonly steps: readonly AnyStep[]
    readonly terminates: boolean
  }[]
}

function toWorkflow(nodes: readonly Node[]): Workflow {
  let made = 0
  const toSteps = (list: readonly Node[]): readonly AnyStep[] =>
    list.map((one) => {
      const ref = `s${(made += 1)}` as StepRef
      if (one === null) return { ref, type: 'in_app', body: 'x' }
      const branches = one.map((child, index) => ({
        name: `b${index}`,
        steps: toSteps(child.nodes),
        terminates: child.terminates,
      }))
      return { ref, type: 'branch', branches }
    })
  return { name: 'w', steps: toSteps(nodes) } as unknown as Workflow
}

const stepsOf = ({ steps }: Workflow) => steps as unknown as readonly AnyStep[]

/** The child that a run takes at a step, the same each time. */
const chosen = (ref: StepRef, children: number, salt: number) =>
  (Number(ref.slice(1)) * 7 + salt) % children

/** The steps that a run comes to whom nothing stops; a reading without positions. */
function pathOf(steps: readonly AnyStep[], salt: number): readonly StepRef[] {
  const path: StepRef[] = []
  const go = (list: readonly AnyStep[]): boolean =>
    list.every(({ ref, branches }) => {
      path.push(ref)
      if (!branches) return true
      const child = branches[chosen(ref, branches.length, salt)]!
      return go(child.steps) && !child.terminates
    })
  go(steps)
  return path
}

type Event = 'go' | 'skip' | 'wait' | 'hold' | 'fail' | 'break' | 'halt' | 'throttled' | 'absorbed'

const events: fc.Arbitrary<readonly Event[]> = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom<Event>('go', 'skip') },
    { weight: 4, arbitrary: fc.constantFrom<Event>('wait', 'hold', 'fail') },
    { weight: 1, arbitrary: fc.constantFrom<Event>('break', 'halt', 'throttled', 'absorbed') },
  ),
  { maxLength: 60 },
)

const DECISIONS: Readonly<Record<Event, Decision>> = {
  go: { kind: 'next' },
  skip: { kind: 'skip', reason: 'conditions_not_met' },
  wait: { kind: 'wait', until, reason: 'delay' },
  hold: { kind: 'hold', until, events: [] },
  fail: { kind: 'fail', message: 'no', retryable: true },
  break: { kind: 'fail', message: 'no', retryable: false },
  halt: { kind: 'halt', reason: 'conditions_not_met' },
  throttled: { kind: 'throttled', events: [] },
  absorbed: { kind: 'absorbed', events: [] },
}

function decisionOf({ ref, branches }: AnyStep, event: Event, salt: number): Decision {
  const goesOn = event === 'go' || event === 'skip'
  if (!branches || !goesOn) return DECISIONS[event]
  return { kind: 'enter', child: chosen(ref, branches.length, salt) }
}

const ENDS = {
  break: 'failed',
  halt: 'halted',
  throttled: 'throttled',
  absorbed: 'batched',
} as const

/** Takes a run through a workflow while this and that happens to it, and then through the rest. */
function play(one: Workflow, happening: readonly Event[], salt: number) {
  const visited: StepRef[] = []
  let progress: Progress = { kind: 'queued', position: [0] }
  let attempt = 0
  let stopped: Event | undefined
  let decisions = 0
  while (progress.kind !== 'ended') {
    const { position }: { position: Position } = progress
    const step = stepAt(one, position) as AnyStep | undefined
    // A run stands before a step whatever happens: that it stands nowhere would be a lost one.
    if (!step) throw new Error(`nothing stands at ${position.join('.')}`)
    if (visited.at(-1) !== step.ref) visited.push(step.ref)
    const event = happening[decisions] ?? 'go'
    decisions += 1
    if (event in ENDS) stopped = event
    progress = advance(one, { position, attempt }, decisionOf(step, event, salt), now)
    attempt = progress.kind === 'paused' ? progress.attempt : 0
    if (progress.kind !== 'paused') continue
    if (progress.position.join() !== position.join() || progress.wakesAt <= now)
      throw new Error(`does not sleep at ${position.join('.')} until later`)
  }
  return { visited, progress, stopped, decisions }
}

test('a run comes to every step of its way, in order and once, and ends, whatever happens to it', () => {
  const outcomes = new Set<string>()
  fc.assert(
    fc.property(workflow, events, fc.nat(100), (one, happening, salt) => {
      const path = pathOf(stepsOf(one), salt)
      const { visited, progress, stopped, decisions } = play(one, happening, salt)
      // It never takes another way, and leaves its way only where something ends it.
      expect(path.slice(0, visited.length)).toEqual(visited)
      // Each step is decided once, and again only for what delayed it.
      const delays = happening.filter((event) => ['wait', 'hold', 'fail'].includes(event)).length
      expect(decisions).toBeLessThanOrEqual(visited.length + delays)
      const { outcome } = progress
      const isWhole = visited.length === path.length && stopped === undefined
      const end = stopped === undefined ? 'failed' : ENDS[stopped as keyof typeof ENDS]
      expect(outcome === 'completed' ? isWhole : outcome === end).toBe(true)
      outcomes.add(outcome)
    }),
    { numRuns: 2_000 },
  )
  // Each way to end came up.
  expect([...outcomes].toSorted()).toEqual([
    'batched',
    'completed',
    'failed',
    'halted',
    'throttled',
  ])
})

test('a step is given up after three attempts, wherever it stands', () => {
  fc.assert(
    fc.property(workflow, fc.nat(100), fc.nat(), (one, salt, at) => {
      const path = pathOf(stepsOf(one), salt)
      const index = at % path.length
      const happening: Event[] = [
        ...Array.from({ length: index }, () => 'go' as const),
        ...Array.from({ length: ATTEMPTS }, () => 'fail' as const),
      ]
      const { visited, progress, decisions } = play(one, happening, salt)
      expect(progress).toMatchObject({ outcome: 'failed', reason: 'step_failed' })
      expect(visited).toEqual(path.slice(0, index + 1))
      expect(decisions).toBe(index + ATTEMPTS)
    }),
  )
})

test('a step is found where it stands, and nowhere else', () => {
  fc.assert(
    fc.property(workflow, (one) => {
      const all = (steps: readonly AnyStep[]): readonly StepRef[] =>
        steps.flatMap(({ ref, branches = [] }) => [ref, ...branches.flatMap((b) => all(b.steps))])
      const refs = all(stepsOf(one))
      const positions = refs.map((ref) => findStep(one, ref)!)
      const found = positions.map((position) => (stepAt(one, position) as Step).ref)
      expect(found).toEqual(refs)
      expect(new Set(positions.map((position) => position.join('.'))).size).toBe(refs.length)
      expect(findStep(one, 'nowhere' as StepRef)).toBeUndefined()
    }),
  )
})
