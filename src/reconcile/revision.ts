import { setTimeout as pause } from 'node:timers/promises'
import { RetryableFailure } from '../errors.ts'
import type { RevisionTree } from '../git/source.ts'
import type { Revision } from '../ids.ts'
import { applyRevision } from './apply.ts'
import { findUnallowedPrune, policyFor } from './guard.ts'
import { assertLead } from './leader-store.ts'
import { settle, withDeclarationProblems } from './settle.ts'
import type { Looking, Settled } from './settle.ts'
import { readSnapshot } from './snapshot.ts'
import type { Snapshot } from './snapshot.ts'
import { applied, invalidFiles, progressing, pruneGuard, short } from './status.ts'
import type { Reason, Status } from './status.ts'
import { saveFollowed, statusOf } from './store.ts'
import type { KnownEnvironment } from './store.ts'

/** How often a working tree that changes under the look is read anew at once. */
const CHANGES_MAX = 5

export interface Target {
  read(): Promise<RevisionTree>
  /** Null for the working tree, whose revision is known when it was read. */
  readonly revision: Revision | null
  /** Somebody asked for a look: what was refused before is read once more. */
  readonly isAsked: boolean
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
  if (target.revision !== null && isDone(target.revision)) return keep(looking, row)
  const tree = await target.read()
  if (isDone(tree.revision)) return keep(looking, row)
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
      ? await readMovingTree(looking, row, { tree, target })
      : { tree, snapshot: await readTree(looking, row, { tree, target }) }
  await conclude(looking, row, { ...read, isGuarded: target.revision !== null })
}

interface Reading {
  readonly tree: RevisionTree
  readonly target: Target
}

interface Read {
  readonly tree: RevisionTree
  readonly snapshot: Snapshot
}

/** Reasons for which a revision that was read is not applied. */
const REFUSED: ReadonlySet<Reason> = new Set(['invalid_files', 'prune_guard'])

/** What was read, and under which policy: under another one it is judged anew. */
function judgement(row: KnownEnvironment, revision: Revision): string {
  return `${revision} ${JSON.stringify(policyFor(row, revision))}`
}

/**
 * Whether this process has applied or refused this revision, and nobody asks again. What a new
 * process finds applied is judged once more: secrets may be gone that were there.
 */
function isJudged(
  { memory }: Looking,
  row: KnownEnvironment,
  { revision, isAsked }: { readonly revision: Revision; readonly isAsked: boolean },
): boolean {
  if (isAsked || memory.judged.get(row.name) !== judgement(row, revision)) return false
  if (row.reason === 'applied') return row.observed === revision
  return REFUSED.has(row.reason) && row.attempted === revision
}

/** State, message and diagnostics say all there is to say. */
function keep(looking: Looking, row: KnownEnvironment): Promise<void> {
  return settle(looking, row, { status: statusOf(row) })
}

function readTree(
  { database, providers, hasSecret }: Looking,
  known: KnownEnvironment,
  { tree, target }: Reading,
): Promise<Snapshot> {
  const fileOptional = target.revision === null
  return readSnapshot(tree, { database, known, fileOptional, providers, hasSecret })
}

/** An editor may be in the middle of saving: what is broken or moves is read again before it counts. */
async function readMovingTree(
  looking: Looking,
  row: KnownEnvironment,
  { tree: first, target }: Reading,
): Promise<Read> {
  let tree = first
  for (let change = 1; ; change += 1) {
    try {
      const snapshot = await readTree(looking, row, { tree, target })
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
  read: Read & { readonly isGuarded: boolean },
): Promise<void> {
  const { memory, log } = looking
  const { tree, snapshot } = read
  const { revision, directories } = tree
  const { settings } = snapshot
  const diagnostics = withDeclarationProblems(memory, row, snapshot.diagnostics)
  const isLive = revision === row.observed
  if (isLive) await noteFollowed(looking, row)
  // The row was marked as being worked on; what is written next always differs from that.
  const marked = { ...row, ...progressing(revision, row.observed), attempted: revision }
  const say = (status: Status) =>
    judge(looking, isLive ? row : marked, { status, diagnostics, attempted: revision })
  if (settings === null || isBroken(snapshot)) {
    return say(invalidFiles(revision, diagnostics, row.observed))
  }
  if (isLive) return say(applied(revision))
  const prune = read.isGuarded ? await findUnallowedPrune(looking, row, read) : null
  if (prune !== null) {
    return say(pruneGuard({ environment: row.name, revision, live: row.observed }, prune))
  }
  await applyRevision(looking, {
    revision,
    snapshot: { ...snapshot, diagnostics },
    settings,
    directories,
    known: row,
  })
  memory.judged.set(row.name, judgement(row, revision))
  memory.logged.set(row.name, 'applied')
  const { added, changed, archived, restored } = snapshot.plan
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
  looking.memory.judged.set(known.name, judgement(known, found.attempted))
}
