import type { EnvironmentName, RunId, WorkflowRunId } from '../ids.ts'

/** How many runs one transaction works on. */
export const CHUNK_RUNS_MAX = 200
/** A wake-up for the engine. The rows it names are the truth; a job too many, or too late, finds nothing to do. */
export type RunJob =
  /** Give the trigger's recipients their runs, and begin. */
  | {
      readonly kind: 'start'
      readonly environment: EnvironmentName
      readonly workflowRunId: WorkflowRunId
      /** Whether it names more than a chunk of recipients. */
      readonly large: boolean
    }
  /** Go on with these runs. */
  | {
      readonly kind: 'runs'
      readonly environment: EnvironmentName
      readonly runIds: readonly RunId[]
    }

/** Whether a trigger names so many that it must not stand in the way of one for a few. */
export function isLarge({ recipients }: { readonly recipients: readonly unknown[] }): boolean {
  return recipients.length > CHUNK_RUNS_MAX
}

/** A wake-up for those who make the requests of fetch steps. */
export interface FetchJob {
  readonly environment: EnvironmentName
  readonly runIds: readonly RunId[]
}

/** How many requests one job names. */
const FETCHES_PER_JOB = 50

/** Jobs for the requests of these runs of one environment. */
export function fetchJobs(
  environment: EnvironmentName,
  ids: readonly RunId[],
): readonly FetchJob[] {
  const count = Math.ceil(ids.length / FETCHES_PER_JOB)
  return Array.from({ length: count }, (_, index) => ({
    environment,
    runIds: ids.slice(index * FETCHES_PER_JOB, (index + 1) * FETCHES_PER_JOB),
  }))
}

/** Jobs for these runs of one environment, a chunk each. */
export function runJobs(environment: EnvironmentName, ids: readonly RunId[]): readonly RunJob[] {
  const jobs: RunJob[] = []
  for (let start = 0; start < ids.length; start += CHUNK_RUNS_MAX)
    jobs.push({ kind: 'runs', environment, runIds: ids.slice(start, start + CHUNK_RUNS_MAX) })
  return jobs
}
