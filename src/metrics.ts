/** What is counted and measured. On `/metrics` each name begins with `belfry_`. */
export interface MetricShape {
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  /** Few values each: never a recipient, a workflow, a message or an id. */
  readonly labels: readonly string[]
  /** Upper bounds of a histogram, in the unit of its name. */
  readonly buckets?: readonly number[]
}

/** From a save to a slow first import, in seconds. */
const PASS_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60] as const
/** From a call inside the machine to a provider that hardly answers, in seconds. */
const CALL_SECONDS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15] as const
/** From a push that is noticed at once to one that was not for a day, in seconds. */
const LAG_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30, 60, 300, 3600, 86_400] as const
const SIZE_BYTES = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9] as const

export const METRICS = {
  poll_total: {
    kind: 'counter',
    help: 'Looks at the refs of the repository, by what asked first for the look, and by result: ok or failed.',
    labels: ['trigger', 'result'],
  },
  poll_age_seconds: {
    kind: 'gauge',
    help: 'Time since this process last read the refs of the repository; absent where it never did.',
    labels: [],
  },
  fetch_seconds: {
    kind: 'histogram',
    help: 'Duration of a fetch from the remote repository, by result: ok or failed.',
    labels: ['result'],
    buckets: PASS_SECONDS,
  },
  fetch_bytes: {
    kind: 'histogram',
    help: 'Bytes that a fetch from the remote repository has received.',
    labels: [],
    buckets: SIZE_BYTES,
  },
  reconcile_seconds: {
    kind: 'histogram',
    help: 'Duration of a phase of taking a revision over: resolve, diff, read, compile, guard or apply.',
    labels: ['env', 'phase'],
    buckets: PASS_SECONDS,
  },
  push_to_applied_seconds: {
    kind: 'histogram',
    help: 'Time until a revision was applied, since its commit or since this process first saw it.',
    labels: ['env', 'since'],
    buckets: LAG_SECONDS,
  },
  revision_info: {
    kind: 'gauge',
    help: 'Always 1; with applied="true" its label revision is the one that is live in the environment, with applied="false" the one that was tried last, where that is another.',
    labels: ['env', 'revision', 'applied'],
  },
  env_ready: {
    kind: 'gauge',
    help: '1 where the environment is ready, else 0; its label reason says why.',
    labels: ['env', 'reason'],
  },
  workflows: {
    kind: 'gauge',
    help: 'Workflows of the environment, by state: live or archived.',
    labels: ['env', 'state'],
  },
  pruned_total: {
    kind: 'counter',
    help: 'Workflows that an applied revision has archived.',
    labels: ['env'],
  },
  drift_detected_total: {
    kind: 'counter',
    help: 'Rows that something else than Belfry had changed.',
    labels: ['env'],
  },
  drift_repaired_total: {
    kind: 'counter',
    help: 'Rows that were put back to what the applied revision says.',
    labels: ['env'],
  },
  webhook_total: {
    kind: 'counter',
    help: 'Calls of Git providers that ask for a look, and of providers that report on messages, by provider and result.',
    labels: ['provider', 'result'],
  },
  status_posts_total: {
    kind: 'counter',
    help: 'Commit statuses that were posted to a Git provider, by provider and result.',
    labels: ['provider', 'result'],
  },
  watch_events_total: {
    kind: 'counter',
    help: 'Signs of the file system that something under the repository may have changed.',
    labels: [],
  },
  watch_missed_total: {
    kind: 'counter',
    help: 'Branches that had moved without a sign of the file system, and that the safety poll has found.',
    labels: [],
  },
  leader: {
    kind: 'gauge',
    help: '1 in the process that reconciles, else 0.',
    labels: [],
  },
  ref_regressions_total: {
    kind: 'counter',
    help: 'Applied revisions that do not go on from what was applied before: the branch went back, or was rewritten.',
    labels: ['env'],
  },
  queue_jobs: {
    kind: 'gauge',
    help: 'Jobs in a queue, by state: ready, deferred or active. Counted by the queue every few seconds.',
    labels: ['queue', 'state'],
  },
  runs: {
    kind: 'gauge',
    help: 'Recipient runs that are kept, by status. Of a large table a sample, scaled up.',
    labels: ['env', 'status'],
  },
  messages: {
    kind: 'gauge',
    help: 'Messages that are kept, by type of channel and status. Of a large table a sample, scaled up.',
    labels: ['env', 'channel', 'status'],
  },
  oldest_due_seconds: {
    kind: 'gauge',
    help: 'How long what is due longest has been waiting, by kind: run or message; 0 where nothing is due.',
    labels: ['kind'],
  },
  resident_memory_bytes: {
    kind: 'gauge',
    help: 'Memory of this process.',
    labels: [],
  },
  counts_age_seconds: {
    kind: 'gauge',
    help: 'How old what was read from Postgres is: states, workflows, queues, runs, messages and due work.',
    labels: [],
  },
  trigger_seconds: {
    kind: 'histogram',
    help: 'Time until a trigger was answered, by status class of the answer: 2xx, 4xx or 5xx.',
    labels: ['status'],
    buckets: CALL_SECONDS,
  },
  delivery_seconds: {
    kind: 'histogram',
    help: 'Duration of a hand-over to a provider, by type of channel and outcome.',
    labels: ['channel', 'outcome'],
    buckets: CALL_SECONDS,
  },
} as const satisfies Readonly<Record<string, MetricShape>>

export type MetricName = keyof typeof METRICS
type NamesOf<Kind> = {
  [Name in MetricName]: (typeof METRICS)[Name]['kind'] extends Kind ? Name : never
}[MetricName]
/** The labels of a metric, all of them. */
export type LabelsOf<Name extends MetricName> = {
  readonly [Label in (typeof METRICS)[Name]['labels'][number]]: string
}

/** Where a room tells what it did. Nothing here throws, waits or asks the database. */
export interface Metrics {
  /** Starts a stopwatch; what it answers says how many seconds ago that was. */
  stopwatch(): () => number
  /** Adds to a counter; 1 unless told. */
  count<Name extends NamesOf<'counter'>>(name: Name, labels: LabelsOf<Name>, by?: number): void
  /** Adds a value to a histogram, in the unit of its name. */
  observe<Name extends NamesOf<'histogram'>>(
    name: Name,
    labels: LabelsOf<Name>,
    value: number,
  ): void
}

/** Counts nothing. */
export const noMetrics: Metrics = { stopwatch: () => () => 0, count() {}, observe() {} }
