import { spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { startEmbedded } from '../../src/db/embedded.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const START_MS_MAX = 30_000

/** The key of `production` and the operator's, of each server that is started here. */
export const KEY = 'sk_production_for_tests'
export const OPERATOR = 'operator-for-tests'

export interface ServeOptions {
  readonly repo: string
  /** Without it the process has a data directory of its own. */
  readonly dataDir?: string
  /** Without it: the embedded server of the data directory. */
  readonly databaseUrl?: string
  /** 0, any free one, unless told; `null` leaves the choice to the program. */
  readonly port?: number | null
  /** Policies from outside of the repository. */
  readonly policyFile?: string
  readonly env?: Readonly<Record<string, string>>
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A process of its own that runs `belfry serve`. */
export interface Served {
  readonly pid: number
  readonly url: string
  readonly dataDir: string
  readonly ended: Promise<Exit>
  isRunning(): boolean
  /** All that it wrote to its standard error. */
  log(): string
  /** Ends it as a power cut does; resolves when it is gone. */
  kill(): Promise<void>
  /** Lets it stand still, as a machine that swaps or a paused container does. */
  freeze(): void
  /** Lets it go on. */
  thaw(): void
  /** Asks it to stop; says how it ended and how long that took. */
  stop(signal: 'SIGINT' | 'SIGTERM'): Promise<Exit & { readonly ms: number }>
}

/** All servers of one test. Disposing it ends them, their Postgres servers too, and removes their files. */
export interface Fleet extends AsyncDisposable {
  readonly directory: string
  /** Starts one and waits until it answers. Rejects with its log when it ends before. */
  serve(options: ServeOptions): Promise<Served>
  /** Starts one that is expected to end by itself, and waits for that. */
  refuse(options: ServeOptions): Promise<Exit & { readonly log: string }>
}

const running = new Set<ChildProcess>()
// Also when a test is cut off and its `await using` never ends.
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export function openFleet(): Fleet {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'belfry-served-'))
  // Open to the account of the embedded server, so that its files stay in here.
  fs.chmodSync(directory, 0o755)
  const children: Started[] = []
  const dataDirs = new Set<string>()
  const launch = (options: ServeOptions): Started => {
    const dataDir = options.dataDir ?? path.join(directory, `data-${children.length}`)
    if (options.databaseUrl === undefined) dataDirs.add(dataDir)
    const started = start({ ...options, dataDir })
    children.push(started)
    return started
  }
  return {
    directory,
    async serve(options) {
      const started = launch(options)
      const url = await started.greeting
      if (url === undefined) throw new Error(`belfry did not start:\n${started.log()}`)
      return { ...started, url }
    },
    async refuse(options) {
      const started = launch(options)
      return { ...(await started.ended), log: started.log() }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(children.map((child) => child.kill()))
      for (const dataDir of dataDirs) await stopLeftOver(dataDir)
      fs.rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Stops the Postgres server that a killed process has left running. */
async function stopLeftOver(dataDir: string): Promise<void> {
  if (!fs.existsSync(path.join(dataDir, 'postgres/server/data/postmaster.pid'))) return
  const server = await startEmbedded(dataDir)
  await server.stop()
}

interface Started extends Omit<Served, 'url'> {
  /** Where it answers; undefined when it ended before it said so. */
  readonly greeting: Promise<string | undefined>
}

function start(options: ServeOptions & { readonly dataDir: string }): Started {
  const { repo, dataDir, port = 0, policyFile } = options
  const argv = ['src/main.ts', 'serve', '--repo', repo, '--data-dir', dataDir]
  if (port !== null) argv.push('--port', String(port))
  if (policyFile !== undefined) argv.push('--policy-file', policyFile)
  const env = environment(options)
  const child = spawn(process.execPath, argv, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  let out = ''
  let error = ''
  const ended = new Promise<Exit>((resolve) => {
    child.on('exit', (code, signal) => {
      running.delete(child)
      resolve({ code, signal })
    })
  })
  child.stderr.on('data', (chunk: Buffer) => (error += String(chunk)))
  const greeting = new Promise<string | undefined>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      out += String(chunk)
      const url = /^URL +(\S+)$/m.exec(out)?.[1]
      if (url !== undefined) resolve(url)
    })
    const cut = pause(START_MS_MAX, undefined, { ref: false })
    void Promise.race([ended, cut]).then(() => resolve(undefined))
  })
  const isRunning = () => child.exitCode === null && child.signalCode === null
  return {
    pid: child.pid ?? 0,
    dataDir,
    greeting,
    ended,
    isRunning,
    log: () => error,
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
    async stop(signal) {
      const from = performance.now()
      child.kill(signal)
      return { ...(await ended), ms: performance.now() - from }
    },
  }
}

/** The surroundings of the test without settings of Belfry, and those that all servers here share. */
function environment({ databaseUrl, env = {} }: ServeOptions): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(BELFRY_|DATABASE_URL$|PORT$|VITEST|NODE_OPTIONS$)/.test(name),
  )
  return {
    ...Object.fromEntries(kept),
    ...(databaseUrl !== undefined && { DATABASE_URL: databaseUrl }),
    BELFRY_API_KEYS: `production=${KEY}`,
    BELFRY_OPERATOR_TOKEN: OPERATOR,
    BELFRY_ALLOWED_TARGETS: '127.0.0.0/8',
    NO_COLOR: '1',
    ...env,
  }
}
