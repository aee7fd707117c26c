import { memoized } from '../memo.ts'
import { assert } from '../errors.ts'
import type { MessageEvent, RecipientEvent } from '../messages/happenings.ts'
import { evaluate } from '../language/conditions.ts'
import { lookupIn } from '../language/paths.ts'
import type { NewMessage } from '../messages/store.ts'
import type { Step } from '../steps/index.ts'
import type { StepBase } from '../steps/step.ts'
import { stepTypeOf } from '../steps/index.ts'
import { stepAt } from './advance.ts'
import type { Chunk } from './chunk.ts'
import type { Progress, QueuedRun } from './run.ts'
import { scopeOf } from './scope.ts'
import type { RunResult } from './store.ts'
import type { LoadedVersion } from './versions.ts'
import { CANDIDATES_MAX, type Candidate, type LoadedWait, type Wait } from './wait-store.ts'
import type { Walker } from './walker.ts'

/** Events that do not match and stand in the timeline of a wait. */
const LISTED_MAX = 20

/** Opens the wait of a run. */
export function openWait(
  walker: Walker,
  step: Step,
  { event, until }: { readonly event: string; readonly until: Date },
): void {
  const { run, chunk } = walker
  walker.waits.push({
    runId: run.id,
    stepRef: step.ref,
    event,
    collection: run.collection,
    recipient: run.recipient,
    openedAt: chunk.now,
    expiresAt: until,
    fresh: true,
    matched: null,
    eventId: null,
    data: null,
    seen: [],
  })
}

/**
 * Looks at what has happened since a run waits: the first event that matches ends the wait, and so does its time.
 * Answers how the run sleeps on where neither has come.
 */
export function lookAtEvents(walker: Walker): Progress | undefined {
  const { chunk, run, version, timeline } = walker
  const step = stepAt(version.workflow, run.position)
  const wait = chunk.waits.get(run.id)?.find(({ matched }) => matched === null)
  assert(step?.type === 'wait_for_event' && wait, `run ${run.id} waits for no event`)
  const { seen, found } = firstMatch(walker, step, wait)
  // Somebody who wakes a run ends its wait, too; a run that is tried again after a failure sleeps on.
  const isDue = chunk.now >= wait.expiresAt || (!run.asleep && run.attempt === 0)
  // Its time is over only once all that came in time was looked at: else it is due again at once.
  const isLast = wait.candidates.length < CANDIDATES_MAX
  const wakesAt = isDue ? chunk.now : wait.expiresAt
  const progress = found || (isDue && isLast) ? undefined : sleepOn(walker, wait, seen, wakesAt)
  if (!progress) endWait(walker, wait, { seen, found })
  timeline.close(step)
  return progress
}

function sleepOn(
  { run, waits }: Walker,
  { candidates, ...wait }: LoadedWait,
  seen: readonly string[],
  wakesAt: Date,
): Progress {
  // What one look could not take is for the next one.
  const fresh = candidates.length >= CANDIDATES_MAX
  if (seen.length > wait.seen.length) waits.push({ ...wait, seen, fresh })
  return { kind: 'paused', position: run.position, waitsFor: 'event', wakesAt, attempt: 0 }
}

interface Look {
  readonly seen: readonly string[]
  readonly found: Candidate | undefined
}

function endWait(walker: Walker, loaded: LoadedWait, { seen, found }: Look): void {
  const { candidates, ...wait } = loaded
  assert(found === undefined || candidates.includes(found), 'a wait ends with what it looked at')
  const matched = found !== undefined
  const data = found?.data ?? null
  walker.waits.push({ ...wait, matched, eventId: found?.id ?? null, data, seen, fresh: false })
  const lookedAt = { event: wait.event, looked_at: seen.length + (found ? 1 : 0) }
  if (found) walker.timeline.add('event_matched', { ...lookedAt, event_id: found.id })
  else walker.timeline.add('wait_expired', lookedAt)
  walker.matched = matched
  walker.event = data
  walker.refs[wait.stepRef] = waitRef({ matched, data })
}

function firstMatch(
  walker: Walker,
  step: Step & { readonly type: 'wait_for_event' },
  wait: LoadedWait,
): Look {
  const { chunk, run, timeline } = walker
  const seen = [...wait.seen]
  if (wait.candidates.length === 0) return { seen, found: undefined }
  const scope = scopeOf(walker)
  for (const candidate of wait.candidates) {
    const isOwn = wait.event.startsWith('workflow.') && candidate.data['run_id'] === run.id
    if (!isOwn) {
      const seenBy = lookupIn({ ...scope, event: candidate.data })
      const { holds, results } = step.match
        ? evaluate(step.match, seenBy, { now: chunk.now })
        : { holds: true, results: [] }
      // Those behind the first ones are only counted, by what ends the wait.
      if (holds || seen.length < LISTED_MAX)
        timeline.add('wait_conditions_evaluated', {
          event: wait.event,
          event_id: candidate.id,
          result: holds,
          conditions: results,
        })
      if (holds) return { seen, found: candidate }
    }
    seen.push(candidate.id)
  }
  return { seen, found: undefined }
}

/** What earlier waits of a run have left in its scope. */
export function pastWaits(chunk: Chunk, run: QueuedRun) {
  const over = (chunk.waits.get(run.id) ?? []).filter(({ matched }) => matched !== null)
  return {
    refs: Object.fromEntries(over.map((wait) => [wait.stepRef, waitRef(wait)])),
    event: over.at(-1)?.data ?? null,
  }
}

function waitRef({ matched, data }: Pick<Wait, 'matched' | 'data'>) {
  return { matched: matched === true, signal_variables: data ?? {} }
}

/** Whether a version has a step that waits for an event. */
export const hasWaits = memoized(({ workflow }: LoadedVersion) => awaits(workflow.steps))

function awaits(steps: readonly StepBase[]): boolean {
  return steps.some((step) => {
    const type = stepTypeOf(step)
    if (type.type === 'wait_for_event') return true
    return (type.children?.(step) ?? []).some((child) => awaits(child.steps))
  })
}

/** What the runs of a chunk have lived through, for those that wait for such things. */
export function eventsOf(
  chunk: Chunk,
  results: readonly { readonly before: QueuedRun; readonly result: RunResult }[],
  messages: readonly NewMessage[],
): { readonly messages: readonly MessageEvent[]; readonly recipients: readonly RecipientEvent[] } {
  const { environment } = chunk
  return {
    messages: messages.flatMap(({ id: message, status, reason }) => {
      const data = reason === undefined ? null : { reason }
      return [
        { environment, message, type: 'message.created', data: null },
        { environment, message, type: `message.${status}`, data },
      ]
    }),
    recipients: results.flatMap(({ before, result }) => runEvents(chunk, before, result)),
  }
}

function runEvents(
  { environment, workflowRuns }: Chunk,
  before: QueuedRun,
  { run, progress }: RunResult,
): readonly RecipientEvent[] {
  const shared = workflowRuns.get(run.workflowRunId)
  if (!shared || shared.settings.sandbox_mode === true) return []
  const isCancelled = progress.kind === 'ended' && progress.outcome === 'cancelled'
  if (isCancelled) return []
  const { collection, recipient, workflow } = run
  const data = {
    workflow,
    source: { type: 'workflow', key: workflow },
    run_id: run.id,
    workflow_run_id: run.workflowRunId,
    recipient,
    collection,
    tenant: shared.tenant,
  }
  const about = { environment, collection, recipient }
  const events: RecipientEvent[] = []
  if (before.steps === 0) events.push({ ...about, type: 'workflow.started', data })
  if (progress.kind === 'ended') {
    const { outcome, reason } = progress
    events.push({ ...about, type: 'workflow.completed', data: { ...data, outcome, reason } })
  }
  return events
}
