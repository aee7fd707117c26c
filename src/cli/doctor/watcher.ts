import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { messageOf } from '../../errors.ts'
import { Watch } from '../../git/watch.ts'
import { fine, warning, type Finding } from './finding.ts'

/** Where Linux says how many files may be watched. */
const INOTIFY = '/proc/sys/fs/inotify'
/** A watch per directory of refs and, in development, of workflows; editors and build tools share the number. */
const WATCHES_MIN = 8192
const INSTANCES_MIN = 64
const SIGHT_MS_MAX = 5_000
const POLL_MS = 3_600_000

/** Whether this machine lets enough files be watched; without a watch every change waits for the safety poll. */
export async function checkWatchLimits(directory = INOTIFY): Promise<Finding> {
  const [watches, instances] = await Promise.all(
    ['max_user_watches', 'max_user_instances'].map((name) =>
      readNumber(path.join(directory, name)),
    ),
  )
  if (watches === undefined || instances === undefined)
    return fine('watcher', 'this system has no limit of watched files that could be read')
  if (watches < WATCHES_MIN) {
    const message = `only ${watches} files may be watched; changes beyond wait for the safety poll`
    return warning('watcher', message, 'sudo sysctl fs.inotify.max_user_watches=524288')
  }
  if (instances < INSTANCES_MIN) {
    const message = `only ${instances} programs may watch files at the same time`
    return warning('watcher', message, 'sudo sysctl fs.inotify.max_user_instances=512')
  }
  return fine('watcher', `${watches} files may be watched, by ${instances} programs`)
}

async function readNumber(file: string): Promise<number | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '')
  return /^\d+$/.test(text.trim()) ? Number(text) : undefined
}

/** Watches a new directory as a repository is watched, changes it, and says whether that was seen. */
export async function checkWatch(
  dataDirectory: string,
  { pollSeconds, patienceMs = SIGHT_MS_MAX }: { pollSeconds: number; patienceMs?: number },
): Promise<Finding> {
  const fallback = `changes are found by looking each ${pollSeconds} s`
  const fix = 'See the limits of watched files, or lower BELFRY_POLL_SECONDS.'
  try {
    const isSeen = await seesChange(dataDirectory, patienceMs)
    if (isSeen) return fine('watcher', `a change was seen at once; else ${fallback}`)
    return warning('watcher', `a change was not seen by watching; ${fallback}`, fix)
  } catch (error) {
    return warning('watcher', `nothing can be watched (${messageOf(error)}); ${fallback}`, fix)
  }
}

async function seesChange(dataDirectory: string, patienceMs: number): Promise<boolean> {
  const parent = existsSync(dataDirectory) ? dataDirectory : tmpdir()
  const directory = await mkdtemp(path.join(parent, 'doctor-'))
  try {
    await mkdir(path.join(directory, 'workflows'))
    const seen = Promise.withResolvers<boolean>()
    const place = { gitDir: directory, commonDir: directory, workTree: directory, identity: '' }
    await using watch = new Watch(place, {
      workingTree: true,
      pollMs: POLL_MS,
      // Trouble with the watch is told without a path.
      onChange: (where) => void (where !== null && seen.resolve(true)),
    })
    await watch.start()
    await writeFile(path.join(directory, 'workflows', 'change'), '')
    const patience = new AbortController()
    const over = pause(patienceMs, false, { signal: patience.signal }).catch(() => false)
    const isSeen = await Promise.race([seen.promise, over])
    patience.abort()
    return isSeen
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
