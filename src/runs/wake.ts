import type { Database, Transaction } from '../db/database.ts'
import type { Queue } from '../db/queue.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, RunId } from '../ids.ts'
import { runJobs, type RunJob } from './jobs.ts'

const WOKEN_MAX = 1_000

interface Due {
  readonly environment: EnvironmentName
  readonly id: RunId
}

/**
 * Queues the runs whose sleep is over and says how many; called again at once while it gets a full take.
 * The claim and its jobs commit together, so that no wake-up is lost, and any number of processes may
 * do this at the same time.
 */
export async function wakeDueRuns(
  deps: { readonly database: Database; readonly queue: Queue },
  now: Date,
): Promise<number> {
  return deps.database.transaction(async (tx) => {
    const due = await tx.query<Due>(sql`
      with due as (
        select environment, id from runs
        where wakes_at <= ${now}
        order by wakes_at
        limit ${WOKEN_MAX}
        for update skip locked
      )
      update runs r set status = 'queued', wakes_at = null, updated_at = ${now}
      from due
      where r.environment = due.environment and r.id = due.id
      returning r.environment, r.id
    `)
    await enqueueRuns(tx, deps.queue, due)
    return due.length
  })
}

/** A few runs of an environment go ahead of many. */
async function enqueueRuns(tx: Transaction, queue: Queue, due: readonly Due[]): Promise<void> {
  const few: RunJob[] = []
  const many: RunJob[] = []
  for (const [environment, runs] of Map.groupBy(due, (run) => run.environment)) {
    const jobs = runJobs(
      environment,
      runs.map((run) => run.id),
    )
    if (jobs.length > 1) many.push(...jobs)
    else few.push(...jobs)
  }
  await queue.enqueue(tx, 'run', few)
  await queue.enqueue(tx, 'run_bulk', many)
}
