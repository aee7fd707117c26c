import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { messageOf, RetryableFailure } from '../errors.ts'
import type { Revision } from '../ids.ts'
import { BRANCH_LENGTH_MAX } from '../workflow/environment.ts'
import { mapBounded } from './bounded.ts'
import { ignoreMissing, placeOf } from './location.ts'
import type { Location } from './location.ts'

/**
 * Reads refs from disk, loose file first. The other order can go back in time: between the two
 * reads Git may pack a newer value and remove the loose file.
 */
export interface Refs {
  /** The branch that is checked out, or that a bare repository names as its own; null when HEAD is a commit. */
  readonly head: string | null
  /** The commit of HEAD; null while its branch has no commit. */
  readonly headRevision: Revision | null
  /** The branch that `refs/remotes/origin/HEAD` names. */
  readonly originHead: string | null
  /** The tip of `refs/heads/<branch>`, else of `refs/remotes/origin/<branch>`; null where neither is there. */
  tip(branch: string): Promise<Revision | null>
  /** Gets the tips of these branches in one go; absent where nothing has to be got. Throws as `tip` does. */
  want?(branches: readonly string[]): Promise<void>
  /** A text that is another one once any branch, or the head of a pull request, has moved, come or gone. */
  fingerprint(): Promise<string>
}

const OID = /^[0-9a-f]{40}$/
const SYMREF_DEPTH_MAX = 5
const READS_MAX = 16
/** Branches, and the heads of pull requests as forges keep them; what would come of merging those is theirs to say. */
const MARKED = /^refs\/(?:heads\/|remotes\/|(?:pull|merge-requests)\/\d+\/head$)/
/** What `git check-ref-format` refuses, as far as it could lead a path astray. */
const BAD_BRANCH = /\.\.|@\{|\/\/|\.lock(?:\/|$)|(?:^|\/)\.|[/.]$|^[-/]|[\0-\x20\x7f~^:?*[\\]/

type Ref =
  | { readonly kind: 'id'; readonly id: string }
  | { readonly kind: 'symref'; readonly target: string }

/** Opens the refs of a repository for one look. Throws a `RetryableFailure` when they cannot be read. */
export async function readRefs(location: Location): Promise<Refs> {
  const { commonDir } = location
  const packed = packedReader(commonDir)
  const head = await readLoose(location.gitDir, 'HEAD')
  if (!head) throw gone(location)
  const originHead = await readLoose(commonDir, 'refs/remotes/origin/HEAD')
  return {
    head: branchOf(head, 'refs/heads/'),
    headRevision:
      head.kind === 'id' ? (head.id as Revision) : await resolveRef(location, head.target, packed),
    originHead: originHead ? branchOf(originHead, 'refs/remotes/origin/') : null,
    async tip(branch) {
      if (!isBranchName(branch)) return null
      const own = await resolveRef(location, `refs/heads/${branch}`, packed)
      return own ?? resolveRef(location, `refs/remotes/origin/${branch}`, packed)
    },
    fingerprint: async () => fingerprintOf(await readMarked(location)),
  }
}

/** What stands for the branches and the heads of pull requests among these refs, each with what it says. */
export function fingerprintOf(refs: ReadonlyMap<string, string>): string {
  const hash = createHash('sha256')
  const lines = [...refs].filter(([name]) => MARKED.test(name)).map(([name, id]) => `${name} ${id}`)
  for (const line of lines.toSorted()) hash.update(`${line}\n`)
  return hash.digest('hex')
}

/** What these refs say, whatever that is: one that is being written says something else at the next look. */
async function readMarked({ commonDir }: Location): Promise<ReadonlyMap<string, string>> {
  const loose = (await looseNames(commonDir)).filter((name) => MARKED.test(name))
  const found = new Map(await packedRefs(commonDir))
  await mapBounded(loose, READS_MAX, async (name) => {
    const text = await readFile(join(commonDir, name), 'utf8').catch(ignoreMissing)
    if (text !== undefined) found.set(name, text.trim())
  })
  return found
}

/**
 * Every ref of a repository whose full name starts with `prefix`, such as `refs/pull/`. Names of loose
 * files are collected first: packing writes the packed value before it removes the loose one.
 */
export async function listRefs(
  location: Location,
  prefix: string,
): Promise<ReadonlyMap<string, Revision>> {
  const { commonDir } = location
  const names = new Set(await looseNames(commonDir))
  for (const [name] of await packedRefs(commonDir)) names.add(name)
  const read = packedReader(commonDir)
  const found = new Map<string, Revision>()
  for (const name of [...names].toSorted()) {
    if (!name.startsWith(prefix)) continue
    const tip = await resolveRef(location, name, read)
    if (tip !== null) found.set(name, tip)
  }
  return found
}

async function looseNames(commonDir: string): Promise<string[]> {
  const files = await readdir(join(commonDir, 'refs'), { recursive: true, withFileTypes: true })
  return files
    .filter((file) => file.isFile() && !file.name.endsWith('.lock'))
    .map((file) => relative(commonDir, join(file.parentPath, file.name)).replaceAll(sep, '/'))
}

/** Every line of `packed-refs`: a name, and its id. */
async function packedRefs(commonDir: string): Promise<[string, string][]> {
  const path = join(commonDir, 'packed-refs')
  const text = await readFile(path, 'utf8').catch((error) => missingOrFail(path, error))
  return [...(text ?? '').matchAll(/^([0-9a-f]{40}) (.+)$/gm)].map(([, id = '', name = '']) => [
    name,
    id,
  ])
}

/** Whether Git would take this as the name of a branch. */
export function isBranchName(name: string): boolean {
  const { length } = Array.from(name)
  return length > 0 && length <= BRANCH_LENGTH_MAX && name !== '@' && !BAD_BRANCH.test(name)
}

function branchOf(ref: Ref, prefix: string): string | null {
  return ref.kind === 'symref' && ref.target.startsWith(prefix)
    ? ref.target.slice(prefix.length)
    : null
}

async function resolveRef(
  location: Location,
  name: string,
  packed: (name: string) => Promise<string | undefined>,
): Promise<Revision | null> {
  let at = name
  for (let depth = 0; depth < SYMREF_DEPTH_MAX; depth += 1) {
    const ref =
      (await readLoose(location.commonDir, at)) ??
      idRef(await packed(at)) ??
      (await readLoose(location.commonDir, at))
    if (!ref) {
      await assertPresent(location)
      return null
    }
    if (ref.kind === 'id') return ref.id as Revision
    at = ref.target
  }
  throw new RetryableFailure(
    `the ref ${name} of the repository ${placeOf(location)} leads in a circle: point it elsewhere with \`git symbolic-ref\``,
  )
}

function idRef(id: string | undefined): Ref | undefined {
  return id === undefined ? undefined : { kind: 'id', id }
}

async function readLoose(directory: string, name: string): Promise<Ref | undefined> {
  const path = join(directory, name)
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) =>
    // `refs/heads/a` is a directory where there is a branch `a/b`; a name may be longer than any file's.
    error.code === 'EISDIR' || error.code === 'ENAMETOOLONG'
      ? undefined
      : missingOrFail(path, error),
  )
  if (text === undefined) return undefined
  const value = text.trim()
  if (OID.test(value)) return { kind: 'id', id: value }
  if (value.startsWith('ref:')) return { kind: 'symref', target: value.slice(4).trim() }
  // An empty or cut file is a ref that is being written, or was when the machine stopped: unknown, not absent.
  throw new RetryableFailure(
    `the ref ${name} cannot be read: ${path} holds neither a commit id nor a name; where it stays so, remove that file and set the ref anew`,
  )
}

function missingOrFail(path: string, error: NodeJS.ErrnoException): undefined {
  try {
    return ignoreMissing(error)
  } catch (cause) {
    throw new RetryableFailure(
      `the refs in ${path} cannot be read (${messageOf(error)}): see what it is, and who may read it`,
      { cause },
    )
  }
}

/**
 * Looks names up in `packed-refs`. The file is read anew for each name: it may have been rewritten
 * since the loose file was found missing. Its text is kept while its inode and size stay.
 */
function packedReader(commonDir: string): (name: string) => Promise<string | undefined> {
  const path = join(commonDir, 'packed-refs')
  let known: { readonly key: string; readonly text: string } | undefined
  return async (name) => {
    const failed = (error: NodeJS.ErrnoException) => missingOrFail(path, error)
    const found = await stat(path, { bigint: true }).catch(failed)
    if (!found) return undefined
    const key = `${found.ino}:${found.size}:${found.mtimeNs}`
    if (known?.key !== key) {
      const text = await readFile(path, 'utf8').catch(failed)
      if (text === undefined) return undefined
      known = { key, text: `\n${text}` }
    }
    const end = known.text.indexOf(` ${name}\n`)
    const id = end < 0 ? '' : known.text.slice(end - 40, end)
    return OID.test(id) && known.text[end - 41] === '\n' ? id : undefined
  }
}

/** A missing ref means something only in a repository that is there. */
async function assertPresent(location: Location): Promise<void> {
  const [head, objects] = await Promise.all([
    stat(join(location.gitDir, 'HEAD')).catch(ignoreMissing),
    stat(join(location.commonDir, 'objects')).catch(ignoreMissing),
  ])
  if (!head || !objects) throw gone(location)
}

function gone(location: Location): RetryableFailure {
  return new RetryableFailure(
    `the repository ${placeOf(location)} is not there any more: bring it back, or name another one with --repo`,
  )
}
