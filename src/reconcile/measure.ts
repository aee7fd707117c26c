import { RetryableFailure } from '../errors.ts'
import type { Revision } from '../ids.ts'
import type { Looking } from './settle.ts'
import type { KnownEnvironment } from './store.ts'

/** Since when a process knows of a revision. */
export interface Sight {
  readonly revision: Revision
  /** Null: it was there when the process first looked, so that nobody knows since when. */
  readonly since: Date | null
}

/** Counts a look at the refs. */
export function notePoll(
  { memory, metrics, clock }: Pick<Looking, 'memory' | 'metrics' | 'clock'>,
  result: 'ok' | 'failed',
): void {
  if (result === 'ok') memory.polledAt = clock.now()
  metrics.count('poll_total', { result })
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
