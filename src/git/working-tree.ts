import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
} from 'node:fs'
import { lstat, stat } from 'node:fs/promises'
import type { BigIntStats, Dirent } from 'node:fs'
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises'
import { join } from 'node:path'
import { RetryableFailure } from '../errors.ts'
import type { Revision } from '../ids.ts'
import { readIgnores } from './ignores.ts'
import type { Ignores } from './ignores.ts'
import { ignoreMissing } from './location.ts'
import type { Location } from './location.ts'
import { blobId, treeId } from './objects.ts'
import type { TreeEntry } from './objects.ts'
import { SUBMODULE_MODE, SYMLINK_MODE, TREE_MODE, UNBORN } from './source.ts'
import type { Entry, RevisionTree, WorkingSource } from './source.ts'
import { isTemporary } from './temporary.ts'

/** A longer file is read up to here, so that the checks on its kind can say that it is too long. */
const FILE_BYTES_MAX = 1024 * 1024
const DIRECTORIES_AT_ONCE = 100
const READ_PLAIN = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
/** How long a look waits for Git to let go of its index; a lock that stays is left over from a crash. */
const INDEX_LOCK_WAIT_MS = 5000
const INDEX_LOCK_POLL_MS = 50

interface Hashed {
  readonly key: string
  readonly blob: string
}

interface Scan {
  readonly trees: Map<string, TreeEntry[]>
  readonly entries: Entry[]
  readonly ignores: Ignores
}

/** The files of a work tree as they are on disk, committed or not. Content is hashed as Git would. */
export class WorkingTree implements WorkingSource {
  readonly kind = 'working_tree'
  readonly #root: string
  readonly #location: Location
  /** By path: the hash, and what the file looked like when it was taken. */
  #hashed = new Map<string, Hashed>()
  #seen = new Map<string, Hashed>()
  #directories = 0

  constructor(location: Location & { readonly workTree: string }) {
    this.#root = location.workTree
    this.#location = location
  }

  /**
   * Reads names and hashes of all that is under `workflows/` and `environments/`. Waits while Git
   * changes the work tree. Throws a `RetryableFailure` when files change under the look.
   */
  async look(head: Revision | null): Promise<RevisionTree> {
    await this.#indexUnlocked()
    this.#seen = new Map()
    const scan: Scan = {
      trees: new Map(),
      entries: [],
      ignores: await readIgnores(this.#root, this.#location.commonDir),
    }
    const top = [
      ...(await this.#scanTop('environments', scan)),
      ...(await this.#scanTop('workflows', scan)),
    ]
    this.#hashed = this.#seen
    const revision = `${head ?? UNBORN}+${treeId(top).slice(0, 12)}` as Revision
    return this.#revisionTree(revision, scan, top)
  }

  #revisionTree(revision: Revision, scan: Scan, top: readonly TreeEntry[]): RevisionTree {
    const { entries, trees } = scan
    const children = trees.get('workflows') ?? []
    const directories = new Map(
      children.filter(({ mode }) => mode === TREE_MODE).map(({ name, id }) => [name, id]),
    )
    const byDirectory = Map.groupBy(entries, ({ path }) => path.split('/', 2).join('/'))
    const paths = new Map(entries.map((entry) => [entry.blob, entry]))
    return {
      revision,
      message: '',
      directories,
      strays: entries.filter(isStray),
      environments: entries.filter(({ path }) => /^environments\/[^/]+$/.test(path)),
      environmentsTree: top.find(({ name }) => name === 'environments')?.id ?? null,
      list: (directory) => {
        const files = byDirectory.get(`workflows/${directory}`) ?? []
        return Promise.resolve(files.toSorted((one, other) => (one.path < other.path ? -1 : 1)))
      },
      read: async (blobs) => {
        await turn()
        return new Map([...new Set(blobs)].map((id) => [id, this.#content(id, paths.get(id))]))
      },
    }
  }

  /** The entries of the root tree for `workflows` or `environments`: one, or none. */
  async #scanTop(name: string, scan: Scan): Promise<readonly TreeEntry[]> {
    const found = await lstat(join(this.#root, name), { bigint: true }).catch(ignoreMissing)
    if (!found) return []
    if (found.isDirectory()) {
      const tree = await this.#scanDirectory(name, scan)
      return tree ? [tree] : []
    }
    const entry = this.#hash(name, found)
    if (!entry) return []
    scan.entries.push(entry)
    return [{ name, mode: entry.mode, id: entry.blob }]
  }

  /** Undefined for a directory without files, which Git does not know. */
  async #scanDirectory(path: string, scan: Scan): Promise<TreeEntry | undefined> {
    await this.#breathe()
    const listed = attempt(() => readdirSync(join(this.#root, path), { withFileTypes: true }))
    if (path.includes('/') && listed.some(({ name }) => name === '.git')) {
      // A repository inside the repository is a submodule to Git, which keeps none of its files.
      scan.entries.push({ path, mode: SUBMODULE_MODE, blob: UNBORN })
      return { name: nameOf(path), mode: SUBMODULE_MODE, id: UNBORN }
    }
    await scan.ignores.enter(path, listed)
    const entries: TreeEntry[] = []
    for (const item of listed) {
      if (!isWanted(path, item, scan.ignores)) continue
      const child = `${path}/${item.name}`
      const entry = item.isDirectory()
        ? await this.#scanDirectory(child, scan)
        : this.#scanFile(child, scan)
      if (entry) entries.push(entry)
    }
    if (entries.length === 0) return undefined
    scan.trees.set(path, entries)
    return { name: nameOf(path), mode: TREE_MODE, id: treeId(entries) }
  }

  /**
   * Files are read synchronously: that is several times as fast as through the thread pool, and a
   * save is to be live at once. Other work gets its turn between two directories.
   */
  async #breathe(): Promise<void> {
    this.#directories += 1
    if (this.#directories % DIRECTORIES_AT_ONCE === 0) await turn()
  }

  #scanFile(path: string, scan: Scan): TreeEntry | undefined {
    const found = attempt(() => lstatSync(join(this.#root, path), { bigint: true }))
    const entry = this.#hash(path, found)
    if (!entry) return undefined
    scan.entries.push(entry)
    return { name: nameOf(path), mode: entry.mode, id: entry.blob }
  }

  /** Undefined for what is neither a file nor a link: Git ignores sockets and pipes too. */
  #hash(path: string, found: BigIntStats): Entry | undefined {
    const full = join(this.#root, path)
    if (found.isSymbolicLink()) {
      const target = attempt(() => readlinkSync(full, { encoding: 'buffer' }))
      return { path, mode: SYMLINK_MODE, blob: blobId(target) }
    }
    if (!found.isFile()) return undefined
    const mode = found.mode & 0o100n ? '100755' : '100644'
    const key = [found.mtimeNs, found.ctimeNs, found.size, found.ino].join(':')
    const known = this.#hashed.get(path)
    const blob = known?.key === key ? known.blob : idOf(readBounded(full), found)
    this.#seen.set(path, { key, blob })
    return { path, mode, blob }
  }

  #content(id: string, entry: Entry | undefined): Uint8Array {
    if (!entry) throw new RetryableFailure(`no file of the working tree has the content ${id}`)
    const full = join(this.#root, entry.path)
    if (entry.mode === SYMLINK_MODE)
      return attempt(() => readlinkSync(full, { encoding: 'buffer' }))
    if (entry.mode === SUBMODULE_MODE) return new Uint8Array()
    const found = attempt(() => lstatSync(full, { bigint: true }))
    const content = readBounded(full)
    if (!found.isFile() || idOf(content, found) !== id) {
      throw new RetryableFailure(`${entry.path} changed while it was read`)
    }
    return content
  }

  async #indexUnlocked(): Promise<void> {
    const lock = join(this.#location.gitDir, 'index.lock')
    for (let waited = 0; waited < INDEX_LOCK_WAIT_MS; waited += INDEX_LOCK_POLL_MS) {
      if (!(await stat(lock).catch(ignoreMissing))) return
      await pause(INDEX_LOCK_POLL_MS)
    }
  }
}

function isWanted(parent: string, item: Dirent, ignores: Ignores): boolean {
  if (isTemporary(item.name)) return false
  return !ignores.ignored(`${parent}/${item.name}`, item.isDirectory())
}

/** The id of a file that is over the bound covers its size and times, since only its head is read. */
function idOf(content: Uint8Array, { size, mtimeNs }: BigIntStats): string {
  if (size <= FILE_BYTES_MAX) return blobId(content)
  return blobId(Buffer.from(`over ${FILE_BYTES_MAX} bytes: ${size} ${mtimeNs}`))
}

function readBounded(path: string): Uint8Array {
  // Between listing and opening, a link or a pipe may have taken the file's place.
  const file = attempt(() => openSync(path, READ_PLAIN))
  try {
    const { size } = fstatSync(file)
    if (size <= FILE_BYTES_MAX) return readFileSync(file)
    const head = Buffer.alloc(FILE_BYTES_MAX + 1)
    return head.subarray(0, readSync(file, head, 0, head.length, 0))
  } finally {
    closeSync(file)
  }
}

function attempt<Result>(read: () => Result): Result {
  try {
    return read()
  } catch (error) {
    return changed(error as NodeJS.ErrnoException)
  }
}

/** A file that was listed and is gone now: the tree is being edited, and the next look sees it whole. */
function changed(error: NodeJS.ErrnoException): never {
  throw new RetryableFailure(`the working tree changed while it was read: ${error.message}`, {
    cause: error,
  })
}

/** Whether it stands where only directories count. */
function isStray({ path }: Entry): boolean {
  return !path.startsWith('environments/') && path.split('/').length <= 2
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
