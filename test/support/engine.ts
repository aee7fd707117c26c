import { openDoor } from '../../src/channels/door.ts'
import { providerList } from '../../src/channels/index.ts'
import type { Database } from '../../src/db/database.ts'
import { openQueue, type Queue } from '../../src/db/queue.ts'
import { sql } from '../../src/db/sql.ts'
import type { Topics } from '../../src/db/topics.ts'
import { openRepository } from '../../src/git/repository.ts'
import {
  newId,
  type EnvironmentName,
  type ProcessId,
  type RunId,
  type WorkflowKey,
  type WorkflowRunId,
} from '../../src/ids.ts'
import { silentLog } from '../../src/log.ts'
import { createMasker } from '../../src/mask.ts'
import type { DeliverJob } from '../../src/messages/claim.ts'
import { deliver, openDelivery } from '../../src/messages/deliver.ts'
import { enqueueDueMessages } from '../../src/messages/due.ts'
import { beat } from '../../src/messages/leases.ts'
import type { Links } from '../../src/messages/links.ts'
import { setSwitch } from '../../src/messages/switches.ts'
import { listEnvironments } from '../../src/reconcile/read.ts'
import { Reconciler } from '../../src/reconcile/reconciler.ts'
import { openFetching, registerFetchWorkers } from '../../src/runs/fetch-call.ts'
import { findRun, listRuns, loadTimeline, type RunRow } from '../../src/runs/read.ts'
import { recheckPreferences } from '../../src/runs/recheck.ts'
import { triggerWorkflow } from '../../src/runs/trigger.ts'
import { tellWaitingRuns } from '../../src/runs/wait-store.ts'
import { startDueSchedules } from '../../src/runs/schedules.ts'
import { wakeDueRuns } from '../../src/runs/wake.ts'
import { registerRunWorkers } from '../../src/runs/workers.ts'
import { testClock, type TestClock } from './clock.ts'
import { testRepository, type Files, type TestRepository } from './repository.ts'

const quietTopics: Topics = {
  listen: () => Promise.resolve({ close: () => Promise.resolve() }),
  close: () => Promise.resolve(),
  [Symbol.asyncDispose]: () => Promise.resolve(),
}

/** An environment with a feed and a sandboxed mail channel. */
export const plainEnvironment = `
timezone: Europe/Berlin
channels:
  feed: { type: in_app, provider: in_app }
  mail: { type: email, provider: smtp, sandbox: true, settings: { host: 127.0.0.1, from: hello@example.com } }
`

/** Reconciler, runs and deliveries over one database, moved by the test: nothing happens by itself. */
export interface Engine extends AsyncDisposable {
  readonly database: Database
  readonly queue: Queue
  readonly clock: TestClock
  readonly repository: TestRepository
  /** Commits files to the branch that is checked out, and brings every environment to its tip. */
  commit(files: Files): Promise<void>
  reconcile(): Promise<void>
  trigger(workflow: string, body: unknown, environment?: string): Promise<WorkflowRunId>
  /** Works until nothing is due at the clock's time. */
  drain(): Promise<void>
  switchTo(active: boolean, workflow: string, channel?: string): Promise<void>
  runs(workflowRunId?: WorkflowRunId): Promise<readonly RunRow[]>
  /** The events of a run's timeline, as `event` or `event:reason`. */
  timeline(id: RunId): Promise<readonly string[]>
  messages(): Promise<readonly MessageView[]>
}

export interface MessageView {
  readonly run_id: RunId
  readonly step_ref: string
  readonly recipient: string
  readonly status: string
  readonly reason: string | null
  readonly content: Readonly<Record<string, unknown>>
}

export interface EngineOptions {
  readonly secrets?: Readonly<Record<string, string>>
  readonly environments?: Readonly<Record<string, string>>
  /** What links in messages are made with; there are none where it is left out. */
  readonly links?: Links
}

/** Opens an engine on a new repository whose default branch declares `environments` (production: main). */
export async function openEngine(
  database: Database,
  {
    secrets = {},
    links,
    environments = { production: `ref: main\n${plainEnvironment}` },
  }: EngineOptions = {},
): Promise<Engine> {
  const clock = testClock('2027-03-01T09:00:00Z')
  const repository = await testRepository()
  const queue = await openQueue(database, { log: silentLog })
  const process = newId<ProcessId>()
  const stopping = new AbortController()
  const door = openDoor({ allow: [], loopback: true })
  const findSecret = (environment: string, name: string) => secrets[`${environment}/${name}`]
  const delivery = openDelivery({
    database,
    clock,
    process,
    door,
    signal: stopping.signal,
    secret: findSecret,
    recheck: recheckPreferences,
    log: silentLog,
  })
  const secret = findSecret
  const { signal } = stopping
  const masker = createMasker(Object.values(secrets), '•••')
  const mask = (text: string) => masker.mask(text)
  registerRunWorkers({ database, queue, clock, log: silentLog, mask, links })
  registerFetchWorkers(
    openFetching({ database, queue, clock, process, door, signal, secret, log: silentLog }),
  )
  queue.work<DeliverJob>('deliver', {
    async handle(batch) {
      for (const job of batch.jobs) await deliver(delivery, job.payload, batch.complete)
    },
  })
  const reconciler = new Reconciler({
    database,
    clock,
    repository: await openRepository(repository.path),
    workingTree: null,
    defaultBranch: null,
    providers: providerList,
    hasSecret: (environment, name) => findSecret(environment, name) !== undefined,
    log: silentLog,
    settleMs: 0,
    process,
    topics: quietTopics,
    pollMs: 3_600_000,
    debounceMs: 1,
  })
  await beat(database, process)
  const reconcile = async () => void (await reconciler.pass())
  const declared = Object.entries(environments).map(([name, text]) => [
    `environments/${name}.yaml`,
    text,
  ])
  await repository.commit(Object.fromEntries(declared) as Files)
  await reconcile()
  return {
    database,
    queue,
    clock,
    repository,
    async commit(files) {
      await repository.commit(files)
      await reconcile()
      await expectReady(database)
    },
    reconcile,
    trigger: (workflow, body, environment = 'production') =>
      database.transaction((tx) =>
        triggerWorkflow(tx, queue, {
          environment: environment as EnvironmentName,
          workflow: workflow as WorkflowKey,
          body,
          now: clock.now(),
        }),
      ),
    drain: () => drain(database, queue, clock),
    switchTo: (active, workflow, channel = '') =>
      database.transaction((tx) =>
        setSwitch(tx, {
          environment: 'production' as EnvironmentName,
          workflow,
          channel,
          active,
          reason: active ? null : 'incident',
          actor: 'operator',
          expiresAt: null,
          now: clock.now(),
        }),
      ),
    async runs(workflowRunId) {
      const page = { limit: 50_000 }
      return (
        await listRuns(database, 'production' as EnvironmentName, { workflowRunId }, page)
      ).toReversed()
    },
    timeline: (id) => timelineOf(database, id),
    messages: () =>
      database.query<MessageView>(sql`
        select run_id, step_ref, recipient, status, reason, content from messages
        where environment is not null
        order by id
      `),
    async [Symbol.asyncDispose]() {
      stopping.abort()
      await reconciler[Symbol.asyncDispose]()
      await queue.close()
      door.close()
      await repository[Symbol.asyncDispose]()
      await database.query(sql`truncate environments, reconcilers, versions, workflow_runs, runs, run_steps,
        messages, deliveries, recipients, subscriptions, cancellations, leases,
        idempotency_keys, run_actions, throttle_windows, frequency_ledger, batches,
        batch_activities, fetches, event_waits, recipient_events, event_listeners,
        preference_sets, bulk_operations, channel_data, audiences, audience_members, source_events,
        schedules, channel_refusals, channel_rates, short_links cascade`)
    },
  }
}

/** Says which file is wrong, rather than that a workflow is missing. */
async function expectReady(database: Database): Promise<void> {
  for (const { name, state, message } of await listEnvironments(database)) {
    if (state !== 'ready') throw new Error(`${name} is ${state}: ${message}`)
  }
}

async function drain(database: Database, queue: Queue, clock: TestClock): Promise<void> {
  const enqueue = (tx: Parameters<Queue['enqueue']>[0], jobs: readonly object[]) =>
    queue.enqueue(tx, 'deliver', jobs)
  for (;;) {
    const started = await startDueSchedules({ database, queue, log: silentLog }, clock.now())
    const woken = await wakeDueRuns({ database, queue }, clock.now())
    const told = await tellWaitingRuns({ database, queue })
    const due = await enqueueDueMessages({ database, enqueue }, clock.now())
    const { handled, failures } = await queue.drain()
    if (failures.length > 0) throw new AggregateError(failures, 'jobs failed')
    if (started + woken + told + due + handled === 0) return
  }
}

async function timelineOf(database: Database, id: RunId): Promise<readonly string[]> {
  const environment = 'production' as EnvironmentName
  const run = await findRun(database, environment, id)
  if (!run) throw new Error(`no run ${id}`)
  const entries = await loadTimeline(database, environment, run)
  return entries.map(({ event, step_ref, data }) => {
    const reason = typeof data?.['reason'] === 'string' ? `:${data['reason']}` : ''
    return `${step_ref === null ? '' : `${step_ref} `}${event}${reason}`
  })
}
