import { newId, type EnvironmentName, type Revision, type RunId } from '../../src/ids.ts'
import type { StepRef, VersionId, WorkflowRunId } from '../../src/ids.ts'
import type { Chunk } from '../../src/runs/chunk.ts'
import type { GateAnswer, Request } from '../../src/runs/gates.ts'
import type { PendingFetch } from '../../src/runs/fetched.ts'
import type { QueuedRun, RunOutcome, RunStatus, WorkflowRun } from '../../src/runs/run.ts'
import { secretPlaceholders } from '../../src/runs/scope.ts'
import type { LoadedVersion } from '../../src/runs/versions.ts'
import type { LoadedWait, Wait } from '../../src/runs/wait-store.ts'
import { walk, type Walk } from '../../src/runs/walk.ts'
import type { EnvironmentSettings } from '../../src/workflow/environment.ts'
import type { Workflow } from '../../src/workflow/workflow.ts'
import { random, type Random } from '../support/random.ts'
import { anyAnswer, asks, changed } from './simulated-fetch.ts'
import {
  branchOf,
  cohortOf,
  SIMULATED,
  WorkflowMaker,
  type SimulatedStep,
} from './simulated-workflow.ts'

const KEY = SIMULATED
const USERS = ['ada', 'bob', 'cyd', 'dan']
const OPERATIONS = 120
const MINUTE_MS = 60_000
/** A run of the deepest workflow rests less often than this. */
const SETTLING_MAX = 2_000

const settings = {
  timezone: 'Etc/UTC',
  locale: 'en',
  variables: {},
  channels: { feed: { key: 'feed', type: 'in_app', provider: 'in_app' } },
} as unknown as EnvironmentSettings

/** A run as the model's store has it, with all that ever happened to it. */
interface Stored {
  run: QueuedRun
  readonly version: LoadedVersion
  status: RunStatus
  outcome: RunOutcome | null
  reason: string | null
  wakesAt: number | null
  /** What it has asked, and what became of that. */
  fetch: PendingFetch | null
  /** The steps that it came to, each once, and those that sent. */
  readonly waits: Map<StepRef, Wait>
  readonly visited: StepRef[]
  readonly messages: StepRef[]
  endings: number
}

const STATUSES = {
  queued: 'queued',
  calling: 'processing',
  paused: 'paused',
  ended: 'completed',
} as const
interface Happened {
  readonly id: string
  readonly recipient: string
  readonly at: number
  readonly data: Readonly<Record<string, unknown>>
}

interface Window {
  closesAt: Date
  passes: number
}

/**
 * The pure core of the run engine over a store and a queue that are plain values. A script of random triggers, pushes,
 * switches, cancels, crashes, jobs that come twice or late and jumps of the clock is played on it, and after each of
 * them all that must hold is checked. Throws an `Error` that names the seed.
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
  readonly #runs = new Map<RunId, Stored>()
  readonly #shared = new Map<WorkflowRunId, WorkflowRun>()
  readonly #jobs: RunId[][] = []
  readonly #happened: Happened[] = []
  readonly #windows = new Map<string, Window>()
  #now = Date.UTC(2027, 2, 1)
  #version: LoadedVersion
  #archived = false
  #active = true

  constructor(seed: number) {
    this.#seed = seed
    this.#random = random(seed)
    this.#version = this.#makeVersion()
  }

  /** Does one thing that can happen at any time. */
  operate(): void {
    const { pick, chance } = this.#random
    const act = pick([
      ...Array.from({ length: 6 }, () => () => this.#work()),
      ...Array.from({ length: 3 }, () => () => this.#trigger()),
      ...Array.from({ length: 3 }, () => () => this.#wake()),
      ...Array.from({ length: 2 }, () => () => this.#answer()),
      ...Array.from({ length: 2 }, () => () => this.#happen()),
      () => this.#cancel(),
      () => (this.#active = chance(0.7)),
      () => (this.#version = this.#makeVersion()),
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
      for (;;) {
        while (this.#jobs.length > 0) this.#work(false)
        if (!this.#answer()) break
      }
      const sleeping = [...this.#runs.values()].flatMap(({ wakesAt }) => wakesAt ?? [])
      if (sleeping.length === 0) break
      this.#now = Math.max(this.#now, Math.min(...sleeping))
      this.#wake()
    }
    for (const stored of this.#runs.values()) {
      if (stored.outcome === null) this.#fail(stored, `did not end: ${stored.status}`)
    }
  }

  result() {
    const outcomes = [...this.#runs.values()].map(({ outcome }) => outcome ?? 'open')
    return { runs: this.#runs.size, outcomes }
  }

  #trigger(): void {
    if (!this.#active || this.#archived) return
    const { pick, chance, below } = this.#random
    const id = newId<WorkflowRunId>()
    const sandbox = chance(0.1)
    this.#shared.set(id, {
      id,
      data: { n: below(3) },
      actor: null,
      tenant: null,
      settings: { sandbox_mode: sandbox, skip_delay: chance(0.1) },
      cancellationKey: null,
      depth: 0,
    })
    const run: QueuedRun = {
      environment: 'production' as EnvironmentName,
      id: newId<RunId>(),
      workflowRunId: id,
      workflow: KEY,
      versionId: this.#version.id,
      collection: '$users',
      recipient: pick(USERS),
      position: [0],
      steps: 0,
      attempt: 0,
      waitsFor: null,
      asleep: false,
      errorCount: 0,
      batchId: null,
      data: null,
      subscription: null,
    }
    this.#runs.set(run.id, {
      run,
      version: this.#version,
      status: 'queued',
      outcome: null,
      reason: null,
      wakesAt: null,
      fetch: null,
      waits: new Map(),
      visited: [],
      messages: [],
      endings: 0,
    })
    this.#jobs.push([run.id])
  }

  /** Does a job: not always the oldest, not always to its end, and not always only once. */
  #work(mayFail = true): void {
    const { below, chance } = this.#random
    if (this.#jobs.length === 0) return
    const at = below(this.#jobs.length)
    const ids = new Set(this.#jobs[at])
    // A chunk may hold the runs of several jobs.
    if (chance(0.3)) for (const id of this.#jobs[below(this.#jobs.length)] ?? []) ids.add(id)
    const queued = [...ids].flatMap((id) => {
      const stored = this.#runs.get(id)
      if (!stored) return []
      const asleep = stored.status === 'paused' && stored.run.waitsFor === 'event'
      stored.run = { ...stored.run, asleep }
      return stored.status === 'queued' || asleep ? [stored] : []
    })
    const windows = structuredClone(this.#windows)
    const walks = this.#walkAll(queued)
    if (mayFail && chance(0.2)) {
      // The process died before its commit: nothing of it is there, and the job is.
      this.#windows.clear()
      for (const [key, window] of windows) this.#windows.set(key, window)
      return
    }
    for (const [index, walked] of walks.entries()) this.#commit(queued[index]!, walked)
    // A job that is not taken off the queue comes again, and finds nothing to do.
    if (!mayFail || chance(0.8)) this.#jobs.splice(at, 1)
  }

  #walkAll(queued: readonly Stored[]): Walk[] {
    const chunk = this.#chunk(queued)
    const secrets = secretPlaceholders(settings)
    return queued.map(({ run }) => {
      const walking = walk(chunk, run, secrets)
      let step = walking.next()
      while (!step.done) step = walking.next(this.#passGate(step.value))
      return step.value
    })
  }

  #passGate(request: Request): GateAnswer {
    if (request.kind !== 'gate') throw new Error('a simulated workflow has no batch')
    const { gate, limit, until } = request
    const key = JSON.stringify(gate)
    const known = this.#windows.get(key)
    const isOpen = known !== undefined && known.closesAt.getTime() > this.#now
    const window = isOpen ? known : { closesAt: until, passes: 0 }
    const passed = window.passes < limit
    if (passed) window.passes += 1
    this.#windows.set(key, window)
    return { kind: 'gate', passed, passes: window.passes, closesAt: window.closesAt }
  }

  #chunk(queued: readonly Stored[]): Chunk {
    const now = new Date(this.#now)
    const sending = this.#active
      ? { active: true as const }
      : { active: false as const, reason: null }
    return {
      environment: 'production' as EnvironmentName,
      live: { sequence: 1, revision: 'r1' as Revision, settings, appliedAt: now },
      workflowRuns: this.#shared,
      versions: new Map(queued.map(({ version }) => [version.id, version])),
      archived: new Set(this.#archived ? [KEY] : []),
      switches: { workflow: () => sending, sending: () => sending },
      entities: new Map(
        USERS.map((id, index) => [
          `$users/${id}`,
          { collection: '$users', id, properties: { n: index }, createdAt: now, updatedAt: now },
        ]),
      ),
      preferences: new Map(),
      statuses: new Map(),
      channelData: new Map(),
      batches: new Map(),
      fetches: new Map(
        queued.flatMap(({ run, fetch }) => (fetch === null ? [] : [[run.id, fetch] as const])),
      ),
      dryRun: false,
      waits: new Map(queued.map((stored) => [stored.run.id, this.#waitsOf(stored)])),
      now,
    }
  }

  /** What a run waits for, with all that has happened to its recipient since. */
  #waitsOf({ run, waits }: Stored): readonly LoadedWait[] {
    return [...waits.values()].map((wait) => ({
      ...wait,
      candidates: this.#happened.filter(
        ({ id, recipient, at }) =>
          wait.matched === null &&
          recipient === run.recipient &&
          at >= wait.openedAt.getTime() &&
          at < wait.expiresAt.getTime() &&
          !wait.seen.includes(id),
      ),
    }))
  }

  /** Something happens to a recipient, and those that wait are told, some of them twice. */
  #happen(): void {
    const { pick, below, chance } = this.#random
    const recipient = pick(USERS)
    const data = { n: below(2) }
    this.#happened.push({ id: newId<RunId>(), recipient, at: this.#now, data })
    const waiting = [...this.#runs.values()].filter(
      ({ run, status }) =>
        status === 'paused' && run.waitsFor === 'event' && run.recipient === recipient,
    )
    if (waiting.length === 0) return
    const ids = waiting.map(({ run }) => run.id)
    this.#jobs.push(ids, ...(chance(0.3) ? [ids] : []))
  }

  #commit(stored: Stored, { result, messages, fetch, waits }: Walk): void {
    const { run, progress, steps, errorCount } = result
    if (stored.status !== 'queued' && !stored.run.asleep)
      this.#fail(stored, 'went on although it was not queued')
    this.#keepWaits(stored, waits)
    for (const { ref } of steps) {
      if (ref !== null && stored.visited.at(-1) !== ref) stored.visited.push(ref)
    }
    this.#keep(stored, messages)
    stored.status = STATUSES[progress.kind]
    stored.wakesAt = null
    stored.run = { ...run, steps: run.steps + steps.length, errorCount, attempt: 0, waitsFor: null }
    stored.fetch = changed(stored.fetch, fetch, new Date(this.#now))
    if (asks(progress) !== (stored.fetch !== null))
      this.#fail(stored, 'and its request are at odds')
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

  /** Ends a request in one of the ways that there are, or gives it back unmade. Answers whether there was one. */
  #answer(): boolean {
    const asking = [...this.#runs.values()].filter(({ status }) => status === 'processing')
    if (asking.length === 0) return false
    const stored = this.#random.pick(asking)
    if (stored.fetch === null) this.#fail(stored, 'is processing and has asked nothing')
    stored.fetch = { ...stored.fetch, answer: anyAnswer(this.#random) }
    stored.status = 'queued'
    this.#jobs.push([stored.run.id])
    return true
  }

  #keepWaits(stored: Stored, waits: readonly Wait[]): void {
    for (const wait of waits) {
      const before = stored.waits.get(wait.stepRef)
      if (before && before.matched !== null) this.#fail(stored, 'ended a wait twice')
      stored.waits.set(wait.stepRef, wait)
    }
  }

  #keep(stored: Stored, messages: Walk['messages']): void {
    const isSandboxed = this.#shared.get(stored.run.workflowRunId)?.settings.sandbox_mode === true
    for (const { stepRef, reason } of messages) {
      if (stored.messages.includes(stepRef)) this.#fail(stored, `sent ${stepRef} twice`)
      stored.messages.push(stepRef)
      if (isSandboxed && reason !== 'sandbox') this.#fail(stored, `left the sandbox by ${stepRef}`)
      if (!this.#active || this.#archived)
        this.#fail(stored, `sent ${stepRef} although that was switched off`)
    }
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
    const open = [...this.#runs.values()].filter(({ outcome }) => outcome === null)
    if (open.length === 0) return
    const stored = this.#random.pick(open)
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
    const { path, throttles } = this.#expected(stored)
    const seen = stored.visited
    if (outcome === 'completed' && seen.join() !== path.join())
      this.#fail(stored, `came to ${seen.join()} and not to ${path.join()}`)
    if (path.slice(0, seen.length).join() !== seen.join())
      this.#fail(stored, `came to ${seen.join()}, which is no part of ${path.join()}`)
    if (outcome === 'throttled' && !throttles.has(seen.at(-1)!))
      this.#fail(stored, `was throttled at ${seen.at(-1)}`)
  }

  /** Where the run has to come to, by a second reading of its workflow that knows neither positions nor waits. */
  #expected(stored: Stored) {
    const path: StepRef[] = []
    const throttles = new Set<StepRef>()
    const { run, version } = stored
    const scope = { n: USERS.indexOf(run.recipient) }
    const go = (steps: readonly object[]): boolean => {
      for (const each of steps) {
        const step = each as SimulatedStep
        path.push(step.ref)
        if (step.type === 'throttle') throttles.add(step.ref)
        const children = step.branches ?? step.cohorts
        if (!children) continue
        const child =
          children[step.branches ? branchOf(step.branches, scope.n) : cohortOf(step, run)]!
        if (!go(child.steps) || child.terminates) return false
      }
      return true
    }
    go(version.workflow.steps)
    return { path, throttles }
  }

  #makeVersion(): LoadedVersion {
    const maker = new WorkflowMaker(this.#random)
    const workflow = { name: 'Simulated', steps: maker.steps(0) } as unknown as Workflow
    return { id: newId<RunId>() as string as VersionId, key: KEY, workflow, files: {} }
  }

  #fail(stored: Stored, what: string): never {
    const { workflow } = stored.version
    throw new Error(`seed ${this.#seed}: a run ${what}, of ${JSON.stringify(workflow.steps)}`)
  }
}
