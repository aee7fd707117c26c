import { assert, unreachable } from '../errors.ts'
import type { Step } from '../steps/index.ts'
import type { Outcome } from '../steps/step.ts'
import { advance, type Decision } from './advance.ts'
import type { Answer, Request } from './gates.ts'
import type { ClosedBatch } from './batches.ts'
import type { Progress, WorkflowRun } from './run.ts'
import { refsOf } from './scope.ts'
import { pastWaits } from './waiting.ts'
import type { Walker } from './walker.ts'

/** Takes a run that has come to a batch step into the batch that is open, or into one of its own. */
export function* atBatch(
  walker: Walker,
  step: Step,
  outcome: Outcome & { readonly kind: 'batch' },
): Generator<Request, Decision, Answer> {
  const { run, shared, version } = walker
  const { key, events = [] } = outcome
  const answer = yield {
    kind: 'join',
    run,
    bucket: {
      workflow: run.workflow,
      stepRef: step.ref,
      collection: run.collection,
      recipient: run.recipient,
      tenant: shared.tenant,
      key,
      versionId: outcome.pinned ? version.id : null,
      // What is sent for real never waits for a run that sends nothing.
      sandbox: shared.settings.sandbox_mode === true,
    },
    outcome,
  }
  const shown = key === '' ? null : key
  const noted = (event: string, data: Readonly<Record<string, unknown>>) =>
    [...events, { event, status: 'ok', data: { key: shown, ...data } }] as const
  switch (answer.kind) {
    case 'passed': {
      const data = { closes_at: answer.closesAt.toISOString() }
      return { kind: 'next', events: noted('batch_passed', data) }
    }
    case 'opened': {
      const { batchId, closesAt } = answer
      walker.run = { ...run, batchId }
      return {
        kind: 'hold',
        until: closesAt,
        events: noted('batch_opened', { batch_id: batchId, closes_at: closesAt.toISOString() }),
      }
    }
    case 'joined': {
      const { batchId, runId, activities } = answer
      walker.run = { ...run, batchId }
      const data = { batch_id: batchId, run: runId, activities }
      return { kind: 'absorbed', events: noted('batch_joined', data) }
    }
    case 'gate':
    case 'nested':
    case 'early':
    case 'gone':
    case 'closed':
      throw new Error(`a batch does not answer "${answer.kind}" to what comes`)
    default:
      return unreachable(answer)
  }
}

/** What became of the batch that a run waits for: where it stands now, or what it goes on with. */
export function* atClose(walker: Walker): Generator<Request, Progress | ClosedBatch, Answer> {
  const { run, version } = walker
  const answer = yield { kind: 'look', run, version }
  switch (answer.kind) {
    case 'early': {
      const { closesAt: wakesAt } = answer
      return { kind: 'paused', position: run.position, waitsFor: 'batch', wakesAt, attempt: 0 }
    }
    case 'gone':
      return { kind: 'ended', outcome: 'cancelled', reason: 'cancelled' }
    case 'closed':
      return answer
    case 'gate':
    case 'nested':
    case 'passed':
    case 'opened':
    case 'joined':
      throw new Error(`a batch does not answer "${answer.kind}" to the run that waits for it`)
    default:
      return unreachable(answer)
  }
}

/** Lets a run go on with what its batch collected, behind the batch step of the version that it goes on with. */
export function goOn(walker: Walker, closed: ClosedBatch): Progress {
  const { chunk, run, timeline } = walker
  const { contents, version, step, position } = closed
  assert(run.batchId !== null, `run ${run.id} has no batch`)
  timeline.add('batch_closed', {
    batch_id: run.batchId,
    total_activities: contents.totalActivities,
    total_actors: contents.totalActors,
    opened_at: closed.openedAt.toISOString(),
    version: version.id,
  })
  timeline.close(step)
  walker.version = version
  const { refs } = pastWaits(chunk, run)
  walker.refs = { ...refsOf(version.workflow, chunk.statuses.get(run.id) ?? []), ...refs }
  walker.run = { ...run, versionId: version.id, position, data: closed.data, waitsFor: null }
  walker.batch = contents
  walker.shared = spokenFor(walker.shared, contents)
  return advance(version.workflow, { position, attempt: 0 }, { kind: 'next' }, chunk.now)
}

/** Who caused it: not somebody whose activity was cancelled. */
export function spokenFor(
  shared: WorkflowRun,
  { actor }: Pick<ClosedBatch['contents'], 'actor'>,
): WorkflowRun {
  return { ...shared, actor }
}
