import type { Transaction } from '../db/database.ts'
import { newId, type EnvironmentName, type RunId, type WorkflowRunId } from '../ids.ts'
import {
  isObjectRef,
  recipientKey,
  type Recipient,
  type RecipientRef,
} from '../recipients/recipient.ts'
import { loadRecipients } from '../recipients/store.ts'
import {
  FIRST_SUBSCRIBERS,
  readSubscribers,
  type FanOutCursor,
  type Reached,
} from '../recipients/subscribers.ts'
import { findServed, type Admission } from './frequency.ts'
import type { Progress, QueuedRun } from './run.ts'
import {
  insertRuns,
  lockPendingWorkflowRun,
  saveFanOut,
  type PendingWorkflowRun,
  type RunResult,
} from './store.ts'
import type { NamedRecipient } from './trigger-request.ts'
import { loadVersion } from './versions.ts'

/** Recipients that one transaction gives their runs; as many as a trigger may name. */
const FAN_OUT_RUNS_MAX = 1_000

/** One round of a fan-out: runs that are to be stored, and what was read for them. */
export interface Round {
  readonly environment: EnvironmentName
  /** They stand before their first step. */
  readonly runs: readonly QueuedRun[]
  /** Those that ended before they began. */
  readonly ended: readonly RunResult[]
  /** What is known of their recipients. */
  readonly known: readonly Recipient[]
  /** Whether everybody has a run; else there is to be another round. */
  readonly isDone: boolean
  /** Whether it is the first one. */
  readonly isFirst: boolean
}

/**
 * Works out who of a trigger's recipients gets a run now, and writes down how far the fan-out has come: in the first
 * round each known one that it names, then those who are subscribed to objects among them, the nearest first. The
 * runs are to be stored in the same transaction. Undefined where another job has done it.
 */
export async function fanOut(
  tx: Transaction,
  environment: EnvironmentName,
  id: WorkflowRunId,
  now: Date,
): Promise<Round | undefined> {
  const run = await lockPendingWorkflowRun(tx, environment, id)
  if (!run) return undefined
  const { reached, known, missing, next } = await reach(tx, environment, run)
  const admission = { environment, id, run }
  const admitted = await admit(tx, admission, reached, now)
  await saveFanOut(tx, environment, id, { missing, cursor: next })
  const isFirst = run.cursor === null
  return { environment, ...admitted, known, isDone: next === null, isFirst }
}

/** Stores the runs of a round, queued, once: repeating it changes nothing. Answers those that are new and go on. */
export async function storeRound(tx: Transaction, round: Round, now: Date): Promise<RunId[]> {
  const queued = round.runs.map((run) => startedAs(run, { kind: 'queued', position: run.position }))
  const stored = new Set(await insertRuns(tx, round.environment, [...round.ended, ...queued], now))
  return round.runs.map((run) => run.id).filter((id) => stored.has(id))
}

/** What one round of a fan-out has come to. */
export interface FannedOut {
  /** The new runs, but for those that ended before they began. */
  readonly ids: readonly RunId[]
  readonly isDone: boolean
}

/** Gives the next recipients of a trigger their runs, in the caller's transaction. Undefined where another job has done it. */
export async function expandWorkflowRun(
  tx: Transaction,
  environment: EnvironmentName,
  id: WorkflowRunId,
  now: Date,
): Promise<FannedOut | undefined> {
  const round = await fanOut(tx, environment, id, now)
  return round && { ids: await storeRound(tx, round, now), isDone: round.isDone }
}

interface Reach {
  /** Each known one once. */
  readonly reached: readonly NamedRecipient[]
  readonly known: readonly Recipient[]
  /** Those whom the trigger names and nobody knows. */
  readonly missing: readonly RecipientRef[]
  /** Where the next round goes on; null where there is none. */
  readonly next: FanOutCursor | null
}

async function reach(
  tx: Transaction,
  environment: EnvironmentName,
  run: PendingWorkflowRun,
): Promise<Reach> {
  const named = run.cursor ? [] : run.recipients
  const { reached, next } = await nextSubscribers(tx, environment, run, named.length)
  const known = await loadRecipients(tx, environment, [...named, ...reached])
  const keys = new Set(known.map(recipientKey))
  const once = new Map<string, NamedRecipient>()
  for (const one of [...named, ...reached]) {
    const key = recipientKey(one)
    // A direct mention beats a subscription, the nearest one a farther one.
    if (keys.has(key) && !once.has(key)) once.set(key, one)
  }
  const missing = named.filter((one) => !keys.has(recipientKey(one)))
  return {
    reached: [...once.values()],
    known,
    missing: missing.map(({ collection, id }) => ({ collection, id })),
    next,
  }
}

async function nextSubscribers(
  tx: Transaction,
  environment: EnvironmentName,
  { source, recipients, actor, cursor }: PendingWorkflowRun,
  before: number,
): Promise<{ readonly reached: readonly Reached[]; readonly next: FanOutCursor | null }> {
  // A schedule and a replay are for their recipient alone, whoever is subscribed to it.
  const isForOne = source === 'schedule' || source === 'replay'
  const objects = isForOne ? [] : recipients.filter(isObjectRef)
  const start = cursor ?? (objects.length > 0 ? FIRST_SUBSCRIBERS : null)
  const limit = FAN_OUT_RUNS_MAX - before
  if (!start || limit <= 0) return { reached: [], next: start }
  const page = await readSubscribers(tx, environment, { objects, cursor: start, limit })
  return { reached: page.reached.filter(isNot(actor)), next: page.next }
}

/** Who causes something is not told of it only because of a subscription. */
function isNot(actor: PendingWorkflowRun['actor']): (reached: Reached) => boolean {
  return (reached) => actor === null || recipientKey(reached) !== recipientKey(actor)
}

/** The runs of these recipients: those that begin, and those that are over before. */
async function admit(
  tx: Transaction,
  admission: Admission,
  recipients: readonly NamedRecipient[],
  now: Date,
): Promise<Pick<Round, 'runs' | 'ended'>> {
  if (recipients.length === 0) return { runs: [], ended: [] }
  const isCancelled = cancelled(admission.run)
  const { workflow } = await loadVersion(tx, admission.run.version_id)
  const frequency = workflow.trigger?.frequency ?? 'every_trigger'
  const served = await findServed(tx, admission, { frequency, recipients }, now)
  const runs: QueuedRun[] = []
  const ended: RunResult[] = []
  for (const recipient of recipients) {
    const key = recipientKey(recipient)
    const run = newRun(admission, recipient)
    if (isCancelled(key)) ended.push(startedAs(run, CANCELLED))
    else if (served.has(key)) ended.push(startedAs(run, SERVED))
    else runs.push(run)
  }
  return { runs, ended }
}

function newRun(
  { environment, id, run }: Admission,
  { collection, id: recipient, data, subscription }: NamedRecipient,
): QueuedRun {
  return {
    environment,
    id: newId<RunId>(),
    isNew: true,
    workflowRunId: id,
    workflow: run.workflow,
    versionId: run.version_id,
    collection,
    recipient,
    position: [0],
    steps: 0,
    attempt: 0,
    waitsFor: null,
    asleep: false,
    errorCount: 0,
    batchId: null,
    data: data ?? null,
    subscription: subscription ?? null,
  }
}

/** A run that no step has looked at yet. */
function startedAs(run: QueuedRun, progress: Progress): RunResult {
  return { run, progress, steps: [], errorCount: 0, dataChanged: false }
}

const CANCELLED = { kind: 'ended', outcome: 'cancelled', reason: 'cancelled' } as const
const SERVED = { kind: 'ended', outcome: 'halted', reason: 'frequency_met' } as const

/** Whether a cancel that came before the fan-out covers a recipient. */
function cancelled(run: PendingWorkflowRun): (key: string) => boolean {
  if (run.cancelled_at) return () => true
  const keys = new Set(run.cancelled_recipients.map(recipientKey))
  return (key) => keys.has(key)
}
