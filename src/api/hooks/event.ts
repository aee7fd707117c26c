import { BRANCH_LENGTH_MAX } from '../../workflow/environment.ts'

/** What a Git host tells of, as far as anything here depends on it. */
export type GitEvent =
  /** A test of the connection. */
  | { readonly kind: 'ping' }
  /** Branches were moved, made or removed; none of them where only tags were. */
  | { readonly kind: 'push'; readonly moves: readonly Move[] }
  /** Something about a merge or pull request, or a call that says no more than "look". */
  | { readonly kind: 'other_change' }
  /** Nothing that concerns us. */
  | { readonly kind: 'ignored' }

/** A branch, and the commit that it is said to be at; null where it is said to be gone. A hint, and no more. */
export interface Move {
  readonly branch: string
  readonly revision: string | null
}

/** More are of no use: a push of so many branches wakes one look anyway. */
const MOVES_MAX = 100
const BRANCHES = 'refs/heads/'
const OID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/
const ZEROS = /^0+$/
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\0-\x20\x7f]/

/** A push event, of these moves and of tags that say nothing here. */
export function push(moves: readonly (Move | null)[]): GitEvent {
  return { kind: 'push', moves: moves.filter((move) => move !== null).slice(0, MOVES_MAX) }
}

/**
 * The move that a full ref and a commit id tell of; null for a tag and for what cannot be one. An id of zeros, or
 * one that is no id, hints at no commit.
 */
export function moveOf(ref: unknown, after: unknown): Move | null {
  if (typeof ref !== 'string') return null
  const branch = ref.startsWith(BRANCHES) ? ref.slice(BRANCHES.length) : null
  return branch === null ? null : moveOfBranch(branch, after)
}

/** As `moveOf`, for those who name the branch alone. */
export function moveOfBranch(branch: unknown, after: unknown): Move | null {
  if (typeof branch !== 'string' || branch === '' || branch.length > 2 * BRANCH_LENGTH_MAX)
    return null
  if (CONTROL.test(branch) || !branch.isWellFormed()) return null
  const isCommit = typeof after === 'string' && OID.test(after) && !ZEROS.test(after)
  return { branch, revision: isCommit ? after : null }
}

/** What stands under these names, one in the other; undefined where something else stands in between. */
export function at(value: unknown, ...names: readonly string[]): unknown {
  let found = value
  for (const name of names) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, name)) return undefined
    found = (found as Readonly<Record<string, unknown>>)[name]
  }
  return found
}

/** The list under these names; an empty one where there is none. */
export function listAt(value: unknown, ...names: readonly string[]): readonly unknown[] {
  const found = at(value, ...names)
  return Array.isArray(found) ? found.slice(0, MOVES_MAX) : []
}
