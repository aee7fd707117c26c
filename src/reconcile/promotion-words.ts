import { unreachable } from '../errors.ts'
import type { ConflictKind } from '../git/merge-files.ts'
import type { OpenBatches, PausedRuns, PromotionPlan, WorkflowChange } from './promotion.ts'
import type { FieldChange, StepChange } from './promotion-steps.ts'
import { counted } from './promotion-verdict.ts'

/** Why a person has to merge a path. */
export function conflictWords(kind: ConflictKind): string {
  switch (kind) {
    case 'content':
      return 'both sides changed the same lines'
    case 'both_added':
      return 'both sides added it, with different content'
    case 'changed_and_removed':
      return 'one side changed it, the other removed it'
    case 'renamed_and_removed':
      return 'one side renamed it, the other removed it'
    case 'renamed_twice':
      return 'each side renamed it to something else'
    case 'added_to_renamed_directory':
      return 'one side added it to a directory that the other renamed'
    case 'directory_split':
      return 'one side moved the files of this directory to several others, the other side added to it'
    case 'in_the_way':
      return 'the other side renamed its directory, and there is a file of that name at the new place'
    case 'file_and_directory':
      return 'a file on one side, a directory on the other'
    case 'type':
      return 'a file on one side, a link or submodule on the other'
    default:
      return unreachable(kind)
  }
}

/** The plan's answer in a sentence. */
export function verdictWords({ verdict, relation, environment, head }: PromotionPlan): string {
  if (relation === 'same') return `${environment} and ${head.name} are the same commit.`
  if (relation === 'up_to_date') return `${environment} has all that ${head.name} has.`
  if (verdict === 'blocked') return 'Blocked.'
  return relation === 'fast_forward' ? 'Ready: a fast-forward.' : 'Ready: a merge without conflict.'
}

const COUNTED = ['added', 'changed', 'archived', 'conflicting', 'only_in_target', 'same'] as const

/** How many workflows of each kind there are; what there is none of is left out. */
export function countWords({ counts }: PromotionPlan): string {
  const words = COUNTED.filter((kind) => counts[kind] > 0).map(
    (kind) => `${counts[kind]} ${changeWords(kind)}`,
  )
  const moved = counts.moved > 0 ? ` (${counts.moved} of them moved)` : ''
  return words.length === 0 ? 'no workflow differs' : `${words.join(', ')}${moved}`
}

/** The kind of a change as people read it. */
export function changeWords(kind: WorkflowChange['change']): string {
  if (kind === 'only_in_target') return 'only in target'
  return kind === 'same' ? 'same on both sides' : kind
}

/** What a change comes to, in a few words. */
export function summaryOf(one: WorkflowChange): readonly string[] {
  switch (one.change) {
    case 'added':
      return one.moved_from === null ? [...one.does] : [`was ${one.moved_from}: same content`]
    case 'archived':
      return one.moved_to === null ? [] : [`is ${one.moved_to} now: same content`]
    case 'conflicting':
      return [counted(one.files.filter(({ conflict }) => conflict !== null).length, 'conflict')]
    case 'only_in_target':
      return ['kept by the merge']
    case 'same':
      return ['equal content']
    case 'changed':
      return changedWords(one)
    default:
      return unreachable(one.change)
  }
}

function changedWords({
  steps,
  trigger_schema: schema,
  fields,
  merged,
  files,
}: WorkflowChange): readonly string[] {
  const kinds = ['added', 'removed', 'moved', 'changed'] as const
  const of = (kind: StepChange['change']) => steps?.filter(({ change }) => change === kind) ?? []
  const ofSteps = kinds
    .filter((kind) => of(kind).length > 0)
    .map((kind) => `${counted(of(kind).length, 'step')} ${kind}`)
  const breaking = schema.filter((one) => one.breaking).length
  const ofSchema = breaking > 0 ? `trigger schema: ${breaking} breaking` : 'trigger schema'
  const words = [
    ...ofSteps,
    ...(schema.length > 0 ? [ofSchema] : []),
    ...fields.map(({ field }) => field),
    ...(merged ? ['with changes that only the target has'] : []),
  ]
  return words.length > 0 ? words : [counted(files.length, 'file')]
}

/** One changed step on a line. */
export function stepWords({ ref, type, change, moved, inside, fields }: StepChange): string {
  const place = inside === null ? '' : ` in ${inside}`
  const also = moved && change === 'changed' ? ' and moved' : ''
  const what = fields.length === 0 ? '' : `: ${fields.map(fieldWords).join(', ')}`
  return `${ref} (${type})${place} ${change}${also}${what}`
}

/** One changed field, with its values where they are short. */
export function fieldWords({ field, before, after, file }: FieldChange): string {
  if (file !== null) return `${field} (${file})`
  if (before === null || after === null) return field
  return `${field} ${before === '' ? 'unset' : before} → ${after === '' ? 'unset' : after}`
}

/** The runs of one workflow that the merge meets. */
export function runWords({ paused, steps, ends }: PausedRuns): string {
  const places = steps.map(({ ref, runs, removed }) => {
    const name = ref ?? 'a step that is gone'
    return `${runs} before ${name}${removed ? ', which the merge removes' : ''}`
  })
  const end = ends ? '; they end when they wake' : ''
  return `${counted(paused, 'run')} paused: ${places.join('; ')}${end}`
}

/** The open batches of one workflow that the merge meets. */
export function batchWords({ batches, activities, steps, ends }: OpenBatches): string {
  const places = steps.map((step) => {
    const held = counted(step.activities, 'activity', 'activities')
    return `${step.batches} at ${step.ref} with ${held}${ends ? '' : goingOnWords(step)}`
  })
  const all = `${counted(batches, 'batch', 'batches')} with ${counted(activities, 'activity', 'activities')} open`
  return `${all}: ${places.join('; ')}${ends ? '; they end when they close' : ''}`
}

function goingOnWords({ goes_on_with: version }: OpenBatches['steps'][number]): string {
  switch (version) {
    case 'newest':
      return ', to go on with what the merge gives'
    case 'earlier':
      return ', to go on with the newest version before the merge, which removes or pins the step'
    case 'pinned':
      return ', to go on with the version that it was opened with'
    case null:
      return ', to go on with a version that was not looked at'
    default:
      return unreachable(version)
  }
}
