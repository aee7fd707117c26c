import { isDeepStrictEqual } from 'node:util'
import type { Transaction } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import { judgeDrift, noteDrift } from './drift-fight.ts'
import type { DriftFound, DriftOutcome, Finding } from './drift-fight.ts'
import {
  dropWorkflows,
  findHistoryHead,
  listBrokenVersions,
  listPlaces,
  listWorkflowDrift,
  loadSeal,
  loadWriteMark,
  restoreHead,
  restoreVersion,
  restoreWorkflows,
  saveDrift,
  saveDriftEvent,
} from './drift-store.ts'
import type { VersionPlace } from './drift-store.ts'
import { findTruth } from './drift-truth.ts'
import type { Differences, Truth } from './drift-truth.ts'
import { assertLead, LeadershipLost } from './leader-store.ts'
import type { Looking } from './settle.ts'
import { listKnownEnvironments, lockEnvironment, saveVersions } from './store.ts'
import type { KnownEnvironment } from './store.ts'
import { packVersion } from './versions.ts'

/**
 * Finds what others than Belfry have changed of what it applied, and puts it back. Answers whether
 * something came of it, so that the state of an environment has to be told anew.
 *
 * What is compared is what each environment was sealed with when it was last found right; only where
 * that differs are its rows compared with the kept history, and only what differs there is read from Git.
 */
export async function mendDrift(
  looking: Looking,
  asked: ReadonlySet<EnvironmentName> = new Set(),
): Promise<boolean> {
  const { database, memory } = looking
  const mark = await loadWriteMark(database)
  const broken = await listBrokenVersions(database, memory.writeMark)
  const places = await listPlaces(database, broken)
  let isTold = false
  for (const row of await listKnownEnvironments(database)) {
    // Nothing of it is live; what was applied is compared again when it is back.
    if (row.retirement !== null) continue
    const own = places.filter(({ environment }) => environment === row.name)
    isTold = (await attempt(looking, row, { own, isAsked: asked.has(row.name) })) || isTold
  }
  // What is still broken is found again only where the mark stays behind it.
  const isLeft = broken.length > 0 && (await listBrokenVersions(database, null)).length > 0
  if (!isLeft) memory.writeMark = mark
  return isTold
}

/** What goes wrong with one environment leaves the others alone, and is tried again at the next check. */
async function attempt(looking: Looking, row: KnownEnvironment, asked: Asked): Promise<boolean> {
  try {
    return await mendEnvironment(looking, row, asked)
  } catch (error) {
    if (error instanceof LeadershipLost) throw error
    looking.log.error('drift cannot be repaired', { environment: row.name, error })
    return false
  }
}

interface Asked {
  readonly own: readonly VersionPlace[]
  readonly isAsked: boolean
}

async function mendEnvironment(
  looking: Looking,
  row: KnownEnvironment,
  { own, isAsked }: Asked,
): Promise<boolean> {
  const { database, memory, clock } = looking
  const seal = await loadSeal(database, row.name)
  if (seal === undefined) return false
  if (seal === memory.seals.get(row.name) && own.length === 0) return noteGone(looking, row)
  const differences = await compare(database, row.name, own)
  const found = differences === undefined ? [] : findingsOf(row.name, differences)
  if (differences === undefined || found.length === 0) {
    memory.seals.set(row.name, seal)
    return noteGone(looking, row)
  }
  memory.seals.delete(row.name)
  const at = { found, isSuspended: row.suspension !== null, isAsked, now: clock.now() }
  const verdict = judgeDrift(row.drift, at)
  if (verdict !== 'repaired') return report(looking, row, { ...at, outcome: verdict, differences })
  return repair(looking, row, { ...at, differences })
}

async function compare(
  database: Pick<Looking['database'], 'query' | 'execute'>,
  environment: EnvironmentName,
  places: readonly VersionPlace[],
): Promise<Differences | undefined> {
  const head = await findHistoryHead(database, environment)
  if (!head) return undefined
  const workflows = await listWorkflowDrift(database, environment, head.sequence)
  return { head, workflows, places }
}

function findingsOf(
  environment: EnvironmentName,
  { head, workflows, places }: Differences,
): readonly Finding[] {
  const { fields } = head
  const versions = new Set(places.map(({ id }) => id))
  return [
    ...(fields.length > 0 ? [{ what: 'environment', key: environment, fields } as const] : []),
    ...workflows.map((one) => ({ what: 'workflow', key: one.key, fields: one.fields }) as const),
    ...[...versions].map((key) => ({ what: 'version', key, fields: ['content'] }) as const),
  ]
}

interface Found extends DriftFound {
  readonly differences: Differences
}

/** Writes down what is not repaired, once. */
async function report(
  looking: Looking,
  row: KnownEnvironment,
  { differences, outcome, ...at }: Found & { readonly outcome: DriftOutcome },
): Promise<boolean> {
  const drift = noteDrift(row.drift, outcome, at)
  const isKnown =
    row.drift?.outcome === outcome &&
    row.drift.pausedUntil === drift.pausedUntil &&
    isDeepStrictEqual(row.drift.found, drift.found)
  if (isKnown) return false
  await looking.database.transaction(async (tx) => {
    await assertLead(tx, looking.leadership)
    await keep(tx, row, { ...at, differences, outcome })
  })
  tell(looking, row, { ...at, outcome })
  return true
}

/** In one transaction with what is written down about it. Triggers and runs read before it, or after it. */
async function repair(looking: Looking, row: KnownEnvironment, found: Found): Promise<boolean> {
  const { database, leadership } = looking
  const { differences, ...at } = found
  const truth = await findTruth(looking, row, differences)
  const restored = new Set(truth.restored.map(({ id }) => id))
  const isVersionLeft = differences.places.some(({ id }) => !restored.has(id))
  const result = await database.transaction(async (tx) => {
    await assertLead(tx, leadership)
    const current = await lockEnvironment(tx, row.name)
    // Suspended or pinned meanwhile: the next look decides again.
    if (current?.hold !== row.hold) return undefined
    await write(tx, row.name, { truth, differences, now: at.now })
    const left = await compare(tx, row.name, [])
    const isLeft = left === undefined || findingsOf(row.name, left).length > 0
    const outcome: DriftOutcome = isLeft || isVersionLeft ? 'unrepairable' : 'repaired'
    const isKnown = outcome === 'unrepairable' && row.drift?.outcome === outcome
    if (!isKnown) await keep(tx, row, { ...found, outcome })
    return { outcome, isKnown }
  })
  if (result === undefined) return true
  if (result.isKnown) return false
  tell(looking, row, { ...at, outcome: result.outcome })
  return true
}

async function write(
  tx: Transaction,
  environment: EnvironmentName,
  {
    truth,
    differences,
    now,
  }: { readonly truth: Truth; readonly differences: Differences; readonly now: Date },
): Promise<void> {
  const { head, rows, strangers, versions, restored } = truth
  for (const version of restored) await restoreVersion(tx, version)
  if (versions.length > 0) await saveVersions(tx, versions.map(packVersion), now)
  if (differences.head.fields.length > 0) await restoreHead(tx, environment, { head, now })
  if (rows.length > 0) await restoreWorkflows(tx, environment, { rows, now })
  if (strangers.length > 0) await dropWorkflows(tx, environment, strangers)
}

async function keep(
  tx: Transaction,
  row: KnownEnvironment,
  { differences, outcome, ...at }: Found & { readonly outcome: DriftOutcome },
): Promise<void> {
  await saveDrift(tx, row.name, noteDrift(row.drift, outcome, at))
  const { sequence, revision } = differences.head
  const { found, now } = at
  await saveDriftEvent(tx, row.name, { sequence, revision, found, outcome, now })
}

/** What was not repaired is right again, because somebody put it back or a revision was applied. */
async function noteGone(looking: Looking, { name, drift }: KnownEnvironment): Promise<boolean> {
  if (drift === null || drift.outcome === 'repaired' || drift.outcome === 'gone') return false
  await looking.database.transaction(async (tx) => {
    await assertLead(tx, looking.leadership)
    await saveDrift(tx, name, { ...drift, outcome: 'gone', pausedUntil: null })
  })
  looking.log.info('drift is gone', { environment: name })
  return true
}

/** Findings of one line of the log. */
const LOGGED_MAX = 10

function tell(
  { log, metrics }: Looking,
  { name: env }: KnownEnvironment,
  { found, outcome }: DriftFound & { readonly outcome: DriftOutcome },
): void {
  metrics.count('drift_detected_total', { env }, found.length)
  if (outcome === 'repaired') metrics.count('drift_repaired_total', { env }, found.length)
  const some = found
    .slice(0, LOGGED_MAX)
    .map(({ what, key, fields }) => `${what} ${key}: ${fields.join(', ')}`)
  log.warn('something else has changed what was applied', {
    environment: env,
    outcome,
    count: found.length,
    found: some,
  })
}
