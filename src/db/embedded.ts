import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { ConfigError, messageOf } from '../errors.ts'
import { findPlace, makePrivateDirectory, preparePlace, type Place } from './embedded-place.ts'

/** A Postgres server of our own that is kept running as long as one process holds it. */
export interface EmbeddedServer {
  /** Address of the database `belfry`. */
  readonly url: string
  /** Address of the database `postgres`, for making and dropping others. */
  readonly adminUrl: string
  /** Whether no other process holds the server at this moment. */
  isAlone(): Promise<boolean>
  /** Lets go of the server, and stops it when no other process holds it; then true. */
  stop(): Promise<boolean>
}

export interface EmbeddedOptions {
  /** Server settings beyond ours, such as `fsync`. */
  readonly settings?: Readonly<Record<string, string>>
}

const USER = 'belfry'
const DATABASE = 'belfry'
const START_ATTEMPTS_MAX = 600
const START_PAUSE_MS = 50
/** A stop, for which somebody waits at a terminal, takes less than five seconds in all. */
const REJOIN_MS_MAX = 1000
const CONNECT_TIMEOUT_MS = 2000
const STOP_SECONDS = 3
/** Held shared by each process that uses the server, exclusively by the one that stops it. */
const HOLD = `hashtextextended('belfry.embedded', 0)`

/** Codes of a failed connect that mean: nothing there, or not yet, or no more. */
const ABSENT = new Set(['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'ENOTSOCK', 'EPIPE'])
const STARTING = new Set(['57P03', '57P01', '57P02'])

/**
 * Starts the Postgres server of a data directory, or joins the one that runs there: a server whose
 * process was killed goes on running and is taken over. Whether it runs is decided by connecting,
 * never by a process id. Several processes may hold one server; each holds a shared advisory lock
 * on a connection of its own, and the one that can have the lock alone when it leaves stops it.
 */
export async function startEmbedded(
  dataDirectory: string,
  options: EmbeddedOptions = {},
): Promise<EmbeddedServer> {
  const place = preparePlace(dataDirectory)
  const hold = await holdServer(place, options)
  await createDatabase(hold.client)
  let keeper = hold
  let joining: Promise<unknown> = Promise.resolve()
  let stopping: Promise<boolean> | undefined
  // The lock is lost with its connection; the server is ours to keep all the same.
  const rejoin = async () => {
    keeper = await holdServer(place, options)
    keeper.onLost(onLost)
  }
  const onLost = () => {
    if (!stopping) joining = rejoin().catch(() => {})
  }
  hold.onLost(onLost)
  const end = async () => {
    await Promise.race([joining, sleep(REJOIN_MS_MAX, undefined, { ref: false })])
    return stop(place, keeper.client)
  }
  return {
    url: urlOf(place, DATABASE),
    adminUrl: urlOf(place, 'postgres'),
    isAlone: () => isAlone(keeper.client),
    stop: () => (stopping ??= end()),
  }
}

/** Where the server of a data directory was made, and its address, whether it runs or not; undefined where none was. */
export function findEmbedded(
  dataDirectory: string,
): { readonly directory: string; readonly url: string } | undefined {
  const place = findPlace(dataDirectory)
  return place && { directory: place.directory, url: urlOf(place, DATABASE) }
}

interface Hold {
  readonly client: Client
  readonly onLost: (react: () => void) => void
}

type Joined =
  | { readonly kind: 'held'; readonly hold: Hold }
  | { readonly kind: 'absent' }
  | { readonly kind: 'wait' }

async function holdServer(place: Place, { settings = {} }: EmbeddedOptions): Promise<Hold> {
  let child: { readonly ended: () => boolean } | undefined
  for (let attempt = 0; attempt < START_ATTEMPTS_MAX; attempt += 1) {
    const joined = await join(place)
    if (joined.kind === 'held') return joined.hold
    if (joined.kind === 'absent' && (!child || child.ended())) {
      if (child) removeStaleLocks(place)
      createCluster(place)
      child = launch(place, settings)
    }
    await sleep(START_PAUSE_MS)
  }
  throw new ConfigError(`the embedded Postgres did not start:\n${logTail(place)}`)
}

async function join(place: Place): Promise<Joined> {
  if (!fs.existsSync(passwordFile(place))) return { kind: 'absent' }
  const client = new Client({
    connectionString: urlOf(place, 'postgres'),
    application_name: 'belfry-keeper',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  })
  let lost = false
  let react: (() => void) | undefined
  client.on('error', () => {})
  client.on('end', () => {
    lost = true
    react?.()
  })
  try {
    await client.connect()
    const { rows } = await client.query<{ held: boolean }>(
      `select pg_try_advisory_lock_shared(${HOLD}) as held`,
    )
    if (rows[0]?.held !== true) {
      await client.end()
      // Someone is about to stop it, or looks whether it may.
      return { kind: 'wait' }
    }
  } catch (error) {
    await client.end().catch(() => {})
    return failedJoin(error)
  }
  const onLost = (then: () => void) => {
    react = then
    if (lost) then()
  }
  return { kind: 'held', hold: { client, onLost } }
}

function failedJoin(error: unknown): Joined {
  const code = (error as { code?: string }).code ?? ''
  if (ABSENT.has(code)) return { kind: 'absent' }
  if (STARTING.has(code) || code === '') return { kind: 'wait' }
  throw new ConfigError(`the embedded Postgres refuses us: ${messageOf(error)}`)
}

async function createDatabase(client: Client): Promise<void> {
  const { rows } = await client.query(`select 1 from pg_database where datname = '${DATABASE}'`)
  if (rows.length > 0) return
  await client.query(`create database ${DATABASE}`).catch((error: { code?: string }) => {
    // Another process made it just now; the second code is the same, seen a moment earlier.
    if (error.code !== '42P04' && error.code !== '23505') throw error
  })
}

/** Makes the files of a new server, unless they are there. Several processes may do so at once: one of them counts. */
function createCluster(place: Place): void {
  const server = path.join(place.directory, 'server')
  if (fs.existsSync(server)) return
  const draft = `${server}.${randomBytes(4).toString('hex')}`
  fs.mkdirSync(draft)
  try {
    // Set apart from making it, since a strict umask would close it to the account.
    fs.chmodSync(draft, place.account ? 0o711 : 0o700)
    makePrivateDirectory(path.join(draft, 'data'), place.account)
    const passwordPath = path.join(draft, 'password')
    fs.writeFileSync(passwordPath, `${randomBytes(24).toString('hex')}\n`, { mode: 0o600 })
    if (place.account) fs.chownSync(passwordPath, place.account.uid, place.account.gid)
    const args = ['-D', path.join(draft, 'data'), '-U', USER, `--pwfile=${passwordPath}`]
    const reply = runTool(place, 'initdb', [...args, ...INITDB_OPTIONS])
    if (reply.status !== 0) throw new ConfigError(`initdb failed: ${reply.stderr}`)
    // Postgres has read it, and nobody but us needs to.
    if (place.account) fs.chownSync(passwordPath, 0, 0)
    removeDrafts(place, draft)
    fs.renameSync(draft, server)
  } catch (error) {
    fs.rmSync(draft, { recursive: true, force: true })
    if (!fs.existsSync(server)) throw error
  }
}

const INITDB_OPTIONS = [
  '--auth=scram-sha-256',
  '--encoding=UTF8',
  '--locale-provider=builtin',
  '--locale=C.UTF-8',
  '--builtin-locale=C.UTF-8',
  '--no-instructions',
]
const DRAFT_AGE_MS_MAX = 600_000

/** Drafts of processes that were killed while they made one. */
function removeDrafts(place: Place, ours: string): void {
  const now = fs.statSync(ours).mtimeMs
  for (const name of fs.readdirSync(place.directory)) {
    const draft = path.join(place.directory, name)
    if (!name.startsWith('server.') || draft === ours) continue
    const age = now - (fs.statSync(draft, { throwIfNoEntry: false })?.mtimeMs ?? now)
    if (age > DRAFT_AGE_MS_MAX) fs.rmSync(draft, { recursive: true, force: true })
  }
}

function launch(
  place: Place,
  settings: Readonly<Record<string, string>>,
): { readonly ended: () => boolean } {
  const options = {
    listen_addresses: '',
    // A list in which a name in double quotes may hold any character but these.
    unix_socket_directories: `"${place.socket}"`,
    unix_socket_permissions: '0700',
    log_checkpoints: 'off',
    ...settings,
  }
  const args = Object.entries(options).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const log = fs.openSync(path.join(place.directory, 'log'), 'a', 0o600)
  // A group of its own, so that Ctrl-C in our terminal reaches us alone and we stop it in good order.
  const child = spawn(path.join(place.native, 'bin', 'postgres'), ['-D', dataOf(place), ...args], {
    ...spawnOptions(place),
    detached: true,
    stdio: ['ignore', log, log],
  })
  fs.closeSync(log)
  let ended = false
  child.on('error', () => (ended = true))
  child.on('exit', () => (ended = true))
  child.unref()
  return { ended: () => ended }
}

/**
 * A killed server leaves lock files with its process id. Postgres refuses to start when that number
 * belongs to a process of the same account by now, as it does soon in a container that was started
 * again. Nobody answers and the process does not work in our data directory: the locks are stale.
 */
function removeStaleLocks(place: Place): void {
  const lock = path.join(dataOf(place), 'postmaster.pid')
  try {
    const pid = fs.readFileSync(lock, 'utf8').split('\n', 1)[0]
    if (fs.readlinkSync(`/proc/${pid}/cwd`) === dataOf(place)) return
  } catch (error) {
    // Without /proc, or with no such process, Postgres sees to it.
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') return
  }
  fs.rmSync(lock, { force: true })
  fs.rmSync(path.join(place.socket, '.s.PGSQL.5432.lock'), { force: true })
}

async function isAlone(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ alone: boolean }>(
    `select pg_try_advisory_lock(${HOLD}) as alone`,
  )
  const alone = rows[0]?.alone === true
  if (alone) await client.query(`select pg_advisory_unlock(${HOLD})`)
  return alone
}

async function stop(place: Place, client: Client): Promise<boolean> {
  try {
    const { rows } = await client.query<{ alone: boolean }>(
      `select pg_advisory_unlock_shared(${HOLD}), pg_try_advisory_lock(${HOLD}) as alone`,
    )
    // Until the server is gone, our lock makes newcomers wait.
    if (rows[0]?.alone === true) stopServer(place)
    return rows[0]?.alone === true
  } catch {
    // Our connection is gone. Whether others hold the server cannot be told, so it stays.
    return false
  } finally {
    await client.end().catch(() => {})
  }
}

function stopServer(place: Place): void {
  const args = ['-D', dataOf(place), '-w', '-t', String(STOP_SECONDS)]
  const reply = runTool(place, 'pg_ctl', ['stop', '-m', 'fast', ...args])
  if (reply.status !== 0) runTool(place, 'pg_ctl', ['stop', '-m', 'immediate', ...args])
}

function runTool(place: Place, tool: string, args: readonly string[]) {
  return spawnSync(path.join(place.native, 'bin', tool), args, {
    ...spawnOptions(place),
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}

/** Nothing of our surroundings reaches the server; its account may not be able to enter our directory. */
function spawnOptions({ account }: Place) {
  return { cwd: '/', env: { TZ: 'UTC', LC_ALL: 'C' }, ...account }
}

function urlOf(place: Pick<Place, 'directory' | 'socket'>, database: string): string {
  const password = fs.readFileSync(passwordFile(place), 'utf8').trim()
  return `postgres://${USER}:${password}@/${database}?host=${encodeURIComponent(place.socket)}`
}

function dataOf(place: Place): string {
  return path.join(place.directory, 'server', 'data')
}

function passwordFile(place: Pick<Place, 'directory'>): string {
  return path.join(place.directory, 'server', 'password')
}

function logTail(place: Place): string {
  const log = fs.readFileSync(path.join(place.directory, 'log'), 'utf8')
  return log.trim().split('\n').slice(-10).join('\n')
}
