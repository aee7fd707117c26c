import { unreachable } from '../../src/errors.ts'
import { newId, type RunId, type WorkflowRunId } from '../../src/ids.ts'
import type { JoinRequest } from '../../src/runs/batches.ts'
import type { Answer, Request } from '../../src/runs/gates.ts'
import { NESTED_DEPTH_MAX } from '../../src/runs/nested-step.ts'
import type { RunOutcome } from '../../src/runs/run.ts'
import type { LoadedVersion } from '../../src/runs/versions.ts'
import { walk, type Walk } from '../../src/runs/walk.ts'
import { random, type Random } from '../support/random.ts'
import { SimulatedBatches } from './simulated-batches.ts'
import { chunkOf, secrets } from './simulated-chunk.ts'
import { faultOfEnding } from './simulated-endings.ts'
import { SimulatedEvents } from './simulated-events.ts'
import { anyAnswer, keepFetch } from './simulated-fetch.ts'
import { SimulatedGates } from './simulated-gates.ts'
import { isWorkable, recipientOf, storedRun, USERS, type Stored } from './simulated-runs.ts'
import { SimulatedTriggers } from './simulated-triggers.ts'
import { EVENT_N, findSimulated, stepsOf, TRIGGER_N, WorkflowMaker } from './simulated-workflow.ts'

const OPERATIONS = 120
const MINUTE_MS = 60_000
/** A run of the deepest workflow rests less often than this. */
const SETTLING_MAX = 2_000

const STATUSES = {
  queued: 'queued',
  calling: 'processing',
  paused: 'paused',
  ended: 'completed',
} as const

interface FeedContent {
  readonly body: { readonly content: string }
}

/**
 * The pure core of the run engine over a store and a queue that are plain values. A script of random triggers, pushes,
 * switches, cancels, crashes, answers, events, jobs that come twice or late and jumps of the clock is played on it, and
 * after each of them all that must hold is checked. Throws an `Error` that names the seed.
 */
export function simulate(seed: number): { readonly runs: number; readonly outcomes: string[] } {
  const simulation = new Simulation(seed)
  for (let count = 0; count < OPERATIONS; count += 1) simulation.operate()
  simulation.settle()
  return simulation.result()
}

class Simulation {
  readonly #seed: number
  readonly #random: Random
  readonly #maker: WorkflowMaker
  readonly #runs = new Map<RunId, Stored>()
  readonly #jobs: (readonly RunId[])[] = []
  readonly #gates = new SimulatedGates()
  readonly #batches = new SimulatedBatches()
  readonly #triggers: SimulatedTriggers
  readonly #events = new SimulatedEvents()
  /** All that were applied, oldest first. */
  readonly #versions: LoadedVersion[] = []
  #now = Date.UTC(2027, 2, 1)
  #archived = false
  #active = true

  constructor(seed: number) {
    this.#seed = seed
    this.#random = random(seed)
    this.#triggers = new SimulatedTriggers(this.#random)
    this.#maker = new WorkflowMaker(this.#random)
    this.#push()
  }

  /** Does one thing that can happen at any time. */
  operate(): void {
    const { pick, chance } = this.#random
    const act = pick([
      ...Array.from({ length: 6 }, () => () => this.#work()),
      ...Array.from({ length: 3 }, () => () => this.#trigger()),
      ...Array.from({ length: 3 }, () => () => this.#wake()),
      ...Array.from({ length: 2 }, () => () => this.#endRequest()),
      ...Array.from({ length: 2 }, () => () => this.#happen()),
      () => this.#cancel(),
      () => (this.#active = chance(0.7)),
      () => this.#push(),
      () => (this.#archived = chance(0.2)),
      () => (this.#now += pick([1, 20, 70, 600, 4_000]) * MINUTE_MS),
      // A clock that is put right goes back.
      () => (this.#now -= pick([1, 5]) * 1_000),
    ])
    act()
  }

  /** Lets everything that can go on do so. */
  settle(): void {
    for (let round = 0; round < SETTLING_MAX; round += 1) {
      do while (this.#jobs.length > 0) this.#work(false)
      while (this.#endRequest())
      const sleeping = [...this.#runs.values()].flatMap(({ wakesAt }) => wakesAt ?? [])
      if (sleeping.length === 0) break
      this.#now = Math.max(this.#now, Math.min(...sleeping))
      this.#wake()
    }
    for (const stored of this.#runs.values()) {
      if (stored.outcome === null) this.#fail(stored, `did not end: ${stored.status}`)
      const times = this.#batches.spokenFor(stored.run.id)
      if (times !== (stored.outcome === 'batched' && !stored.isCancelled ? 1 : 0))
        this.#fail(stored, `was spoken for ${times} times`)
    }
    if (this.#batches.forgotten > 0) throw new Error(`seed ${this.#seed}: a batch never went on`)
  }

  result() {
    const outcomes = [...this.#runs.values()].map(({ outcome }) => outcome ?? 'open')
    return { runs: this.#runs.size, outcomes }
  }

  #push(): void {
    this.#versions.push(this.#maker.version())
  }

  #trigger(): void {
    if (!this.#active || this.#archived) return
    const { pick, chance, below } = this.#random
    const trigger = {
      id: newId<WorkflowRunId>(),
      data: { n: below(TRIGGER_N) },
      actor: null,
      tenant: null,
      settings: { sandbox_mode: chance(0.1), skip_delay: chance(0.1) },
      cancellationKey: null,
      schedule: null,
      depth: chance(0.1) ? NESTED_DEPTH_MAX : 0,
    }
    const stored = storedRun(trigger, this.#versions.at(-1)!, pick(USERS))
    this.#runs.set(stored.run.id, stored)
    this.#jobs.push([stored.run.id])
  }

  /** Does a job: not always the oldest, not always to its end, and not always only once. */
  #work(mayFail = true): void {
    const { below, chance } = this.#random
    if (this.#jobs.length === 0) return
    const at = below(this.#jobs.length)
    const ids = new Set(this.#jobs[at])
    // A chunk may hold the runs of several jobs.
    if (chance(0.3)) for (const id of this.#jobs[below(this.#jobs.length)] ?? []) ids.add(id)
    if (!this.#transact(ids, mayFail && chance(0.2))) return
    // A job that is not taken off the queue comes again, and finds nothing to do.
    if (!mayFail || chance(0.8)) this.#jobs.splice(at, 1)
  }

  /** Goes on with these runs, and says whether that was committed. */
  #transact(ids: Iterable<RunId>, dies: boolean): boolean {
    const queued = [...ids].map((id) => this.#runs.get(id)!).filter(isWorkable)
    for (const stored of queued) stored.run = { ...stored.run, asleep: stored.status === 'paused' }
    const undo = [this.#gates, this.#batches, this.#triggers].map((part) => part.save())
    const walks = this.#walkAll(queued)
    if (dies) {
      // The process died before its commit: nothing of it is there, and the job is.
      for (const back of undo) back()
      return false
    }
    const early = this.#batches.takeEarly()
    for (const [index, walked] of walks.entries()) this.#commit(queued[index]!, walked)
    if (early.length > 0) this.#jobs.push(early)
    return true
  }

  #walkAll(queued: readonly Stored[]): Walk[] {
    const chunk = chunkOf(queued, {
      now: this.#now,
      active: this.#active,
      archived: this.#archived,
      contents: ({ run }) => this.#batches.contents(run),
      waits: (stored) => this.#events.waitsOf(stored),
    })
    return queued.map((stored) => {
      const walking = walk(chunk, stored.run, secrets)
      let step = walking.next()
      while (!step.done) step = walking.next(this.#answer(stored, step.value))
      return step.value
    })
  }

  #answer(stored: Stored, request: Request): Answer {
    const { trigger } = stored
    switch (request.kind) {
      case 'gate':
        return this.#gates.pass(request, this.#now)
      case 'look':
        return this.#batches.look(request, this.#versions, this.#now)
      case 'join':
        if (!this.#isOwnBucket(stored, request)) this.#fail(stored, 'came to a batch of others')
        return this.#batches.join(request, trigger, this.#now)
      case 'trigger':
        return this.#triggers.answer(request)
      default:
        return unreachable(request)
    }
  }

  /** Whether what a run comes to is only for such as it is. */
  #isOwnBucket({ trigger }: Stored, { run, bucket }: JoinRequest): boolean {
    const version = this.#versions.find(({ id }) => id === run.versionId)!
    const isPinned = findSimulated(stepsOf(version), bucket.stepRef)?.version === 'pinned'
    return (
      bucket.recipient === run.recipient &&
      bucket.sandbox === trigger.settings.sandbox_mode &&
      bucket.versionId === (isPinned ? version.id : null)
    )
  }

  #commit(stored: Stored, walked: Walk): void {
    const { run, progress, steps, errorCount } = walked.result
    if (!isWorkable(stored)) this.#fail(stored, 'went on although it was not queued')
    const fault =
      this.#events.keep(stored, walked, this.#now) ?? keepFetch(stored, walked, new Date(this.#now))
    if (fault !== undefined) this.#fail(stored, fault)
    this.#follow(stored, walked)
    for (const { ref } of steps) {
      if (ref !== null && stored.visited.at(-1) !== ref) stored.visited.push(ref)
    }
    this.#keep(stored, walked.messages)
    // What was taken out of one batch is not out of the next one.
    stored.isCancelled &&= run.batchId === stored.run.batchId
    stored.status = STATUSES[progress.kind]
    stored.wakesAt = null
    stored.run = { ...run, steps: run.steps + steps.length, errorCount, attempt: 0, waitsFor: null }
    if (progress.kind === 'calling') {
      const { position, attempt } = progress
      stored.run = { ...stored.run, position, attempt, waitsFor: 'fetch' }
    }
    if (progress.kind === 'paused') {
      const { position, attempt, waitsFor, wakesAt } = progress
      stored.run = { ...stored.run, position, attempt, waitsFor }
      stored.wakesAt = wakesAt.getTime()
      if (stored.wakesAt <= this.#now) this.#fail(stored, 'sleeps until a time that is over')
    }
    if (progress.kind === 'ended') this.#end(stored, progress.outcome, progress.reason)
  }

  /** Only a batch lets a run go on with another version. */
  #follow(stored: Stored, { result: { run, steps } }: Walk): void {
    if (run.versionId === stored.version.id) return
    stored.left.push({ version: stored.version, at: steps[0]!.ref! })
    stored.version = this.#versions.find(({ id }) => id === run.versionId)!
  }

  /** Ends a request in one of the ways that there are, or gives it back unmade. Answers whether there was one. */
  #endRequest(): boolean {
    const asking = [...this.#runs.values()].filter(({ status }) => status === 'processing')
    if (asking.length === 0) return false
    const stored = this.#random.pick(asking)
    if (stored.fetch === null) this.#fail(stored, 'is processing and has asked nothing')
    stored.fetch = { ...stored.fetch, answer: anyAnswer(this.#random) }
    stored.status = 'queued'
    this.#jobs.push([stored.run.id])
    return true
  }

  /** Something happens to a recipient, and those that wait are told, some of them twice. */
  #happen(): void {
    const { pick, below, chance } = this.#random
    const recipient = pick(USERS)
    this.#events.happen(recipient, this.#now, below(EVENT_N))
    const waiting = [...this.#runs.values()].filter(
      ({ run, status }) =>
        status === 'paused' && run.waitsFor === 'event' && run.recipient === recipient,
    )
    if (waiting.length === 0) return
    const ids = waiting.map(({ run }) => run.id)
    this.#jobs.push(ids, ...(chance(0.3) ? [ids] : []))
  }

  #keep(stored: Stored, messages: Walk['messages']): void {
    const isSandboxed = stored.trigger.settings.sandbox_mode === true
    for (const { stepRef, reason, content } of messages) {
      const told = (content as unknown as FeedContent).body.content
      if (told !== `${this.#activitiesOf(stored)} for ${recipientOf(stored)}`)
        this.#fail(stored, `said "${told}" by ${stepRef}`)
      if (stored.messages.includes(stepRef)) this.#fail(stored, `sent ${stepRef} twice`)
      stored.messages.push(stepRef)
      if (isSandboxed && reason !== 'sandbox') this.#fail(stored, `left the sandbox by ${stepRef}`)
      if (!this.#active || this.#archived)
        this.#fail(stored, `sent ${stepRef} although that was switched off`)
    }
  }

  /** How many activities its messages have to speak of: those of the batch that it goes on with, or went on with before. */
  #activitiesOf({ run }: Stored): number {
    return run.batchId === null ? 1 : this.#batches.contents(run).totalActivities
  }

  #wake(): void {
    const due = [...this.#runs.values()].filter(
      ({ wakesAt }) => wakesAt !== null && wakesAt <= this.#now,
    )
    for (const stored of due) {
      stored.status = 'queued'
      stored.wakesAt = null
    }
    if (due.length > 0) this.#jobs.push(due.map(({ run }) => run.id))
  }

  #cancel(): void {
    const open = [...this.#runs.values()].filter(
      ({ outcome, isCancelled, run }) =>
        outcome === null || (outcome === 'batched' && !isCancelled && this.#batches.isWaiting(run)),
    )
    if (open.length === 0) return
    const stored = this.#random.pick(open)
    if (stored.outcome === 'batched' || stored.run.waitsFor === 'batch') {
      const { hasLeft, isKept, emptied } = this.#batches.leave(stored.run)
      stored.isCancelled ||= hasLeft
      if (emptied !== null) this.#jobs.push([emptied])
      if (isKept || stored.outcome === 'batched') return
    }
    stored.wakesAt = null
    stored.fetch = null
    this.#end(stored, 'cancelled', 'cancelled')
  }

  #end(stored: Stored, outcome: RunOutcome, reason: string | null): void {
    stored.endings += 1
    if (stored.endings > 1) this.#fail(stored, 'ended twice')
    stored.status = outcome === 'cancelled' ? 'cancelled' : 'completed'
    stored.outcome = outcome
    stored.reason = reason
    const fault = faultOfEnding(stored, this.#triggers)
    if (fault !== undefined) this.#fail(stored, fault)
    if (outcome === 'batched' && !this.#batches.holds(stored.run))
      this.#fail(stored, 'was batched and is in no batch')
  }

  #fail(stored: Stored, what: string): never {
    const steps = JSON.stringify(stepsOf(stored.version))
    throw new Error(`seed ${this.#seed}: a run ${what}, of ${steps}`)
  }
}
