import { expect, test as base } from 'vitest'
import { openQueue } from '../../src/db/queue.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, RunId, WorkflowKey } from '../../src/ids.ts'
import { silentLog } from '../../src/log.ts'
import { cancelByKey, cancelRun } from '../../src/runs/cancel.ts'
import { wakeDueRuns } from '../../src/runs/wake.ts'
import { cloneBlank } from '../support/database.ts'
import { explained } from '../support/explained.ts'

const NOW = new Date('2027-03-01T09:00:00Z')
const TRIGGERS = 1_000
const RUNS_EACH = 1_000
const TRIES = 50
/** Less than any look at all of them takes; what was measured is printed. */
const MS_MAX = 50

const environment = 'production' as EnvironmentName

const test = base.extend<{ database: Awaited<ReturnType<typeof cloneBlank>>['database'] }>({
  // vitest reads the first parameter's pattern to learn what the fixture needs.
  // oxlint-disable-next-line no-empty-pattern
  database: async ({}, use) => {
    const clone = await cloneBlank()
    await use(clone.database)
    await clone.drop()
  },
})

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1] ?? Number.NaN
}

/** How long a piece of work takes, in milliseconds: the median of some tries. */
async function timed(work: (index: number) => Promise<unknown>): Promise<number> {
  const times: number[] = []
  for (let index = 0; index < TRIES; index += 1) {
    const start = performance.now()
    await work(index)
    times.push(performance.now() - start)
  }
  return median(times)
}

test('a million sleeping runs cost neither the wake-up nor a cancel anything', async ({
  database,
}) => {
  await database.query(sql`
    insert into workflow_runs (environment, id, workflow, version_id, sequence, revision,
      trigger_source, data, settings, cancellation_key, recipients, fan_out, inserted_at)
    select 'production', gen_random_uuid(), 'reminder', 'v1', 1, 'r1', '{"type":"api"}', '{}', '{}',
      'key-' || n, '[]', 'done', ${NOW}
    from generate_series(1, ${TRIGGERS}::integer) n`)
  // A statement may take 50 seconds, so they are stored bit by bit.
  for (let part = 0; part < 10; part += 1) {
    await database.query(sql`
      insert into runs (environment, id, workflow_run_id, workflow, version_id, collection, recipient,
        status, waits_for, wakes_at, inserted_at, updated_at)
      select 'production', gen_random_uuid(), w.id, 'reminder', 'v1', '$users', 'user-' || n,
        'paused', 'delay', ${NOW}::timestamptz + (1 + n) * interval '1 minute', ${NOW}, ${NOW}
      from workflow_runs w, generate_series(${(part * RUNS_EACH) / 10}::integer, ${((part + 1) * RUNS_EACH) / 10 - 1}::integer) n`)
  }
  await database.query(sql`analyze runs, workflow_runs`)
  const scans = async () => {
    const [row] = await database.query<{ whole: string; wakes: string }>(sql`
      select t.seq_scan as whole, i.idx_scan as wakes
      from pg_stat_user_tables t
      join pg_stat_user_indexes i on i.relid = t.relid and i.indexrelname = 'runs_wakes'
      where t.relname = 'runs' and t.schemaname = 'belfry'`)
    return { whole: Number(row?.whole), wakes: Number(row?.wakes) }
  }
  await using queue = await openQueue(database, { log: silentLog })
  const ids = await database.query<{ id: RunId }>(sql`
    select id from runs
    where environment = 'production' and wakes_at is not null
    order by wakes_at desc limit ${TRIES}`)
  const before = await scans()

  const none = await timed(async () => {
    expect(await wakeDueRuns({ database, queue }, NOW)).toBe(0)
  })
  const one = await timed((index) =>
    database.transaction((tx) =>
      cancelRun(tx, queue, { environment, id: ids[index]!.id, requestedBy: 'test', now: NOW }),
    ),
  )
  const waking = explained(database, 'runs')
  const due = { database: waking.database, queue }
  expect(await wakeDueRuns(due, new Date(NOW.getTime() + 60_000))).toBe(TRIGGERS)
  expect(waking.ways()).toEqual(['runs_pkey', 'runs_wakes'])
  const cancelling = explained(database, 'runs')
  const { runs } = await cancelling.database.transaction((tx) =>
    cancelByKey(tx, queue, {
      environment,
      workflow: 'reminder' as WorkflowKey,
      cancellationKey: 'key-7',
      recipients: [{ collection: '$users', id: 'user-5' }],
      requestedBy: 'test',
      now: NOW,
    }),
  )
  expect(runs).toBe(1)
  expect(cancelling.ways()).toEqual(['runs_once_per_recipient', 'runs_pkey'])

  // The server counts what its connections have done a moment later.
  await expect
    .poll(async () => (await scans()).wakes, { timeout: 15_000 })
    .toBeGreaterThan(before.wakes + TRIES)
  expect((await scans()).whole).toBe(before.whole)
  process.stdout.write(
    `1,000,000 sleeping runs: a wake-up that finds nothing ${none.toFixed(2)} ms, cancel of one ${one.toFixed(2)} ms\n`,
  )
  expect(Math.max(none, one)).toBeLessThan(MS_MAX)
})
