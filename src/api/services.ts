import type { Queue } from '../db/queue.ts'
import type { Links } from '../messages/links.ts'
import type { Metrics } from '../metrics.ts'
import type { ChannelHooks } from './hooks/channels.ts'
import type { GitHooks } from './hooks/journal.ts'

/** All metrics in the text format of Prometheus. */
export interface Exposition {
  readonly contentType: string
  expose(): Promise<string>
}

/** What handlers need beside the database. */
export interface ApiServices {
  readonly queue: Queue
  /** Whether Git has been looked at since the start, with whatever result; true where another process does it. */
  hasLookedAtGit(): boolean
  readonly startedAt: Date
  /** Where calls are measured, and what `/metrics` shows; absent: nowhere, and nothing. */
  readonly metrics?: Metrics & Exposition
  /** The secret of an environment by its name; absent: no source can prove itself. */
  readonly findSecret?: (environment: string, name: string) => string | undefined
  /** Absent: no webhook of a Git host is taken. */
  readonly gitHooks?: GitHooks
  /** Absent: no report of a provider is taken. */
  readonly channelHooks?: ChannelHooks
  /** What links to us are made with; absent: none are made, and none lead anywhere. */
  readonly links?: Links | undefined
}
