import fs from 'node:fs'
import { join, resolve } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { readObject } from 'isomorphic-git'
import { ConfigError, messageOf, RetryableFailure } from '../errors.ts'
import type { Revision } from '../ids.ts'
import { assertSupported, locateRepository } from './location.ts'
import type { Location } from './location.ts'
import { BoundedCache } from './bounded.ts'
import type { Commit } from './history.ts'
import { ObjectStore, sizeOfStore } from './object-store.ts'
import type { Found, StoreSize } from './object-store.ts'
import { objectId, parseCommit, parseTree } from './objects.ts'
import type { ObjectType, StoredObject, TreeEntry } from './objects.ts'
import { listRefs, readRefs } from './refs.ts'
import type { Refs } from './refs.ts'
import { TREE_MODE } from './source.ts'
import type { CommitSource, Entry, RevisionTree } from './source.ts'
import { unreadable } from './unreadable.ts'

/** A repack may pull a pack away under a read, and the next one too; each is gone on the next attempt. */
const READ_ATTEMPTS_MAX = 3
/** Reading is synchronous; after this many objects or bytes of it other work gets its turn. */
const OBJECTS_AT_ONCE = 100
const BYTES_AT_ONCE = 1024 * 1024
/** Commits are read again and again when histories are compared. */
const COMMITS_BYTES_MAX = 24 * 1024 * 1024
/** What a parsed commit weighs beside its bytes, about. */
const COMMIT_BYTES = 400

/** A local repository, bare or with a work tree. It is only ever read. */
export class Repository implements CommitSource {
  readonly kind = 'repository'
  readonly #path: string
  readonly #advice: string | undefined
  #location: Location
  #store: ObjectStore
  readonly #commits = new BoundedCache<Revision, Commit>(COMMITS_BYTES_MAX)
  #objects = 0
  #bytes = 0

  /** `advice` says what to do about an object that cannot be read, where that is not for a person to mend. */
  constructor(path: string, location: Location, advice?: string) {
    this.#path = path
    this.#advice = advice
    this.#location = location
    this.#store = storeOf(location)
  }

  /** Where its parts were at the last look. */
  get location(): Location {
    return this.#location
  }

  /**
   * Looks where the repository is now, and opens its refs.
   * Throws an `UnsupportedRepository`, or a `RetryableFailure` when it cannot be read at present.
   */
  async refs(): Promise<Refs> {
    const location = await locateRepository(this.#path).catch((error) => {
      // It was there, and may come back.
      if (error instanceof ConfigError) throw new RetryableFailure(error.message, { cause: error })
      throw error
    })
    if (location.identity !== this.#location.identity) {
      this.#store = storeOf(location)
      this.#commits.clear()
    }
    this.#location = location
    await assertSupported(location)
    return readRefs(location)
  }

  list(prefix: string): Promise<ReadonlyMap<string, Revision>> {
    return listRefs(this.#location, prefix)
  }

  /** Opens one commit. Throws a `RetryableFailure` when its objects are not there. */
  async tree(revision: Revision): Promise<RevisionTree> {
    const commit = await this.commit(revision)
    const root = await this.#tree(commit.tree)
    const workflows = root.find(({ name }) => name === 'workflows')
    const environments = root.find(({ name }) => name === 'environments')
    const top = await this.#children(workflows)
    const files = await this.#children(environments)
    const directories = new Map(
      top.filter(({ mode }) => mode === TREE_MODE).map(({ name, id }) => [name, id]),
    )
    return {
      revision,
      message: commit.message,
      directories,
      strays: [
        ...[workflows, environments].flatMap((entry) =>
          entry && entry.mode !== TREE_MODE ? [entryAt('', entry)] : [],
        ),
        ...top
          .filter(({ mode }) => mode !== TREE_MODE)
          .map((entry) => entryAt('workflows/', entry)),
      ],
      environments: files
        .filter(({ mode }) => mode !== TREE_MODE)
        .map((entry) => entryAt('environments/', entry)),
      environmentsTree: environments?.id ?? null,
      list: async (directory) => {
        const id = directories.get(directory)
        return id === undefined ? [] : this.#list(`workflows/${directory}/`, id)
      },
      read: (blobs) => this.#read(blobs),
    }
  }

  /** Reads one commit. Throws a `RetryableFailure` when it is not there. */
  async commit(id: Revision): Promise<Commit> {
    const known = this.#commits.get(id)
    if (known) return known
    const commit = await this.#parsed(id, 'commit', (bytes) => parseCommit(id, bytes))
    // The bytes are kept as they are, and once more as text.
    this.#commits.set(id, commit, COMMIT_BYTES + 2 * commit.bytes.byteLength)
    return commit
  }

  /** How many packs and loose objects there are at present. */
  size(): StoreSize {
    return sizeOfStore(objectsOf(this.#location))
  }

  async #children(entry: TreeEntry | undefined): Promise<readonly TreeEntry[]> {
    return entry?.mode === TREE_MODE ? this.#tree(entry.id) : []
  }

  async #list(prefix: string, id: string): Promise<readonly Entry[]> {
    const entries: Entry[] = []
    for (const entry of await this.#tree(id)) {
      if (entry.mode !== TREE_MODE) entries.push(entryAt(prefix, entry))
      else entries.push(...(await this.#list(`${prefix}${entry.name}/`, entry.id)))
    }
    return entries
  }

  async #read(blobs: Iterable<string>): Promise<ReadonlyMap<string, Uint8Array>> {
    const contents = new Map<string, Uint8Array>()
    for (const id of new Set(blobs)) contents.set(id, await this.#object(id, 'blob'))
    return contents
  }

  async #tree(id: string): Promise<TreeEntry[]> {
    return this.#parsed(id, 'tree', parseTree)
  }

  async #parsed<Parsed>(
    id: string,
    type: ObjectType,
    parse: (bytes: Buffer) => Parsed,
  ): Promise<Parsed> {
    const content = await this.#object(id, type)
    try {
      return parse(content)
    } catch (error) {
      throw this.#unreadable(id, messageOf(error))
    }
  }

  async #object(id: string, type: ObjectType): Promise<Buffer> {
    await this.#breathe()
    const object = await this.#stored(id)
    if (object.type !== type) {
      throw this.#unreadable(id, `it is a ${object.type} and should be a ${type}`)
    }
    this.#bytes += object.content.length
    return object.content
  }

  async #stored(id: string): Promise<StoredObject> {
    const store = this.#store
    for (let attempt = 1; ; attempt += 1) {
      const found = this.#lookUp(store, id, attempt > 1)
      if (found.kind === 'found') return found.object
      if (attempt < READ_ATTEMPTS_MAX) continue
      if (found.kind === 'missing') throw this.#unreadable(id, null)
      const failure = this.#unreadable(id, found.reason)
      return readOdd(this.#location, id).catch(() => Promise.reject(failure))
    }
  }

  #lookUp(store: ObjectStore, id: string, isAgain: boolean): Found {
    try {
      if (isAgain) store.rescan()
      return store.read(id)
    } catch (error) {
      throw this.#unreadable(id, messageOf(error))
    }
  }

  #unreadable(id: string, reason: string | null): RetryableFailure {
    return unreadable(this.#location, id, { reason, advice: this.#advice })
  }

  async #breathe(): Promise<void> {
    this.#objects += 1
    if (this.#objects < OBJECTS_AT_ONCE && this.#bytes < BYTES_AT_ONCE) return
    this.#objects = 0
    this.#bytes = 0
    await turn()
  }
}

function storeOf(location: Location): ObjectStore {
  return new ObjectStore(objectsOf(location))
}

function objectsOf({ commonDir }: Location): string {
  return join(commonDir, 'objects')
}

/**
 * Reads an object that our own reader makes nothing of. The library takes whole packs into memory,
 * so nothing is kept of what it has read.
 */
async function readOdd({ commonDir }: Location, id: string): Promise<StoredObject> {
  const options = { fs, gitdir: commonDir, oid: id, format: 'content', cache: {} } as const
  const { type, object } = await readObject(options)
  const content = Buffer.from(object as Uint8Array)
  if (objectId(type as ObjectType, content) !== id) throw new Error(`${id} is not what it says`)
  return { type: type as ObjectType, content }
}

/**
 * Opens the repository that `path` is or lies in. Throws a `ConfigError` where there is none, and as
 * `refs` does for one that cannot be read.
 */
export async function openRepository(path: string, advice?: string): Promise<Repository> {
  return new Repository(resolve(path), await locateRepository(path), advice)
}

function entryAt(prefix: string, { name, mode, id }: TreeEntry): Entry {
  return { path: `${prefix}${name}`, mode, blob: id }
}
