import { openDoor } from '../../src/channels/door.ts'
import {
  newId,
  type EnvironmentName,
  type ProcessId,
  type RunId,
  type WorkflowKey,
} from '../../src/ids.ts'
import { sql } from '../../src/db/sql.ts'
import { beat } from '../../src/messages/leases.ts'
import { cancelByKey } from '../../src/runs/cancel.ts'
import { executeRuns } from '../../src/runs/execute.ts'
import { expandWorkflowRun } from '../../src/runs/expand.ts'
import { openFetching, type FetchContext, type FetchOptions } from '../../src/runs/fetch-call.ts'
import { findRun, loadTimeline } from '../../src/runs/read.ts'
import { lockQueuedRuns } from '../../src/runs/lock.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

export const environment = 'production' as EnvironmentName
export const ada = { id: 'ada', name: 'Ada' }

export const ENVIRONMENTS = {
  production: `ref: main
channels:
  feed: { type: in_app, provider: in_app }
variables:
  token: { secret: TOKEN }
  key: { secret: KEY }
  plain: { value: open-key-1 }
`,
}

export const SECRETS = {
  'production/TOKEN': 'tok-12345',
  'production/KEY': 'whsec_c2VjcmV0LWtleQ==',
}

/** `test` with an engine of its own, in an environment with secrets. */
export const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database, {
      environments: ENVIRONMENTS,
      secrets: SECRETS,
    })
    await use(engine)
  },
})

/** A workflow with this fetch step, and a message behind it that shows the data. */
export const files = (url: string, fields = '', body = 'Hello {{data.n}}') => ({
  'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: crm, type: fetch, url: "${url}"${fields === '' ? '' : `, ${fields}`} }
  - { ref: feed, type: in_app, body: ${JSON.stringify(body)} }
`,
})

/** Triggers for Ada, and works until nothing is due. */
export async function send(engine: Engine, body: object = {}) {
  const id = await engine.trigger('hello', { recipients: [ada], data: { n: 1 }, ...body })
  await engine.drain()
  return id
}

/** Lets seconds pass, and works until nothing is due. */
export async function later(engine: Engine, seconds: number): Promise<void> {
  engine.clock.advance(seconds * 1_000)
  await engine.drain()
}

/** How each run ended, or what it waits for, oldest first. */
export const standing = async (engine: Engine) =>
  (await engine.runs()).map((run) =>
    run.outcome === null ? `${run.status}:${run.waits_for}` : `${run.outcome}:${run.reason}`,
  )

/** The data that each message was made from, in order. */
export async function data(engine: Engine): Promise<readonly unknown[]> {
  const rows = await engine.database.query<{ data: unknown }>(sql`
    select message_data(environment, workflow_run_id, data, data_whole) as data
    from messages where environment = ${environment} order by id
  `)
  return rows.map((row) => row.data)
}

/** How many requests are still kept for runs. */
export async function kept(engine: Engine): Promise<number> {
  const rows = await engine.database.query(sql`
    select run_id from fetches where environment = ${environment}
  `)
  return rows.length
}

/** The events of the newest run about its request. */
export async function events(engine: Engine, id?: RunId) {
  const run = await findRun(engine.database, environment, id ?? (await engine.runs()).at(-1)!.id)
  const entries = await loadTimeline(engine.database, environment, run!)
  return entries.filter(({ event }) => event.startsWith('fetch_'))
}

/** Gives these users runs, without working on them. */
export async function queued(engine: Engine, recipients: readonly object[]) {
  const body = { recipients, data: { n: 1 }, cancellation_key: 'k' }
  const id = await engine.trigger('hello', body)
  await engine.database.transaction((tx) =>
    expandWorkflowRun(tx, environment, id, engine.clock.now()),
  )
  return (await engine.runs(id)).map((run) => run.id)
}

/** Works on runs as their job does, as far as they go by themselves. */
export async function work(engine: Engine, ids: readonly RunId[]): Promise<void> {
  await engine.database.transaction(async (tx) => {
    const now = engine.clock.now()
    await executeRuns(engine, tx, (await lockQueuedRuns(tx, environment, ids)).runs, now)
  })
}

/** A process beside the engine's, with a lease of its own; ended with the stack. */
export async function aProcess(
  engine: Engine,
  stack: AsyncDisposableStack,
  given: Partial<FetchOptions> = {},
): Promise<FetchContext> {
  const process = newId<ProcessId>()
  await beat(engine.database, process)
  const { database, queue, clock } = engine
  return openFetching({
    database,
    queue,
    clock,
    process,
    door: stack.use(openDoor({ allow: [], loopback: true })),
    signal: new AbortController().signal,
    secret: () => undefined,
    log: { warn() {} },
    ...given,
  })
}

export const cancel = (engine: Engine) =>
  engine.database.transaction((tx) =>
    cancelByKey(tx, engine.queue, {
      environment,
      workflow: 'hello' as WorkflowKey,
      cancellationKey: 'k',
      recipients: null,
      requestedBy: 'somebody',
      now: engine.clock.now(),
    }),
  )
