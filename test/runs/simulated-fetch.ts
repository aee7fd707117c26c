import { unreachable } from '../../src/errors.ts'
import type { FetchChange, PendingFetch, RunAnswer } from '../../src/runs/fetched.ts'
import type { Progress } from '../../src/runs/run.ts'
import type { Walk } from '../../src/runs/walk.ts'
import type { Random } from '../support/random.ts'
import type { Stored } from './simulated-runs.ts'

const exchange = {
  request: { method: 'GET', host: '', path: '', headers: {}, body: null },
  response: null,
}

/** What every endpoint says. */
const ANSWER = 1
/** How often a request is made that nobody answers. */
const ATTEMPTS_MAX = 3

/** Takes over what became of a run's request. Answers what is wrong with that. */
export function keepFetch(stored: Stored, { fetch, result }: Walk, now: Date): string | undefined {
  const fault = faultOfAnswer(stored, { fetch, result })
  if (fetch?.kind === 'ask') {
    if (stored.asked.includes(fetch.stepRef)) return `asked ${fetch.stepRef} twice`
    stored.asked.push(fetch.stepRef)
  }
  stored.fetch = changed(stored.fetch, fetch, now)
  return asks(result.progress) === (stored.fetch !== null) ? fault : 'and its request are at odds'
}

/** What the answer to a request has to come to, where nothing else ends the run. */
function faultOfAnswer(
  { fetch: known, run, asked }: Stored,
  { fetch, result }: Pick<Walk, 'fetch' | 'result'>,
): string | undefined {
  const { progress } = result
  if (known === null) return undefined
  const end = progress.kind === 'ended' ? progress.outcome : null
  if (end === 'cancelled') return undefined
  const isAgain = fetch?.kind === 'again' || fetch?.kind === 'keep'
  const tried = isAgain && 'attempt' in progress ? progress.attempt - run.attempt : null
  const isTaken = !isAgain && result.run.data?.[asked.at(-1)!] === ANSWER
  const isLast = run.attempt + 1 === ATTEMPTS_MAX
  return faultBy(known.answer, { tried, isTaken, isLast, hasFailed: end === 'failed' })
}

/** What became of a request that was answered. */
interface Fate {
  /** By how much the count of its attempts has grown; null where the run does not ask again. */
  readonly tried: number | null
  readonly isTaken: boolean
  readonly isLast: boolean
  readonly hasFailed: boolean
}

function faultBy(answer: RunAnswer | null, fate: Fate): string | undefined {
  const kind = answer?.kind ?? 'none'
  return FATES[kind](fate) ? undefined : `did not do what follows from its answer: ${kind}`
}

const isTriedAgain = ({ isLast, hasFailed, tried }: Fate) => (isLast ? hasFailed : tried === 1)

const FATES: Readonly<Record<RunAnswer['kind'] | 'none', (fate: Fate) => boolean>> = {
  none: ({ tried }) => tried === 0,
  fetched: ({ isTaken }) => isTaken,
  refused: ({ hasFailed }) => hasFailed,
  throttled: ({ tried, hasFailed }) => hasFailed || tried === 0,
  failed: isTriedAgain,
  lost: isTriedAgain,
}

/** What is kept of a run's request behind this change. */
function changed(
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
function asks(progress: Progress): boolean {
  return progress.kind === 'calling' || ('waitsFor' in progress && progress.waitsFor === 'fetch')
}

/** What may become of a request: mostly an answer, or null where it was given back unmade. */
export function anyAnswer({ pick }: Random): RunAnswer | null {
  return pick<RunAnswer | null>([
    ...Array.from({ length: 3 }, () => ({ kind: 'fetched', value: ANSWER, exchange }) as const),
    { kind: 'failed', details: 'x', exchange: null },
    { kind: 'throttled', details: 'x', retryAfterMs: 3_600_000, exchange },
    { kind: 'refused', details: 'x', exchange: null },
    { kind: 'lost' },
    null,
  ])
}
