import { unreachable } from '../../src/errors.ts'
import type { FetchChange, PendingFetch, RunAnswer } from '../../src/runs/fetched.ts'
import type { Progress } from '../../src/runs/run.ts'
import type { Random } from '../support/random.ts'

const exchange = {
  request: { method: 'GET', host: '', path: '', headers: {}, body: null },
  response: null,
}

/** What is kept of a run's request behind this change. */
export function changed(
  known: PendingFetch | null,
  change: FetchChange | null,
  now: Date,
): PendingFetch | null {
  if (change === null) return known
  switch (change.kind) {
    case 'ask':
      return { method: 'GET', url: 'https://crm.example.com', answer: null, askedAt: now }
    case 'again':
    case 'keep':
      return known && { ...known, answer: null }
    case 'done':
      return null
    default:
      return unreachable(change)
  }
}

/** Whether a run that stands so has a request. */
export function asks(progress: Progress): boolean {
  return progress.kind === 'calling' || ('waitsFor' in progress && progress.waitsFor === 'fetch')
}

/** What may become of a request: mostly an answer, or null where it was given back unmade. */
export function anyAnswer({ pick }: Random): RunAnswer | null {
  return pick<RunAnswer | null>([
    ...Array.from({ length: 3 }, () => ({ kind: 'fetched', value: 1, exchange }) as const),
    { kind: 'failed', details: 'x', exchange: null },
    { kind: 'throttled', details: 'x', retryAfterMs: 3_600_000, exchange },
    { kind: 'refused', details: 'x', exchange: null },
    { kind: 'lost' },
    null,
  ])
}
