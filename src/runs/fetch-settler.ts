import type { Clock } from '../clock.ts'
import type { Database, Transaction } from '../db/database.ts'
import type { Queue, QueueName } from '../db/queue.ts'
import { SetWriter } from '../db/set-writer.ts'
import type { RunId } from '../ids.ts'
import type { Log } from '../log.ts'
import { settleFetches, type EndedFetch, type FetchClaim } from './fetch-store.ts'
import { runJobs } from './jobs.ts'

export interface SettlerOptions {
  readonly database: Database
  readonly queue: Queue
  readonly clock: Clock
  /** Aborted when the process stops. */
  readonly signal: AbortSignal
  readonly log: Pick<Log, 'warn'>
}

/** The end of one call, to be written, and which queue its run goes on in. */
export interface Ending {
  readonly ended: EndedFetch
  /** How much there is to write. */
  readonly bytes: number
  readonly queue: QueueName
}

/** Writes the ends of calls in sets and queues their runs; a claim that is not settled ends with the lease. */
export interface FetchSettler {
  /** Resolves when the end is committed, the claim was found to be another's, or the process stops. */
  settle(ending: Ending): Promise<void>
}

export function openFetchSettler(options: SettlerOptions): FetchSettler {
  const { database, log, signal } = options
  const writer = new SetWriter<Ending>({
    write: (endings) => database.transaction((tx) => write(options, tx, endings)),
    failure: 'what requests were answered could not be written',
    log,
    weigh: ({ bytes }) => bytes,
    signal,
  })
  return { settle: (ending) => writer.add(ending) }
}

async function write(
  { queue, clock }: SettlerOptions,
  tx: Transaction,
  endings: readonly Ending[],
): Promise<void> {
  const settled = await settleFetches(
    tx,
    endings.map(({ ended }) => ended),
    clock.now(),
  )
  const queueOf = new Map(endings.map(({ ended, queue: name }) => [ended.runId, name]))
  for (const [name, claims] of Map.groupBy(settled, ({ runId }) => queueOf.get(runId)!))
    await enqueueSettled(tx, { queue, name }, claims)
}

/** Has these runs go on, each environment's by itself. */
export async function enqueueSettled(
  tx: Transaction,
  { queue, name }: { readonly queue: Queue; readonly name: QueueName },
  settled: readonly FetchClaim[],
): Promise<void> {
  const jobs = [...Map.groupBy(settled, ({ environment }) => environment)].flatMap(
    ([environment, claims]) => runJobs(environment, claims.map(idOf)),
  )
  await queue.enqueue(tx, name, jobs)
}

function idOf({ runId }: FetchClaim): RunId {
  return runId
}
