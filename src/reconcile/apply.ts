import type { Database, Transaction } from '../db/database.ts'
import { RetryableFailure } from '../errors.ts'
import type { Revision, WorkflowKey } from '../ids.ts'
import type { EnvironmentSettings } from '../workflow/environment.ts'
import { assertLead } from './leader-store.ts'
import type { Leadership } from './leader-store.ts'
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

/** Rows of one statement; a version is some kilobytes. */
const ROWS_AT_ONCE = 500

/** A snapshot without errors, and where it comes from. */
export interface Applicable {
  readonly revision: Revision
  readonly snapshot: Snapshot
  readonly settings: EnvironmentSettings
  /** The ids of the revision's directories. */
  readonly directories: ReadonlyMap<string, string>
}

/**
 * Makes a revision the applied one of its environment: whole, or not at all.
 * Throws `LeadershipLost` when another process reconciles by now, and a `RetryableFailure` when
 * the environment is not what the snapshot was compared with.
 */
export async function applyRevision(
  database: Database,
  leadership: Leadership,
  {
    known,
    now,
    ...applicable
  }: Applicable & { readonly known: KnownEnvironment; readonly now: Date },
): Promise<void> {
  await database.transaction(async (tx) => {
    await assertLead(tx, leadership)
    const sequence = await nextSequence(tx, known)
    await write(tx, { environment: known.name, sequence, now }, applicable)
  })
}

async function nextSequence(tx: Transaction, known: KnownEnvironment): Promise<string> {
  const current = await lockEnvironment(tx, known.name)
  if (current?.sequence !== known.sequence || current.hold !== known.hold) {
    throw new RetryableFailure(`${known.name} was changed while its revision was read`)
  }
  return String(BigInt(current.sequence) + 1n)
}

async function write(tx: Transaction, at: AppliedAt, applicable: Applicable): Promise<void> {
  const { revision, snapshot, settings, directories } = applicable
  const { plan, versions, parts, diagnostics } = snapshot
  for (let from = 0; from < versions.length; from += ROWS_AT_ONCE) {
    const some = versions.slice(from, from + ROWS_AT_ONCE)
    await saveVersions(tx, some, at.now)
    await saveWorkflows(
      tx,
      at,
      some.map((version) => rowOf(version, directories)),
    )
  }
  if (plan.archived.length > 0) await archiveWorkflows(tx, at, plan.archived)
  const added = [...plan.added, ...plan.restored]
  const isAdded = new Set<WorkflowKey>(added)
  await saveRevision(tx, at, {
    status: applied(revision),
    diagnostics,
    revision,
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

function rowOf(
  { key, id }: Snapshot['versions'][number],
  directories: ReadonlyMap<string, string>,
): WorkflowRow {
  return { key, versionId: id, tree: directories.get(key) ?? '' }
}
