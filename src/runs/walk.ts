import { memoized } from '../memo.ts'
import { assert, messageOf, TerminalFailure } from '../errors.ts'
import { weightOf } from '../json.ts'
import { evaluate, type Conditions } from '../language/conditions.ts'
import { lookupIn } from '../language/paths.ts'
import type { NewMessage } from '../messages/store.ts'
import { recipientKey, TENANTS } from '../recipients/recipient.ts'
import type { RecipientPatch } from '../recipients/store.ts'
import { stepTypeOf, type Step } from '../steps/index.ts'
import type { Outcome, Scope } from '../steps/step.ts'
import { chooseChannel } from '../workflow/channel.ts'
import type { Channel } from '../workflow/environment.ts'
import { advance, stepAt, type Decision } from './advance.ts'
import type { Chunk } from './chunk.ts'
import { stepContext, type StepPlace } from './context.ts'
import { atBatch, atClose, goOn, spokenFor } from './batched.ts'
import { ask, changeOf, takeAnswer, type FetchChange } from './fetched.ts'
import type { Answer, Request } from './gates.ts'
import { composeMessage } from './message.ts'
import { askPreferences, preferenceLayers, toDecision } from './preferences.ts'
import type { Position, Progress, QueuedRun, RunOutcome } from './run.ts'
import { atTrigger } from './nested-step.ts'
import { refsOf, scopeOf, type SecretPlaceholders } from './scope.ts'
import type { RunResult } from './store.ts'
import { TimelineWriter } from './timeline.ts'
import { applyUpdate } from './update.ts'
import type { Wait } from './wait-store.ts'
import { lookAtEvents, openWait, pastWaits } from './waiting.ts'
import type { Walker } from './walker.ts'

/** What a run did until it paused or ended: its new standing, the messages it made, and what it changed of recipients. */
export interface Walk {
  readonly result: RunResult
  readonly messages: readonly NewMessage[]
  readonly updates: readonly RecipientPatch[]
  /** What is to become of the request that it waits for; null where there is none. */
  readonly fetch: FetchChange | null
  readonly waits: readonly Wait[]
}

/** What a step decides, before a gate is asked. */
type Decided = Outcome | Extract<Decision, { readonly kind: 'fail' }>

/** A run under way: it asks at each gate and batch that it comes to, and goes on with the answer. */
export type Walking = Generator<Request, Walk, Answer>

/**
 * Takes a run through its steps until it pauses or ends. Decides in memory, from what was loaded: no query,
 * no request, no clock of its own, so that a chunk of runs is one transaction of a fixed size.
 */
export function* walk(chunk: Chunk, run: QueuedRun, secrets: SecretPlaceholders): Walking {
  const shared = chunk.workflowRuns.get(run.workflowRunId)
  const version = chunk.versions.get(run.versionId)
  assert(shared && version, `run ${run.id} has no trigger or no version`)
  const timeline = new TimelineWriter(run, chunk.now)
  const past = pastWaits(chunk, run)
  const refs = { ...refsOf(version.workflow, chunk.statuses.get(run.id) ?? []), ...past.refs }
  const batch = chunk.batches.get(run.id) ?? null
  const walker: Walker = {
    chunk,
    run,
    shared: batch ? spokenFor(shared, batch) : shared,
    version,
    secrets,
    timeline,
    messages: [],
    updates: [],
    asked: null,
    refs,
    batch,
    matched: false,
    event: past.event,
    waits: [],
  }
  const progress = yield* begin(walker)
  chunk.made.bytes += weightOf(walker.updates)
  if (walker.run.data !== run.data) chunk.made.bytes += weightOf(walker.run.data)
  return {
    result: {
      run: walker.run,
      progress,
      steps: timeline.records(),
      errorCount: timeline.errorCount,
      dataChanged: walker.run.data !== run.data,
    },
    messages: walker.messages,
    updates: walker.updates,
    fetch: changeOf(walker, run, progress),
    waits: walker.waits,
  }
}

/** A run whose batch is still open sleeps on, whatever has become of its workflow meanwhile. */
function* begin(walker: Walker): Generator<Request, Progress, Answer> {
  if (walker.run.waitsFor === 'event') {
    const sleeping = lookAtEvents(walker)
    if (sleeping) return sleeping
  }
  if (walker.run.waitsFor !== 'batch') return stopped(walker) ?? (yield* proceed(walker))
  const closed = yield* atClose(walker)
  if (closed.kind !== 'closed') return closed
  const end = stopped(walker)
  if (end) return end
  const progress = goOn(walker, closed)
  return progress.kind === 'queued' ? yield* proceed(walker, progress.position) : progress
}

/** What ends a run before it is looked at: its workflow may not run, or its recipient is gone. */
function stopped({ chunk, run, timeline }: Walker): Progress | undefined {
  if (chunk.archived.has(run.workflow)) return ended('cancelled', 'workflow_archived')
  const sending = chunk.switches.workflow(run.workflow)
  if (!sending.active) {
    timeline.add('switch_checked', { active: false, reason: sending.reason })
    timeline.close(null)
    return ended('cancelled', 'workflow_inactive')
  }
  if (!chunk.entities.has(`${run.collection}/${run.recipient}`))
    return ended('cancelled', 'recipient_deleted')
  return undefined
}

function* proceed(
  walker: Walker,
  from: Position = walker.run.position,
): Generator<Request, Progress, Answer> {
  const { chunk, run, version } = walker
  let scope = scopeOf(walker)
  if (!mayBegin(walker, scope)) return ended('halted', 'conditions_not_met')
  let { attempt } = run
  let waited = run.waitsFor === 'delay' || run.waitsFor === 'event'
  let pending = run.waitsFor === 'fetch' ? chunk.fetches.get(run.id) : undefined
  let progress: Progress = { kind: 'queued', position: from }
  while (progress.kind === 'queued') {
    const { position } = progress
    const step = stepAt(version.workflow, position)
    if (!step) return ended('completed', null)
    const { run: known, refs } = walker
    const { entities } = walker.chunk
    const decision = pending
      ? takeAnswer(walker, step, pending)
      : yield* resolve(walker, step, decide(walker, step, scope, waited))
    const isChanged = walker.run !== known || walker.refs !== refs
    if (isChanged || walker.chunk.entities !== entities) scope = scopeOf(walker)
    progress = advance(version.workflow, { position, attempt }, decision, chunk.now)
    if (decision.kind === 'await') openWait(walker, step, decision)
    record(walker, step, decision, progress)
    attempt = 0
    waited = false
    pending = undefined
  }
  return progress
}

/** Whether the conditions of the workflow hold, of a run that has not begun. */
function mayBegin(walker: Walker, scope: Scope): boolean {
  const { run, version, timeline } = walker
  const { conditions } = version.workflow
  if (run.steps > 0 || !conditions) return true
  const holds = judge(walker, scope, 'trigger_conditions_evaluated', conditions)
  timeline.close(null)
  return holds
}

/** What a step's decision comes to where it asks for something that is not only about its run. */
function* resolve(
  walker: Walker,
  step: Step,
  outcome: Decided,
): Generator<Request, Decision, Answer> {
  if (outcome.kind === 'throttle') return yield* atGate(walker, step, outcome)
  if (outcome.kind === 'batch') return yield* atBatch(walker, step, outcome)
  if (outcome.kind === 'fetch') return ask(walker, step, outcome)
  if (outcome.kind === 'trigger') return yield* atTrigger(walker, step, outcome)
  return outcome.kind === 'update' ? applyUpdate(walker, outcome) : outcome
}

/** A run that sends nothing uses up nothing of what the others may send. */
function* atGate(
  { run, shared }: Walker,
  { ref }: Step,
  outcome: Outcome & { kind: 'throttle' },
): Generator<Request, Decision, Answer> {
  const { key, limit, until } = outcome
  const shown = { key: key === '' ? null : key, limit }
  if (shared.settings.sandbox_mode === true) {
    const data = { ...shown, counted: false }
    return { kind: 'next', events: [{ event: 'throttle_passed', status: 'ok', data }] }
  }
  const { workflow, collection, recipient } = run
  const answer = yield {
    kind: 'gate',
    gate: { workflow, stepRef: ref, collection, recipient, key },
    limit,
    until,
  }
  assert(answer.kind === 'gate', 'a gate was asked')
  const data = { ...shown, passes: answer.passes, closes_at: answer.closesAt.toISOString() }
  if (answer.passed)
    return { kind: 'next', events: [{ event: 'throttle_passed', status: 'ok', data }] }
  return { kind: 'throttled', events: [{ event: 'throttle_closed', status: 'ok', data }] }
}

function decide(walker: Walker, step: Step, scope: Scope, waited: boolean): Decided {
  const { conditions } = step
  if (conditions && !waited && !judge(walker, scope, 'step_conditions_evaluated', conditions))
    return { kind: 'skip', reason: 'conditions_not_met' }
  const { channelType } = stepTypeOf(step)
  if (channelType === undefined) return tryStep(walker, step, scope, { waited })
  const named = 'channel' in step ? step.channel : undefined
  const choice = chooseChannel(walker.chunk.live.settings, named, channelType)
  if (choice.kind === 'none') return { kind: 'skip', reason: choice.reason }
  const { channel } = choice
  if (channel.conditions && !isSandboxed(walker, channel)) {
    if (!judge(walker, scope, 'channel_conditions_evaluated', channel.conditions))
      return { kind: 'skip', reason: 'channel_conditions_not_met' }
  }
  if (!wanted(walker, scope, channel)) return { kind: 'skip', reason: 'preferences' }
  const decision = tryStep(walker, step, scope, { waited, channel })
  if (decision.kind === 'message') send(walker, step, channel, decision)
  return decision
}

/** Whether the recipient wants what this workflow sends through a channel; each decision is written down. */
function wanted(walker: Walker, scope: Scope, channel: Channel): boolean {
  const { chunk, run, shared, version } = walker
  const asker = { collection: run.collection, id: run.recipient, tenant: shared.tenant }
  const tenant = shared.tenant === null ? undefined : chunk.entities.get(tenantKey(shared.tenant))
  const environment = chunk.live.settings.preferences
  const layers = preferenceLayers(chunk.preferences, asker, { tenant, environment })
  const intent = { key: run.workflow, workflow: version.workflow, channel }
  const decision = askPreferences(layers, intent, { scope, now: chunk.now })
  const shown = toDecision(decision, layers)
  if (shown)
    walker.timeline.add('preferences_evaluated', {
      ...shown,
      channel: channel.key,
      environment_revision: chunk.live.revision,
    })
  return decision.allowed
}

function tenantKey(id: string): string {
  return recipientKey({ collection: TENANTS, id })
}

/**
 * Secret variables are there only for a step that may hold them. A failure that may be a matter of time is
 * worth another attempt; a broken template is not.
 */
function tryStep(walker: Walker, step: Step, scope: Scope, place: StepPlace): Decided {
  try {
    const type = stepTypeOf(step)
    const seen = mayHoldSecrets(step)
      ? { ...scope, vars: { ...scope.vars, ...walker.secrets.all } }
      : scope
    return type.execute(step, stepContext(walker, seen, place))
  } catch (error) {
    const retryable = !(error instanceof TerminalFailure)
    return { kind: 'fail', message: messageOf(error), retryable }
  }
}

/** Whether a step has a field in which a secret variable may stand. */
const mayHoldSecrets = memoized((step: Step) =>
  stepTypeOf(step)
    .templates(step)
    .some((field) => field.secrets),
)

function send(
  walker: Walker,
  step: Step,
  channel: Channel,
  outcome: Outcome & { kind: 'message' },
): void {
  const sandbox = isSandboxed(walker, channel)
  for (const [part, content] of [outcome.content, ...(outcome.also ?? [])].entries())
    enqueue(
      walker,
      step,
      composeMessage(walker, { step, channel, outcome, sandbox, content, part }),
    )
}

function enqueue(walker: Walker, step: Step, message: NewMessage): void {
  walker.messages.push(message)
  walker.chunk.made.bytes += weightOf(message.content)
  // Anew, since what was made before may hold them.
  const status = { delivery_status: message.status, engagement_status: [] }
  walker.refs = { ...walker.refs, [step.ref]: status }
  walker.timeline.add('message_enqueued', {
    message_id: message.id,
    channel: message.channel,
    channel_type: message.channelType,
    provider: message.provider,
    message_status: message.status,
    reason: message.reason ?? null,
    ...scheduled(message, walker.chunk.now),
    environment_revision: walker.chunk.live.revision,
  })
}

/** When a message is handed over that waits for its time. */
function scheduled({ status, scheduledAt }: NewMessage, now: Date): object {
  if (status !== 'queued' || !scheduledAt || scheduledAt <= now) return {}
  return { scheduled_at: scheduledAt.toISOString() }
}

function isSandboxed({ shared }: Walker, channel: Channel): boolean {
  return channel.sandbox || shared.settings.sandbox_mode === true
}

function judge(walker: Walker, scope: Scope, event: string, conditions: Conditions): boolean {
  const { holds, results } = evaluate(conditions, lookupIn(scope), {
    now: walker.chunk.now,
  })
  walker.timeline.add(event, { result: holds, conditions: results })
  return holds
}

/** Writes down what a step decided, and closes its entry in the timeline. */
function record(walker: Walker, step: Step, decision: Decision, progress: Progress): void {
  const { timeline } = walker
  if ('events' in decision) timeline.addAll(decision.events)
  if (decision.kind === 'skip') timeline.add('step_skipped', { reason: decision.reason })
  if (decision.kind === 'wait')
    timeline.add('waiting', { until: decision.until.toISOString(), reason: decision.reason })
  if (decision.kind === 'hold' || decision.kind === 'await') {
    const reason = decision.kind === 'hold' ? 'batch' : 'event'
    timeline.add('waiting', { until: decision.until.toISOString(), reason })
  }
  if (decision.kind === 'fail') {
    const retryAt = progress.kind === 'paused' ? progress.wakesAt.toISOString() : null
    timeline.fail('step_failed', { message: decision.message, retry_at: retryAt })
  }
  timeline.close(step)
}

function ended(outcome: RunOutcome, reason: string | null): Progress {
  return { kind: 'ended', outcome, reason }
}
