import { setTimeout as pause } from 'node:timers/promises'
import { RetryableFailure } from '../errors.ts'
import type { RevisionTree } from '../git/source.ts'
import type { Revision } from '../ids.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import { applyRevision } from './apply.ts'
import { circumstances, guardRevision, isOfPolicy, keptPolicyWarnings, UNGUARDED } from './guard.ts'
import type { Guarded } from './guard.ts'
import { assertLead } from './leader-store.ts'
import { measureLag, noteSight } from './measure.ts'
import type { Phases } from './measure.ts'
import { settle, withDeclarationProblems } from './settle.ts'
import type { Looking, Settled } from './settle.ts'
import { readSnapshot } from './snapshot.ts'
import type { Snapshot } from './snapshot.ts'
import { applied, invalidFiles, progressing, short } from './status.ts'
import type { Reason, Status } from './status.ts'
import { followTip } from './tip.ts'
import type { Tip } from './tip.ts'
import { saveFollowed, statusOf } from './store.ts'
import type { KnownEnvironment } from './store.ts'

/** How often a working tree that changes under the look is read anew at once. */
const CHANGES_MAX = 5

export interface Target {
  read(): Promise<RevisionTree>
  /** The one whose tip it is; null for the working tree. */
  readonly branch: string | null
  /** Null for the working tree, whose revision is known when it was read. */
  readonly revision: Revision | null
  /** Somebody asked for a look: what was refused before is read once more. */
  readonly isAsked: boolean
  readonly phases: Phases
}

/**
 * Reads what a revision says and applies it, or reports what is wrong with it. Throws where it
 * cannot be read now; then nothing has changed but the state.
 */
export async function reconcileRevision(
  looking: Looking,
  row: KnownEnvironment,
  target: Target,
): Promise<void> {
  const isDone = (revision: Revision) =>
    isJudged(looking, row, { revision, isAsked: target.isAsked })
  if (target.revision !== null) noteSight(looking, row, target.revision)
  if (target.revision !== null && (await isDone(target.revision))) return keep(looking, row)
  target.phases.enter('diff')
  using tip = followTip(looking, target.branch, target.revision)
  const tree = await tip.race(target.read())
  noteSight(looking, row, tree.revision)
  if (target.revision === null && (await isDone(tree.revision))) return keep(looking, row)
  const { observed } = row
  // What is live already is only checked again, and is not shown as being taken over.
  if (tree.revision !== observed) {
    await settle(looking, row, {
      status: progressing(tree.revision, observed),
      attempted: tree.revision,
    })
  }
  const read =
    target.revision === null
      ? await readMovingTree(looking, row, { tree, target, tip })
      : { tree, snapshot: await tip.race(readTree(looking, row, { tree, target, tip })) }
  await conclude(looking, row, { ...read, tip, target })
  target.phases.end()
}

interface Reading {
  readonly tree: RevisionTree
  readonly target: Target
  readonly tip: Tip
}

/** Reasons for which a revision that was read is not applied. */
const REFUSED: Partial<Record<Reason, true>> = {
  invalid_files: true,
  prune_guard: true,
  out_of_order: true,
  soaking: true,
  history_rewritten: true,
  unsigned: true,
}

/** What was read, and under which circumstances: under others it is judged anew. */
async function judgement(
  looking: Looking,
  row: KnownEnvironment,
  revision: Revision,
): Promise<string> {
  return `${revision} ${await circumstances(looking, row, revision)}`
}

/**
 * Whether this process has applied or refused this revision, and nobody asks again. What a new
 * process finds applied is judged once more: secrets may be gone that were there.
 */
async function isJudged(
  looking: Looking,
  row: KnownEnvironment,
  { revision, isAsked }: { readonly revision: Revision; readonly isAsked: boolean },
): Promise<boolean> {
  const judged = looking.memory.judged.get(row.name)
  if (isAsked || judged !== (await judgement(looking, row, revision))) return false
  if (row.reason === 'applied') return row.observed === revision
  if (row.reason === 'soaking' && isSoaked(looking, row)) return false
  return REFUSED[row.reason] === true && row.attempted === revision
}

function isSoaked({ memory, clock }: Looking, { name }: KnownEnvironment): boolean {
  const until = memory.soakingUntil.get(name)
  return until === undefined || until <= clock.now()
}

/** State, message and diagnostics say all there is to say. */
function keep(looking: Looking, row: KnownEnvironment): Promise<void> {
  return settle(looking, row, { status: statusOf(row) })
}

function readTree(
  { database, providers, hasSecret }: Looking,
  known: KnownEnvironment,
  { tree, target, tip }: Reading,
): Promise<Snapshot> {
  const fileOptional = target.revision === null
  const { signal } = tip
  const { phases } = target
  return readSnapshot(tree, { database, known, fileOptional, providers, hasSecret, signal, phases })
}

/** An editor may be in the middle of saving: what is broken or moves is read again before it counts. */
async function readMovingTree(
  looking: Looking,
  row: KnownEnvironment,
  { tree: first, target, tip }: Reading,
): Promise<Guarded> {
  let tree = first
  for (let change = 1; ; change += 1) {
    try {
      const snapshot = await readTree(looking, row, { tree, target, tip })
      if (!isBroken(snapshot) || change >= CHANGES_MAX) return { tree, snapshot }
      await pause(looking.settleMs)
      const next = await target.read()
      if (next.revision === tree.revision) return { tree, snapshot }
      tree = next
    } catch (error) {
      if (!(error instanceof RetryableFailure) || change >= CHANGES_MAX) throw error
      tree = await target.read()
    }
  }
}

function isBroken({ settings, diagnostics }: Snapshot): boolean {
  return settings === null || diagnostics.some(({ severity }) => severity === 'error')
}

async function conclude(
  looking: Looking,
  row: KnownEnvironment,
  { tip, target, ...read }: Guarded & Reading,
): Promise<void> {
  const { tree, snapshot } = read
  const { revision, directories } = tree
  const { settings } = snapshot
  const kept = await keptPolicyWarnings(looking, row, read)
  const own = snapshot.diagnostics.filter((one) => !isOfPolicy(one))
  const diagnostics = withDeclarationProblems(looking.memory, row, [...own, ...kept])
  const isLive = revision === row.observed
  if (isLive) await noteFollowed(looking, row)
  // The row was marked as being worked on; what is written next always differs from that.
  const marked = { ...row, ...progressing(revision, row.observed), attempted: revision }
  const say = (status: Status, found: readonly Diagnostic[] = []) => {
    const all = [...found, ...diagnostics]
    return judge(looking, isLive ? row : marked, { status, diagnostics: all, attempted: revision })
  }
  if (settings === null || isBroken(snapshot)) {
    return say(invalidFiles(revision, diagnostics, row.observed))
  }
  if (isLive) return say(applied(revision))
  const isGuarded = target.revision !== null
  if (isGuarded) target.phases.enter('guard')
  const judged = isGuarded ? await tip.race(guardRevision(looking, row, read)) : UNGUARDED
  if (judged.kind === 'held') return say(judged.status, judged.diagnostics)
  const { warnings, rewrittenFrom, signer } = judged
  target.phases.enter('apply')
  await applyRevision(looking, {
    revision,
    snapshot: { ...snapshot, diagnostics: [...diagnostics, ...warnings] },
    settings,
    directories,
    rewrittenFrom,
    signer,
    known: row,
  })
  if (rewrittenFrom !== null) looking.metrics.count('ref_regressions_total', { env: row.name })
  await noteApplied(looking, row, read)
}

async function noteApplied(
  looking: Looking,
  row: KnownEnvironment,
  { tree: { revision }, snapshot }: Guarded,
): Promise<void> {
  const { memory, log, metrics } = looking
  memory.judged.set(row.name, await judgement(looking, row, revision))
  memory.logged.set(row.name, 'applied')
  const { added, changed, archived, restored } = snapshot.plan
  metrics.count('pruned_total', { env: row.name }, archived.length)
  await measureLag(looking, row, revision)
  log.info('revision applied', {
    environment: row.name,
    revision: short(revision),
    added: added.length + restored.length,
    changed: changed.length,
    archived: archived.length,
  })
}

/** What a pin has brought back may be what the branch says by now. */
async function noteFollowed(
  { database, leadership }: Looking,
  { name, followed, sequence }: KnownEnvironment,
): Promise<void> {
  if (followed === sequence) return
  await database.transaction(async (tx) => {
    await assertLead(tx, leadership)
    await saveFollowed(tx, name, sequence)
  })
}

/** Says what was found, where that applies nothing, and remembers that the revision was read. */
async function judge(
  looking: Looking,
  known: KnownEnvironment,
  found: Settled & { readonly attempted: Revision },
): Promise<void> {
  await settle(looking, known, found)
  looking.memory.judged.set(known.name, await judgement(looking, known, found.attempted))
}
