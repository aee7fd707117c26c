import type { SendContext } from './provider.ts'
import type { Fate } from './report.ts'

/** What a service says of one message when it is asked. */
export interface StatusReceipt {
  /** Null: nothing more than what its first answer said. */
  readonly fate: Fate | null
  readonly details?: unknown
  /** What it has sent of it, for the log. */
  readonly shown: unknown
}

export type StatusAnswer =
  /** By the service's own ids of the messages; of those that are left out it knows nothing yet. */
  | { readonly kind: 'answered'; readonly receipts: ReadonlyMap<string, StatusReceipt> }
  | { readonly kind: 'failed'; readonly details: string; readonly retryAfterMs?: number }

export type PollContext<Settings> = Pick<
  SendContext<Settings>,
  'settings' | 'signal' | 'now' | 'door'
>

/** How a service that does not call us is asked what became of messages. */
export interface StatusPoll<Settings> {
  /** When it is asked after the hand-over, and after each time that told nothing; then no more. */
  readonly waitsMs: readonly number[]
  /** Of messages that one request names. */
  readonly count: number
  ask(references: readonly string[], context: PollContext<Settings>): Promise<StatusAnswer>
}
