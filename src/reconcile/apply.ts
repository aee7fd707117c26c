import type { Transaction } from '../db/database.ts'
import { RetryableFailure } from '../errors.ts'
import type { Revision, WorkflowKey } from '../ids.ts'
import type { EnvironmentSettings } from '../workflow/environment.ts'
import { saveArchivedHistory, saveHistory } from './history-store.ts'
import { assertLead } from './leader-store.ts'
import { saveListeners } from './listener-store.ts'
import { announce } from './outbox.ts'
import { writeSchedules } from './schedules.ts'
import type { Looking } from './settle.ts'
import type { Snapshot } from './snapshot.ts'
import { applied } from './status.ts'
import {
  archiveWorkflows,
  lockEnvironment,
  saveRevision,
  saveVersions,
  saveWorkflows,
} from './store.ts'
import type { AppliedAt, KnownEnvironment, WorkflowRow } from './store.ts'
import type { PackedVersion } from './versions.ts'

/** Rows of one statement. */
const ROWS_AT_ONCE = 500
/** What the versions of one statement come to, about: it is in memory several times over while it is sent. */
const TEXT_AT_ONCE = 1024 * 1024

/** A snapshot without errors, and where it comes from. */
export interface Applicable {
  readonly revision: Revision
  readonly snapshot: Snapshot
  readonly settings: EnvironmentSettings
  /** The ids of the revision's directories. */
  readonly directories: ReadonlyMap<string, string>
  /** What the branch had before, where it was rewritten. */
  readonly rewrittenFrom: Revision | null
  /** Who has signed the commit, where that was verified. */
  readonly signer: string | null
}

/**
 * Makes a revision the applied one of its environment: whole, or not at all.
 * Throws `LeadershipLost` when another process reconciles by now, and a `RetryableFailure` when
 * the environment is not what the snapshot was compared with.
 */
export async function applyRevision(
  ground: Lead,
  { known, ...applicable }: Applicable & { readonly known: KnownEnvironment },
): Promise<void> {
  const { name: environment, gitRef } = known
  const { revision, snapshot } = applicable
  const { diagnostics } = snapshot
  await applyNext(ground, known, async (tx, at) => {
    await write(tx, at, applicable)
    await writeSchedules(tx, at, { settings: applicable.settings, before: known.settings })
    const status = applied(revision)
    const finding = { environment, gitRef, revision, status, diagnostics, now: at.now }
    await announce(tx, ground.announcing, finding)
  })
}

/** Who may write, and where. */
export type Lead = Pick<Looking, 'database' | 'leadership' | 'clock' | 'announcing'>

/**
 * Writes the next sequence of an environment, in one transaction that fails where the lead was
 * lost, and where the environment is not as it was `known`: applied to, suspended or pinned since.
 */
export async function applyNext(
  { database, leadership, clock }: Lead,
  known: KnownEnvironment,
  work: (tx: Transaction, at: AppliedAt) => Promise<void>,
): Promise<void> {
  await database.transaction(async (tx) => {
    await assertLead(tx, leadership)
    const sequence = await nextSequence(tx, known)
    await work(tx, { environment: known.name, sequence, now: clock.now() })
  })
}

async function nextSequence(tx: Transaction, known: KnownEnvironment): Promise<string> {
  const current = await lockEnvironment(tx, known.name)
  if (current?.sequence !== known.sequence || current.hold !== known.hold) {
    throw new RetryableFailure(`${known.name} was changed while its revision was read`)
  }
  return String(BigInt(current.sequence) + 1n)
}

/** Makes these versions the live ones, and keeps that the revision did. */
export async function writeWorkflows(
  tx: Transaction,
  at: AppliedAt,
  rows: readonly WorkflowRow[],
): Promise<void> {
  for (let from = 0; from < rows.length; from += ROWS_AT_ONCE) {
    const some = rows.slice(from, from + ROWS_AT_ONCE)
    await saveWorkflows(tx, at, some)
    await saveHistory(tx, at, some)
  }
}

/** Archives workflows, and keeps that the revision did. */
export async function writeArchived(
  tx: Transaction,
  at: AppliedAt,
  keys: readonly WorkflowKey[],
): Promise<void> {
  if (keys.length === 0) return
  await archiveWorkflows(tx, at, keys)
  await saveArchivedHistory(tx, at, keys)
}

async function write(tx: Transaction, at: AppliedAt, applicable: Applicable): Promise<void> {
  const { revision, snapshot, settings, directories, rewrittenFrom, signer } = applicable
  const { plan, versions, parts, diagnostics } = snapshot
  for (const some of inBatches(versions)) {
    await saveVersions(tx, some, at.now)
    const rows = some.map((version) => rowOf(version, directories))
    await writeWorkflows(tx, at, rows)
    await saveListeners(tx, at.environment, some)
  }
  await writeArchived(tx, at, plan.archived)
  const added = [...plan.added, ...plan.restored]
  const isAdded = new Set<WorkflowKey>(added)
  await saveRevision(tx, at, {
    origin: 'git',
    status: applied(revision),
    diagnostics,
    revision,
    rewrittenFrom,
    signer,
    settings,
    parts,
    added: added.toSorted(),
    changed: versions
      .map(({ key }) => key)
      .filter((key) => !isAdded.has(key))
      .toSorted(),
    archived: plan.archived,
  })
}

/** As many at a time as one statement takes. */
function* inBatches(versions: readonly PackedVersion[]): Generator<readonly PackedVersion[]> {
  let batch: PackedVersion[] = []
  let length = 0
  for (const version of versions) {
    batch.push(version)
    length += lengthOf(version)
    if (batch.length < ROWS_AT_ONCE && length < TEXT_AT_ONCE) continue
    yield batch
    batch = []
    length = 0
  }
  if (batch.length > 0) yield batch
}

function lengthOf({ json }: PackedVersion): number {
  return Object.values(json).reduce((sum, text) => sum + text.length, 0)
}

function rowOf(
  { key, id }: Snapshot['versions'][number],
  directories: ReadonlyMap<string, string>,
): WorkflowRow {
  return { key, versionId: id, tree: directories.get(key) ?? '' }
}
