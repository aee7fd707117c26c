import { isAncestor } from '../git/history.ts'
import type { Refs } from '../git/refs.ts'
import type { Revision } from '../ids.ts'
import { dropHints, HINT_MS_MAX, listHints, type Hint } from './hint-store.ts'
import { assertLead } from './leader-store.ts'
import type { Looking } from './settle.ts'

/** A webhook may come before its commit shows at the branch: at first the look is soon repeated, later less often. */
const PAUSE_MS_MIN = 100
const PAUSE_MS_MAX = 2_000

/** What a look has decided on. */
export interface Seen {
  readonly refs: Refs
  readonly tips: ReadonlyMap<string, Revision | null>
}

/**
 * Forgets the hints whose commit shows at its branch by now, or one that came after it, and those that have waited
 * too long. Answers how soon to look again for the rest, in milliseconds; undefined where there is none.
 */
export async function settleHints(looking: Looking, seen: Seen): Promise<number | undefined> {
  const { database, leadership, clock } = looking
  const hints = await listHints(database)
  if (hints.length === 0) return undefined
  const now = clock.now().getTime()
  const open: Hint[] = []
  const done: Hint[] = []
  for (const hint of hints) {
    // The process that was told may have another clock, which must not make the wait any longer.
    const isOver = Math.abs(now - hint.hintedAt.getTime()) >= HINT_MS_MAX
    if (isOver || (await isVisible(looking, seen, hint))) done.push(hint)
    else open.push(hint)
  }
  if (done.length > 0) {
    await database.transaction(async (tx) => {
      await assertLead(tx, leadership)
      await dropHints(tx, done)
    })
  }
  if (open.length === 0) {
    looking.memory.unseen.clear()
    return undefined
  }
  const youngest = Math.max(...open.map(({ hintedAt }) => hintedAt.getTime()))
  return Math.min(Math.max((now - youngest) / 2, PAUSE_MS_MIN), PAUSE_MS_MAX)
}

/** Whether a branch is at this commit, or has gone on from there. */
async function isVisible(
  { repository, memory }: Looking,
  { refs, tips }: Seen,
  { branch, revision }: Hint,
): Promise<boolean> {
  const known = tips.get(branch)
  const tip = known === undefined ? await refs.tip(branch) : known
  if (tip === null) return false
  // What is missing costs a search of all packs, and cannot have come while the tip stayed.
  const question = `${branch} ${revision} ${tip}`
  if (memory.unseen.has(question)) return false
  memory.unseen.add(question)
  try {
    return await isAncestor(repository, revision, tip)
  } catch {
    // The commit is not here yet, or it is none: what was only announced breaks no look.
    return false
  }
}
