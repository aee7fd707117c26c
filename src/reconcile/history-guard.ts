import { RetryableFailure } from '../errors.ts'
import { isAncestor } from '../git/history.ts'
import type { Revision } from '../ids.ts'
import { listAppliedTips } from './history-store.ts'
import type { Looking } from './settle.ts'
import type { KnownEnvironment } from './store.ts'

/** How a revision comes from what was applied of its branch before. */
export type Descent =
  /** Nothing was, or it was no commit. */
  | { readonly kind: 'first' }
  | { readonly kind: 'descends'; readonly from: Revision }
  /** `base` is the newest applied commit that the repository still has. */
  | { readonly kind: 'rewritten'; readonly from: Revision; readonly base: Revision | null }
  /** A commit between them is not there, as in a shallow clone. */
  | { readonly kind: 'unknown'; readonly from: Revision; readonly cause: RetryableFailure }

/** Asks the history whether a revision goes on from the last one that was applied from Git. */
export async function findDescent(
  { database, repository }: Looking,
  { name, followed }: KnownEnvironment,
  revision: Revision,
): Promise<Descent> {
  const applied = await listAppliedTips(database, name, followed)
  const [from] = applied
  if (from === undefined || isWorkingTree(from)) return { kind: 'first' }
  const isThere = (id: Revision) => hasCommit({ repository }, id, revision)
  if (!(await isThere(from))) {
    for (const base of applied) {
      if (!isWorkingTree(base) && (await isThere(base))) return { kind: 'rewritten', from, base }
    }
    return { kind: 'rewritten', from, base: null }
  }
  try {
    if (await isAncestor(repository, from, revision)) return { kind: 'descends', from }
    return { kind: 'rewritten', from, base: from }
  } catch (error) {
    if (error instanceof RetryableFailure) return { kind: 'unknown', from, cause: error }
    throw error
  }
}

/** A commit that cannot be read counts as gone only while another one, the tip, can be. */
async function hasCommit(
  { repository }: Pick<Looking, 'repository'>,
  id: Revision,
  tip: Revision,
): Promise<boolean> {
  try {
    await repository.commit(id)
    return true
  } catch (error) {
    if (!(error instanceof RetryableFailure)) throw error
    await repository.commit(tip)
    return false
  }
}

function isWorkingTree(revision: Revision): boolean {
  return revision.includes('+')
}
