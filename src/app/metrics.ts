import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import {
  countMessages,
  countRuns,
  findOldestDue,
  findSamplePercents,
  listEnvironmentFigures,
  type Counted,
  type EnvironmentFigure,
} from '../api/metrics-store.ts'
import type { Exposition } from '../api/services.ts'
import type { Clock } from '../clock.ts'
import type { Database } from '../db/database.ts'
import type { Queue, QueueDepth } from '../db/queue.ts'
import { messageOf } from '../errors.ts'
import type { Log } from '../log.ts'
import { METRICS, type MetricName, type MetricShape, type Metrics } from '../metrics.ts'

export interface MetricsOptions {
  readonly database: Database
  readonly queue: Queue
  readonly clock: Clock
  readonly log: Log
}

/** What is known of the reconciler of this process. */
export interface Watched {
  readonly isLeading: boolean
  readonly polledAt: Date | null
}

/** The metrics of one app. */
export interface Registered extends Metrics, Exposition {
  /** Shows what this reconciler says of itself; without one this process never leads. */
  watch(reconciler: Watched): void
}

const PREFIX = 'belfry_'
/** Postgres is asked at a scrape, but no more often than that. */
const COUNTS_MS = 10_000
/** A scrape waits so long for Postgres, and shows the last counts with their age otherwise. */
const PATIENCE_MS = 2_000

type Instruments = ReadonlyMap<MetricName, Counter | Gauge | Histogram>

/** Opens a registry of its own; nothing is shared with another app of this process. */
export function openMetrics(options: MetricsOptions): Registered {
  const registry = new Registry()
  const instruments = register(registry)
  const gauge = (name: MetricName) => instruments.get(name) as Gauge
  const counts = openCounts(options)
  let reconciler: Watched | undefined
  return {
    contentType: registry.contentType,
    stopwatch() {
      const from = performance.now()
      return () => (performance.now() - from) / 1_000
    },
    count: (name, labels, by = 1) => (instruments.get(name) as Counter).inc({ ...labels }, by),
    observe: (name, labels, value) =>
      (instruments.get(name) as Histogram).observe({ ...labels }, value),
    watch: (one) => void (reconciler = one),
    async expose() {
      const found = await counts()
      const now = options.clock.now()
      if (found) showCounts(gauge, found, now)
      gauge('leader').set(reconciler?.isLeading ? 1 : 0)
      if (reconciler?.polledAt) gauge('poll_age_seconds').set(ageOf(reconciler.polledAt, now))
      gauge('resident_memory_bytes').set(process.memoryUsage.rss())
      return registry.metrics()
    },
  }
}

function register(registry: Registry): Instruments {
  const registers = [registry]
  return new Map(
    Object.entries<MetricShape>(METRICS).map(([key, { kind, help, labels, buckets }]) => {
      const base = { name: `${PREFIX}${key}`, help, labelNames: [...labels], registers }
      return [key as MetricName, instrument(kind, base, buckets)]
    }),
  )
}

type Base = ConstructorParameters<typeof Gauge>[0]

function instrument(kind: MetricShape['kind'], base: Base, buckets: readonly number[] = []) {
  const { name, help, labelNames = [], registers = [] } = base
  const shape = { name, help, labelNames, registers }
  if (kind === 'counter') return new Counter(shape)
  if (kind === 'gauge') {
    const gauge = new Gauge(shape)
    // One without labels would show 0 for what is not known.
    if (labelNames.length === 0) gauge.remove()
    return gauge
  }
  return new Histogram({ ...shape, buckets: [...buckets] })
}

/** What one look at Postgres has found. */
interface Counts {
  readonly at: Date
  readonly environments: readonly EnvironmentFigure[]
  readonly queues: readonly QueueDepth[]
  readonly runs: readonly Counted[]
  readonly messages: readonly Counted[]
  readonly due: { readonly run: Date | null; readonly message: Date | null }
}

/** Answers the newest counts; one question at a time, and an old answer rather than a late one. */
function openCounts(options: MetricsOptions): () => Promise<Counts | undefined> {
  const { clock, log } = options
  let last: Counts | undefined
  let asking: Promise<void> | undefined
  return async () => {
    const isOld = !last || clock.now().getTime() - last.at.getTime() >= COUNTS_MS
    if (isOld) {
      asking ??= loadCounts(options)
        .then(
          (found) => void (last = found),
          (error: unknown) => log.debug('metrics cannot be read', { error: messageOf(error) }),
        )
        .finally(() => (asking = undefined))
      let patience: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => (patience = setTimeout(resolve, PATIENCE_MS)))
      await Promise.race([asking, late])
      clearTimeout(patience)
    }
    return last
  }
}

async function loadCounts({ database, queue, clock }: MetricsOptions): Promise<Counts> {
  const at = clock.now()
  const percents = await findSamplePercents(database)
  return {
    at,
    environments: await listEnvironmentFigures(database),
    queues: await queue.depths(),
    runs: await countRuns(database, percents.runs),
    messages: await countMessages(database, percents.messages),
    due: await findOldestDue(database, at),
  }
}

function showCounts(gauge: (name: MetricName) => Gauge, counts: Counts, now: Date): void {
  const fill = (name: MetricName, rows: readonly (readonly [Record<string, string>, number])[]) => {
    const one = gauge(name)
    // A revision or a reason that is over is not to be shown beside the new one.
    one.reset()
    for (const [labels, value] of rows) one.set(labels, value)
  }
  const { environments, queues, runs, messages, due, at } = counts
  fill(
    'env_ready',
    environments.map(({ name: env, state, reason }) => {
      return [{ env, reason }, state === 'ready' ? 1 : 0]
    }),
  )
  fill(
    'revision_info',
    environments.flatMap(({ name: env, applied, attempted }) =>
      [
        { env, revision: applied, applied: 'true' },
        { env, revision: attempted, applied: 'false' },
      ].flatMap(({ revision, ...labels }) =>
        revision === null ? [] : [[{ ...labels, revision }, 1]],
      ),
    ),
  )
  fill(
    'workflows',
    environments.flatMap(({ name: env, live, archived }) => [
      [{ env, state: 'live' }, live],
      [{ env, state: 'archived' }, archived],
    ]),
  )
  fill(
    'queue_jobs',
    queues.flatMap(({ queue, ...states }) =>
      Object.entries(states).map(([state, count]) => [{ queue, state }, count] as const),
    ),
  )
  fill(
    'runs',
    runs.map(({ environment: env, status, count }) => [{ env, status }, count]),
  )
  fill(
    'messages',
    messages.map(({ environment: env, count, ...labels }) => [{ env, ...labels }, count]),
  )
  fill(
    'oldest_due_seconds',
    Object.entries(due).map(([kind, since]) => [{ kind }, since === null ? 0 : ageOf(since, now)]),
  )
  gauge('counts_age_seconds').set(ageOf(at, now))
}

function ageOf(since: Date, now: Date): number {
  return Math.max(0, now.getTime() - since.getTime()) / 1_000
}
