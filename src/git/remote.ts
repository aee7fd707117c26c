import { createHash } from 'node:crypto'
import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Revision } from '../ids.ts'
import { CURRENT, nextGeneration, openGeneration, openPlace } from './generations.ts'
import type { Opened } from './generations.ts'
import type { Commit } from './history.ts'
import { ignoreMissing } from './location.ts'
import type { Location } from './location.ts'
import { noMetrics, type Metrics } from '../metrics.ts'
import { measured } from './measured.ts'
import { lacking, Mirror, writeWhole } from './mirror.ts'
import type { Place } from './mirror-place.ts'
import { Patience } from './patience.ts'
import { RemotePoll } from './remote-poll.ts'
import type { RemoteAddress } from '../remote-address.ts'
import { named, SourceClosed } from './remote-failure.ts'
import { REMOTE_LIMITS } from './remote-limits.ts'
import { fingerprintOf, isBranchName } from './refs.ts'
import type { Refs } from './refs.ts'
import { fetchPack, listRefs } from './smart-http.ts'
import type { Listing } from './smart-http.ts'
import type { CommitSource, RevisionTree, Watching, WatchSettings } from './source.ts'
import { openTransport } from './transport.ts'
import type { Limits, Transport } from './transport.ts'

export interface RemoteLimits {
  readonly list: Limits
  readonly fetch: Limits
  /** How long one call waits. What takes longer goes on beside, and counts when it is there. */
  readonly patienceMs: number
  /** With more packs the mirror is made anew. */
  readonly packsMax: number
  /** Where the remote has more refs of pull requests, it is not asked for them again. */
  readonly pullsMax: number
}

export interface RemoteOptions {
  readonly address: RemoteAddress
  /** Where mirrors are kept. */
  readonly directory: string
  readonly limits?: Partial<RemoteLimits>
  /** Under which refs a forge keeps pull requests, such as `refs/pull/`, whose moves are to be noticed. */
  readonly pullRefs?: string | undefined
  /** Where fetches are counted; nowhere when left out. */
  readonly metrics?: Metrics
}

const HEADS = 'refs/heads/'
/** Commits that a remote is told to be here; it needs one that it still has. */
const HAVES_MAX = 256

/** What the remote said when it was last asked in full. */
interface Known {
  readonly branches: ReadonlyMap<string, Revision>
  readonly head: string | null
  readonly speech: Listing['speech']
  readonly fingerprint: string
}

/**
 * A repository over HTTP(S), read from a mirror that only this process writes. A ref is given out
 * once everything that a look reads of its commit is in the mirror and was read.
 */
export class RemoteRepository implements CommitSource, AsyncDisposable {
  readonly kind = 'repository'
  readonly #root: string
  readonly #limits: RemoteLimits
  readonly #metrics: Metrics
  readonly #transport: Transport
  readonly #closing = new AbortController()
  readonly #polls = new Set<RemotePoll>()
  #place: Place
  #mirror: Mirror
  /** Commits that were seen to be whole in this mirror. */
  #whole: Set<Revision>
  /** Branches that somebody asked for at the look before, and at this one. */
  #followed: ReadonlySet<string>
  #asked = new Set<string>()
  #known: Known | undefined
  #pullRefs: readonly string[]
  /** Something that should be in the mirror could not be read. */
  #isSuspect = false
  /** Generations that reads of the last look may still need. */
  #retired: readonly string[] = []
  readonly #patience: Patience
  #looking: Promise<Refs> | undefined
  /** How many wait for the look under way. */
  #waiting = 0
  /** The outcome of a look that nobody waited for any more. */
  #late: Promise<Refs> | undefined
  #work: Promise<unknown> = Promise.resolve()

  private constructor(options: RemoteOptions, root: string, opened: Opened) {
    const { address, limits, metrics = noMetrics, pullRefs } = options
    this.#root = root
    this.#limits = { ...REMOTE_LIMITS, ...limits }
    this.#metrics = metrics
    this.#pullRefs = pullRefs === undefined ? [] : [pullRefs]
    this.#patience = new Patience(address.url, this.#limits.patienceMs)
    this.#transport = openTransport(address, this.#closing.signal)
    this.#place = opened.place
    this.#mirror = opened.mirror
    const { branches } = opened.mirror.record
    this.#whole = new Set(branches.values())
    this.#followed = new Set(branches.keys())
  }

  /** Opens the mirror, and asks the remote nothing yet. */
  static async open(options: RemoteOptions): Promise<RemoteRepository> {
    const mark = createHash('sha256').update(options.address.url).digest('hex').slice(0, 32)
    const root = join(options.directory, mark)
    return new RemoteRepository(options, root, await openPlace(root))
  }

  get location(): Location {
    return this.#mirror.repository.location
  }

  /**
   * Asks the remote where its branches are, and gets what is new of those that are followed, in one
   * request. Throws as `listRefs` does; a `RetryableFailure` also where that takes too long.
   */
  async refs(): Promise<Refs> {
    const late = this.#late
    this.#late = undefined
    if (late) return late
    const looking = this.#looking ?? this.#startLook()
    this.#waiting += 1
    try {
      return await this.#patience.wait(looking)
    } finally {
      this.#waiting -= 1
    }
  }

  /** What was found last, without asking. */
  async knownRefs(): Promise<Refs> {
    return this.#known ? this.#refsOf(this.#known) : this.refs()
  }

  /** Every ref whose name starts with `prefix`, such as `refs/pull/`. Their commits are had by `obtain`. */
  async list(prefix: string): Promise<ReadonlyMap<string, Revision>> {
    const listed = this.#serial(() => listRefs(this.#transport, [prefix], this.#limits.list))
    const { refs } = await this.#patience.wait(listed)
    return refs
  }

  /** Makes commits readable that `list` has named. */
  async obtain(revisions: readonly Revision[]): Promise<void> {
    const obtained = this.#serial(async () => {
      this.#known ??= await this.#ask()
      await this.#obtain(this.#known.speech, new Map(revisions.map((id) => [id, id])))
    })
    await this.#patience.wait(obtained)
  }

  async commit(id: Revision): Promise<Commit> {
    return this.#guarded(id, this.#mirror.repository.commit(id))
  }

  async tree(revision: Revision): Promise<RevisionTree> {
    const tree = await this.#guarded(revision, this.#mirror.repository.tree(revision))
    return {
      ...tree,
      list: (directory) => this.#guarded(revision, tree.list(directory)),
      read: (blobs) => this.#guarded(revision, tree.read(blobs)),
    }
  }

  /** Nothing tells of a push but a webhook; so the remote is asked now and then. */
  watch(settings: WatchSettings): Watching {
    const poll = new RemotePoll(settings, () => this.#polls.delete(poll))
    this.#polls.add(poll)
    return poll
  }

  /** Ends what is under way and leaves the mirror to the next process. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#work
    await this.#place.release()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** One exchange with the remote at a time, and one writer of the mirror. */
  #serial<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = this.#work.then(() => {
      if (this.#closing.signal.aborted) throw new SourceClosed('the repository was closed')
      return task().catch((error) => this.#failed(error))
    })
    this.#work = result.catch(() => {})
    return result
  }

  #startLook(): Promise<Refs> {
    const looking = this.#serial(() => this.#look())
    this.#looking = looking
    const settle = (isDone: boolean) => {
      this.#looking = undefined
      if (this.#waiting > 0) return
      this.#late = looking
      // A look that failed is repeated by whoever gave up on it.
      if (isDone) for (const poll of this.#polls) poll.ask()
    }
    looking.then(
      () => settle(true),
      () => settle(false),
    )
    return looking
  }

  async #look(): Promise<Refs> {
    await this.#prepare()
    const known = await this.#ask()
    if (this.#asked.size > 0) this.#followed = this.#asked
    this.#asked = new Set()
    const head = known.head ?? ''
    const followed = [...new Set([head, ...this.#followed])].filter((one) =>
      known.branches.has(one),
    )
    const tips = new Map(followed.map((one) => [one, known.branches.get(one) as Revision]))
    await this.#obtain(known.speech, tips)
    await this.#record(known, tips)
    this.#known = known
    return this.#refsOf(known)
  }

  async #ask(): Promise<Known> {
    const prefixes = [HEADS, ...this.#pullRefs]
    const { refs, head, speech } = await listRefs(this.#transport, prefixes, this.#limits.list)
    const branches = new Map<string, Revision>()
    for (const [name, id] of refs) {
      const branch = branchOf(name)
      if (branch !== null) branches.set(branch, id)
    }
    // The forge's own list goes on to tell of so many.
    if (refs.size - branches.size > this.#limits.pullsMax) this.#pullRefs = []
    const fingerprint = fingerprintOf(refs)
    return { branches, head: head === null ? null : branchOf(head), speech, fingerprint }
  }

  #refsOf(known: Known): Refs {
    const { branches, head, fingerprint } = known
    return {
      head,
      headRevision: head === null ? null : (branches.get(head) ?? null),
      originHead: null,
      tip: async (branch) => {
        const tip = branches.get(branch) ?? null
        if (tip !== null) await this.#want(known, [branch])
        return tip
      },
      want: (names) => this.#want(known, names),
      fingerprint: () => Promise.resolve(fingerprint),
    }
  }

  /** Gets branches that were not followed until now; all of them in one request. */
  async #want(known: Known, names: readonly string[]): Promise<void> {
    const there = names.filter((one) => known.branches.has(one))
    for (const one of there) this.#asked.add(one)
    const tips = new Map(there.map((one) => [one, known.branches.get(one) as Revision]))
    if ([...tips.values()].every((tip) => this.#whole.has(tip))) return
    const wanted = this.#serial(async () => {
      await this.#obtain(known.speech, tips)
      await this.#record(known, new Map([...this.#mirror.record.branches, ...tips]))
    })
    await this.#patience.wait(wanted)
  }

  /** Finds the mirror again where somebody removed it, and removes those that nobody reads any more. */
  async #prepare(): Promise<void> {
    for (const path of this.#retired) await rm(path, { recursive: true, force: true })
    this.#retired = []
    const isThere = await stat(join(this.#mirror.path, 'HEAD')).catch(ignoreMissing)
    if (isThere) return
    if (await this.#place.isOwn()) await this.#use(await openGeneration(this.#place))
    else {
      await this.#place.release()
      const opened = await openPlace(this.#root)
      this.#place = opened.place
      await this.#use(opened.mirror)
    }
  }

  async #use(mirror: Mirror): Promise<void> {
    if (mirror.path !== this.#mirror.path) this.#retired = [...this.#retired, this.#mirror.path]
    this.#mirror = mirror
    this.#whole = new Set(mirror.record.branches.values())
    this.#isSuspect = false
  }

  async #record({ branches, head }: Known, tips: ReadonlyMap<string, Revision>): Promise<void> {
    const kept = new Map([...tips].filter(([branch]) => branches.has(branch)))
    const record = { branches: kept, head: head === null ? null : `${HEADS}${head}` }
    if (JSON.stringify([...kept]) === JSON.stringify([...this.#mirror.record.branches])) {
      if (record.head === this.#mirror.record.head) return
    }
    await this.#mirror.save(record)
  }

  /** Brings commits into the mirror and reads of each what a look needs. `tips` are known by their branches. */
  async #obtain(speech: Listing['speech'], tips: ReadonlyMap<string, Revision>): Promise<void> {
    if (this.#isSuspect) return this.#renew(speech, tips)
    const missing = new Map<string, Revision>()
    for (const [branch, tip] of tips) {
      if (this.#whole.has(tip)) continue
      if (await this.#mirror.has(tip)) this.#whole.add(tip)
      else missing.set(branch, tip)
    }
    if (missing.size === 0) return
    if ((await this.#mirror.countPacks()) >= this.#limits.packsMax) {
      const isRenewed = await this.#renew(speech, tips).then(
        () => true,
        (error: unknown) => {
          if (error instanceof SourceClosed) throw error
          return false
        },
      )
      // All of it may be more than can be had just now; what is new is less.
      if (isRenewed) return
    }
    await this.#fetch(this.#mirror, speech, missing)
    for (const tip of missing.values()) this.#whole.add(tip)
  }

  async #fetch(
    mirror: Mirror,
    speech: Listing['speech'],
    tips: ReadonlyMap<string, Revision>,
  ): Promise<void> {
    const wants = [...new Set(tips.values())]
    const haves = await mirror.whole(HAVES_MAX).catch(() => [])
    const request = { wants, haves, limits: this.#limits.fetch }
    const pack = fetchPack(this.#transport, speech, request)
    await measured(this.#metrics, pack, (one) => mirror.take(one))
    for (const [branch, tip] of tips) {
      if (await mirror.has(tip)) continue
      // Either the remote is at fault, or it left out what we wrongly said is here.
      this.#isSuspect = haves.length > 0
      throw lacking(branch, tip)
    }
  }

  /** Makes the mirror anew beside the old one, which is read until the new one is whole. */
  async #renew(speech: Listing['speech'], tips: ReadonlyMap<string, Revision>): Promise<void> {
    const name = await nextGeneration(this.#place)
    const path = join(this.#place.path, name)
    try {
      const mirror = await Mirror.create(path)
      if (tips.size > 0) await this.#fetch(mirror, speech, tips)
      await mirror.save({ branches: tips, head: this.#mirror.record.head })
      await writeWhole(join(this.#place.path, CURRENT), name)
      await this.#use(mirror)
    } catch (error) {
      await rm(path, { recursive: true, force: true })
      throw error
    }
  }

  /** What cannot be read although it was seen to be whole makes the mirror suspect. */
  async #guarded<Result>(revision: Revision, reading: Promise<Result>): Promise<Result> {
    try {
      return await reading
    } catch (error) {
      if (this.#whole.has(revision)) this.#isSuspect = true
      return this.#failed(error)
    }
  }

  #failed(error: unknown): never {
    throw named({ url: this.#transport.address.url, mirror: this.#root }, error)
  }
}

/** The branch that a ref is; null for other refs, and for names that Git would not take. */
function branchOf(name: string): string | null {
  const branch = name.startsWith(HEADS) ? name.slice(HEADS.length) : ''
  return isBranchName(branch) ? branch : null
}
