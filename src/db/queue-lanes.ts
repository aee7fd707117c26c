/** A job, as far as its lane is concerned. */
interface LanedJob {
  readonly data: object
}

/** Keeps one lane from taking all places of a worker. */
export interface QueueLanes {
  /** Fetches jobs of lanes that are not full, with which theirs are. */
  fetch<Job extends LanedJob>(
    fetchJobs: (full: readonly string[]) => Promise<Job[]>,
  ): Promise<Job[]>
  /** The jobs are done. */
  leave(jobs: readonly LanedJob[]): void
}

/** One fetch follows the other, so that none overlooks what another is taking. */
export function openQueueLanes(perLane: number): QueueLanes {
  const running = new Map<string, number>()
  const add = (jobs: readonly LanedJob[], count: 1 | -1) => {
    for (const { data } of jobs) {
      const { lane = '' } = data as Laned
      running.set(lane, (running.get(lane) ?? 0) + count)
      if (running.get(lane) === 0) running.delete(lane)
    }
  }
  let last: Promise<unknown> = Promise.resolve()
  let asked = 0
  let emptySince = 0
  const take = async <Job extends LanedJob>(
    ask: number,
    fetchJobs: (full: readonly string[]) => Promise<Job[]>,
  ): Promise<Job[]> => {
    // Somebody has looked since, and found nothing.
    if (emptySince > ask) return []
    const began = (asked += 1)
    const full = [...running].flatMap(([lane, count]) => (count >= perLane ? [lane] : []))
    const jobs = await fetchJobs(full)
    add(jobs, 1)
    if (jobs.length === 0) emptySince = began
    return jobs
  }
  return {
    fetch(fetchJobs) {
      const ask = (asked += 1)
      const fetching = last.then(() => take(ask, fetchJobs))
      last = fetching.catch(() => {})
      return fetching
    },
    leave: (jobs) => add(jobs, -1),
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
