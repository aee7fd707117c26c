import fs from 'node:fs'
import path from 'node:path'
import { messageOf } from './errors.ts'

/** What the command line uses of a local server in development mode, and only its owner may read. */
export interface DevCredentials {
  readonly key: string
  readonly operator_token: string
}

/** A server that runs on a data directory. */
export interface LocalServer {
  readonly url: string
  readonly pid: number
  readonly started_at: string
  /** Whether it follows the working tree. */
  readonly dev?: boolean
}

const CREDENTIALS = 'credentials.json'
const SERVERS = 'servers'
const PRIVATE = 0o600

/** The credentials of a data directory; undefined where no server made any. */
export function readDevCredentials(dataDir: string): DevCredentials | undefined {
  const text = readIfThere(path.join(dataDir, CREDENTIALS))
  return text === undefined ? undefined : (JSON.parse(text) as DevCredentials)
}

/** Keeps new credentials in a data directory, unless another process was first; answers those that count. */
export function keepDevCredentials(dataDir: string, made: DevCredentials): DevCredentials {
  fs.mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const file = path.join(dataDir, CREDENTIALS)
  const own = `${file}.${process.pid}`
  fs.writeFileSync(own, `${JSON.stringify(made, undefined, 2)}\n`, { mode: PRIVATE })
  try {
    // A link is made whole or not at all, and only where nothing is.
    fs.linkSync(own, file)
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error
  } finally {
    fs.rmSync(own)
  }
  return readDevCredentials(dataDir) ?? made
}

/** Notes that a server runs here. The answer takes the note away again. */
export function noteServer(dataDir: string, server: LocalServer): () => void {
  const directory = path.join(dataDir, SERVERS)
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
  const file = path.join(directory, `${server.pid}.json`)
  fs.writeFileSync(file, `${JSON.stringify(server)}\n`, { mode: PRIVATE })
  return () => fs.rmSync(file, { force: true })
}

/** The server that has run here longest and still does; undefined where none does. */
export function findServer(dataDir: string): LocalServer | undefined {
  const directory = path.join(dataDir, SERVERS)
  const names = fs.existsSync(directory) ? fs.readdirSync(directory) : []
  return names
    .flatMap((name) => readServer(path.join(directory, name)))
    .filter((server) => isRunning(server.pid))
    .toSorted((a, b) => a.started_at.localeCompare(b.started_at))[0]
}

function readServer(file: string): LocalServer[] {
  const text = readIfThere(file)
  try {
    return text === undefined ? [] : [JSON.parse(text) as LocalServer]
  } catch (error) {
    // A note that is being written is read on the next call.
    if (error instanceof SyntaxError) return []
    throw new Error(`${file}: ${messageOf(error)}`, { cause: error })
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined
    throw error
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return isCode(error, 'EPERM')
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
