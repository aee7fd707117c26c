import type { Clock } from '../clock.ts'
import type { Database, Transaction } from '../db/database.ts'
import type { Batch, Queue } from '../db/queue.ts'
import { storableText } from '../channels/exchange.ts'
import { messageOf } from '../errors.ts'
import type { EnvironmentName, RunId } from '../ids.ts'
import type { Log } from '../log.ts'
import type { Links } from '../messages/links.ts'
import { advance, stepAt } from './advance.ts'
import { executeRuns, type Executed } from './execute.ts'
import { fanOut, storeRound } from './expand.ts'
import { deleteFetches } from './fetch-store.ts'
import { CHUNK_RUNS_MAX, runJobs, type RunJob } from './jobs.ts'
import type { QueuedRun } from './run.ts'
import { lockQueuedRuns } from './lock.ts'
import { insertRuns, saveRuns } from './store.ts'
import { TimelineWriter } from './timeline.ts'
import { endWaits } from './wait-store.ts'
import { loadVersion } from './versions.ts'

/** Chunks of large triggers that are worked on together, where so many wait: a commit for each costs more than the work. */
const BULK_CHUNKS_MAX = 5

export interface RunsContext {
  readonly database: Database
  readonly queue: Queue
  readonly clock: Clock
  readonly log: Log
  /** Takes secrets out of a text. */
  readonly mask: (text: string) => string
  readonly links?: Links | undefined
}

/**
 * Says who works on runs. Large triggers have a queue and workers of their own, so that a password reset
 * never waits for a newsletter.
 */
export function registerRunWorkers(context: RunsContext): void {
  const handle = (batch: Batch<RunJob>) => handleRunJobs(context, batch)
  context.queue.work<RunJob>('run', { concurrency: 2, handle })
  context.queue.work<RunJob>('run_bulk', {
    take: BULK_CHUNKS_MAX,
    // It is as much as that many chunks.
    alone: (job) => job.kind === 'start' && job.large,
    concurrency: 2,
    handle,
  })
}

/**
 * Does jobs: all of them and their completion in one transaction, or nothing. The runs of several jobs are
 * worked on as one chunk. Those of a job that failed before, which comes alone, are split where they fail,
 * so that one poisoned run does not take its neighbours with it.
 */
async function handleRunJobs(context: RunsContext, batch: Batch<RunJob>): Promise<void> {
  const now = context.clock.now()
  const isFirst = batch.jobs.every((job) => job.retryCount === 0)
  const execute = isFirst ? executeRuns : executeSplit
  await context.database.transaction(async (tx) => {
    const idsOf = new Map<EnvironmentName, RunId[]>()
    for (const { payload } of batch.jobs) {
      const { environment } = payload
      if (payload.kind === 'start') await start(context, tx, payload, { now, isFirst })
      else idsOf.set(environment, [...(idsOf.get(environment) ?? []), ...payload.runIds])
    }
    for (const [environment, ids] of idsOf)
      await workOn(context, tx, { environment, ids, execute, now })
    await batch.complete(tx)
  })
}

/** Works on those of these runs that fit into one transaction; the others get a job of their own. */
async function workOn(
  context: RunsContext,
  tx: Transaction,
  {
    environment,
    ids,
    execute,
    now,
  }: {
    readonly environment: EnvironmentName
    readonly ids: readonly RunId[]
    readonly execute: (
      context: RunsContext,
      tx: Transaction,
      runs: readonly QueuedRun[],
      now: Date,
    ) => Promise<Executed>
    readonly now: Date
  },
): Promise<void> {
  const { runs, left } = await lockQueuedRuns(tx, environment, ids)
  const executed = await execute(context, tx, runs, now)
  await context.queue.enqueue(tx, 'run_bulk', runJobs(environment, [...executed.left, ...left]))
}

async function start(
  context: RunsContext,
  tx: Transaction,
  { environment, workflowRunId, large }: RunJob & { readonly kind: 'start' },
  { now, isFirst }: { readonly now: Date; readonly isFirst: boolean },
): Promise<void> {
  const round = await fanOut(tx, environment, workflowRunId, now)
  if (!round) return
  const isAsSaid = large || round.runs.length <= CHUNK_RUNS_MAX
  if (round.isFirst && round.isDone && isFirst && isAsSaid) {
    // What is done in one round takes its first steps in it: no second job, and each run is written once.
    await insertRuns(tx, environment, round.ended, now)
    const { left } = await executeRuns({ ...context, known: round.known }, tx, round.runs, now)
    const runs = round.runs.filter(({ id }) => left.includes(id))
    const stored = await storeRound(tx, { ...round, ended: [], runs }, now)
    await context.queue.enqueue(tx, 'run_bulk', runJobs(environment, stored))
    return
  }
  const ids = await storeRound(tx, round, now)
  // At the end of the queue: two large triggers take turns, chunk by chunk.
  const more: readonly RunJob[] = round.isDone
    ? []
    : [{ kind: 'start', environment, workflowRunId, large: true }]
  await context.queue.enqueue(tx, 'run_bulk', [...runJobs(environment, ids), ...more])
}

/** Works on runs whose job failed before: where they fail together, in halves, until those that fail stand alone. */
async function executeSplit(
  context: RunsContext,
  tx: Transaction,
  runs: readonly QueuedRun[],
  now: Date,
): Promise<Executed> {
  const [first] = runs
  if (!first) return NOTHING
  try {
    return await tx.savepoint(() => executeRuns(context, tx, runs, now))
  } catch (error) {
    if (runs.length === 1) {
      context.log.error('a run could not be worked on', { run: first.id, error: messageOf(error) })
      const message = storableText(context.mask(messageOf(error)), FAILURE_LENGTH_MAX)
      await tx.savepoint(() => postpone(tx, first, message, now))
      return NOTHING
    }
    const half = Math.ceil(runs.length / 2)
    const one = await executeSplit(context, tx, runs.slice(0, half), now)
    const other = await executeSplit(context, tx, runs.slice(half), now)
    return { left: [...one.left, ...other.left], bytes: one.bytes + other.bytes }
  }
}

const NOTHING: Executed = { left: [], bytes: 0 }

/** How much a timeline says of what kept the engine from working on its run. */
const FAILURE_LENGTH_MAX = 500

/** Puts a run that the engine itself could not work on to sleep, or ends it after its last attempt. */
async function postpone(tx: Transaction, run: QueuedRun, details: string, now: Date) {
  const { environment, waitsFor } = run
  const { workflow } = await loadVersion(tx, run.versionId)
  const message = `the engine could not work on the run: ${details}`
  const failed = advance(workflow, run, { kind: 'fail', message, retryable: true }, now)
  // What has waited for something still has that to go on with, and does not wait for it anew.
  const isHeld = waitsFor !== null && failed.kind === 'paused'
  const progress = isHeld ? { ...failed, waitsFor } : failed
  const timeline = new TimelineWriter(run, now)
  const retryAt = failed.kind === 'paused' ? failed.wakesAt.toISOString() : null
  timeline.fail('step_failed', { message, retry_at: retryAt })
  timeline.close(stepAt(workflow, run.position) ?? null)
  if (failed.kind === 'ended') {
    await deleteFetches(tx, environment, [run.id])
    await endWaits(tx, environment, [run.id])
  }
  // A run that has an entry has begun: one that has not is told of only where it ends.
  const steps = run.steps > 0 || failed.kind === 'ended' ? timeline.records() : []
  const { errorCount } = timeline
  await saveRuns(tx, environment, [{ run, progress, steps, errorCount, dataChanged: false }], now)
}
