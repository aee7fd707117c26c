import { createHash } from 'node:crypto'
import { ForgeFailure } from '../forges/failure.ts'
import type { Forge } from '../forges/forge.ts'
import { newRowId } from '../ids.ts'
import type { Announcing } from './outbox.ts'
import { CLAIM_MS, decideAfter } from './outbox-send.ts'
import type { Outbox } from './outbox-send.ts'
import { claimComment, settleUnwritten, settleWritten } from './pull-store.ts'
import type { DueComment } from './pull-store.ts'
import { commentsOf, markerOf } from './pulls.ts'

/** Writes the comment that has been due longest; answers how much was done: 0 where nothing is due. */
export async function sendNextComment(outbox: Outbox, announcing: Announcing): Promise<number> {
  const { database, clock, process, place } = outbox
  const comments = commentsOf({ place, announcing })
  const now = clock.now()
  const claim = newRowId()
  const until = new Date(now.getTime() + CLAIM_MS)
  const due = await claimComment(database, { id: claim, process, place, now, until }, comments)
  if (!due) return 0
  const { number, body } = due
  const written = createHash('sha256').update(due.body).digest('hex')
  try {
    const commentId = await write(outbox, due, { written, marker: markerOf(announcing) })
    const attempt = { number, claim, body, commentId, now: clock.now() }
    await settleWritten(database, comments, { ...attempt, written })
  } catch (error) {
    const next = await decideAfter(outbox, error, {
      attempts: due.attempts,
      what: `the comment of pull request ${number}`,
    })
    const failedAt = clock.now()
    const retries = next.kind === 'retry'
    await settleUnwritten(database, comments, {
      number,
      claim,
      body,
      commentId: due.commentId,
      now: failedAt,
      problem: next.problem,
      attempts: retries ? next.attempts : 0,
      dueAt: retries ? new Date(failedAt.getTime() + next.delayMs) : null,
    })
  }
  return 1
}

interface Writing {
  readonly written: string
  readonly marker: string
}

/** Answers the comment's id. */
async function write(
  { forge }: Outbox,
  { number, body, commentId, written: before }: DueComment,
  { written, marker }: Writing,
): Promise<string> {
  if (commentId !== null && before === written) return commentId
  if (commentId !== null && (await isUpdated(forge, { number, id: commentId, body }))) {
    return commentId
  }
  // One that was written without that being noted is found, so that there is never a second one.
  const found = await forge.findComment(number, marker)
  if (found?.body === body) return found.id
  if (found && (await isUpdated(forge, { number, id: found.id, body }))) return found.id
  return forge.createComment(number, body)
}

/**
 * Answers false where somebody has deleted the comment, and where it is somebody else's that begins
 * like ours: that keeps nobody from writing our own.
 */
async function isUpdated(
  forge: Forge,
  { number, id, body }: { readonly number: number; readonly id: string; readonly body: string },
): Promise<boolean> {
  try {
    await forge.updateComment(number, id, body)
    return true
  } catch (error) {
    const isOthers =
      error instanceof ForgeFailure && (error.status === 404 || error.kind === 'denied')
    if (!isOthers) throw error
    return false
  }
}
