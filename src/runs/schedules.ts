import type { Database, Transaction } from '../db/database.ts'
import type { Queue, QueueName } from '../db/queue.ts'
import { RequestError } from '../errors.ts'
import {
  newId,
  type EnvironmentName,
  type RunId,
  type VersionId,
  type WorkflowRunId,
} from '../ids.ts'
import type { Log } from '../log.ts'
import { firstOccurrence, nextOccurrenceOf, zoneOf, type Schedule } from '../recipients/schedule.ts'
import { lockDueSchedules, saveOccurred, type Occurred } from '../recipients/schedule-store.ts'
import { runJobs, type RunJob } from './jobs.ts'
import {
  insertOccurrences,
  loadScheduleTargets,
  listScheduled,
  type Occurrence,
  type ScheduleTarget,
} from './schedule-store.ts'
import { checkData, loadVersions, type LoadedVersion } from './versions.ts'
import { requireLive, type Live } from './workflow-run-store.ts'

/** Schedules that one transaction starts. */
const DUE_MAX = 200
/** How long a schedule is left alone that the engine itself could not start. */
const POSTPONED_MS = 60_000

interface ScheduleContext {
  readonly database: Database
  readonly queue: Queue
  readonly log: Log
}

/**
 * Starts the workflows of schedules that are due, and says of how many. The runs and the step to the next occurrence
 * commit together, so that an occurrence is neither lost nor doubled whenever the process ends, and any number of
 * processes may do this at the same time. However many occurrences have passed meanwhile, a schedule runs once.
 */
export async function startDueSchedules(context: ScheduleContext, now: Date): Promise<number> {
  return context.database.transaction(async (tx) => {
    const due = await lockDueSchedules(tx, now, DUE_MAX)
    // Where more are due than one transaction takes, nobody waits for a single one of them.
    const queueName = due.length < DUE_MAX ? 'run' : 'run_bulk'
    if (due.length > 0) await startSplit({ ...context, queueName }, tx, due, now)
    return due.length
  })
}

interface Starting extends ScheduleContext {
  readonly queueName: QueueName
}

/** Starts schedules together; where that fails, in halves, until the one that fails stands alone. */
async function startSplit(
  context: Starting,
  tx: Transaction,
  due: readonly Schedule[],
  now: Date,
): Promise<void> {
  try {
    await tx.savepoint(() => start(context, tx, due, now))
  } catch (error) {
    const [first] = due
    if (!first) return
    if (due.length === 1) {
      const { environment, id: schedule } = first
      context.log.error('a schedule could not be started', { environment, schedule, error })
      await tx.savepoint(() => saveOccurred(tx, [postponed(first, now)]))
      return
    }
    const half = Math.ceil(due.length / 2)
    await startSplit(context, tx, due.slice(0, half), now)
    await startSplit(context, tx, due.slice(half), now)
  }
}

function postponed(schedule: Schedule, now: Date): Occurred {
  const at = schedule.nextOccurrenceAt ?? now
  return {
    schedule,
    timezone: schedule.timezone,
    occurredAt: null,
    nextOccurrenceAt: new Date(now.getTime() + POSTPONED_MS),
    problem: {
      code: 'internal_error',
      message: 'it could not be started, and is tried again in a minute; the log says why',
      occurrence_at: at.toISOString(),
    },
  }
}

/** All that decides whether schedules may start something. */
interface Found {
  readonly targets: ReadonlyMap<string, ScheduleTarget>
  readonly versions: ReadonlyMap<VersionId, LoadedVersion>
  /** The time zones of the recipients that are there, null for one without, by schedule. */
  readonly recipients: ReadonlyMap<string, { readonly timezone: string | null }>
}

async function start(
  { queue, queueName }: Starting,
  tx: Transaction,
  due: readonly Schedule[],
  now: Date,
): Promise<void> {
  const targets = await loadScheduleTargets(tx, due, now)
  const ids = targets.flatMap(({ versionId }) => versionId ?? [])
  const found: Found = {
    targets: new Map(targets.map((one) => [placeOf(one), one])),
    versions: await loadVersions(tx, ids),
    recipients: new Map((await listScheduled(tx, due)).map((one) => [one.id, one])),
  }
  const decided = due.map((schedule) => decide(found, schedule, now))
  const occurrences = decided.flatMap(({ occurrence }) => occurrence ?? [])
  await insertOccurrences(tx, occurrences, now)
  await queue.enqueue(tx, queueName, jobsOf(occurrences))
  await saveOccurred(
    tx,
    decided.map(({ occurred }) => occurred),
  )
}

function placeOf({ environment, workflow }: Pick<Schedule, 'environment' | 'workflow'>): string {
  return `${environment}/${workflow}`
}

interface Decided {
  readonly occurred: Occurred
  readonly occurrence?: Occurrence
}

function decide(found: Found, schedule: Schedule, now: Date): Decided {
  const { environment, workflow } = schedule
  const target = found.targets.get(placeOf(schedule))
  const recipient = found.recipients.get(schedule.id)
  const own = recipient?.timezone ?? null
  const timezone = zoneOf({ timezone: own }, target?.timezone ?? 'UTC')
  const zone = { timezone, ...(own !== null && own !== timezone && { unknown_timezone: own }) }
  const due = dueAt(schedule, timezone, now)
  if (due === null || due > now) {
    const occurred = { schedule, timezone, occurredAt: null, problem: undefined }
    return { occurred: { ...occurred, nextOccurrenceAt: due } }
  }
  // The first one ahead: what was missed beside the one that is due is not made up for.
  const nextOccurrenceAt = nextOccurrenceOf(schedule, now, timezone)
  const moved = { schedule, timezone, nextOccurrenceAt }
  try {
    const live = requireLive({ environment, workflow }, target)
    const version = found.versions.get(live.versionId)!
    checkData(version, schedule.data)
    if (!recipient) throw recipientMissing(schedule)
    return {
      occurred: { ...moved, occurredAt: due, problem: null },
      occurrence: occurrenceOf(schedule, { due, live, version, zone }),
    }
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    const { code, message } = error
    const problem = { code, message, occurrence_at: due.toISOString() }
    return { occurred: { ...moved, occurredAt: null, problem } }
  }
}

/** The occurrence that brought the schedule here; worked out again where its zone is another one by now. */
function dueAt(schedule: Schedule, timezone: string, now: Date): Date | null {
  const at = schedule.nextOccurrenceAt ?? now
  return schedule.timezone === null ? firstOccurrence(schedule, at, timezone) : at
}

function recipientMissing({ recipient, environment }: Schedule): RequestError {
  const { collection, id } = recipient
  const name = collection === '$users' ? id : `${collection}/${id}`
  const message = `recipient "${name}" is not known in ${environment}`
  return new RequestError(422, 'recipient_missing', message)
}

function occurrenceOf(
  schedule: Schedule,
  {
    due,
    live,
    version,
    zone,
  }: {
    readonly due: Date
    readonly live: Live
    readonly version: LoadedVersion
    readonly zone: Readonly<Record<string, string>>
  },
): Occurrence {
  const frequency = version.workflow.trigger?.frequency ?? 'every_trigger'
  const { id, declaredKey } = schedule
  return {
    ...live,
    schedule,
    workflowRunId: newId<WorkflowRunId>(),
    // Who is in the ledger already is found out by the fan-out.
    runId: frequency === 'every_trigger' ? newId<RunId>() : null,
    source: {
      type: 'schedule',
      cancellation_key: null,
      schedule_id: id,
      ...(declaredKey !== null && { schedule: declaredKey }),
      occurrence_at: due.toISOString(),
      ...zone,
    },
  }
}

/** Wake-ups for the runs of occurrences, and for those that have none yet. */
function jobsOf(occurrences: readonly Occurrence[]): readonly RunJob[] {
  const jobs: RunJob[] = []
  const runs = new Map<EnvironmentName, RunId[]>()
  for (const { schedule, workflowRunId, runId } of occurrences) {
    const { environment } = schedule
    if (runId === null) jobs.push({ kind: 'start', environment, workflowRunId, large: false })
    else runs.set(environment, [...(runs.get(environment) ?? []), runId])
  }
  return [...jobs, ...[...runs].flatMap(([environment, ids]) => runJobs(environment, ids))]
}
