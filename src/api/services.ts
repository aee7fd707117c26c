import type { Queue } from '../db/queue.ts'

/** What handlers need beside the database. */
export interface ApiServices {
  readonly queue: Queue
  /** Whether Git has been looked at since the start, with whatever result; true where another process does it. */
  hasLookedAtGit(): boolean
  readonly startedAt: Date
}
