import { bulkKinds } from '../api/bulk-kinds.ts'
import { sweepGitDeliveries } from '../api/hooks/store.ts'
import { sweepIdempotencyKeys } from '../api/idempotency.ts'
import { openDoor } from '../channels/door.ts'
import type { Database } from '../db/database.ts'
import type { Queue } from '../db/queue.ts'
import { analyzeChanged } from '../db/statistics.ts'
import { openDelivery, type DeliveryContext } from '../messages/deliver.ts'
import { enqueueDueMessages, releaseDeadClaims } from '../messages/due.ts'
import {
  beat,
  BEAT_MS,
  endDeadLeases,
  endLease,
  LEASE_MS,
  listDeadProcesses,
} from '../messages/leases.ts'
import { sweepRates } from '../messages/pace-store.ts'
import { pollStatuses } from '../messages/polls.ts'
import { sweepShortLinks } from '../messages/short-links.ts'
import { sweepChannelReports } from '../messages/report-store.ts'
import { registerDeliverWorker } from '../messages/workers.ts'
import { BULK_TOPIC, takeBulkTurn } from '../recipients/bulk-work.ts'
import { sweepBulks } from '../recipients/bulk-store.ts'
import { sweepPlanRequests } from '../reconcile/promotion-store.ts'
import { sweepBatches } from '../runs/batch-store.ts'
import {
  openFetching,
  registerFetchWorkers,
  releaseDeadFetches,
  type FetchContext,
} from '../runs/fetch-call.ts'
import { sweepThrottleWindows } from '../runs/gates.ts'
import { sweepSourceEvents } from '../runs/source-store.ts'
import { sweepEvents, tellWaitingRuns } from '../runs/wait-store.ts'
import { openRetention } from '../runs/retention.ts'
import { recheckPreferences } from '../runs/recheck.ts'
import { startDueSchedules } from '../runs/schedules.ts'
import { wakeDueRuns } from '../runs/wake.ts'
import { sweepCancellations } from '../runs/cancel.ts'
import { sweepRunActions } from '../runs/operate.ts'
import { sweepSwitchEvents } from '../messages/switches.ts'
import { registerRunWorkers } from '../runs/workers.ts'
import type { Ground } from './ground.ts'
import { addLoop } from './loop.ts'

const SWEEP_MS = 60_000
const REDRIVE_MS = 60_000
/** Between two pages of what may have been kept for long enough; after the last one it rests by itself. */
const RETENTION_MS = 500
const STATISTICS_MS = 2_000
/** Between two looks for messages whose services are to be asked about them. */
const STATUS_POLL_MS = 5_000
/** A job of a process whose lease has run out is older: it was fetched before the beat that did not come. */
const ABANDONED_MS = LEASE_MS - 2 * BEAT_MS

/** What is of no more use is deleted, some rows a turn, of each of these; each answers how many. */
const SWEEPS: Readonly<
  Record<string, (database: Database, now: Date, days: number) => Promise<number>>
> = {
  'idempotency keys': sweepIdempotencyKeys,
  'git deliveries': sweepGitDeliveries,
  'throttle windows': sweepThrottleWindows,
  'plan requests': sweepPlanRequests,
  'bulk operations': sweepBulks,
  'source events': sweepSourceEvents,
  'channel rates': sweepRates,
  'short links': sweepShortLinks,
  'channel reports': sweepChannelReports,
  cancellations: sweepCancellations,
  'run actions': sweepRunActions,
  'switch events': sweepSwitchEvents,
  events: sweepEvents,
  batches: sweepBatches,
}

/** Runs, deliveries, and the loops that wake both and take over from processes that died. */
export async function startWork(ground: Ground): Promise<void> {
  const { config, clock, log, secrets, database, queue, process, metrics, stack } = ground
  await beat(database, process)
  stack.defer(() => endLease(database, process).catch(() => {}))
  const door = openDoor({ allow: config.allowedTargets, loopback: config.dev })
  stack.defer(() => door.close())
  const { signal } = ground.handOvers
  const secret = (environment: string, name: string) => secrets.find(environment, name)
  const context = { database, clock, process, door, signal, secret, log }
  const delivery = openDelivery({
    ...context,
    recheck: recheckPreferences,
    metrics,
    publicUrl: config.publicUrl,
  })
  const fetching = openFetching({ ...context, queue })
  startWorkLoops(ground, delivery, fetching)
  await startBulkWork(ground)
  registerDeliverWorker(queue, delivery)
  const mask = (text: string) => ground.secrets.mask(text)
  registerRunWorkers({ database, queue, clock, log, mask, links: ground.links })
  registerFetchWorkers(fetching)
}

/** Works on calls for many, from when they are made. */
async function startBulkWork(ground: Ground): Promise<void> {
  const { clock, database, topics, stack } = ground
  const loop = addLoop(ground, { name: 'calls for many' }, () =>
    takeBulkTurn(database, bulkKinds, clock.now()),
  )
  const listening = await topics.listen(BULK_TOPIC, () => loop.wake())
  stack.defer(() => listening.close())
}

function startWorkLoops(ground: Ground, delivery: DeliveryContext, fetching: FetchContext): void {
  const { clock, database, queue, process } = ground
  const runs = { database, queue }
  const messages = {
    database,
    enqueue: (tx: Parameters<Queue['enqueue']>[0], jobs: readonly object[]) =>
      queue.enqueue(tx, 'deliver', jobs),
  }
  addLoop(ground, { name: 'beat', pollMs: BEAT_MS }, () => beat(database, process).then(() => 0))
  addLoop(ground, { name: 'wake-up' }, () => wakeDueRuns(runs, clock.now()))
  addLoop(ground, { name: 'waiting runs' }, () => tellWaitingRuns(runs))
  addLoop(ground, { name: 'schedules' }, () =>
    startDueSchedules({ ...runs, log: ground.log }, clock.now()),
  )
  const due = addLoop(ground, { name: 'due messages' }, () =>
    enqueueDueMessages(messages, clock.now()),
  )
  addLoop(ground, { name: 'status polls', pollMs: STATUS_POLL_MS }, () => pollStatuses(delivery))
  addLoop(ground, { name: 'dead letters', pollMs: REDRIVE_MS }, () => queue.redrive())
  addLoop(ground, { name: 'statistics', pollMs: STATISTICS_MS }, async () => {
    await analyzeChanged(database)
    return 0
  })
  const { retentionDays } = ground.config
  for (const [name, sweep] of Object.entries(SWEEPS)) {
    addLoop(ground, { name, pollMs: SWEEP_MS }, () => sweep(database, clock.now(), retentionDays))
  }
  const retention = openRetention(database, retentionDays)
  addLoop(ground, { name: 'retention', pollMs: RETENTION_MS }, () =>
    retention.turn(clock.now()).then(() => 0),
  )
  addLoop(ground, { name: 'dead processes' }, async () => {
    // A process that was cut off from Postgres for a while is not to take itself for dead.
    await beat(database, process)
    const dead = await listDeadProcesses(database)
    const now = clock.now()
    const messagesFreed = await releaseDeadClaims(delivery, now)
    // They have waited for as long as it takes to miss a process.
    if (messagesFreed > 0) due.wake()
    const freed = messagesFreed + (await releaseDeadFetches(fetching, now))
    if (dead.length === 0) return freed
    // Their jobs would come back after a minute; nobody shall wait that long.
    await queue.retryAbandoned(ABANDONED_MS)
    // Last, so that another process does it again where this one does not come to here.
    await endDeadLeases(database, dead)
    return freed
  })
}
