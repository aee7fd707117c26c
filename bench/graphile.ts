import { Logger, makeWorkerUtils, run } from 'graphile-worker'
import { openDatabase, type Database } from '../src/db/database.ts'
import { markdownToHtml } from '../src/language/markdown.ts'
import { sql } from '../src/db/sql.ts'
import { newRowId } from '../src/ids.ts'
import { perSecond, timed } from './figures.ts'
import { ENVIRONMENT } from './ground.ts'

const JOBS = 5_000
/** The fastest settings that were found on two cores. */
const CONCURRENCY = 24
const PRESET = {
  worker: { concurrentJobs: CONCURRENCY, localQueue: { size: 500 }, completeJobBatchDelay: 0 },
}
const TABLES = ['runs', 'run_steps', 'messages']

/** Jobs a second of graphile-worker, one for each recipient, that write a run, its timeline and its message in one transaction each. */
export async function jobEachRate(database: Database): Promise<number> {
  await using connections = openDatabase(database.url, { connectionsMax: CONCURRENCY })
  await database.execute('drop schema if exists bench_rows cascade; create schema bench_rows')
  for (const table of TABLES)
    await database.execute(`create table bench_rows.${table} (like belfry.${table} including all)`)
  const [version] = await database.query<{ id: string }>(sql`
    select version_id as id from workflows where environment = ${ENVIRONMENT} and key = 'hello'
  `)
  const trigger = newRowId()
  let done = 0
  const all = Promise.withResolvers<void>()
  const options = {
    connectionString: database.url,
    schema: 'bench_worker',
    preset: PRESET,
    logger: new Logger(() => () => {}),
  }
  const producer = await makeWorkerUtils(options)
  await producer.migrate()
  const runner = await run({
    ...options,
    noHandleSignals: true,
    taskList: {
      send: async (payload) => {
        const { recipient } = payload as { readonly recipient: string }
        await send(connections, { recipient, trigger, version: version!.id })
        done += 1
        if (done === JOBS) all.resolve()
      },
    },
  })
  const jobs = Array.from({ length: JOBS }, (_, index) => ({
    identifier: 'send',
    payload: { recipient: `user-${index}` },
  }))
  const ms = await timed(async () => {
    await producer.addJobs(jobs)
    await all.promise
  })
  await runner.stop()
  await producer.release()
  return perSecond(JOBS, ms)
}

interface Job {
  readonly recipient: string
  readonly trigger: string
  readonly version: string
}

/** What a run of one step leaves behind, each row written once and as it stands in the end. */
async function send(database: Database, { recipient, trigger, version }: Job): Promise<void> {
  const [id, message, now] = [newRowId(), newRowId(), new Date()]
  const text = 'Hello Ada, hi'
  const content = { type: 'in_app', body: { content: text, rendered: markdownToHtml(text) } }
  const happened = [{ type: 'message.created', data: null, at: now }]
  const events = [
    { event: 'message_enqueued', status: 'ok', data: { message_id: message }, at: now },
  ]
  await database.transaction(async (tx) => {
    await tx.query(sql`
      insert into bench_rows.runs (environment, id, workflow_run_id, workflow, version_id, collection, recipient,
        status, outcome, steps, inserted_at, updated_at, finished_at)
      values (${ENVIRONMENT}, ${id}, ${trigger}, 'hello', ${version}, '$users', ${recipient}, 'completed',
        'completed', 1, ${now}, ${now}, ${now})
    `)
    await tx.query(sql`
      insert into bench_rows.run_steps (environment, run_id, number, ref, type, events)
      values (${ENVIRONMENT}, ${id}, 0, 'feed', 'in_app', ${JSON.stringify(events)})
    `)
    await tx.query(sql`
      insert into bench_rows.messages (environment, id, run_id, workflow_run_id, workflow, version_id, step_ref,
        channel, channel_type, provider, collection, recipient, data, status, content, events, inserted_at,
        updated_at)
      values (${ENVIRONMENT}, ${message}, ${id}, ${trigger}, 'hello', ${version}, 'feed', 'feed', 'in_app',
        'in_app', '$users', ${recipient}, null, 'delivered', ${JSON.stringify(content)},
        ${JSON.stringify(happened)}, ${now}, ${now})
    `)
  })
}
