import type { VersionId, WorkflowKey } from '../ids.ts'

/** A workflow as its environment has it now. */
export interface KnownWorkflow {
  readonly key: WorkflowKey
  readonly versionId: VersionId
  /** The id of its directory at the revision that last changed it. */
  readonly tree: string
  readonly archived: boolean
}

/** What a revision does to the workflows of an environment. Each key is in one list; all are sorted. */
export interface Plan {
  readonly added: readonly WorkflowKey[]
  readonly changed: readonly WorkflowKey[]
  readonly archived: readonly WorkflowKey[]
  readonly restored: readonly WorkflowKey[]
  /** Live before and after, with the same files of their own. */
  readonly same: readonly WorkflowKey[]
}

/** Compares what is known with the directories of a revision, by tree id alone. */
export function planChanges(
  known: readonly KnownWorkflow[],
  directories: ReadonlyMap<string, string>,
): Plan {
  const rows = new Map<string, KnownWorkflow>(known.map((row) => [row.key, row]))
  const plan = { added: [], changed: [], archived: [], restored: [], same: [] } satisfies Plan
  const lists: Record<keyof Plan, WorkflowKey[]> = plan
  for (const [name, tree] of directories) {
    if (isWorkflowDirectory(name)) lists[judge(rows.get(name), tree)].push(name as WorkflowKey)
  }
  for (const row of known) {
    if (!row.archived && !directories.has(row.key)) lists.archived.push(row.key)
  }
  for (const list of Object.values(lists)) list.sort()
  return lists
}

function judge(row: KnownWorkflow | undefined, tree: string): keyof Plan {
  if (!row) return 'added'
  if (row.archived) return 'restored'
  return row.tree === tree ? 'same' : 'changed'
}

/** Directories that start with `_` hold shared parts. */
export function isWorkflowDirectory(name: string): boolean {
  return !name.startsWith('_')
}

/** Workflows that a revision would archive, and of how many. */
export interface Prune {
  readonly archived: readonly WorkflowKey[]
  /** How many are live. */
  readonly of: number
}

/** Archiving fewer than this is nothing that a percentage could judge. */
const PRUNE_MIN = 5

/**
 * What a revision of these directories must not archive unasked: every live workflow where there are two or more, or more
 * than `maxPercent` of them and at least five. Null where it archives less.
 */
export function planPrune(
  live: readonly WorkflowKey[],
  directories: ReadonlyMap<string, string>,
  maxPercent: number,
): Prune | null {
  const of = live.length
  const archived = live.filter((key) => !directories.has(key)).toSorted()
  const isAll = of >= 2 && archived.length === of
  const isMany = archived.length >= PRUNE_MIN && archived.length * 100 > of * maxPercent
  return isAll || isMany ? { archived, of } : null
}

/** What it takes to bring an earlier revision back. */
export interface Restoration<Row> {
  /** Those that are not live at this version. */
  readonly rows: readonly Row[]
  readonly added: readonly WorkflowKey[]
  readonly changed: readonly WorkflowKey[]
  readonly archived: readonly WorkflowKey[]
}

/** Compares what is known with the workflows of an earlier revision. */
export function planRestoration<Row extends Omit<KnownWorkflow, 'archived'>>(
  known: readonly KnownWorkflow[],
  past: readonly Row[],
): Restoration<Row> {
  const live = new Map(known.filter(({ archived }) => !archived).map((row) => [row.key, row]))
  const kept = new Set(past.map(({ key }) => key))
  const rows = past.filter(({ key, versionId, tree }) => {
    const row = live.get(key)
    return row?.versionId !== versionId || row.tree !== tree
  })
  const keys = rows.map(({ key }) => key).toSorted()
  return {
    rows,
    added: keys.filter((key) => !live.has(key)),
    changed: keys.filter((key) => live.has(key)),
    archived: [...live.keys()].filter((key) => !kept.has(key)).toSorted(),
  }
}

/** Path → blob id of what several workflows share. */
export type Parts = Readonly<Record<string, string>>

/** What changed about the shared parts. */
export interface PartChanges {
  /** Other content now, or gone: concerns the versions that name one of them. */
  readonly moved: readonly string[]
  /** A new part may be picked up by versions that never named it, such as a default layout. */
  readonly concernsAll: boolean
}

/** Compares the shared parts at the applied revision with those of a new one. */
export function planParts(known: Parts, next: Parts): PartChanges {
  const moved = Object.keys(known).filter((path) => known[path] !== next[path])
  const added = Object.keys(next).filter((path) => known[path] === undefined)
  // A version that names a missing partial is never applied, so a new one changes nothing that is.
  const concernsAll = added.some((path) => !path.startsWith('workflows/_partials/'))
  return { moved, concernsAll }
}
