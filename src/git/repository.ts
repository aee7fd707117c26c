import fs from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { readObject } from 'isomorphic-git'
import { messageOf, RetryableFailure } from '../errors.ts'
import type { Revision } from '../ids.ts'
import { assertSupported, ignoreMissing, locateRepository } from './location.ts'
import type { Location } from './location.ts'
import { mapBounded } from './bounded.ts'
import type { Commit } from './history.ts'
import { parseCommit, parseTree } from './objects.ts'
import type { TreeEntry } from './objects.ts'
import { readRefs } from './refs.ts'
import type { Refs } from './refs.ts'
import { TREE_MODE } from './source.ts'
import type { CommitSource, Entry, RevisionTree } from './source.ts'

const READ_ATTEMPTS_MAX = 3
/** Reads under way at once. More gains nothing: the time goes into inflating, on one thread. */
const READS_MAX = 16
/** What a repack under a running read can look like; each was gone on the next attempt. */
const REPACK_ERRORS: ReadonlySet<string> = new Set(['InternalError', 'TypeError', 'NotFoundError'])

type ObjectType = 'blob' | 'commit' | 'tree'

/** A local repository, bare or with a work tree. It is only ever read. */
export class Repository implements CommitSource {
  readonly kind = 'repository'
  readonly #path: string
  #location: Location
  #cache: object = {}
  #packs = ''

  constructor(path: string, location: Location) {
    this.#path = path
    this.#location = location
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
      throw new RetryableFailure(
        `the repository ${this.#path} cannot be read: ${messageOf(error)}`,
        {
          cause: error,
        },
      )
    })
    if (location.identity !== this.#location.identity) this.#cache = {}
    this.#location = location
    await assertSupported(location)
    return readRefs(location)
  }

  /** Opens one commit. Throws a `RetryableFailure` when its objects are not there. */
  async tree(revision: Revision): Promise<RevisionTree> {
    await this.#followPacks()
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
    return parseCommit(id, await this.#object(id, 'commit'))
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
    await mapBounded([...new Set(blobs)], READS_MAX, async (id) => {
      contents.set(id, await this.#object(id, 'blob'))
    })
    return contents
  }

  async #tree(id: string): Promise<TreeEntry[]> {
    return parseTree(await this.#object(id, 'tree'))
  }

  async #object(id: string, type: ObjectType): Promise<Uint8Array> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const found = await readObject({
          fs,
          gitdir: this.#location.commonDir,
          oid: id,
          format: 'content',
          cache: this.#cache,
        })
        if (found.type !== type)
          throw new RetryableFailure(`${id} is a ${found.type}, not a ${type}`)
        return found.object as Uint8Array
      } catch (error) {
        if (attempt === READ_ATTEMPTS_MAX || !isRepack(error)) {
          throw new RetryableFailure(`the ${type} ${id} cannot be read: ${messageOf(error)}`, {
            cause: error,
          })
        }
        this.#cache = {}
      }
    }
  }

  /** The library never forgets a pack, so its cache is replaced when the list of packs is another one. */
  async #followPacks(): Promise<void> {
    const directory = join(this.#location.commonDir, 'objects', 'pack')
    const packs = ((await readdir(directory).catch(ignoreMissing)) ?? []).toSorted().join('\n')
    if (packs === this.#packs) return
    this.#packs = packs
    this.#cache = {}
  }
}

/** Opens the repository that `path` is or lies in. Throws a `ConfigError` where there is none. */
export async function openRepository(path: string): Promise<Repository> {
  return new Repository(path, await locateRepository(path))
}

function entryAt(prefix: string, { name, mode, id }: TreeEntry): Entry {
  return { path: `${prefix}${name}`, mode, blob: id }
}

function isRepack(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code = 'code' in error ? String(error.code) : error.name
  return REPACK_ERRORS.has(code)
}
