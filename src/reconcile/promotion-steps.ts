import { isDeepStrictEqual } from 'node:util'
import { stepTypeOf } from '../steps/index.ts'
import type { Step } from '../steps/index.ts'
import { resolveFile } from '../workflow/paths.ts'
import type { Version } from '../workflow/workflow.ts'

/** A field that says something else than before; values are there where both are short. */
export interface FieldChange {
  readonly field: string
  readonly before: string | null
  readonly after: string | null
  /** The template file whose text is another one, where the field itself is the same. */
  readonly file: string | null
}

/** What a step does that it did not do before. */
export interface StepChange {
  readonly ref: string
  readonly type: string
  readonly change: 'added' | 'removed' | 'moved' | 'changed'
  /** Whether a changed step also stands elsewhere. */
  readonly moved: boolean
  /** The step that it lies in, and the name of the branch. */
  readonly inside: string | null
  readonly fields: readonly FieldChange[]
}

type Side = Pick<Version, 'key' | 'workflow' | 'blobs'>

const VALUE_LENGTH_MAX = 80

/** Compares the steps of two versions by their refs: added and changed ones in the order of the new version, then removed ones. */
export function diffSteps(before: Side, after: Side): readonly StepChange[] {
  const old = placeSteps(before.workflow.steps)
  const next = placeSteps(after.workflow.steps)
  const still = inPlace([...old.values()], next)
  const changes = [...next.values()].flatMap((placed): readonly StepChange[] => {
    const { step, inside } = placed
    const base = { ref: step.ref, type: step.type, inside }
    const earlier = old.get(step.ref)
    if (!earlier) return [{ ...base, change: 'added', moved: false, fields: [] }]
    const fields = diffStep(earlier.step, step, { before, after })
    const moved = !still.has(step.ref)
    if (fields.length > 0) return [{ ...base, change: 'changed', moved, fields }]
    return moved ? [{ ...base, change: 'moved', moved, fields }] : []
  })
  const removed = [...old.values()]
    .filter(({ step }) => !next.has(step.ref))
    .map(({ step, inside }): StepChange => {
      const { ref, type } = step
      return { ref, type, change: 'removed', moved: false, inside, fields: [] }
    })
  return [...changes, ...removed]
}

/** Compares what a workflow says beside its steps and its data schema. */
export function diffFields(before: Side, after: Side): readonly FieldChange[] {
  const fieldsOf = ({ workflow }: Side) => {
    const { steps: _, trigger, ...rest } = workflow
    const { data_schema: __, ...others } = trigger ?? {}
    return { ...rest, ...prefixed('trigger.', others) }
  }
  return diffRecords(fieldsOf(before), fieldsOf(after))
}

/** The steps of a workflow in a few words each, in their order. */
export function describeSteps({ workflow }: Pick<Version, 'workflow'>): readonly string[] {
  return [...placeSteps(workflow.steps).values()].map(
    ({ step: { ref, type }, inside }) =>
      `${ref} (${type}${inside === null ? '' : `, in ${inside}`})`,
  )
}

/** The batch steps of a workflow whose open batches go on with its newest version. */
export function followedBatches({ workflow }: Pick<Version, 'workflow'>): readonly string[] {
  return [...placeSteps(workflow.steps).values()].flatMap(({ step }) =>
    step.type === 'batch' && step.version !== 'pinned' ? [step.ref] : [],
  )
}

interface Placed {
  readonly step: Step
  readonly inside: string | null
}

function placeSteps(steps: readonly Step[], inside: string | null = null): Map<string, Placed> {
  const found = new Map<string, Placed>()
  for (const step of steps) {
    found.set(step.ref, { step, inside })
    for (const child of stepTypeOf(step).children?.(step) ?? []) {
      const nested = placeSteps(child.steps as readonly Step[], `${step.ref}/${child.name}`)
      for (const [ref, placed] of nested) found.set(ref, placed)
    }
  }
  return found
}

/** The most steps whose order among themselves, and what they lie in, are as before. */
function inPlace(old: readonly Placed[], next: ReadonlyMap<string, Placed>): ReadonlySet<string> {
  const order = new Map([...next.keys()].map((ref, index) => [ref, index]))
  const kept = new Set<string>()
  const lists = Map.groupBy(old, ({ inside }) => inside)
  for (const [inside, list] of lists) {
    const refs = list
      .map(({ step }) => step.ref as string)
      .filter((ref) => next.get(ref) && next.get(ref)?.inside === inside)
    for (const ref of longestRise(refs, (one) => order.get(one) ?? 0)) kept.add(ref)
  }
  return kept
}

/** The longest part of a list, in its order, in which places only rise. A list has 100 steps at most. */
function longestRise(refs: readonly string[], placeOf: (ref: string) => number): readonly string[] {
  const ends: (readonly string[])[] = []
  for (const [index, ref] of refs.entries()) {
    const before = ends
      .slice(0, index)
      .filter((rise) => placeOf(rise.at(-1) ?? '') < placeOf(ref))
      .toSorted((one, other) => other.length - one.length)[0]
    ends.push([...(before ?? []), ref])
  }
  return ends.toSorted((one, other) => other.length - one.length)[0] ?? []
}

function diffStep(
  old: Step,
  step: Step,
  { before, after }: { readonly before: Side; readonly after: Side },
): readonly FieldChange[] {
  const fields = diffRecords(ownFields(old), ownFields(step))
  const named = new Set(fields.map(({ field }) => field))
  const texts = stepTypeOf(step)
    .templates(step)
    .flatMap(({ path, template }) => {
      const field = path.join('.')
      if (typeof template === 'string' || named.has(String(path[0]))) return []
      const { file } = template
      const full = resolveFile(after.key, file)
      if (full === undefined || before.blobs[full] === after.blobs[full]) return []
      return [{ field, before: null, after: null, file }]
    })
  return [...fields, ...texts]
}

/** All that a step says, without the steps that lie in it. */
function ownFields(step: Step): Readonly<Record<string, unknown>> {
  const copy = structuredClone(step) as unknown as Record<string, unknown>
  for (const { path } of stepTypeOf(step).children?.(step) ?? []) {
    let at: unknown = copy
    for (const segment of path.slice(0, -1)) at = (at as Record<string | number, unknown>)[segment]
    delete (at as Record<string | number, unknown>)[path.at(-1) ?? '']
  }
  delete copy['ref']
  return copy
}

function diffRecords(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): readonly FieldChange[] {
  const fields = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...fields]
    .filter((field) => !isDeepStrictEqual(before[field], after[field]))
    .map((field) => {
      const [old, next] = [shown(before[field]), shown(after[field])]
      const isShort = old !== undefined && next !== undefined
      return { field, before: isShort ? old : null, after: isShort ? next : null, file: null }
    })
}

/** Undefined where the value is too long for a line. */
function shown(value: unknown): string | undefined {
  if (value === undefined) return ''
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.length <= VALUE_LENGTH_MAX && !text.includes('\n') ? text : undefined
}

function prefixed(prefix: string, record: object): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [prefix + name, value]))
}
