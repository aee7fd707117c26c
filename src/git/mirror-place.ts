import { createHash, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { ignoreMissing } from './location.ts'

/**
 * A directory that this process alone writes. Its name says who owns it, so that taking over the one
 * of a dead process is one rename, which only one of several can win.
 */
export interface Place {
  readonly path: string
  /** Whether it is still there under this name. */
  isOwn(): Promise<boolean>
  /** Leaves it to whoever asks next. */
  release(): Promise<void>
}

const BEAT_MS = 60_000
/** After so long without a beat, a process that cannot be seen from here counts as gone. */
const BEATS_MISSED_MS = 15 * BEAT_MS
const FREE = 'free-'

/** Directories that this very process holds now. */
const held = new Set<string>()

/** Takes a place below `root`: one that is free, else one whose process has died, else a new one. */
export async function takePlace(root: string): Promise<Place> {
  await mkdir(root, { recursive: true, mode: 0o700 })
  const path = join(root, ownerMark())
  held.add(path)
  for (const name of await readdir(root)) {
    if (!(await isAbandoned(root, name))) continue
    // Another process may have been faster, and that is the end of it.
    const isTaken = await rename(join(root, name), path).then(
      () => true,
      () => false,
    )
    if (isTaken) return placeAt(root, path)
  }
  await mkdir(path, { mode: 0o700 })
  return placeAt(root, path)
}

async function placeAt(root: string, path: string): Promise<Place> {
  const beat = () => writeFile(join(path, 'beat'), '').catch(() => {})
  await beat()
  const timer = setInterval(() => void beat(), BEAT_MS)
  timer.unref()
  return {
    path,
    isOwn: async () => (await stat(path).catch(ignoreMissing)) !== undefined,
    async release() {
      clearInterval(timer)
      held.delete(path)
      await rename(path, join(root, `${FREE}${randomUUID()}`)).catch(() => {})
    },
  }
}

/** Host, process and start of the process: a number alone is given again to others. */
function ownerMark(): string {
  const start = startOf(process.pid) ?? 'unknown'
  return `${hostMark()}-${process.pid}-${start}-${randomUUID().slice(0, 8)}`
}

async function isAbandoned(root: string, name: string): Promise<boolean> {
  if (name.startsWith(FREE)) return true
  const [host, pid = '', start] = name.split('-')
  if (pid === '' || held.has(join(root, name))) return false
  if (host === hostMark()) return startOf(Number(pid)) !== start
  return isSilent(root, join(root, name))
}

/** Compares two times of the one file system, whose clock need not be ours. */
async function isSilent(root: string, path: string): Promise<boolean> {
  const beat = await stat(join(path, 'beat')).catch(ignoreMissing)
  if (!beat) return false
  const probe = join(root, `probe-${randomUUID()}`)
  await writeFile(probe, '')
  const { mtimeMs } = await stat(probe)
  await rm(probe, { force: true })
  return mtimeMs - beat.mtimeMs > BEATS_MISSED_MS
}

/** The same for all processes that see each other; the name of a machine may hold anything. */
function hostMark(): string {
  return createHash('sha256').update(hostname()).digest('hex').slice(0, 8)
}

const START_FIELD = 22

/** When a process started, as the kernel counts; `unknown` where it does not say, undefined when there is none. */
function startOf(pid: number): string | undefined {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second field is a name in brackets, which may hold anything.
    return line.slice(line.lastIndexOf(')') + 2).split(' ')[START_FIELD - 3]
  } catch {
    return isRunning(pid) ? 'unknown' : undefined
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
