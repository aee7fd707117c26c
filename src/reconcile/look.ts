import { LockTimeout, withLockWait } from '../db/database.ts'
import { messageOf, RetryableFailure } from '../errors.ts'
import { UnsupportedRepository } from '../git/location.ts'
import { AuthenticationFailure, MissingRepository, SourceClosed } from '../git/remote-failure.ts'
import type { Refs } from '../git/refs.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import { findDefaultBranch } from './declarations.ts'
import type { DefaultTip } from './declarations.ts'
import { listTimed } from './brake-store.ts'
import { DEVELOPMENT, takeDeclarations } from './declare.ts'
import { settleHints } from './hints.ts'
import { mendDrift } from './drift.ts'
import { isHeld, releaseExpired } from './hold.ts'
import { assertLead, LeadershipLost, loadDefaultBranch } from './leader-store.ts'
import { notePoll, openPhases } from './measure.ts'
import { listGuarded, lookAtPolicyFile } from './policy-file.ts'
import { answerPlans } from './promotion-answer.ts'
import { reconcileRevision } from './revision.ts'
import { isAbout, settle } from './settle.ts'
import type { Looking } from './settle.ts'
import {
  authentication,
  defaultBranchChanged,
  refMissing,
  repositoryMissing,
  retrying,
  undeclared,
  unsupportedRepository,
} from './status.ts'
import type { Status } from './status.ts'
import { dropNeverRead, listKnownEnvironments, listOpenRequests, saveHandled } from './store.ts'
import type { KnownEnvironment, OpenRequest } from './store.ts'
import { Superseded } from './tip.ts'

/** How long a write waits for a lock at an environment that was locked a moment ago. */
const LOCK_WAIT_MS_AGAIN = 100

export interface LookResult {
  /** Something could not be read; look again after a while. */
  readonly failed: boolean
  /** A ref moved meanwhile; look again at once. */
  readonly moved: boolean
  /** Something was announced that does not show yet; look again in so many milliseconds. */
  readonly againMs?: number
  /** When the next pin or soak time ends; the time may be over already. */
  readonly dueAt?: Date
}

/** Resolves all refs, and brings every environment to the tip of its own. */
export async function look(looking: Looking): Promise<LookResult> {
  const found = await lookNow(looking)
  const dueAt = await findDue(looking, found)
  return { ...found, ...(dueAt && { dueAt }) }
}

async function lookNow(looking: Looking): Promise<LookResult> {
  const { database, repository } = looking
  const requests = await listOpenRequests(database)
  // What a brake says holds whether or not Git can be read, and need not wait for it.
  const stuck = await applyBrakes(looking)
  await lookAtPolicyFile(looking)
  let refs: Refs
  let found: DefaultFound
  let refsInSeconds: number
  const resolving = looking.metrics.stopwatch()
  try {
    refs = await repository.refs()
    found = await findDefault(looking, refs)
    notePoll(looking, 'ok')
    looking.memory.saidUnreadable = null
    refsInSeconds = resolving()
  } catch (error) {
    // The process is told to stop; what Git says is for the next one.
    if (error instanceof SourceClosed) return { failed: false, moved: false }
    notePoll(looking, 'failed')
    await saveUnreadable(looking, error)
    const isAnswered = await answer(looking, requests)
    // Asking a remote again at once that has refused us changes nothing, and may lock the account.
    return { failed: stuck.size > 0 || !isAnswered || !isRefusal(error), moved: false }
  }
  const failed = await takeDeclarations(looking, found.kind === 'found' ? found.tip : null)
  await tellOfMoves(looking, refs)
  const tips = new Map<string, Revision | null>()
  // Who asks for a look wants what is drift to be put right at once.
  if (requests.length > 0) await mendDrift(looking, new Set(requests.map((one) => one.environment)))
  const rows = await listGuarded(looking)
  // Where that fails, each environment finds out for itself.
  const wanting = looking.metrics.stopwatch()
  await refs.want?.(rows.filter(isFollowing).map(({ gitRef }) => gitRef)).catch(() => {})
  const resolvedInSeconds = refsInSeconds + wanting()
  const surroundings = { refs, found, tips, resolvedInSeconds }
  const isDone = await reconcileAll(looking, rows, { ...surroundings, requests, stuck })
  await answerPlans(looking, refs)
  if (found.kind === 'found' && found.tip !== null) tips.set(found.tip.branch, found.tip.tip)
  const againMs = await settleHints(looking, { refs, tips })
  const moved = await hasMoved(looking, tips)
  return { failed: failed || !isDone, moved, ...(againMs !== undefined && { againMs }) }
}

interface Work extends Omit<Surroundings, 'isAsked'> {
  readonly requests: readonly OpenRequest[]
  /** Environments for which the look has failed already. */
  readonly stuck: ReadonlySet<EnvironmentName>
}

/** Brings each of the environments to where it belongs; false where that failed for one of them. */
async function reconcileAll(
  looking: Looking,
  rows: readonly KnownEnvironment[],
  { requests, stuck, ...surroundings }: Work,
): Promise<boolean> {
  let isAllDone = true
  for (const row of rows) {
    const asked = requests.filter(({ environment }) => environment === row.name)
    const isAsked = asked.length > 0
    const isDone =
      !stuck.has(row.name) &&
      (await attempt(looking, row, (current) =>
        reconcileEnvironment(looking, current, { ...surroundings, isAsked }),
      ))
    const isAnswered = await answer(isDone ? looking : hurried(looking), asked)
    isAllDone &&= isDone && isAnswered
  }
  return isAllDone
}

/** Before anything is read of what moved: a plan of what was there is void already. */
async function tellOfMoves({ onMoved, memory }: Looking, refs: Refs): Promise<void> {
  if (onMoved === null) return
  // What cannot be read now may have moved as well.
  const fingerprint = await refs.fingerprint().catch(() => null)
  if (fingerprint === null || fingerprint !== memory.fingerprint) onMoved()
  memory.fingerprint = fingerprint
}

/** Whether Git, and no brake, decides about the environment. */
function isFollowing({ declared, hold }: KnownEnvironment): boolean {
  return declared && hold === ''
}

/** Ends pins whose time is over, and does what the other brakes say. Answers where that failed for now. */
async function applyBrakes(looking: Looking): Promise<ReadonlySet<EnvironmentName>> {
  const stuck = new Set<EnvironmentName>()
  for (const row of await listKnownEnvironments(looking.database)) {
    if (row.hold === '') continue
    const isDone = await attempt(looking, row, async (current) => {
      await isHeld(looking, await releaseExpired(looking, current))
    })
    if (!isDone) stuck.add(row.name)
  }
  return stuck
}

/** When something ends that only time ends. What is over and could not be ended is repeated as a failure. */
async function findDue(
  { database, memory, clock }: Looking,
  { failed }: LookResult,
): Promise<Date | undefined> {
  const now = clock.now().getTime()
  const ends = (await listTimed(database)).flatMap(({ name, reason, pin }) => [
    pin?.expiresAt && new Date(pin.expiresAt),
    reason === 'soaking' && memory.soakingUntil.get(name),
  ])
  const times = ends.flatMap((at) => (at ? [at.getTime()] : []))
  const next = Math.min(...times.filter((time) => time > now || !failed))
  return Number.isFinite(next) ? new Date(next) : undefined
}

type DefaultFound =
  | { readonly kind: 'found'; readonly tip: DefaultTip | null }
  | { readonly kind: 'changed'; readonly recorded: string; readonly found: string }

async function findDefault(looking: Looking, refs: Refs): Promise<DefaultFound> {
  const { branch } = await loadDefaultBranch(looking.database)
  const explicit = looking.defaultBranch
  const bare = looking.repository.location.workTree === null
  const tip = await findDefaultBranch(refs, { explicit, bare, recorded: branch })
  sayDefaultMissing(looking, tip === null)
  if (tip !== null && branch !== null && tip.branch !== branch && explicit === null) {
    return { kind: 'changed', recorded: branch, found: tip.branch }
  }
  return { kind: 'found', tip }
}

/** Without a default branch nothing says which environments exist, and none of them can say so. */
function sayDefaultMissing(
  { memory, log, defaultBranch, workingTree }: Looking,
  isMissing: boolean,
): void {
  // In development there is always one, which says so by its own state.
  if (isMissing && !memory.isDefaultMissing && workingTree === null) {
    const branch = defaultBranch ?? 'main'
    log.warn('the default branch has no commit; name it with --default-branch', { branch })
  }
  memory.isDefaultMissing = isMissing
}

interface Surroundings {
  readonly refs: Refs
  readonly found: DefaultFound
  /** Takes in the tips that were decided on. */
  readonly tips: Map<string, Revision | null>
  /** How long it took to read the refs, for all environments at once. */
  readonly resolvedInSeconds: number
  readonly isAsked: boolean
}

/** Brings one environment to where it belongs; false where that failed for now. */
async function attempt(
  looking: Looking,
  row: KnownEnvironment,
  work: (row: KnownEnvironment) => Promise<void>,
): Promise<boolean> {
  try {
    await work(row)
    return true
  } catch (error) {
    if (error instanceof LeadershipLost) throw error
    if (error instanceof SourceClosed) return true
    // Its branch has moved on; the next look follows at once.
    if (error instanceof Superseded) return true
    if (!(error instanceof RetryableFailure)) {
      looking.log.error('a revision cannot be reconciled', { environment: row.name, error })
    }
    // The row as it was read may be behind what the failed attempt has written of it.
    const current = (await listGuarded(looking)).find(({ name }) => name === row.name)
    // A brake was used meanwhile, and is what decides now.
    if (current && current.hold !== row.hold) return attempt(looking, current, work)
    await tellFailure(looking, current ?? row, error)
    return false
  }
}

/** Says at the environment why it waits. Where not even that can be written, the log alone has it. */
async function tellFailure(looking: Looking, row: KnownEnvironment, error: unknown): Promise<void> {
  const ground = error instanceof LockTimeout ? hurried(looking) : looking
  try {
    await settle(ground, row, { status: retrying(messageOf(error), row.observed) })
  } catch (failure) {
    noteUnwritten(looking, row.name, failure)
  }
}

/** What cannot be written about one environment keeps no other one from its own; the next look tries again. */
function noteUnwritten({ log }: Looking, environment: EnvironmentName, error: unknown): void {
  if (error instanceof LeadershipLost) throw error
  // Each look at what is locked ends so, and the first one has said it.
  const level = error instanceof LockTimeout ? 'debug' : 'error'
  log[level]('the state of an environment cannot be written', { environment, error })
}

/** Who holds one row of an environment may hold the next, too: that is not waited for once more. */
function hurried(looking: Looking): Looking {
  return { ...looking, database: withLockWait(looking.database, LOCK_WAIT_MS_AGAIN) }
}

async function reconcileEnvironment(
  looking: Looking,
  row: KnownEnvironment,
  { refs, found, tips, resolvedInSeconds, isAsked }: Surroundings,
): Promise<void> {
  const { repository, workingTree, metrics } = looking
  const phases = openPhases(metrics, row.name, resolvedInSeconds)
  if (await isHeld(looking, row)) return
  if (workingTree !== null && row.name === DEVELOPMENT) {
    const read = () => workingTree.look(refs.headRevision)
    return reconcileRevision(looking, row, { read, branch: null, revision: null, isAsked, phases })
  }
  if (found.kind === 'changed') {
    return settle(looking, row, { status: defaultBranchChanged(found, row.observed) })
  }
  if (!row.declared) return leaveUndeclared(looking, row)
  const tip = await refs.tip(row.gitRef)
  tips.set(row.gitRef, tip)
  if (tip === null) {
    return settle(looking, row, { status: refMissing(row.gitRef, row.observed), diagnostics: [] })
  }
  const read = () => repository.tree(tip)
  const target = { read, branch: row.gitRef, revision: tip, isAsked, phases }
  return reconcileRevision(looking, row, target)
}

/** Says that the default branch does not name it any more; one that never was more than a broken file goes. */
async function leaveUndeclared(looking: Looking, row: KnownEnvironment): Promise<void> {
  const { database, leadership, memory } = looking
  if (row.sequence === '0' && row.attempted === null) {
    if (memory.declarationProblems.some((one) => isAbout(one, row.name))) return
    const isGone = await database.transaction(async (tx) => {
      await assertLead(tx, leadership)
      return dropNeverRead(tx, row.name)
    })
    if (isGone) return
  }
  await settle(looking, row, { status: undeclared(row.name, row.observed), diagnostics: [] })
}

/** Nothing of the repository can be read: says so at every environment, and changes nothing else. */
async function saveUnreadable(looking: Looking, error: unknown): Promise<void> {
  await takeDeclarations(looking, null)
  const rows = await listGuarded(looking)
  if (rows.length === 0) sayUnreadable(looking, error)
  for (const row of rows) {
    const status = unreadable(error, row.observed)
    await attempt(looking, row, async (current) => {
      const isGit = !(await isHeld(looking, current))
      if (isGit && current.declared) await settle(looking, current, { status })
    })
  }
}

/** Where no environment is known yet, none of them can say so. */
function sayUnreadable({ memory, log }: Looking, error: unknown): void {
  const message = messageOf(error)
  if (memory.saidUnreadable !== message) log.error('the repository cannot be read', { error })
  memory.saidUnreadable = message
}

function unreadable(error: unknown, live: Revision | null): Status {
  if (error instanceof UnsupportedRepository) return unsupportedRepository(error.message, live)
  if (error instanceof AuthenticationFailure) return authentication(error.message, live)
  if (error instanceof MissingRepository) return repositoryMissing(error.message, live)
  return retrying(messageOf(error), live)
}

function isRefusal(error: unknown): boolean {
  return error instanceof AuthenticationFailure || error instanceof MissingRepository
}

/** Echoes the requests that this look has answered, whatever it found; false where that could not be written. */
async function answer(looking: Looking, requests: readonly OpenRequest[]): Promise<boolean> {
  const { database, leadership, clock } = looking
  let isDone = true
  for (const [environment, asked] of Map.groupBy(requests, (one) => one.environment)) {
    try {
      await database.transaction(async (tx) => {
        await assertLead(tx, leadership)
        await saveHandled(tx, environment, { ids: asked.map(({ id }) => id), now: clock.now() })
      })
    } catch (error) {
      noteUnwritten(looking, environment, error)
      isDone = false
    }
  }
  return isDone
}

/** Whether a ref that was decided on points elsewhere by now. */
async function hasMoved(
  { repository }: Looking,
  tips: ReadonlyMap<string, Revision | null>,
): Promise<boolean> {
  // A remote was asked just now, and is asked again by the poll or by whoever knows more.
  const latest = repository.knownRefs ? repository.knownRefs() : repository.refs()
  const refs = await latest.catch(() => undefined)
  if (!refs) return true
  for (const [branch, tip] of tips) {
    if ((await refs.tip(branch)) !== tip) return true
  }
  return false
}
