import { readFile, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { ConfigError, messageOf, RetryableFailure, TerminalFailure } from '../errors.ts'

/** Where the parts of a repository are on disk. */
export interface Location {
  /** Holds HEAD and the index: the repository's own directory, or that of a linked work tree. */
  readonly gitDir: string
  /** Holds refs, objects and config; the same as `gitDir` except for a linked work tree. */
  readonly commonDir: string
  /** Null for a bare repository. */
  readonly workTree: string | null
  /** Device and inode of both directories: differs when the repository was replaced by another one. */
  readonly identity: string
}

/** What people call a repository by: its work tree, or the bare directory. */
export function placeOf({ workTree, gitDir }: Pick<Location, 'workTree' | 'gitDir'>): string {
  return workTree ?? gitDir
}

/** A repository in a form that Belfry cannot read. Someone has to convert it; trying again does not help. */
export class UnsupportedRepository extends TerminalFailure {
  readonly code = 'unsupported_repository'
}

/** Extensions that change nothing about how refs and objects are read. */
const HARMLESS_EXTENSIONS: ReadonlySet<string> = new Set([
  'noop',
  'partialclone',
  'preciousobjects',
  'relativeworktrees',
  'worktreeconfig',
])

const CONFIG_BYTES_MAX = 1024 * 1024

/**
 * Finds the repository that `path` is or lies in, as `git` would: bare, with a work tree, or linked to one.
 * Throws a `ConfigError` where there is none, an `UnsupportedRepository`, or a `RetryableFailure` where it cannot be read.
 */
export async function locateRepository(path: string): Promise<Location> {
  const start = resolve(path)
  for (let at = start; ; at = dirname(at)) {
    const found = await locationAt(at).catch((error) => refused(at, error))
    if (found) return found
    if (dirname(at) === at) break
  }
  throw new ConfigError(
    `there is no Git repository at ${start}: run \`git init\` there, or name another one with --repo`,
  )
}

/** Says of what the file system refuses which repository it was about. */
function refused(place: string, error: unknown): never {
  if (!(error instanceof Error) || !('syscall' in error)) throw error
  throw new RetryableFailure(
    `the repository at ${place} cannot be read (${messageOf(error)}): see that it is whole, and who may read it`,
    { cause: error },
  )
}

async function locationAt(directory: string): Promise<Location | undefined> {
  const dotGit = join(directory, '.git')
  const found = await stat(dotGit).catch(ignoreMissing)
  if (found?.isFile()) return linked(directory, dotGit)
  if (found?.isDirectory() && (await isGitDir(dotGit))) return located(dotGit, directory)
  if (!(await isGitDir(directory))) return undefined
  const { bare } = readConfig(await configText(directory))
  const workTree = basename(directory) === '.git' && !bare ? dirname(directory) : null
  return located(directory, workTree)
}

/** A `.git` file names the real directory: that of a submodule, or of one work tree among several. */
async function linked(directory: string, dotGit: string): Promise<Location> {
  const target = /^gitdir: (.+?)\s*$/.exec(await readFile(dotGit, 'utf8'))?.[1]
  if (!target) {
    throw new UnsupportedRepository(
      `${dotGit} is a file that names no Git directory: write "gitdir: <path>" into it, or clone anew`,
    )
  }
  return located(resolve(directory, target), directory)
}

async function located(gitDir: string, workTree: string | null): Promise<Location> {
  const [own, tree] = await Promise.all([
    realpath(gitDir).catch((error) => vanished(gitDir, error)),
    workTree === null ? null : realpath(workTree),
  ])
  const common = await readFile(join(own, 'commondir'), 'utf8').catch(ignoreMissing)
  const commonDir =
    common === undefined
      ? own
      : await realpath(resolve(own, common.trimEnd())).catch((error) => vanished(own, error))
  const identity = [await identityOf(own), await identityOf(commonDir)].join(' ')
  return { gitDir: own, commonDir, workTree: tree, identity }
}

function vanished(path: string, error: unknown): never {
  throw new RetryableFailure(
    `the Git directory ${path} cannot be read (${messageOf(error)}): bring it back; a linked work tree whose repository was moved is mended by \`git worktree repair\``,
    { cause: error },
  )
}

async function isGitDir(path: string): Promise<boolean> {
  const [head, objects] = await Promise.all([
    stat(join(path, 'HEAD')).catch(ignoreMissing),
    stat(join(path, 'objects')).catch(ignoreMissing),
  ])
  return Boolean(head?.isFile() && objects?.isDirectory())
}

/** Device and inode of a path; `absent` where nothing is there. */
export async function identityOf(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch(ignoreMissing)
  return found ? `${found.dev}:${found.ino}` : 'absent'
}

/**
 * Throws unless refs and objects are kept in the form that we read. Done at each look, since a
 * repository can be converted in place, and an unread branch would seem to be a missing one.
 */
export async function assertSupported(location: Location): Promise<void> {
  const place = placeOf(location)
  const config = await configText(location.commonDir).catch((error) => refused(place, error))
  const { extensions } = readConfig(config)
  for (const [name, value] of extensions) {
    if (HARMLESS_EXTENSIONS.has(name)) continue
    if (name === 'objectformat' && value === 'sha1') continue
    if (name === 'refstorage' && value === 'files') continue
    throw new UnsupportedRepository(unsupported(place, name, value))
  }
  const alternates = join(location.commonDir, 'objects', 'info', 'alternates')
  const borrowed = await readFile(alternates, 'utf8').catch(ignoreMissing)
  if (borrowed?.trim()) {
    throw new UnsupportedRepository(
      `the repository ${place} borrows objects from another one: run \`git repack -a -d\` in it and remove ${alternates}`,
    )
  }
}

function unsupported(place: string, name: string, value: string): string {
  if (name === 'refstorage' && value === 'reftable') {
    return `the repository ${place} keeps its refs as reftable: convert it with \`git refs migrate --ref-format=files\``
  }
  if (name === 'objectformat') {
    return `the repository ${place} uses ${value} object ids: use one made with \`git init --object-format=sha1\``
  }
  return `the repository ${place} uses the extension ${name} = ${value}, which is not supported: use a clone without it`
}

async function configText(directory: string): Promise<string> {
  const path = join(directory, 'config')
  const found = await stat(path).catch(ignoreMissing)
  if (!found) return ''
  if (found.size > CONFIG_BYTES_MAX)
    throw new UnsupportedRepository(`${path} is over 1 MB: take out what does not belong there`)
  return readFile(path, 'utf8')
}

/** Reads the few settings that decide how a repository is to be read; names are lower case. */
export function readConfig(text: string): {
  readonly bare: boolean
  readonly extensions: ReadonlyMap<string, string>
} {
  const extensions = new Map<string, string>()
  let section = ''
  let bare = false
  for (const line of text.split('\n')) {
    const header = /^\s*\[\s*([^\]]+?)\s*\]/.exec(line)
    if (header) section = (header[1] ?? '').toLowerCase()
    const rest = header ? line.slice(line.indexOf(']') + 1) : line
    const setting = /^\s*([a-z][a-z0-9-]*)\s*(?:=\s*"?([^"#;]*?)"?\s*(?:[#;].*)?)?$/i.exec(rest)
    if (!setting) continue
    const name = (setting[1] ?? '').toLowerCase()
    const value = (setting[2] ?? 'true').toLowerCase()
    if (section === 'extensions') extensions.set(name, value)
    if (section === 'core' && name === 'bare') bare = ['true', 'yes', 'on', '1'].includes(value)
  }
  return { bare, extensions }
}

/** Turns "nothing is there" into undefined and lets every other failure pass. */
export function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
  throw error
}
