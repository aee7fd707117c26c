import type { Clock } from '../clock.ts'
import type { Database } from '../db/database.ts'
import { messageOf } from '../errors.ts'
import { ForgeFailure } from '../forges/failure.ts'
import type { Forge } from '../forges/forge.ts'
import { newRowId } from '../ids.ts'
import type { ProcessId } from '../ids.ts'
import type { Log } from '../log.ts'
import {
  claimStatus,
  savePause,
  settleFailed,
  settleGivenUp,
  settleTold,
  sweepStatuses,
  tellAgain,
} from './outbox-store.ts'
import type { DueStatus } from './outbox-store.ts'
import { sweepPulls } from './pull-store.ts'

/** The forge, and what telling it something needs. */
export interface Outbox {
  readonly database: Database
  readonly clock: Clock
  readonly forge: Forge
  readonly process: ProcessId
  /** Which forge and repository. */
  readonly place: string
  readonly log: Log
  /** Where this installation is found, for links to it; absent: none are made. */
  readonly publicUrl?: string | undefined
  /** Counts what was told, and what could not be. */
  readonly note?: (result: 'ok' | 'failed') => void
  /** From 0 to 1, by chance. */
  readonly random: () => number
}

/** Above the time that the requests of one turn take; a process that dies is noticed before that. */
export const CLAIM_MS = 90_000
const RETRY_MS_MIN = 2_000
const RETRY_MS_MAX = 30 * 60_000
/** About a day. */
const ATTEMPTS_MAX = 60
/** A token that is wrong is not right a moment later. */
const DENIED_MS = 5 * 60_000
const LIMITED_MS = 60_000
/** Of one commit, in all contexts; more would be a mistake of ours. */
export const POSTS_PER_COMMIT_MAX = 500
const KEPT_MS = 90 * 86_400_000

/** Tells the forge what has been due longest; answers how much was done: 0 where nothing is due. */
export async function sendNextStatus(outbox: Outbox): Promise<number> {
  const { database, clock, process, place } = outbox
  const now = clock.now()
  const claim = newRowId()
  const until = new Date(now.getTime() + CLAIM_MS)
  const due = await claimStatus(database, { id: claim, process, place, now, until })
  if (!due) return 0
  if (due.posts >= POSTS_PER_COMMIT_MAX) {
    const problem = `the commit has ${due.posts} statuses already`
    await settleGivenUp(database, due, { claim, problem, now })
    return 1
  }
  try {
    await tell(outbox, due, claim)
  } catch (error) {
    await settleFailure(outbox, due, { claim, error })
  }
  return 1
}

async function tell(outbox: Outbox, due: DueStatus, claim: string): Promise<void> {
  const { database, forge, clock, note, publicUrl } = outbox
  const isShown = due.isUnsure && (await isShownAlready(forge, due))
  if (!isShown) {
    await forge.postStatus(
      publicUrl === undefined ? due : { ...due, targetUrl: linkTo(publicUrl, due) },
    )
    note?.('ok')
  }
  const told = { claim, posts: isShown ? 0 : 1, now: clock.now() }
  if (!(await settleTold(database, due, told))) await tellAgain(database, due, told.now)
}

function linkTo(publicUrl: string, { environment }: DueStatus): string {
  return `${publicUrl}/v1/environments/${encodeURIComponent(environment)}`
}

/** Every post adds a row on the forge, which takes a thousand of one context at most. */
async function isShownAlready(
  forge: Forge,
  { sha, context, state, description }: DueStatus,
): Promise<boolean> {
  const shown = await forge.findStatus(sha, context)
  return shown?.state === state && shown.description === description
}

async function settleFailure(
  outbox: Outbox,
  due: DueStatus,
  { claim, error }: { readonly claim: string; readonly error: unknown },
): Promise<void> {
  const { database, clock } = outbox
  const now = clock.now()
  const { sha, context, attempts } = due
  // What is no failure of the forge is thrown here.
  const next = await decideAfter(outbox, error, { attempts, what: `${context} of ${sha}` })
  outbox.note?.('failed')
  if (next.kind === 'give_up') {
    return settleGivenUp(database, due, { claim, problem: next.problem, now })
  }
  const dueAt = new Date(now.getTime() + next.delayMs)
  await settleFailed(database, due, { claim, ...next, dueAt })
}

/** What follows a failure, and how many count as such. */
export type AfterFailure =
  | { readonly kind: 'give_up'; readonly problem: string }
  | {
      readonly kind: 'retry'
      readonly problem: string
      readonly delayMs: number
      readonly attempts: number
    }

/**
 * Decides what follows a failure, and leaves the forge alone where it asks for that. Throws what is
 * no failure of the forge.
 */
export async function decideAfter(
  { database, clock, place, log, random }: Outbox,
  error: unknown,
  { attempts, what }: { readonly attempts: number; readonly what: string },
): Promise<AfterFailure> {
  if (!(error instanceof ForgeFailure)) throw error
  const problem = messageOf(error)
  if (error.kind === 'refused' || attempts + 1 >= ATTEMPTS_MAX) {
    log.warn('the forge is not told', { what, problem })
    return { kind: 'give_up', problem }
  }
  const delayMs = delayAfter(error, attempts, random())
  // It is not about what was to be told, and nothing else would fare better.
  const isGeneral = error.kind === 'limited' || error.kind === 'denied'
  if (isGeneral) {
    await savePause(database, place, new Date(clock.now().getTime() + delayMs))
  }
  log.warn('the forge cannot be told now', { what, problem, delay_ms: delayMs })
  return { kind: 'retry', problem, delayMs, attempts: isGeneral ? attempts : attempts + 1 }
}

/** Half of a delay of ours is chance, so that processes that failed together do not come back together. */
function delayAfter({ kind, retryMs }: ForgeFailure, attempts: number, chance: number): number {
  const ownMs = Math.min(RETRY_MS_MIN * 2 ** attempts, RETRY_MS_MAX)
  const floorMs = { limited: LIMITED_MS, denied: DENIED_MS, unavailable: 0, refused: 0 }[kind]
  const jitteredMs = Math.round((ownMs / 2) * (1 + chance))
  return Math.max(retryMs ?? floorMs, jitteredMs)
}

/** Forgets what has long been told, and pull requests that have long been closed; answers how much. */
export async function sweepOutbox({
  database,
  clock,
}: Pick<Outbox, 'database' | 'clock'>): Promise<number> {
  const before = new Date(clock.now().getTime() - KEPT_MS)
  return (await sweepStatuses(database, before)) + (await sweepPulls(database, before))
}
