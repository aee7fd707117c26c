import type { FetchAnswer } from '../channels/fetch.ts'
import { assert, unreachable } from '../errors.ts'
import type { RunId, StepRef } from '../ids.ts'
import { placeOf } from '../steps/fetch.ts'
import type { Step } from '../steps/index.ts'
import type { FetchContent, Outcome, StepEvent } from '../steps/step.ts'
import type { Decision } from './advance.ts'
import { DATA_BYTES_MAX, putInto, sizeOf } from './data.ts'
import { withSecrets } from './message.ts'
import type { Progress, QueuedRun } from './run.ts'
import { dataOf } from './scope.ts'
import type { Walker } from './walker.ts'

/** What became of a request: `lost` where the process that made it died before it could say. */
export type RunAnswer = FetchAnswer | { readonly kind: 'lost' }

/** The request that a run waits for, as its chunk finds it. */
export interface PendingFetch {
  readonly method: string
  readonly url: string
  /** Null where it is to be made, again after a back-off. */
  readonly answer: RunAnswer | null
  /** When the run came to the step. */
  readonly askedAt: Date
}

/** What is to become of the row of a run's request. */
export type FetchChange =
  /** Make this request. */
  | { readonly kind: 'ask'; readonly stepRef: StepRef; readonly request: FetchContent }
  /** Make it again, now. */
  | { readonly kind: 'again' }
  /** Keep it for after the back-off. */
  | { readonly kind: 'keep' }
  /** The run has gone on. */
  | { readonly kind: 'done' }

/** Until the next attempt, after each failure; the one behind them is the last. */
const RETRY_DELAYS_MS = [30_000, 60_000] as const
/** How long an endpoint may put a request off. */
const THROTTLED_MS_MAX = 24 * 3_600_000
/** How long it waits at least, as a share of how long it has been put off. */
const THROTTLED_SHARE = 1 / 20
const URL_LENGTH_MAX = 1_000

/** The same for each repetition of one request, and for no other. */
export function fetchId(runId: RunId, stepRef: StepRef): string {
  return `${runId}_${stepRef}`
}

/** Has a run ask what its fetch step says; a run that leaves no traces only looks. */
export function ask(
  walker: Walker,
  step: Step,
  outcome: Outcome & { readonly kind: 'fetch' },
): Decision {
  const { run, chunk, shared, secrets } = walker
  const request = withSecrets(outcome.request, secrets)
  const events = [requested(run.id, step.ref, request)]
  if (chunk.dryRun) return { kind: 'skip', reason: 'dry_run', events }
  if (shared.settings.sandbox_mode === true && request.method !== 'GET')
    return { kind: 'skip', reason: 'sandbox' }
  walker.asked = { kind: 'ask', stepRef: step.ref, request }
  return { kind: 'call', until: null, attempt: 0, events }
}

/** Goes on with what became of the request of this step. */
export function takeAnswer(walker: Walker, step: Step, pending: PendingFetch): Decision {
  const { run, chunk } = walker
  const { answer } = pending
  if (answer === null) {
    const events = [requested(run.id, step.ref, pending)]
    return { kind: 'call', until: null, attempt: run.attempt, events }
  }
  switch (answer.kind) {
    case 'fetched':
      return merge(walker, step, answer)
    case 'refused':
      return givenUp(answer)
    case 'throttled':
      return putOff(answer, pending.askedAt, { now: chunk.now, attempt: run.attempt })
    case 'failed': {
      const delayMs = RETRY_DELAYS_MS[run.attempt]
      if (delayMs === undefined) return givenUp(answer)
      const waitMs = Math.max(answer.retryAfterMs ?? 0, delayMs)
      return backOff(answer, new Date(chunk.now.getTime() + waitMs), run.attempt + 1)
    }
    case 'lost': {
      if (RETRY_DELAYS_MS[run.attempt] === undefined) return givenUp(answer)
      const events = [failure(answer, chunk.now)]
      return { kind: 'call', until: null, attempt: run.attempt + 1, events }
    }
    default:
      return unreachable(answer)
  }
}

/** What is to become of the row of the run's request, once it is known where the run stands. */
export function changeOf(
  { asked }: Pick<Walker, 'asked'>,
  run: QueuedRun,
  progress: Progress,
): FetchChange | null {
  if (progress.kind === 'calling') return asked ?? { kind: 'again' }
  if (run.waitsFor !== 'fetch') return null
  const isKept = progress.kind === 'paused' && progress.waitsFor === 'fetch'
  return { kind: isKept ? 'keep' : 'done' }
}

/** What the timeline says of an answer that did not bring the run on. */
export function failure(
  answer: Exclude<RunAnswer, { readonly kind: 'fetched' }>,
  retryAt: Date | null = null,
): StepEvent {
  const { details, exchange } =
    answer.kind === 'lost'
      ? { details: 'the process that made the request ended before the answer', exchange: null }
      : answer
  const data = {
    details,
    retry_at: retryAt?.toISOString() ?? null,
    request: exchange?.request ?? null,
    response: exchange?.response ?? null,
  }
  return { event: 'fetch_failed', status: 'error', data }
}

/** What the timeline says of an answer; `keys` are those that it brought into `data`, null where it came too late. */
export function success(
  { exchange }: FetchAnswer & { readonly kind: 'fetched' },
  place: { readonly into: string | null; readonly keys: readonly string[] | null },
): StepEvent {
  const { request, response } = exchange
  return { event: 'fetch_answered', status: 'ok', data: { ...place, request, response } }
}

function merge(
  walker: Walker,
  step: Step,
  answer: FetchAnswer & { readonly kind: 'fetched' },
): Decision {
  assert(step.type === 'fetch', `${step.ref} is no fetch step`)
  const { run, shared } = walker
  const { value, exchange } = answer
  const place = placeOf(step)
  const into = place?.join('.') ?? null
  if (value === undefined) return { kind: 'next', events: [success(answer, { into, keys: [] })] }
  const changed = putInto(dataOf(shared, run), place, value)
  if (changed === undefined) {
    const details = 'the answer is no JSON object, and the step names no place for it'
    return givenUp({ kind: 'refused', details, exchange })
  }
  const data = { ...run.data, ...changed }
  if (sizeOf(data) > DATA_BYTES_MAX) {
    const details = `the data of the run would be larger than ${DATA_BYTES_MAX} bytes`
    return givenUp({ kind: 'refused', details, exchange })
  }
  walker.run = { ...run, data }
  return { kind: 'next', events: [success(answer, { into, keys: Object.keys(changed) })] }
}

/** The longer it takes, the more seldom it asks, so that a day of it leaves a timeline that can be read. */
function putOff(
  answer: FetchAnswer & { readonly kind: 'throttled' },
  askedAt: Date,
  { now, attempt }: { readonly now: Date; readonly attempt: number },
): Decision {
  const ageMs = now.getTime() - askedAt.getTime()
  const waitMs = Math.max(answer.retryAfterMs ?? 0, RETRY_DELAYS_MS[0], ageMs * THROTTLED_SHARE)
  if (ageMs + waitMs > THROTTLED_MS_MAX) return givenUp(answer)
  return backOff(answer, new Date(now.getTime() + waitMs), attempt)
}

function backOff(
  answer: Exclude<RunAnswer, { readonly kind: 'fetched' }>,
  until: Date,
  attempt: number,
): Decision {
  return { kind: 'call', until, attempt, events: [failure(answer, until)] }
}

function givenUp(answer: Exclude<RunAnswer, { readonly kind: 'fetched' }>): Decision {
  const event = failure(answer)
  const message = String(event.data?.['details'])
  return { kind: 'fail', message, retryable: false, events: [event] }
}

function requested(
  runId: RunId,
  stepRef: StepRef,
  { method, url }: { readonly method: string; readonly url: string },
): StepEvent {
  const data = { method, url: url.slice(0, URL_LENGTH_MAX).toWellFormed() }
  const idempotency_key = fetchId(runId, stepRef)
  return { event: 'fetch_requested', status: 'ok', data: { ...data, idempotency_key } }
}
