import type { Log } from '../log.ts'
import { startLoop, type Loop } from './loop.ts'

/** A job, as far as its lane is concerned. */
interface LanedJob {
  readonly data: object
}

/** Keeps lanes from taking all places of a worker. */
export interface QueueLanes {
  /** The lanes of which no further job is to begin. */
  full(): readonly string[]
  enter(jobs: readonly LanedJob[]): void
  /** The jobs are done. */
  leave(jobs: readonly LanedJob[]): void
}

export interface LanePlaces {
  /** What lanes share. Where all of it is taken, lanes of which nothing runs get a place beyond it: any number may hang. */
  readonly shared: number
  readonly perLane: number
}

/** Counts what runs of each lane. */
export function openQueueLanes({ shared, perLane }: LanePlaces): QueueLanes {
  const running = new Map<string, number>()
  let total = 0
  const add = (jobs: readonly LanedJob[], count: 1 | -1) => {
    for (const { data } of jobs) {
      const { lane = '' } = data as Laned
      total += count
      running.set(lane, (running.get(lane) ?? 0) + count)
      if (running.get(lane) === 0) running.delete(lane)
    }
  }
  return {
    full: () =>
      [...running].flatMap(([lane, count]) => (count >= perLane || total >= shared ? [lane] : [])),
    enter: (jobs) => add(jobs, 1),
    leave: (jobs) => add(jobs, -1),
  }
}

/** One loop that waits for no job that it began, so that lanes of which nothing runs need no place. */
export function startLaneLoop<Job extends LanedJob>(
  lanes: QueueLanes,
  {
    log,
    name,
    take,
    handle,
  }: {
    readonly log: Log
    readonly name: string
    readonly take: () => Promise<readonly Job[]>
    readonly handle: (jobs: readonly Job[]) => Promise<unknown>
  },
): Loop {
  const running = new Set<Promise<void>>()
  const work = async (jobs: readonly Job[]) => {
    try {
      await handle(jobs)
    } catch (error) {
      log.warn('jobs were not ended', { queue: name, error })
    } finally {
      lanes.leave(jobs)
      loop.wake()
    }
  }
  const turn = async () => {
    const jobs = await take()
    if (jobs.length === 0) return false
    lanes.enter(jobs)
    const working = work(jobs).finally(() => running.delete(working))
    running.add(working)
    return true
  }
  const loop = startLoop(turn, { log, name })
  return {
    wake: () => loop.wake(),
    async close() {
      await loop.close()
      await Promise.all(running)
    },
  }
}

interface Laned {
  readonly lane?: string
}

/** Where a payload names a lane, what the queue tells its jobs apart by. */
export function groupOf(payload: object): { readonly group?: { readonly id: string } } {
  const { lane } = payload as Laned
  return lane === undefined ? {} : { group: { id: lane } }
}
