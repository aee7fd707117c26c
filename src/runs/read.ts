import type { Queryable } from '../db/database.ts'
import { inOrder, newestFirst, type Place } from '../db/pages.ts'
import { planned, sql, type Sql } from '../db/sql.ts'
import type {
  EnvironmentName,
  MessageId,
  Revision,
  RunId,
  VersionId,
  WorkflowRunId,
} from '../ids.ts'
import type { RecipientRef } from '../recipients/recipient.ts'
import type { RunOutcome, RunStatus, TimelineEvent } from './run.ts'

/** A run as it is shown: what it is for, where it stands, and what started it. */
export interface RunRow {
  readonly id: RunId
  readonly workflow_run_id: WorkflowRunId
  readonly workflow: string
  readonly version_id: VersionId
  readonly revision: Revision
  readonly collection: string
  readonly recipient: string
  readonly actor: RecipientRef | null
  readonly tenant: string | null
  readonly status: RunStatus
  readonly outcome: RunOutcome | null
  readonly reason: string | null
  readonly waits_for: string | null
  readonly wakes_at: Date | null
  readonly error_count: number
  readonly trigger_source: Readonly<Record<string, unknown>>
  readonly inserted_at: Date
  readonly updated_at: Date
  readonly finished_at: Date | null
}

/** What a list of runs is narrowed to. What is left out narrows nothing: to Postgres, undefined is null. */
export interface RunFilter {
  readonly workflow?: string | undefined
  readonly status?: readonly string[] | undefined
  readonly outcome?: string | undefined
  readonly reason?: string | undefined
  readonly revision?: string | undefined
  readonly tenant?: string | undefined
  readonly recipient?: RecipientRef | undefined
  readonly workflowRunId?: string | undefined
  readonly cancellationKey?: string | undefined
  readonly hasErrors?: boolean | undefined
  readonly startingAt?: Date | undefined
  readonly endingAt?: Date | undefined
}

/** Runs as they are shown, of one environment. */
const runsOf = (environment: EnvironmentName): Sql => sql`
  select r.id, r.workflow_run_id, r.workflow, r.version_id, w.revision, r.collection, r.recipient,
    w.actor, r.tenant, r.status, r.outcome, r.reason, r.waits_for, r.wakes_at, r.error_count,
    w.trigger_source, r.inserted_at, r.updated_at, r.finished_at
  from runs r
  join workflow_runs w on w.environment = r.environment and w.id = r.workflow_run_id
  where r.environment = ${environment}`

/** Runs of an environment, newest first. `before` answers the rows next to the cursor, in the same order. */
export async function listRuns(
  db: Queryable,
  environment: EnvironmentName,
  filter: RunFilter,
  place: Place,
): Promise<readonly RunRow[]> {
  const { collection, id } = filter.recipient ?? {}
  const rows = await db.query<RunRow>(
    planned(sql`
    ${runsOf(environment)}
      and (${filter.workflow}::text is null or r.workflow = ${filter.workflow})
      and (${filter.status}::text[] is null or r.status = any(${filter.status}))
      and (${filter.outcome}::text is null or r.outcome = ${filter.outcome})
      and (${filter.reason}::text is null or r.reason = ${filter.reason})
      and (${filter.revision}::text is null or w.revision = ${filter.revision})
      and (${filter.tenant}::text is null or r.tenant = ${filter.tenant})
      and (${id}::text is null or (r.collection = ${collection} and r.recipient = ${id}))
      and (${filter.workflowRunId}::uuid is null or r.workflow_run_id = ${filter.workflowRunId})
      and (${filter.cancellationKey}::text is null or w.cancellation_key = ${filter.cancellationKey})
      and (${filter.hasErrors}::boolean is null or (r.error_count > 0) = ${filter.hasErrors})
      and (${filter.startingAt}::timestamptz is null or r.inserted_at >= ${filter.startingAt})
      and (${filter.endingAt}::timestamptz is null or r.inserted_at <= ${filter.endingAt})
      ${newestFirst(sql`r.id`, place)}
  `),
  )
  return inOrder(rows, place)
}

/** One run by its id. */
export async function findRun(
  db: Queryable,
  environment: EnvironmentName,
  id: RunId,
): Promise<RunRow | undefined> {
  const [row] = await db.query<RunRow>(sql`
    ${runsOf(environment)} and r.id = ${id}
  `)
  return row
}

/** One entry of a run's timeline as it is shown: an event, and the step it belongs to. */
export interface TimelineEntry extends TimelineEvent {
  /** What the event belongs to, and its place there. */
  readonly id: string
  readonly step_ref: string | null
  readonly step_type: string | null
}

/** All that happened to a run, oldest first. */
export async function loadTimeline(
  db: Queryable,
  environment: EnvironmentName,
  run: RunRow,
): Promise<readonly TimelineEntry[]> {
  const timelines = await loadTimelines(db, environment, [run])
  return timelines.get(run.id) ?? []
}

/**
 * All that happened to each of these runs, oldest first: the trigger, its steps, its messages' deliveries, its end.
 * The first and the last entry are made from the run itself and stored nowhere else.
 */
export async function loadTimelines(
  db: Queryable,
  environment: EnvironmentName,
  runs: readonly RunRow[],
): Promise<ReadonlyMap<RunId, readonly TimelineEntry[]>> {
  const ids = runs.map(({ id }) => id)
  const steps = await db.query<StepRow>(sql`
    select run_id, number, ref, type, events from run_steps
    where environment = ${environment} and run_id = any(${ids}::uuid[])
    order by run_id, number
  `)
  const messages = await db.query<MessageRow>(sql`
    select id, step_ref, channel_type, events from messages
    where environment = ${environment} and run_id = any(${ids}::uuid[])
    order by id
  `)
  const byRun = Map.groupBy(steps, (step) => step.run_id)
  const byId = new Map<unknown, MessageRow>(messages.map((message) => [message.id, message]))
  return new Map(runs.map((run) => [run.id, timelineOf(run, byRun.get(run.id) ?? [], byId)]))
}

interface StepRow {
  readonly run_id: RunId
  readonly number: number
  readonly ref: string | null
  readonly type: string | null
  readonly events: readonly TimelineEvent[]
}

function timelineOf(
  run: RunRow,
  steps: readonly StepRow[],
  byId: ReadonlyMap<unknown, MessageRow>,
): readonly TimelineEntry[] {
  const entries: TimelineEntry[] = [triggered(run)]
  for (const step of steps) {
    for (const [index, event] of step.events.entries()) {
      const id = `${run.id}.${step.number}.${index}`
      entries.push({ ...event, id, step_ref: step.ref, step_type: step.type })
      const message = byId.get(event.data?.['message_id'])
      if (message) entries.push(...deliveries(message))
    }
  }
  const end = ended(run)
  if (end) entries.push(end)
  // A stable sort: what happened in the same transaction keeps the order in which it was written.
  return entries.toSorted((left, right) => left.at.localeCompare(right.at))
}

interface MessageRow {
  readonly id: MessageId
  readonly step_ref: string
  readonly channel_type: string
  readonly events: readonly {
    readonly type: string
    readonly data: Readonly<Record<string, unknown>> | null
    readonly at: string
  }[]
}

const ERRORS = new Set(['message.delivery_attempted', 'message.undelivered', 'message.bounced'])

function deliveries(message: MessageRow): readonly TimelineEntry[] {
  return message.events.map((event, index) => ({
    id: `${message.id}.${index}`,
    event: event.type.replace('.', '_'),
    status: ERRORS.has(event.type) ? 'error' : 'ok',
    attempt: 1,
    data: { ...event.data, message_id: message.id },
    at: event.at,
    step_ref: message.step_ref,
    step_type: message.channel_type,
  }))
}

function triggered(run: RunRow): TimelineEntry {
  const { workflow_run_id, version_id, revision, trigger_source } = run
  const data = { ...trigger_source, workflow_run_id, version: version_id, revision }
  return entry(`${run.id}.triggered`, 'triggered', run.inserted_at, data)
}

function ended(run: RunRow): TimelineEntry | undefined {
  if (!run.finished_at) return undefined
  const event = entry(`${run.id}.ended`, `run_${run.outcome}`, run.finished_at, {
    reason: run.reason,
  })
  return run.outcome === 'failed' ? { ...event, status: 'error' } : event
}

function entry(id: string, event: string, at: Date, data: TimelineEvent['data']): TimelineEntry {
  return {
    id,
    event,
    status: 'ok',
    attempt: 1,
    data,
    at: at.toISOString(),
    step_ref: null,
    step_type: null,
  }
}

/** A trigger as it is shown: what it asked for, how far its fan-out is, and how its runs stand. */
export interface WorkflowRunRow {
  readonly id: WorkflowRunId
  readonly workflow: string
  readonly version_id: VersionId
  readonly revision: Revision
  readonly trigger_source: Readonly<Record<string, unknown>>
  readonly actor: RecipientRef | null
  readonly tenant: string | null
  readonly fan_out: 'pending' | 'done'
  readonly missing: readonly RecipientRef[]
  readonly cancelled_at: Date | null
  readonly inserted_at: Date
}

export async function findWorkflowRun(
  db: Queryable,
  environment: EnvironmentName,
  id: WorkflowRunId,
): Promise<WorkflowRunRow | undefined> {
  const [row] = await db.query<WorkflowRunRow>(sql`
    select id, workflow, version_id, revision, trigger_source, actor, tenant, fan_out, missing,
      cancelled_at, inserted_at
    from workflow_runs
    where environment = ${environment} and id = ${id}
  `)
  return row
}

export interface RunCount {
  readonly status: RunStatus
  readonly outcome: RunOutcome | null
  readonly count: number
}

/** How many runs of a trigger stand where. */
export async function countRuns(
  db: Queryable,
  environment: EnvironmentName,
  id: WorkflowRunId,
): Promise<readonly RunCount[]> {
  return db.query<RunCount>(sql`
    select status, outcome, count(*)::integer as count from runs
    where environment = ${environment} and workflow_run_id = ${id}
    group by status, outcome
    order by status, outcome
  `)
}
