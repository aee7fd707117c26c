import { isAncestor, mergeBases } from '../git/history.ts'
import { mergeTrees } from '../git/merge.ts'
import type { CommitSource, RevisionTree } from '../git/source.ts'
import type { Revision } from '../ids.ts'
import type { Relation } from './promotion.ts'

/** Where two tips have parted. */
export interface Parting {
  readonly relation: Relation
  /** Newest first. */
  readonly bases: readonly Revision[]
  /** What both began with: nothing where they share no commit, the merge of the bases where there are several. */
  readonly tree: RevisionTree
  /** Whether several bases cannot be merged by themselves; what they disagree about counts as changed on both sides. */
  readonly isUnclear: boolean
}

/** Finds what two tips have in common. Throws a `RetryableFailure` where a commit cannot be read. */
export async function findParting(
  source: CommitSource,
  base: Revision,
  head: Revision,
): Promise<Parting> {
  const found = await mergeBases(source, base, head)
  const commits = await Promise.all(found.map((id) => source.commit(id)))
  const bases = commits
    .toSorted((one, other) => other.committedAt - one.committedAt || (one.id < other.id ? -1 : 1))
    .map(({ id }) => id)
  const [newest, ...others] = bases
  if (newest === undefined) {
    const tree = emptyTree(await source.tree(base))
    return { relation: 'unrelated', bases, tree, isUnclear: false }
  }
  const relation = relate({ base, head, newest })
  const tree = await source.tree(newest)
  if (others.length === 0) return { relation, bases, tree, isUnclear: false }
  return { relation, bases, ...(await mergeBasesOf(source, bases)) }
}

function relate({
  base,
  head,
  newest,
}: {
  readonly base: Revision
  readonly head: Revision
  readonly newest: Revision
}): Relation {
  if (base === head) return 'same'
  if (newest === head) return 'up_to_date'
  return newest === base ? 'fast_forward' : 'merge'
}

/** After criss-cross merges Git merges the bases first, the oldest ones before the others. */
async function mergeBasesOf(
  source: CommitSource,
  bases: readonly Revision[],
): Promise<Pick<Parting, 'tree' | 'isUnclear'>> {
  const [first, ...others] = bases.toReversed() as [Revision, ...Revision[]]
  let tree = await source.tree(first)
  let isUnclear = false
  for (const next of others) {
    const common = await mergeBases(source, first, next)
    const [only, second] = common
    const theirs = await source.tree(next)
    const base = only === undefined ? emptyTree(theirs) : await source.tree(only)
    const merged = await mergeTrees({ base, ours: tree, theirs }, { keeps: 'nothing' })
    isUnclear = isUnclear || second !== undefined || merged.conflicts.length > 0
    tree = merged.tree
  }
  return { tree, isUnclear }
}

/** A revision without any file, which can read what another one can. */
function emptyTree(other: RevisionTree): RevisionTree {
  return {
    revision: other.revision,
    message: '',
    directories: new Map(),
    strays: [],
    environments: [],
    environmentsTree: null,
    list: () => Promise.resolve([]),
    read: (blobs) => other.read(blobs),
  }
}

/** Whether `revision` is `tip` or came before it. */
export function isBefore(
  source: CommitSource,
  revision: Revision,
  tip: Revision,
): Promise<boolean> {
  return isAncestor(source, revision, tip)
}
