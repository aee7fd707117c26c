import type { Conflict } from '../git/merge-files.ts'
import type { MergedTree } from '../git/merge.ts'
import { mapBounded } from '../git/bounded.ts'
import type { Entry, RevisionTree } from '../git/source.ts'
import type { WorkflowKey } from '../ids.ts'
import type { Version } from '../workflow/workflow.ts'
import { isWorkflowDirectory } from './plan.ts'
import type { FileChange, WorkflowChange, WorkflowVerdict } from './promotion.ts'
import { diffEntries, READ_MAX } from './promotion-read.ts'
import type { PromotionReading } from './promotion-read.ts'
import { diffSchemas } from './promotion-schema.ts'
import { describeSteps, diffFields, diffSteps } from './promotion-steps.ts'

const LISTS_MAX = 16

export interface Four {
  /** What both sides began with. */
  readonly base: RevisionTree
  readonly ours: RevisionTree
  readonly theirs: RevisionTree
  readonly merged: MergedTree
}

/** What a merge means for one directory, by tree ids alone. */
export interface Sorted {
  readonly key: WorkflowKey
  readonly change: WorkflowVerdict
  readonly merged: boolean
  readonly movedFrom: string | null
  readonly movedTo: string | null
}

/** Sorts the workflows of both sides by what the merge does to them; untouched ones are left out. By key. */
export function sortWorkflows({ base, ours, theirs, merged }: Four): readonly Sorted[] {
  const conflicting = directoriesIn(merged.conflicts)
  const trees = [base, ours, theirs, merged.tree]
  const names = new Set(trees.flatMap(({ directories }) => [...directories.keys()]))
  const found: Sorted[] = []
  for (const name of [...names].filter(isWorkflowDirectory).toSorted()) {
    const [before, target, head, result] = trees.map(({ directories }) => directories.get(name))
    const places = { before, target, head, result }
    const change = conflicting.has(name) ? 'conflicting' : verdictOf(places)
    if (change === undefined) continue
    const isMerged = change === 'changed' && target !== before && head !== before && result !== head
    const key = name as WorkflowKey
    found.push({ key, change, merged: isMerged, movedFrom: null, movedTo: null })
  }
  return withMoves(found, ours, merged.tree)
}

/** The directories of `workflows/` that hold one of these paths. */
export function directoriesIn(conflicts: readonly Conflict[]): ReadonlySet<string> {
  return new Set(
    conflicts.flatMap(({ path }) => {
      const [top, name] = path.split('/')
      return top === 'workflows' && name !== undefined ? [name] : []
    }),
  )
}

/** The tree ids of one directory. */
interface Places {
  readonly before: string | undefined
  readonly target: string | undefined
  readonly head: string | undefined
  readonly result: string | undefined
}

function verdictOf({ before, target, head, result }: Places): WorkflowVerdict | undefined {
  if (result !== target) {
    if (target === undefined) return 'added'
    return result === undefined ? 'archived' : 'changed'
  }
  if (target === before) return undefined
  return target === head ? 'same' : 'only_in_target'
}

/** Pairs an archived workflow with a new one of the same content. */
function withMoves(
  found: readonly Sorted[],
  ours: RevisionTree,
  result: RevisionTree,
): readonly Sorted[] {
  const gone = new Map<string, string>()
  for (const { key, change } of found) {
    if (change === 'archived') gone.set(ours.directories.get(key) ?? '', key)
  }
  const moves = new Map<string, string>()
  for (const { key, change } of found) {
    const from = change === 'added' ? gone.get(result.directories.get(key) ?? '') : undefined
    if (from === undefined || [...moves.values()].includes(from)) continue
    moves.set(key, from)
  }
  const targets = new Map([...moves].map(([to, from]) => [from, to]))
  return found.map((one) => ({
    ...one,
    movedFrom: moves.get(one.key) ?? null,
    movedTo: targets.get(one.key) ?? null,
  }))
}

/** Adds to each workflow what is known of its files, steps and trigger. */
export async function describeWorkflows(
  four: Four,
  sorted: readonly Sorted[],
  reading: PromotionReading,
): Promise<readonly WorkflowChange[]> {
  const touched = sorted.filter(({ change }) => TOUCHED.has(change)).slice(0, READ_MAX)
  const lists = await mapBounded(touched, LISTS_MAX, async ({ key }) => {
    const [before, after] = await Promise.all([four.ours.list(key), four.merged.tree.list(key)])
    return [key, { before, after }] as const
  })
  const files = new Map<string, FileLists>(lists)
  return sorted.map((one) => describe(four, one, { reading, files: files.get(one.key) }))
}

const TOUCHED: ReadonlySet<WorkflowVerdict> = new Set(['added', 'changed', 'conflicting'])

interface FileLists {
  readonly before: readonly Entry[]
  readonly after: readonly Entry[]
}

function describe(
  { merged }: Four,
  { key, change, merged: isMerged, movedFrom, movedTo }: Sorted,
  { reading, files }: { readonly reading: PromotionReading; readonly files: FileLists | undefined },
): WorkflowChange {
  const before = reading.before.get(key)
  const after = reading.after.get(key)
  const tree = change === 'conflicting' ? undefined : merged.tree.directories.get(key)
  return {
    key,
    change,
    name: (after ?? before)?.workflow.name ?? null,
    merged: isMerged,
    moved_from: movedFrom,
    moved_to: movedTo,
    tree: tree ?? null,
    files: files ? fileChanges(files, merged.conflicts.filter(isIn(key))) : [],
    does: change === 'added' && after ? describeSteps(after) : [],
    ...(change === 'changed' && before && after ? compare(before, after) : NOT_COMPARED),
  }
}

type Comparison = Pick<WorkflowChange, 'steps' | 'trigger_schema' | 'fields' | 'breaking'>

const NOT_COMPARED: Comparison = { steps: null, trigger_schema: [], fields: [], breaking: false }

function compare(before: Version, after: Version): Comparison {
  const [old, next] = [before, after].map(({ workflow }) => workflow.trigger?.data_schema)
  const schema = diffSchemas(old, next)
  return {
    steps: diffSteps(before, after),
    trigger_schema: schema,
    fields: diffFields(before, after),
    breaking: schema.some(({ breaking }) => breaking),
  }
}

function isIn(key: string): (conflict: Conflict) => boolean {
  return ({ path }) => path === `workflows/${key}` || path.startsWith(`workflows/${key}/`)
}

/** Compares the files of a directory; those that conflict are named whatever they hold. */
export function fileChanges(
  { before, after }: FileLists,
  conflicts: readonly Conflict[],
): readonly FileChange[] {
  const changes = new Map<string, FileChange>()
  const old = new Map(before.map((entry) => [entry.path, entry]))
  for (const [path, entry] of diffEntries(before, after)) {
    changes.set(path, { path, change: kindOf(old.get(path), entry), conflict: null })
  }
  for (const { path, kind } of conflicts) {
    changes.set(path, { path, change: 'conflicting', conflict: kind })
  }
  return [...changes.values()].toSorted((one, other) => (one.path < other.path ? -1 : 1))
}

/** How a file differs from what stood in its place. */
export function kindOf(
  before: Entry | undefined,
  after: Entry | null,
): Exclude<FileChange['change'], 'conflicting'> {
  if (!after) return 'removed'
  if (!before) return 'added'
  return before.blob === after.blob ? 'mode' : 'changed'
}
