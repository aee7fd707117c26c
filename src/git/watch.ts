import { join, relative, sep } from 'node:path'
import { watch } from 'chokidar'
import type { FSWatcher } from 'chokidar'
import { identityOf } from './location.ts'
import type { Location } from './location.ts'
import { isTemporary } from './temporary.ts'

export interface WatchOptions {
  /** Also `workflows/` and `environments/` of the work tree. */
  readonly workingTree: boolean
  readonly pollMs: number
  /**
   * Something may have changed: look again. Says where in the work tree, as a path from its root;
   * null: anywhere. Says nothing about what, and may come for nothing, as each poll does.
   */
  readonly onChange: (path: string | null, isPoll?: boolean) => void
}

const WATCHED: readonly string[] = ['workflows', 'environments']

/**
 * Watches a repository for changes of its refs, and its work tree in development. Events are not
 * enough: some file systems send none, and a watcher is dead once its directory was replaced. So a
 * poll asks to look again all the same, and watches anew what stands in the place of the old.
 */
export class Watch implements AsyncDisposable {
  readonly #paths: readonly string[]
  readonly #options: WatchOptions
  readonly #workTree: string | null
  #watcher: FSWatcher | undefined
  #watched = ''
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(location: Location, options: WatchOptions) {
    this.#options = options
    this.#workTree = location.workTree
    this.#paths = watchedPaths(location, options.workingTree)
  }

  /** Resolves once changes are noticed. */
  async start(): Promise<void> {
    await this.#arm(await this.#identity())
    this.#timer = setInterval(() => void this.poll(), this.#options.pollMs)
    this.#timer.unref()
  }

  /** Watches anew where a watched path was replaced, made or removed, and asks to look again. */
  async poll(): Promise<void> {
    const identity = await this.#identity().catch(() => '')
    if (identity !== this.#watched && !this.#closed) await this.#arm(identity)
    if (!this.#closed) this.#options.onChange(null, true)
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#watcher?.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #identity(): Promise<string> {
    return (await Promise.all(this.#paths.map(identityOf))).join(' ')
  }

  async #arm(identity: string): Promise<void> {
    const old = this.#watcher
    this.#watched = identity
    const watcher = watch([...this.#paths], {
      ignoreInitial: true,
      followSymlinks: false,
      ignored: (path) => this.#isNoise(path),
    })
    this.#watcher = watcher
    watcher.on('all', (_, path) => this.#options.onChange(this.#placeOf(path)))
    // Out of watches, or a directory that may not be read: the poll goes on.
    watcher.on('error', () => this.#options.onChange(null))
    await old?.close()
    await new Promise<void>((resolve) => watcher.once('ready', () => resolve()))
    if (this.#closed) await watcher.close()
  }

  /** What editors leave behind may be the name of a branch, too. */
  #isNoise(path: string): boolean {
    const name = path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
    if (name.endsWith('.lock') || name === 'packed-refs.new') return true
    return this.#placeOf(path) !== null && isTemporary(name)
  }

  /** Null for what is not in the work tree: refs say nothing about where files changed. */
  #placeOf(path: string): string | null {
    if (this.#workTree === null) return null
    const place = relative(this.#workTree, path).replaceAll(sep, '/')
    return WATCHED.some((top) => place.startsWith(`${top}/`)) ? place : null
  }
}

function watchedPaths({ gitDir, commonDir, workTree }: Location, workingTree: boolean): string[] {
  const own = [join(gitDir, 'HEAD'), join(commonDir, 'refs'), join(commonDir, 'packed-refs')]
  if (!workingTree || workTree === null) return own
  return [...own, ...WATCHED.map((top) => join(workTree, top))]
}
