import { setTimeout as pause } from 'node:timers/promises'
import { prepareAccess, warnOfUnknownEnvironments, type Access } from './api/access.ts'
import { routes } from './api/index.ts'
import { sweepIdempotencyKeys } from './api/idempotency.ts'
import { createKey, findUnknownEnvironments, listKeys, revokeKey } from './api/keys.ts'
import { SCOPES } from './api/route.ts'
import { startServer, type Server } from './api/server.ts'
import { openDoor } from './channels/door.ts'
import { providers } from './channels/index.ts'
import { systemClock, type Clock } from './clock.ts'
import { sensitiveValues, type Config, type Role } from './config.ts'
import { noteServer } from './data-directory.ts'
import { openDatabase, type Database } from './db/database.ts'
import { startEmbedded } from './db/embedded.ts'
import { startLoop } from './db/loop.ts'
import { migrate } from './db/migrate.ts'
import { openQueue, type Queue } from './db/queue.ts'
import { assertReachable } from './db/reach.ts'
import { analyzeChanged } from './db/statistics.ts'
import { openTopics, type Topics } from './db/topics.ts'
import { ConfigError } from './errors.ts'
import { openSources } from './git/open.ts'
import { isKey, isUuid, newId, type EnvironmentName, type ProcessId } from './ids.ts'
import { openLog, type Log } from './log.ts'
import { deliver, openDelivery, type DeliverJob, type DeliveryContext } from './messages/deliver.ts'
import { enqueueDueMessages, releaseDeadClaims } from './messages/due.ts'
import {
  beat,
  BEAT_MS,
  endDeadLeases,
  endLease,
  LEASE_MS,
  listDeadProcesses,
} from './messages/leases.ts'
import { listWorkflows } from './reconcile/read.ts'
import { Reconciler } from './reconcile/reconciler.ts'
import { sweepThrottleWindows } from './runs/gates.ts'
import { wakeDueRuns } from './runs/wake.ts'
import { registerRunWorkers } from './runs/workers.ts'
import { openSecrets, type Secrets } from './secrets.ts'

/** A running Belfry. Closing it leaves nothing running that it started. */
export interface App extends AsyncDisposable {
  /** Undefined where this process answers no requests. */
  readonly url: string | undefined
  /** The key of `development`, in development mode. */
  readonly key: string | undefined
  readonly operatorToken: string | undefined
  /** Resolves when Git was looked at once, with whatever result, or after a while. */
  readonly firstLook: Promise<void>
  /** The keys of the workflows that are live in an environment, a page at most. */
  listWorkflows(environment: string): Promise<readonly string[]>
  close(): Promise<void>
}

export interface AppOptions {
  readonly clock?: Clock
  /** Takes the lines of the log. */
  readonly write: (line: string) => void
  /** Whether a person reads the log. */
  readonly human: boolean
}

/** What all parts of a running app share. */
interface Ground {
  readonly config: Config
  readonly clock: Clock
  readonly log: Log
  readonly secrets: Secrets
  readonly database: Database
  readonly topics: Topics
  readonly queue: Queue
  readonly process: ProcessId
  /** Aborted when hand-overs under way must end. */
  readonly handOvers: AbortController
  readonly stack: AsyncDisposableStack
}

const FIRST_LOOK_MS_MAX = 15_000
const WORKFLOWS_MAX = 1_000
const SWEEP_MS = 60_000
const REDRIVE_MS = 60_000
const STATISTICS_MS = 2_000
/** A job of a process whose lease has run out is older: it was fetched before the beat that did not come. */
const ABANDONED_MS = LEASE_MS - 2 * BEAT_MS
/** How many `deliver` jobs a process works on at the same time. */
const DELIVERIES_MAX = 4
/** How long hand-overs under way may still take when the process is told to stop. */
const GRACE_MS = 1_000
const POLL_SECONDS = 10
/** Waited for after the last of a burst of changes; saving and pushing make several. */
const DEBOUNCE_MS = 20
/** How long a broken working tree is left alone: editors and formatters write files in two goes. */
const SETTLE_MS = 300

/**
 * Starts what the roles ask for. Whatever was started is stopped again where a later part fails.
 * Throws a `ConfigError` that says what to change where the settings do not allow it.
 */
export async function startApp(config: Config, options: AppOptions): Promise<App> {
  await using stack = new AsyncDisposableStack()
  const ground = await openGround(config, options, stack)
  const { log, queue } = ground
  const has = (role: Role) => config.roles.includes(role)
  for (const warning of config.warnings) log.warn(warning)
  const access = await prepareAccess(ground)
  if (has('work')) await startWork(ground)
  const looking = has('reconcile') ? await startReconciler(ground) : undefined
  const server = has('api') ? await openDoorway(ground, access, looking) : undefined
  if (has('work')) queue.start()
  const firstLook = awaitFirstLook(ground, looking)
  const running = stack.move()
  let closing: Promise<void> | undefined
  const close = () => (closing ??= closeApp({ ...ground, stack: running }, server))
  return {
    url: server?.url,
    ...access,
    firstLook,
    async listWorkflows(environment) {
      const page = { limit: WORKFLOWS_MAX }
      const views = await listWorkflows(ground.database, environment as EnvironmentName, page)
      return views.map(({ key }) => key)
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

async function awaitFirstLook(ground: Ground, looking: FirstLook | undefined): Promise<void> {
  const patience = new AbortController()
  const timeout = pause(FIRST_LOOK_MS_MAX, undefined, { ref: false, signal: patience.signal })
  // An abort is how the pause ends when the look is done.
  await Promise.race([looking?.done, timeout.catch(() => {})])
  patience.abort()
  // It only warns, and the app may have been closed meanwhile.
  await warnOfUnknownEnvironments(ground).catch(() => {})
}

async function closeApp(
  { stack, queue, handOvers }: Ground,
  server: Server | undefined,
): Promise<void> {
  const cut = setTimeout(() => handOvers.abort(), GRACE_MS)
  // These two wait for others; the rest is quick and in the reverse order of its start.
  await Promise.all([server?.close(), queue.close()])
  clearTimeout(cut)
  await stack.disposeAsync()
}

async function openGround(
  config: Config,
  options: AppOptions,
  stack: AsyncDisposableStack,
): Promise<Ground> {
  const clock = options.clock ?? systemClock
  const secrets = openSecrets(config.secrets, sensitiveValues(config))
  const { write, human } = options
  const mask = (text: string) => secrets.mask(text)
  const log = openLog({ level: config.logLevel, write, human, mask, clock })
  const database = await openMigrated(config, stack)
  const topics = stack.use(openTopics(database.url, { log }))
  const queue = stack.use(await openQueue(database, { log, topics }))
  const process = newId<ProcessId>()
  const handOvers = new AbortController()
  return { config, clock, log, secrets, database, topics, queue, process, handOvers, stack }
}

/** The given Postgres, or the one of the data directory, at the newest schema. */
async function openMigrated(config: Config, stack: AsyncDisposableStack): Promise<Database> {
  const url = config.databaseUrl ?? (await startOwn(config, stack))
  const database = stack.use(openDatabase(url))
  if (config.databaseUrl !== undefined) await assertReachable(database)
  await migrate(database)
  return database
}

async function startOwn(config: Config, stack: AsyncDisposableStack): Promise<string> {
  const embedded = await startEmbedded(config.dataDirectory)
  stack.defer(async () => void (await embedded.stop()))
  return embedded.url
}

/** Runs, deliveries, and the loops that wake both and take over from processes that died. */
async function startWork(ground: Ground): Promise<void> {
  const { config, clock, log, secrets, database, queue, process, stack } = ground
  await beat(database, process)
  stack.defer(() => endLease(database, process).catch(() => {}))
  const door = openDoor({ allow: config.allowedTargets, loopback: config.dev })
  stack.defer(() => door.close())
  const { signal } = ground.handOvers
  const secret = (environment: string, name: string) => secrets.find(environment, name)
  const delivery = openDelivery({ database, clock, process, door, signal, secret, log })
  startWorkLoops(ground, delivery)
  queue.work<DeliverJob>('deliver', {
    concurrency: DELIVERIES_MAX,
    async handle(batch) {
      // Batches of this queue hold one job, so its claim may end the batch.
      for (const job of batch.jobs) await deliver(delivery, job.payload, batch.complete)
    },
  })
  registerRunWorkers({ database, queue, clock, log })
}

function startWorkLoops(ground: Ground, delivery: DeliveryContext): void {
  const { clock, database, queue, process } = ground
  const runs = { database, queue }
  const messages = {
    database,
    enqueue: (tx: Parameters<Queue['enqueue']>[0], jobs: readonly object[]) =>
      queue.enqueue(tx, 'deliver', jobs),
  }
  addLoop(ground, { name: 'beat', pollMs: BEAT_MS }, () => beat(database, process).then(() => 0))
  addLoop(ground, { name: 'wake-up' }, () => wakeDueRuns(runs, clock.now()))
  addLoop(ground, { name: 'due messages' }, () => enqueueDueMessages(messages, clock.now()))
  addLoop(ground, { name: 'dead letters', pollMs: REDRIVE_MS }, () => queue.redrive())
  addLoop(ground, { name: 'statistics', pollMs: STATISTICS_MS }, async () => {
    await analyzeChanged(database)
    return 0
  })
  addLoop(ground, { name: 'idempotency keys', pollMs: SWEEP_MS }, () =>
    sweepIdempotencyKeys(database, clock.now()),
  )
  addLoop(ground, { name: 'throttle windows', pollMs: SWEEP_MS }, () =>
    sweepThrottleWindows(database, clock.now()),
  )
  addLoop(ground, { name: 'dead processes' }, async () => {
    // A process that was cut off from Postgres for a while is not to take itself for dead.
    await beat(database, process)
    const dead = await listDeadProcesses(database)
    const freed = await releaseDeadClaims(delivery, clock.now())
    if (dead.length === 0) return freed
    // Their jobs would come back after a minute; nobody shall wait that long.
    await queue.retryAbandoned(ABANDONED_MS)
    // Last, so that another process does it again where this one does not come to here.
    await endDeadLeases(database, dead)
    return freed
  })
}

/** Adds a loop whose turn says how much it did; it goes on at once after a turn that did something. */
function addLoop(
  { log, stack }: Ground,
  options: { readonly name: string; readonly pollMs?: number },
  turn: () => Promise<number>,
): void {
  const loop = startLoop(async () => (await turn()) > 0, { log, ...options })
  stack.defer(() => loop.close())
}

interface FirstLook {
  readonly done: Promise<void>
  readonly isDone: () => boolean
}

async function startReconciler(ground: Ground): Promise<FirstLook> {
  const { config, clock, log, secrets, database, topics, process, stack } = ground
  if (/^https?:/i.test(config.repository))
    throw new ConfigError(
      'a repository over HTTP is not supported: name the path of a local one with --repo',
    )
  const sources = await openSources(config.repository, { development: config.dev })
  const reconciler = new Reconciler({
    database,
    clock,
    ...sources,
    defaultBranch: config.defaultBranch ?? null,
    providers: Object.values(providers),
    hasSecret: (environment, name) => secrets.find(environment, name) !== undefined,
    log,
    settleMs: SETTLE_MS,
    process,
    topics,
    pollMs: (config.pollSeconds ?? POLL_SECONDS) * 1_000,
    debounceMs: DEBOUNCE_MS,
  })
  stack.use(reconciler)
  await reconciler.start()
  let isDone = false
  // A pass that fails is logged and repeated by the reconciler itself.
  const done = reconciler.pass().then(
    () => void (isDone = true),
    () => void (isDone = true),
  )
  return { done, isDone: () => isDone }
}

async function openDoorway(
  { config, clock, log, database, queue, stack }: Ground,
  access: Access,
  looking: FirstLook | undefined,
): Promise<Server> {
  const hasLookedAtGit = () => looking?.isDone() ?? true
  const server = await startServer({
    database,
    clock,
    log,
    services: { queue, hasLookedAtGit, startedAt: clock.now() },
    routes,
    operatorToken: access.operatorToken,
    host: config.host,
    port: { number: config.port, explicit: !config.portIsDefault },
    loopbackOnly: config.dev,
  })
  stack.defer(() => server.close())
  const note = { url: server.url, pid: process.pid, started_at: clock.now().toISOString() }
  stack.defer(noteServer(config.dataDirectory, note))
  return server
}

/** The keys of the installation that the settings name, for commands that need no server. */
export async function openKeys(config: Config, clock: Clock = systemClock) {
  await using stack = new AsyncDisposableStack()
  const database = await openMigrated(config, stack)
  const opened = stack.move()
  return {
    async create(request: {
      readonly environment: string
      readonly name: string
      readonly scopes: readonly string[]
    }) {
      const { environment, name } = request
      if (!isKey(environment))
        throw new ConfigError(`"${environment}" is no name of an environment`)
      const scopes = SCOPES.filter((scope) => request.scopes.includes(scope))
      const now = clock.now()
      const source = 'command'
      const key = {
        environment: environment as EnvironmentName,
        name,
        scopes,
        source,
        now,
      } as const
      const unknown = await findUnknownEnvironments(database, [key.environment])
      return { ...(await createKey(database, key)), isKnown: unknown.length === 0 }
    },
    list: (environment: string | undefined) =>
      listKeys(database, (environment ?? null) as EnvironmentName | null),
    revoke: async (id: string) => isUuid(id) && (await revokeKey(database, id, clock.now())),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
