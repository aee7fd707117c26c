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
import type { BigIntStats, Dirent } from 'node:fs'
import { join } from 'node:path'
import { RetryableFailure } from '../errors.ts'
import type { Ignores } from './ignores.ts'
import { blobId, treeId } from './objects.ts'
import type { TreeEntry } from './objects.ts'
import { SUBMODULE_MODE, SYMLINK_MODE, TREE_MODE, UNBORN } from './source.ts'
import type { Entry } from './source.ts'
import { isTemporary } from './temporary.ts'

/** A longer file is read up to here, so that the checks on its kind can say that it is too long. */
const FILE_BYTES_MAX = 1024 * 1024
const READ_PLAIN = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** The hash of a file, and what the file looked like when it was taken. */
interface Hashed {
  readonly key: string
  readonly blob: string
}

/** One path of the work tree and all that is under it, as it was at one look. */
export interface Unit {
  /** Its line in the tree above. */
  readonly entry: TreeEntry
  readonly files: readonly Entry[]
  readonly hashed: ReadonlyMap<string, Hashed>
}

export interface ScanGround {
  readonly root: string
  readonly ignores: Ignores
}

interface Scan extends ScanGround {
  readonly before: ReadonlyMap<string, Hashed> | undefined
  readonly files: Entry[]
  readonly hashed: Map<string, Hashed>
}

/**
 * Reads names and hashes of what is at this path. What looks as it did `before` is not read again.
 * Undefined where nothing is that Git would keep: no file, or a directory without any. Throws a
 * `RetryableFailure` when files change under the scan. Synchronous: that is several times as fast
 * as through the thread pool, and a save is to be live at once.
 */
export function scanUnit(
  path: string,
  ground: ScanGround,
  { before, isDirectory }: { readonly before: Unit | undefined; readonly isDirectory: boolean },
): Unit | undefined {
  const scan: Scan = { ...ground, before: before?.hashed, files: [], hashed: new Map() }
  const entry = isDirectory ? scanDirectory(path, scan) : scanFile(path, scan)
  return entry && { entry, files: scan.files, hashed: scan.hashed }
}

/** Undefined for a directory without files, which Git does not know. */
function scanDirectory(path: string, scan: Scan): TreeEntry | undefined {
  const listed = listDirectory(path, scan)
  if (path.includes('/') && listed.some(({ name }) => name === '.git')) {
    // A repository inside the repository is a submodule to Git, which keeps none of its files.
    scan.files.push({ path, mode: SUBMODULE_MODE, blob: UNBORN })
    return { name: nameOf(path), mode: SUBMODULE_MODE, id: UNBORN }
  }
  const entries: TreeEntry[] = []
  for (const item of listed) {
    const child = `${path}/${item.name}`
    if (!isWanted(child, item.isDirectory(), scan.ignores)) continue
    const entry = item.isDirectory() ? scanDirectory(child, scan) : scanFile(child, scan)
    if (entry) entries.push(entry)
  }
  if (entries.length === 0) return undefined
  return { name: nameOf(path), mode: TREE_MODE, id: treeId(entries) }
}

/** Lists a directory, and takes in what it ignores. */
export function listDirectory(path: string, { root, ignores }: ScanGround): readonly Dirent[] {
  const listed = attempt(() => readdirSync(join(root, path), { withFileTypes: true }))
  ignores.enter(path, listed)
  return listed
}

/** Whether a file or directory of this path counts. */
export function isWanted(path: string, isDirectory: boolean, ignores: Ignores): boolean {
  return !isTemporary(nameOf(path)) && !ignores.ignored(path, isDirectory)
}

/** Undefined for what is neither a file nor a link: Git ignores sockets and pipes too. */
function scanFile(path: string, { root, before, files, hashed }: Scan): TreeEntry | undefined {
  const full = join(root, path)
  const found = attempt(() => lstatSync(full, { bigint: true }))
  const name = nameOf(path)
  if (found.isSymbolicLink()) {
    const id = blobId(attempt(() => readlinkSync(full, { encoding: 'buffer' })))
    files.push({ path, mode: SYMLINK_MODE, blob: id })
    return { name, mode: SYMLINK_MODE, id }
  }
  if (!found.isFile()) return undefined
  const mode = found.mode & 0o100n ? '100755' : '100644'
  const key = [found.mtimeNs, found.ctimeNs, found.size, found.ino].join(':')
  const known = before?.get(path)
  const id = known?.key === key ? known.blob : idOf(readBounded(full), found)
  hashed.set(path, { key, blob: id })
  files.push({ path, mode, blob: id })
  return { name, mode, id }
}

/**
 * The content of a file that was scanned. Throws a `RetryableFailure` where it is another one by
 * now.
 */
export function readScanned(root: string, { path, mode, blob }: Entry): Uint8Array {
  const full = join(root, path)
  if (mode === SYMLINK_MODE) return attempt(() => readlinkSync(full, { encoding: 'buffer' }))
  const found = attempt(() => lstatSync(full, { bigint: true }))
  const content = readBounded(full)
  if (!found.isFile() || idOf(content, found) !== blob) {
    throw new RetryableFailure(`${full} changed while it was read`)
  }
  return content
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
  const isGone = GONE.has(error.code ?? '')
  const what = isGone ? 'changed while it was read' : 'cannot be read'
  const advice = isGone ? '' : ': see who may read that file'
  throw new RetryableFailure(`the working tree ${what} (${error.message})${advice}`, {
    cause: error,
  })
}

/** What is met where a file was a moment ago, or something else than one. */
const GONE: ReadonlySet<string> = new Set([
  'ENOENT',
  'ENOTDIR',
  'EISDIR',
  'ELOOP',
  'EINVAL',
  'ENXIO',
])

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
