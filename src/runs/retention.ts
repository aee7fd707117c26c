import type { Database, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { BatchId, EnvironmentName, RunId, WorkflowRunId } from '../ids.ts'
import { deleteMessages } from '../messages/retention.ts'

const DAY_MS = 24 * 60 * 60_000
/** How many rows one transaction looks at, and deletes at most. */
const PAGE_ROWS = 500
/** From the end of a pass over all that is kept until the next one. */
const REST_MS = 60 * 60_000
/** Before every row. */
const NO_ID = '00000000-0000-0000-0000-000000000000'

/** Takes the rows behind `after` in the order of their ids. Answers where to go on; null where all are looked at. */
type Stage = (
  tx: Transaction,
  environment: EnvironmentName,
  place: { readonly after: string; readonly before: Date },
) => Promise<string | null>

/** Batches first, since their runs are kept for them, and triggers last, since runs need theirs. */
const STAGES: readonly Stage[] = [sweepBatchPage, sweepRunPage, sweepTriggerPage]

interface Errand {
  readonly environment: EnvironmentName
  readonly stage: Stage
  readonly after: string
}

/** Deletes what has been over for long enough, page by page. */
export interface Retention {
  /** Looks at the next page, and rests after the last one. Any number of processes may do so. */
  turn(now: Date): Promise<void>
}

/**
 * Keeps runs that have ended for so many days, and their messages as long. A pass goes through the tables in the
 * order of their keys, so that no index has to change when a run ends; what is too young or has not ended is
 * passed by.
 */
export function openRetention(database: Database, days: number): Retention {
  let errands: readonly Errand[] = []
  let restsUntil: Date | undefined
  return {
    async turn(now) {
      if (errands.length === 0) {
        if (restsUntil !== undefined && now < restsUntil) return
        errands = await listErrands(database)
      }
      const [errand, ...others] = errands
      if (errand) {
        const { environment, stage } = errand
        const before = new Date(now.getTime() - days * DAY_MS)
        const after = await database.transaction((tx) =>
          stage(tx, environment, { after: errand.after, before }),
        )
        errands = after === null ? others : [{ ...errand, after }, ...others]
      }
      if (errands.length === 0) restsUntil = new Date(now.getTime() + REST_MS)
    },
  }
}

async function listErrands(database: Database): Promise<readonly Errand[]> {
  const rows = await database.query<{ name: EnvironmentName }>(sql`
    select name from environments order by name
  `)
  return rows.flatMap(({ name: environment }) =>
    STAGES.map((stage) => ({ environment, stage, after: NO_ID })),
  )
}

/** A row of a page: when it was made, and whether it is over and of no more use. */
interface PageRow<Id> {
  readonly id: Id
  readonly madeAt: Date
  readonly isOver: boolean
}

/** Ids are time-ordered, so behind a row that is too young there is nothing old enough. */
function nextAfter(rows: readonly PageRow<string>[], before: Date): string | null {
  const last = rows.at(-1)
  return last && rows.length === PAGE_ROWS && last.madeAt < before ? last.id : null
}

function overIn<Id>(rows: readonly PageRow<Id>[]): readonly Id[] {
  return rows.filter(({ isOver }) => isOver).map(({ id }) => id)
}

/** Batches whose run has ended, and is old enough: until then it may show what they held. */
async function sweepBatchPage(
  tx: Transaction,
  environment: EnvironmentName,
  { after, before }: Parameters<Stage>[2],
): Promise<string | null> {
  const rows = await tx.query<PageRow<BatchId>>(sql`
    select p.id, p.opened_at as "madeAt",
      coalesce(case
        when p.run_id is null then p.taken_at < ${before}
        when r.id is null then true
        else r.finished_at < ${before}
      end, false) as "isOver"
    from (
      select id, opened_at, taken_at, run_id from batches
      where environment = ${environment} and id > ${after}
      order by id
      limit ${PAGE_ROWS}
    ) p
    left join lateral (
      select id, finished_at from runs
      where environment = ${environment} and id = p.run_id
      limit 1
    ) r on true
    order by p.id
  `)
  const over = overIn(rows)
  if (over.length > 0) {
    await tx.query(sql`
      with gone as materialized (
        select id from batches
        where environment = ${environment} and id = any(${over}::uuid[])
        order by id
        for update skip locked
      ), activities as (
        delete from batch_activities a
        using gone
        where a.environment = ${environment} and a.batch_id = gone.id
      )
      delete from batches b
      using gone
      where b.environment = ${environment} and b.id = gone.id
    `)
  }
  return nextAfter(rows, before)
}

/** Runs that have ended, but not while a message of theirs is to be handed over, nor while their batch is there. */
async function sweepRunPage(
  tx: Transaction,
  environment: EnvironmentName,
  { after, before }: Parameters<Stage>[2],
): Promise<string | null> {
  const rows = await tx.query<PageRow<RunId>>(sql`
    select p.id, p.inserted_at as "madeAt",
      coalesce(p.finished_at < ${before}, false) and m.id is null and b.id is null as "isOver"
    from (
      select id, inserted_at, finished_at, batch_id from runs
      where environment = ${environment} and id > ${after}
      order by id
      limit ${PAGE_ROWS}
    ) p
    left join lateral (
      select id from messages
      where environment = ${environment} and run_id = p.id
        and (due_at is not null or claimed_by is not null)
      limit 1
    ) m on true
    left join lateral (
      select id from batches
      where environment = ${environment} and id = p.batch_id
      limit 1
    ) b on true
    order by p.id
  `)
  await deleteRuns(tx, environment, overIn(rows))
  return nextAfter(rows, before)
}

async function deleteRuns(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly RunId[],
): Promise<void> {
  if (ids.length === 0) return
  const gone = await tx.query<{ id: RunId }>(sql`
    with gone as materialized (
      select id from runs
      where environment = ${environment} and id = any(${ids}::uuid[])
      order by id
      for update skip locked
    ), steps as (
      delete from run_steps s
      using gone
      where s.environment = ${environment} and s.run_id = gone.id
    ), waits as (
      delete from event_waits w
      using gone
      where w.environment = ${environment} and w.run_id = gone.id
    )
    delete from runs r
    using gone
    where r.environment = ${environment} and r.id = gone.id
    returning r.id
  `)
  await deleteMessages(
    tx,
    environment,
    gone.map(({ id }) => id),
  )
}

/** Triggers of which no run is left, and no message that shows their data: what is in a feed stays there. */
async function sweepTriggerPage(
  tx: Transaction,
  environment: EnvironmentName,
  { after, before }: Parameters<Stage>[2],
): Promise<string | null> {
  const rows = await tx.query<PageRow<WorkflowRunId>>(sql`
    select p.id, p.inserted_at as "madeAt",
      p.fan_out = 'done' and p.inserted_at < ${before} and r.id is null and m.id is null as "isOver"
    from (
      select id, inserted_at, fan_out from workflow_runs
      where environment = ${environment} and id > ${after}
      order by id
      limit ${PAGE_ROWS}
    ) p
    left join lateral (
      select id from runs
      where environment = ${environment} and workflow_run_id = p.id
      limit 1
    ) r on true
    left join lateral (
      select id from messages
      where environment = ${environment} and workflow_run_id = p.id and not data_whole
      limit 1
    ) m on true
    order by p.id
  `)
  const over = overIn(rows)
  if (over.length > 0) {
    await tx.query(sql`
      with gone as materialized (
        select id from workflow_runs
        where environment = ${environment} and id = any(${over}::uuid[])
        order by id
        for update skip locked
      )
      delete from workflow_runs w
      using gone
      where w.environment = ${environment} and w.id = gone.id
    `)
  }
  return nextAfter(rows, before)
}
