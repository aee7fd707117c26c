import { RetryableFailure } from '../errors.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import type { Metrics } from '../metrics.ts'
import type { Looking } from './settle.ts'
import type { KnownEnvironment } from './store.ts'

/** Since when a process knows of a revision. */
export interface Sight {
  readonly revision: Revision
  /** Null: it was there when the process first looked, so that nobody knows since when. */
  readonly since: Date | null
}

/** What may ask for a look at the refs. Each is explained in docs/spec/metrics.md. */
export type Trigger =
  | 'start'
  | 'watch'
  | 'poll'
  | 'webhook'
  | 'request'
  | 'retry'
  | 'drift'
  | 'due'
  | 'again'

/** Counts a look at the refs. */
export function notePoll(
  { memory, metrics, clock }: Pick<Looking, 'memory' | 'metrics' | 'clock'>,
  result: 'ok' | 'failed',
): void {
  if (result === 'ok') memory.polledAt = clock.now()
  metrics.count('poll_total', { trigger: memory.trigger, result })
}

/** A part of taking a revision over: at any time it is in one of them. */
export type Phase = 'resolve' | 'diff' | 'read' | 'compile' | 'guard' | 'apply'

/** Measures the phases of taking one revision over. */
export interface Phases {
  /** Ends the phase before. One that is entered several times is added up. */
  enter(phase: Phase): void
  /** Tells how long each took. What is not ended so, because it failed or was let go, is not told. */
  end(): void
}

/** Begins with what was spent on finding out which revision it is. */
export function openPhases(
  metrics: Metrics,
  env: EnvironmentName,
  resolvedInSeconds: number,
): Phases {
  const spent = new Map<Phase, number>([['resolve', resolvedInSeconds]])
  let current: { readonly phase: Phase; readonly elapsed: () => number } | undefined
  const leave = () => {
    if (current) spent.set(current.phase, (spent.get(current.phase) ?? 0) + current.elapsed())
    current = undefined
  }
  return {
    enter(phase) {
      leave()
      current = { phase, elapsed: metrics.stopwatch() }
    },
    end() {
      leave()
      for (const [phase, seconds] of spent) {
        metrics.observe('reconcile_seconds', { env, phase }, seconds)
      }
      spent.clear()
    },
  }
}

/** Takes in what is at the branch of an environment now. */
export function noteSight(
  { memory, metrics, clock, repository }: Looking,
  { name }: Pick<KnownEnvironment, 'name'>,
  revision: Revision,
): void {
  const before = memory.sights.get(name)
  if (before?.revision === revision) return
  memory.sights.set(name, { revision, since: before ? clock.now() : null })
  // Nothing of a remote announces a change but a webhook; there the poll is how changes are found.
  const isWatched = repository.watch === undefined
  if (before && isWatched && !memory.isAnnounced) metrics.count('watch_missed_total', {})
}

/** How long it took until a revision was live, where this process has seen it come. */
export async function measureLag(
  { memory, metrics, clock, repository }: Looking,
  { name: env }: Pick<KnownEnvironment, 'name'>,
  revision: Revision,
): Promise<void> {
  const now = clock.now().getTime()
  const sight = memory.sights.get(env)
  if (sight?.revision !== revision || sight.since === null) return
  const lag = (since: 'first_sight' | 'commit', at: number) =>
    metrics.observe('push_to_applied_seconds', { env, since }, Math.max(0, now - at) / 1000)
  lag('first_sight', sight.since.getTime())
  if (revision.includes('+')) return
  try {
    const { committedAt } = await repository.commit(revision)
    lag('commit', committedAt * 1000)
  } catch (error) {
    // It was applied all the same.
    if (!(error instanceof RetryableFailure)) throw error
  }
}
