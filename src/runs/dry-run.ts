import type { Transaction } from '../db/database.ts'
import type { Queue } from '../db/queue.ts'
import { sql } from '../db/sql.ts'
import { assert, RequestError } from '../errors.ts'
import type { EnvironmentName, RunId, WorkflowRunId } from '../ids.ts'
import {
  listMessages,
  loadMessageContents,
  type ContentRow,
  type MessageRow,
} from '../messages/log-store.ts'
import { executeRuns, type RunDeps } from './execute.ts'
import { expandWorkflowRun } from './expand.ts'
import {
  findWorkflowRun,
  listRuns,
  loadTimelines,
  type RunRow,
  type TimelineEntry,
  type WorkflowRunRow,
} from './read.ts'
import { lockQueuedRuns } from './lock.ts'
import { triggerWorkflow, type TriggerCall } from './trigger.ts'

/** Recipients of one dry run: all that it makes is made in one transaction, while others wait for its locks. */
export const DRY_RUN_RECIPIENTS_MAX = 25
/** What they may make in all: it is answered in one piece. */
const BYTES_MAX = 32 * 1024 * 1024
/** A workflow has at most 100 steps, and nearly all of them make one message; more than this are not shown. */
const MESSAGES_MAX = 100 * DRY_RUN_RECIPIENTS_MAX
/** How often sleeping runs are woken; what sleeps then is shown asleep. */
const ROUNDS_MAX = 500

/** What a trigger would do. */
export interface DryRun {
  readonly workflowRun: WorkflowRunRow
  readonly runs: readonly DryRunOfOne[]
}

export interface DryRunOfOne {
  readonly run: RunRow
  /** What would happen, each event at the time at which it would. */
  readonly timeline: readonly TimelineEntry[]
  readonly messages: readonly DryMessage[]
}

/** A message as it would be made; `queued` would be handed over. */
export interface DryMessage {
  readonly message: MessageRow
  readonly content: ContentRow | undefined
}

/** Thrown to undo all that a dry run has written. */
class Undo extends Error {}

/**
 * Finds out what a trigger would do, by doing it with the clock set forward over each wait, and undoing all of it:
 * nothing is stored, handed over or counted. What it meets is the state of now: preferences, switches and throttles
 * may be others by the time that a wait is over. Throws what `triggerWorkflow` throws.
 */
export async function dryRunWorkflow(
  tx: Transaction,
  queue: Queue,
  call: TriggerCall,
): Promise<DryRun> {
  let found: DryRun | undefined
  try {
    await tx.savepoint(async () => {
      const id = await triggerWorkflow(tx, queue, call)
      found = await play(tx, queue, { ...call, id })
      throw new Undo()
    })
  } catch (error) {
    if (!(error instanceof Undo)) throw error
  }
  assert(found, 'a dry run ended without a result')
  return found
}

interface Playing {
  readonly environment: EnvironmentName
  readonly id: WorkflowRunId
  readonly now: Date
}

async function play(tx: Transaction, queue: Queue, playing: Playing): Promise<DryRun> {
  const { environment, id, now } = playing
  const deps = { queue, dryRun: true }
  const ids: RunId[] = []
  for (let isDone = false; !isDone;) {
    const fannedOut = await expandWorkflowRun(tx, environment, id, now)
    ids.push(...(fannedOut?.ids ?? []))
    isDone = fannedOut?.isDone ?? true
    if (ids.length <= DRY_RUN_RECIPIENTS_MAX) continue
    const count = isDone ? ids.length : `${ids.length} or more`
    const message = `a dry run shows at most ${DRY_RUN_RECIPIENTS_MAX} recipients, and this trigger has ${count}`
    throw new RequestError(422, 'invalid_params', message)
  }
  const room = { bytes: BYTES_MAX }
  await executeAll(deps, tx, { environment, ids, now, room })
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const due = await wakeNext(tx, playing)
    if (due.length === 0) break
    const [{ wakes_at: later } = { wakes_at: now }] = due
    const sleepers = due.map((run) => run.id)
    await executeAll(deps, tx, { environment, ids: sleepers, now: later, room })
  }
  return show(tx, playing)
}

/** Takes all of these runs as far as they go, portion by portion, as long as what they make can be shown. */
async function executeAll(
  deps: RunDeps,
  tx: Transaction,
  {
    environment,
    ids,
    now,
    room,
  }: {
    readonly environment: EnvironmentName
    readonly ids: readonly RunId[]
    readonly now: Date
    /** What may still be made. */
    readonly room: { bytes: number }
  },
): Promise<void> {
  for (let open = ids; open.length > 0;) {
    const portion = await lockQueuedRuns(tx, environment, open)
    const executed = await executeRuns(deps, tx, portion.runs, now)
    room.bytes -= executed.bytes
    if (room.bytes < 0) {
      const message = `a dry run shows at most ${BYTES_MAX / 1024 / 1024} MB, and this trigger makes more`
      throw new RequestError(422, 'invalid_params', message)
    }
    open = [...executed.left, ...portion.left]
  }
}

/** Ends the wait of those that sleep least, as the loop would when their time has come. */
function wakeNext(tx: Transaction, { environment, id }: Playing) {
  return tx.query<{ readonly id: RunId; readonly wakes_at: Date }>(sql`
    with due as (
      select r.id, r.wakes_at from runs r
      where r.environment = ${environment} and r.workflow_run_id = ${id} and r.status = 'paused'
        and r.wakes_at = (
          select min(o.wakes_at) from runs o
          where o.environment = ${environment} and o.workflow_run_id = ${id} and o.status = 'paused'
        )
    )
    update runs r set status = 'queued', wakes_at = null, updated_at = due.wakes_at
    from due
    where r.environment = ${environment} and r.id = due.id
    returning r.id, due.wakes_at
  `)
}

async function show(tx: Transaction, { environment, id }: Playing): Promise<DryRun> {
  const workflowRun = await findWorkflowRun(tx, environment, id)
  assert(workflowRun, `workflow run ${id} is gone`)
  const page = { limit: DRY_RUN_RECIPIENTS_MAX }
  const runs = await listRuns(tx, environment, { workflowRunId: id }, page)
  const timelines = await loadTimelines(tx, environment, runs)
  const everything = { size: MESSAGES_MAX, bytesMax: Infinity }
  const messages = await listMessages(tx, environment, { workflowRunId: id }, everything)
  const ids = messages.rows.map((message) => message.id)
  const contents = await loadMessageContents(tx, environment, ids)
  const contentOf = new Map(contents.map((content) => [content.id, content]))
  return {
    workflowRun,
    runs: runs.toReversed().map((run) => ({
      run,
      timeline: timelines.get(run.id) ?? [],
      messages: messages.rows
        .filter(({ runId }) => runId === run.id)
        .map((message) => ({ message, content: contentOf.get(message.id) }))
        .toReversed(),
    })),
  }
}
