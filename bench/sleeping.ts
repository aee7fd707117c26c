import { systemClock } from '../src/clock.ts'
import type { Database } from '../src/db/database.ts'
import { openQueue } from '../src/db/queue.ts'
import { sql } from '../src/db/sql.ts'
import type { EnvironmentName, WorkflowKey } from '../src/ids.ts'
import { openLog } from '../src/log.ts'
import { cancelByKey } from '../src/runs/cancel.ts'
import { wakeDueRuns } from '../src/runs/wake.ts'
import { median, milliseconds, timed, times, within, type Figure } from './figures.ts'
import { ENVIRONMENT, type Ground } from './ground.ts'
import { openBare } from './trigger.ts'

const RUNS = 1_000_000
/** Those that can be cancelled each by a key of its own. */
const KEYS = 1_000
/** What one statement makes of them. */
const SLICE = 100_000
const CALLS = 200
const WAKE_MS = 1
const CANCEL_MS = 2

/** With very many sleeping runs: a turn of the wake-up loop that finds none due, and the cancel of one; beside them a bare insert. */
export async function measureSleeping(ground: Ground): Promise<readonly Figure[]> {
  const { database } = ground
  const log = openLog({
    level: 'error',
    write: (line) => process.stderr.write(line),
    human: true,
    mask: (text) => text,
    clock: systemClock,
  })
  await using queue = await openQueue(database, { log })
  await using bare = await openBare(ground)
  await fallAsleep(ground)
  const wakes: number[] = []
  const cancels: number[] = []
  const beside: number[] = []
  for (let index = -CALLS; index < CALLS; index += 1) {
    const call = {
      environment: ENVIRONMENT as EnvironmentName,
      workflow: 'hello' as WorkflowKey,
      // Behind the first one, whose trigger has many.
      cancellationKey: `sleeper-${index + CALLS + 2}`,
      recipients: null,
      requestedBy: 'bench',
      now: new Date(),
    }
    const wake = await timed(() => wakeDueRuns({ database, queue }, call.now))
    const cancel = await timed(() => database.transaction((tx) => cancelByKey(tx, queue, call)))
    const insert = await timed(bare.insert)
    if (index < 0) continue
    wakes.push(wake)
    cancels.push(cancel)
    beside.push(insert)
  }
  const peer = `${milliseconds(median(beside))}  bare insert and commit`
  return [
    {
      what: `the wake-up loop's turn with ${RUNS} sleeping runs, p50`,
      ours: milliseconds(median(wakes)),
      beside: peer,
      ratio: times(median(wakes), median(beside)),
      reach: within([median(wakes), WAKE_MS]),
    },
    {
      what: 'the cancel of one of them by its key, p50',
      ours: milliseconds(median(cancels)),
      beside: peer,
      ratio: times(median(cancels), median(beside)),
      reach: within([median(cancels), CANCEL_MS]),
    },
  ]
}

async function fallAsleep({ database }: Ground): Promise<void> {
  await database.query(sql`
    insert into workflow_runs (environment, id, workflow, version_id, sequence, revision, trigger_source,
      data, settings, cancellation_key, recipients, fan_out, inserted_at)
    select w.environment, gen_random_uuid(), w.key, w.version_id, w.sequence, 'none', '{"type": "api"}',
      '{}', '{}', 'sleeper-' || n, '[]', 'done', now()
    from workflows w, generate_series(1, ${KEYS}::integer) n
    where w.environment = ${ENVIRONMENT} and w.key = 'hello'
  `)
  // The first ones have a trigger each, all others that of the very first.
  for (let done = 0; done < RUNS; done += done < KEYS ? KEYS : SLICE)
    await insertSleepers(database, done, done < KEYS ? KEYS : Math.min(SLICE, RUNS - done))
  await database.execute('vacuum analyze belfry.runs')
}

/** With ids in their order, as ours are. */
async function insertSleepers(database: Database, behind: number, count: number): Promise<void> {
  await database.query(sql`
    insert into runs (environment, id, workflow_run_id, workflow, version_id, collection, recipient, status,
      waits_for, wakes_at, inserted_at, updated_at)
    select t.environment, lpad(to_hex(n), 32, '0')::uuid, t.id, t.workflow, t.version_id, '$users',
      'sleeper-' || n, 'paused', 'delay', now() + interval '1 day' + n * interval '1 millisecond', now(), now()
    from generate_series(${behind + 1}::integer, ${behind + count}::integer) n
    join workflow_runs t on t.environment = ${ENVIRONMENT} and t.workflow = 'hello'
      and t.cancellation_key = 'sleeper-' || case when ${behind} < ${KEYS} then n else 1 end
  `)
}
