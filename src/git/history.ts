import { RetryableFailure } from '../errors.ts'
import type { Revision } from '../ids.ts'

/** What a commit says of itself and of what came before it. */
export interface Commit {
  readonly id: Revision
  readonly tree: string
  readonly parents: readonly Revision[]
  /** Seconds since 1970, as the committer's clock had it; nothing keeps a child from being older than its parent. */
  readonly committedAt: number
  readonly message: string
  /** The object as it is stored: what a signature is made over comes from these bytes. */
  readonly bytes: Uint8Array
}

/** Where commits are read. Throws a `RetryableFailure` when one is not there. */
export interface CommitReader {
  commit(id: Revision): Promise<Commit>
}

/** Commits that one question may read; a history that is longer is not decided by guessing. */
const COMMITS_MAX = 500_000

const OURS = 1
const THEIRS = 2
const BOTH = OURS | THEIRS
/** An ancestor of a common one. */
const STALE = 4
/** Common commits that are read on after the rest was decided, for clocks that went back. `git rev-list` reads five. */
const SLOP = 64

/**
 * The best common ancestors of two commits: those that no other common ancestor descends from.
 * None where they share no history; more than one after criss-cross merges. Answers what
 * `git merge-base --all` answers, in no order.
 */
export async function mergeBases(
  reader: CommitReader,
  ours: Revision,
  theirs: Revision,
): Promise<readonly Revision[]> {
  const marks = await paint(reader, ours, { from: [theirs], slop: 0 })
  const common = [...marks].filter(([, mark]) => mark === BOTH).map(([id]) => id)
  const best: Revision[] = []
  for (const candidate of common) {
    // Where a clock went back, one of them may descend from another.
    const others = common.filter((other) => other !== candidate)
    if (!(await isAncestorOfAny(reader, candidate, others))) best.push(candidate)
  }
  return best
}

/** Whether `descendant` is `ancestor` or came after it. */
export async function isAncestor(
  reader: CommitReader,
  ancestor: Revision,
  descendant: Revision,
): Promise<boolean> {
  return ancestor === descendant || isAncestorOfAny(reader, ancestor, [descendant])
}

async function isAncestorOfAny(
  reader: CommitReader,
  ancestor: Revision,
  descendants: readonly Revision[],
): Promise<boolean> {
  if (descendants.length === 0) return false
  const marks = await paint(reader, ancestor, { from: descendants, slop: 0 })
  return ((marks.get(ancestor) ?? 0) & THEIRS) !== 0
}

/**
 * The commits that `to` has and none of `from` has, newest first, merged ones included: what
 * `git rev-list to --not from…` lists. Where clocks went back by more than a few commits it may
 * hold some that `from` has too, never fewer than it should.
 */
export async function commitsBetween(
  reader: CommitReader,
  from: readonly Revision[],
  to: Revision,
): Promise<readonly Commit[]> {
  const marks = await paint(reader, to, { from, slop: SLOP })
  const ids = [...marks].filter(([, mark]) => mark === OURS).map(([id]) => id)
  const commits: Commit[] = []
  for (const id of ids) commits.push(await reader.commit(id))
  return commits.toSorted((one, other) => other.committedAt - one.committedAt)
}

/**
 * Marks what each side reaches, newest first, until all that is open is an ancestor of a common
 * commit. No path between a commit and a best common ancestor passes through a common one, so
 * what is left decides nothing, whatever the clocks say.
 */
async function paint(
  reader: CommitReader,
  ours: Revision,
  { from, slop }: { readonly from: readonly Revision[]; readonly slop: number },
): Promise<ReadonlyMap<Revision, number>> {
  const marks = new Map<Revision, number>()
  const open = new OpenCommits()
  const mark = async (id: Revision, bits: number) => {
    const before = marks.get(id) ?? 0
    if ((before | bits) === before) return
    marks.set(id, before | bits)
    if (marks.size > COMMITS_MAX) {
      throw new RetryableFailure(
        `there are more than ${COMMITS_MAX} commits to compare between ${ours} and ${from.join(', ')}: merge one into the other`,
      )
    }
    open.add(await reader.commit(id), ((before | bits) & STALE) === 0)
  }
  await mark(ours, OURS)
  for (const id of from) await mark(id, THEIRS)
  for (let left = slop; open.hasFresh || left > 0;) {
    if (!open.hasFresh) left -= 1
    const next = open.take()
    if (next === undefined) break
    const bits = marks.get(next.id) ?? 0
    const passed = (bits & BOTH) === BOTH ? bits | STALE : bits
    for (const parent of next.parents) await mark(parent, passed)
  }
  return marks
}

/** The commits whose parents are to be marked yet. */
class OpenCommits {
  /** Oldest first. One whose marks grow while it is open stands here twice, which changes nothing. */
  readonly #commits: Commit[] = []
  readonly #fresh = new Set<Revision>()

  /** Whether one of them is not an ancestor of a common one. */
  get hasFresh(): boolean {
    return this.#fresh.size > 0
  }

  add(commit: Commit, isFresh: boolean): void {
    if (isFresh) this.#fresh.add(commit.id)
    else this.#fresh.delete(commit.id)
    let low = 0
    for (let high = this.#commits.length; low < high;) {
      const middle = (low + high) >> 1
      if ((this.#commits[middle]?.committedAt ?? 0) < commit.committedAt) low = middle + 1
      else high = middle
    }
    this.#commits.splice(low, 0, commit)
  }

  /** The newest. */
  take(): Commit | undefined {
    const commit = this.#commits.pop()
    if (commit) this.#fresh.delete(commit.id)
    return commit
  }
}
