import type { Queue } from '../db/queue.ts'
import type { GitHooks } from './hooks/journal.ts'

/** What handlers need beside the database. */
export interface ApiServices {
  readonly queue: Queue
  /** Whether Git has been looked at since the start, with whatever result; true where another process does it. */
  hasLookedAtGit(): boolean
  readonly startedAt: Date
  /** Absent: no webhook of a Git host is taken. */
  readonly gitHooks?: GitHooks
}
