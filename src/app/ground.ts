import { systemClock, type Clock } from '../clock.ts'
import { sensitiveValues, type Config } from '../config.ts'
import { openDatabase, type Database } from '../db/database.ts'
import { startEmbedded } from '../db/embedded.ts'
import { migrate } from '../db/migrate.ts'
import { openQueue, type Queue } from '../db/queue.ts'
import { assertReachable } from '../db/reach.ts'
import { openTopics, type Topics } from '../db/topics.ts'
import { newId, type ProcessId } from '../ids.ts'
import { loadLinkKey, type Links } from '../messages/links.ts'
import { openLog, type Log } from '../log.ts'
import { openMetrics, type Registered } from './metrics.ts'
import { openSecrets, type Secrets } from '../secrets.ts'

export interface AppOptions {
  readonly clock?: Clock
  /** Takes the lines of the log. */
  readonly write: (line: string) => void
  /** Whether a person reads the log. */
  readonly human: boolean
}

/** What all parts of a running app share. */
export interface Ground {
  readonly config: Config
  readonly clock: Clock
  readonly log: Log
  readonly secrets: Secrets
  readonly database: Database
  readonly topics: Topics
  readonly queue: Queue
  readonly process: ProcessId
  readonly metrics: Registered
  /** What links in messages are made with; undefined where nobody is told how to reach us. */
  readonly links: Links | undefined
  /** Aborted when hand-overs under way must end. */
  readonly handOvers: AbortController
  readonly stack: AsyncDisposableStack
}

/** Opens what all parts share; `stack` closes it again. */
export async function openGround(
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
  const metrics = openMetrics({ database, queue, clock, log })
  const shared = { config, clock, log, secrets, database, topics, queue, process }
  const { publicUrl } = config
  const links =
    publicUrl === undefined ? undefined : { publicUrl, key: await loadLinkKey(database) }
  return { ...shared, metrics, links, handOvers, stack }
}

/** The given Postgres, or the one of the data directory, at the newest schema. */
export async function openMigrated(config: Config, stack: AsyncDisposableStack): Promise<Database> {
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
