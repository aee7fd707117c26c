import { setTimeout as pause } from 'node:timers/promises'
import { withLockWait } from '../db/database.ts'
import type { Listening, Topics } from '../db/topics.ts'
import { placeOf } from '../git/location.ts'
import { adviseOnPacks } from '../git/object-store.ts'
import type { Watching } from '../git/source.ts'
import { Watch } from '../git/watch.ts'
import type { ProcessId } from '../ids.ts'
import { noMetrics } from '../metrics.ts'
import { mendDrift } from './drift.ts'
import { keepLead, leaveLead, LeadershipLost, takeLead } from './leader-store.ts'
import type { Leadership } from './leader-store.ts'
import { look } from './look.ts'
import type { Trigger } from './measure.ts'
import { readPolicyFile } from './policy-file.ts'
import type { Announcing } from './outbox.ts'
import { HINTED, RECONCILE_TOPIC } from './read.ts'
import type { Ground, Looking, Memory } from './settle.ts'

type Optional = 'settleMs' | 'policyFile' | 'allowedSigners' | 'metrics' | 'announcing' | 'onMoved'

export interface ReconcilerOptions extends Omit<Ground, Optional>, Partial<Pick<Ground, Optional>> {
  readonly process: ProcessId
  /** Where requests of other processes are heard. */
  readonly topics: Topics
  /** Left out: no forge is told what becomes of a commit. */
  readonly announcing?: Announcing | null
  /** The safety poll, in milliseconds. */
  readonly pollMs: number
  /** How long to wait for the end of a burst of changes, in milliseconds. */
  readonly debounceMs?: number
  /** Pause between two checks whether our tables still say what was applied, in milliseconds. */
  readonly driftMs?: number
  /** How long a write waits for a lock that another session of Postgres holds, in milliseconds. */
  readonly lockWaitMs?: number
}

export interface PassResult {
  /** `standby`: another process leads, and nothing was done. */
  readonly kind: 'leading' | 'standby'
  /** Something could not be read; the next pass may. */
  readonly failed: boolean
  /** Something was announced that does not show yet; the next pass may find it, in so many milliseconds. */
  readonly againMs?: number
  /** When the next pin or soak time ends. */
  readonly dueAt?: Date
}

/** Where the options say nothing else. */
const WAITS = {
  debounceMs: 20,
  settleMs: 100,
  driftMs: 10_000,
  /** Long for a lock that is held as it should be, and short for all environments that come behind. */
  lockWaitMs: 2_000,
}
const BEAT_MS = 2000
/** Looks of one pass. A branch that moves all the time leaves the rest to the next pass. */
const LOOKS_MAX = 10
/** A burst is waited for this many times the pause between its changes. */
const DEBOUNCES_MAX = 5
const BACKOFF_MS_MIN = 500
const BACKOFF_MS_MAX = 60_000
/** A time that is over is looked at no sooner than that. */
const DUE_MS_MIN = 20
/** The longest that a timer of Node takes; what is due later is waited for anew. */
const TIMER_MS_MAX = 2 ** 31 - 1

/**
 * Keeps Postgres at what Git says. Many processes may run one: the one that leads works, the
 * others stand by and take over. Events only mark that something may have changed; what is done
 * is decided from what the refs say at the time.
 */
export class Reconciler implements AsyncDisposable {
  readonly #options: Required<ReconcilerOptions>
  readonly #memory: Memory = {
    judged: new Map(),
    soakingUntil: new Map(),
    logged: new Map(),
    declarationProblems: [],
    policyFile: null,
    signers: null,
    isDefaultMissing: false,
    saidUnreadable: null,
    unseen: new Set(),
    polledAt: null,
    fingerprint: null,
    sights: new Map(),
    trigger: 'start',
    isAnnounced: true,
    seals: new Map(),
    writeMark: null,
  }
  #leadership: Leadership | undefined
  #leading: Promise<Leadership | undefined> | undefined
  #watch: Watching | undefined
  #listening: Listening | undefined
  #beat: NodeJS.Timeout | undefined
  #retry: NodeJS.Timeout | undefined
  #check: NodeJS.Timeout | undefined
  #failures = 0
  #marks = 0
  #running: Promise<void> | undefined
  #passing: Promise<unknown> = Promise.resolve()
  #closed = false
  #isAnnounced = true
  /** What first asked for a look since the last one began. */
  #trigger: Trigger | undefined
  readonly #listeners = new Set<() => void>()

  constructor(options: ReconcilerOptions) {
    const outside = { policyFile: null, allowedSigners: [], announcing: null, onMoved: null }
    const defaults = { ...outside, ...WAITS, metrics: noMetrics }
    const all = { ...defaults, ...options }
    this.#options = { ...all, database: withLockWait(options.database, all.lockWaitMs) }
  }

  /**
   * Begins to watch, to listen and to work. Resolves when changes are noticed from now on. Throws a
   * `ConfigError` where the policy file is broken: no policy of it was ever good.
   */
  async start(): Promise<void> {
    const { repository, workingTree, topics, pollMs, driftMs, policyFile } = this.#options
    if (policyFile !== null) this.#memory.policyFile = await readPolicyFile(policyFile, null)
    const onChange = (path: string | null, isPoll = false) => {
      if (!isPoll) this.#options.metrics.count('watch_events_total', {})
      this.#notice(isPoll ? 'poll' : 'watch', path)
    }
    const watched = { workingTree: workingTree !== null, pollMs, onChange }
    this.#watch = repository.watch?.(watched) ?? new Watch(repository.location, watched)
    await this.#watch.start()
    this.#listening = await topics.listen(RECONCILE_TOPIC, (said) => this.wake(heard(said)))
    this.#beat = setInterval(() => void this.#keepBeating(), BEAT_MS)
    this.#beat.unref()
    this.#check = setInterval(() => void this.#checkDrift(), driftMs)
    this.#check.unref()
    this.wake()
  }

  /** Marks that something may have changed; the look follows by itself. */
  wake(trigger: Trigger = 'start'): void {
    this.#notice(trigger, null)
  }

  /** Takes in where in the working tree something changed; null: anywhere. A poll announces nothing. */
  #notice(trigger: Trigger, path: string | null): void {
    this.#options.workingTree?.note(path)
    this.#trigger ??= trigger
    if (trigger !== 'poll') {
      this.#isAnnounced = true
      this.#memory.isAnnounced = true
    }
    this.#marks += 1
    if (this.#closed) return
    for (const listener of this.#listeners) listener()
    this.#running ??= this.#run().finally(() => (this.#running = undefined))
  }

  /**
   * Brings every environment to the tip of its ref, and looks again until no ref moves meanwhile.
   * Passes of one process follow each other. Throws only where Postgres cannot be reached.
   */
  pass(): Promise<PassResult> {
    this.#isAnnounced = true
    this.#trigger ??= 'start'
    this.#options.workingTree?.note(null)
    return this.#queuePass()
  }

  #queuePass(): Promise<PassResult> {
    const result = this.#passing.then(() => this.#pass())
    this.#passing = result.catch(() => {})
    return result
  }

  /**
   * Puts back what others have changed of what was applied, where this process leads, and answers whether
   * something was found. Between passes, never during one.
   */
  mend(): Promise<boolean> {
    const result = this.#passing.then(async () => {
      const leadership = this.#closed ? undefined : await this.#lead()
      if (!leadership) return false
      return mendDrift(this.#looking(leadership))
    })
    this.#passing = result.catch(() => {})
    return result
  }

  /** When this process last read the refs of the repository; null where it never did. */
  get polledAt(): Date | null {
    return this.#memory.polledAt
  }

  /** Whether this process led at its last beat. */
  get isLeading(): boolean {
    return this.#leadership !== undefined
  }

  /** Ends the pass under way at its next step and gives up the lead. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#beat)
    clearInterval(this.#check)
    clearTimeout(this.#retry)
    await this.#watch?.close()
    await this.#listening?.close()
    await this.#running
    await this.#passing
    await this.#leading?.catch(() => {})
    const leadership = this.#leadership
    this.#leadership = undefined
    if (!leadership) return
    // The lease ends by itself where Postgres cannot be told.
    await leaveLead(this.#options.database, leadership).catch(() => {})
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #pass(): Promise<PassResult> {
    this.#memory.isAnnounced = this.#isAnnounced
    this.#isAnnounced = false
    try {
      for (let looks = 1; ; looks += 1) {
        const leadership = await this.#lead()
        if (!leadership) return { kind: 'standby', failed: false }
        this.#memory.trigger = this.#trigger ?? 'again'
        this.#trigger = undefined
        const { moved, ...found } = await look(this.#looking(leadership))
        if (!moved || looks === LOOKS_MAX || this.#closed) return { kind: 'leading', ...found }
      }
    } catch (error) {
      if (!(error instanceof LeadershipLost)) throw error
      this.#leadership = undefined
      return { kind: 'standby', failed: false }
    }
  }

  #looking(leadership: Leadership): Looking {
    const onNews = (listener: () => void) => this.#listen(listener)
    return { ...this.#options, leadership, memory: this.#memory, onNews }
  }

  #listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  async #run(): Promise<void> {
    let seen = -1
    let found: PassResult | undefined
    while (seen !== this.#marks && !this.#closed) {
      seen = await this.#burstEnd()
      clearTimeout(this.#retry)
      found = await this.#passOnce()
    }
    if (!this.#closed) this.#wakeLater(found)
  }

  /** One pass, whose failure is counted. */
  async #passOnce(): Promise<PassResult | undefined> {
    try {
      const found = await this.#queuePass()
      this.#failures = found.failed ? this.#failures + 1 : 0
      return found
    } catch (error) {
      if (this.#failures === 0) this.#options.log.error('reconciling failed', { error })
      this.#failures += 1
      return undefined
    }
  }

  /** Waits until no change comes for a while, and answers how many came. */
  async #burstEnd(): Promise<number> {
    const { debounceMs } = this.#options
    for (let waits = 0; waits < DEBOUNCES_MAX; waits += 1) {
      const seen = this.#marks
      await pause(debounceMs)
      if (seen === this.#marks || this.#closed) break
    }
    return this.#marks
  }

  #backOffMs(): number {
    const delayMs = Math.min(BACKOFF_MS_MIN * 2 ** (this.#failures - 1), BACKOFF_MS_MAX)
    // Half of it by chance, so that processes that failed together do not come back together.
    return delayMs / 2 + Math.random() * (delayMs / 2)
  }

  /** Looks again by itself at the first time at which that is worth it, where a pass knows of one. */
  #wakeLater({ againMs, dueAt }: Partial<PassResult> = {}): void {
    const wakes: { readonly ms: number; readonly trigger: Trigger }[] = []
    if (this.#failures > 0) wakes.push({ ms: this.#backOffMs(), trigger: 'retry' })
    else if (againMs !== undefined) wakes.push({ ms: againMs, trigger: 'webhook' })
    if (dueAt) {
      const ms = dueAt.getTime() - this.#options.clock.now().getTime()
      wakes.push({ ms: Math.max(ms, DUE_MS_MIN), trigger: 'due' })
    }
    const [first] = wakes.toSorted((one, other) => one.ms - other.ms)
    if (!first) return
    this.#retry = setTimeout(() => this.wake(first.trigger), Math.min(first.ms, TIMER_MS_MAX))
    this.#retry.unref()
  }

  /** The lead, held for another while, or taken where it is free. One question at a time. */
  #lead(): Promise<Leadership | undefined> {
    this.#leading ??= this.#askForLead().finally(() => (this.#leading = undefined))
    return this.#leading
  }

  async #askForLead(): Promise<Leadership | undefined> {
    const { database, process } = this.#options
    const held = this.#leadership
    if (held && (await keepLead(database, held))) return held
    this.#leadership = this.#closed ? undefined : await takeLead(database, process)
    if (this.#leadership) {
      this.#options.log.info('this process reconciles', { fence: this.#leadership.fence })
      this.#adviseOnPacks()
    }
    return this.#leadership
  }

  #adviseOnPacks(): void {
    const { repository, log } = this.#options
    try {
      const advice =
        repository.size && adviseOnPacks(placeOf(repository.location), repository.size())
      if (advice) log.warn(advice)
    } catch (error) {
      // Whether the repository can be read at all is for the look to say.
      log.debug('the packs of the repository cannot be counted', { error })
    }
  }

  async #checkDrift(): Promise<void> {
    try {
      if (this.#leadership && (await this.mend())) this.wake('drift')
    } catch (error) {
      // Without Postgres, or without the lead, there is nothing to compare; the next check is soon.
      this.#options.log.debug('drift could not be looked for', { error })
    }
  }

  async #keepBeating(): Promise<void> {
    const before = this.#leadership
    try {
      const now = await this.#lead()
      if (now && now !== before) this.wake()
    } catch {
      // Without Postgres there is nothing to lead; the fence keeps what another process does meanwhile.
    }
  }
}

/** Who said that something may have changed; nobody where the connection was down and what was said is lost. */
function heard(said: string | undefined): Trigger {
  if (said === undefined) return 'start'
  return said === HINTED ? 'webhook' : 'request'
}
