import type { Clock } from '../../clock.ts'
import type { Log } from '../../log.ts'
import { noMetrics } from '../../metrics.ts'
import type { Metrics } from '../../metrics.ts'

/** How deliveries end. All but the first three are refused. */
export const HOOK_OUTCOMES = [
  'queued',
  'unmatched',
  'duplicate',
  'no_secrets',
  'unsigned',
  'bad_signature',
  'bad_timestamp',
  'too_large',
  'too_slow',
  'unreadable',
  'malformed',
] as const
export type HookOutcome = (typeof HOOK_OUTCOMES)[number]

/** What this process has seen of the webhooks of one provider since its start. */
export interface HookCount {
  readonly provider: string
  /** How many ended in each way; those without one are left out. */
  readonly outcomes: Readonly<Partial<Record<HookOutcome, number>>>
  /** The last one that proved who sent it, duplicates included. */
  readonly lastDeliveryAt: Date | null
}

/** The secrets that webhooks of Git hosts are checked with, and what became of the deliveries. */
export interface GitHooks {
  readonly secrets: readonly string[]
  /** Counts a delivery of a known provider, and tells the log of the refused ones, once a minute at most. */
  note(provider: string, outcome: HookOutcome): void
  /** By provider; only those that were called. */
  counts(): readonly HookCount[]
}

export interface GitHooksOptions {
  readonly secrets: readonly string[]
  readonly clock: Clock
  readonly log: Log
  readonly metrics?: Metrics
}

/** Anybody can make calls that are refused: the log is told of each kind this often at most. */
const LOG_MS = 60_000
const ACCEPTED: ReadonlySet<HookOutcome> = new Set(['queued', 'unmatched', 'duplicate'])

/** Says of each kind of thing whether a minute has passed since it last said so. */
export function sparingly(clock: Clock): (kind: string) => boolean {
  const said = new Map<string, number>()
  return (kind) => {
    const now = clock.now().getTime()
    const before = said.get(kind)
    if (before !== undefined && now - before < LOG_MS) return false
    said.set(kind, now)
    return true
  }
}

/** Begins to count. */
export function openGitHooks({
  secrets,
  clock,
  log,
  metrics = noMetrics,
}: GitHooksOptions): GitHooks {
  const counts = new Map<
    string,
    { outcomes: Map<HookOutcome, number>; lastDeliveryAt: Date | null }
  >()
  const isTime = sparingly(clock)
  return {
    secrets,
    note(provider, outcome) {
      metrics.count('webhook_total', { provider, result: outcome })
      const now = clock.now()
      const count = counts.get(provider) ?? { outcomes: new Map(), lastDeliveryAt: null }
      counts.set(provider, count)
      const total = (count.outcomes.get(outcome) ?? 0) + 1
      count.outcomes.set(outcome, total)
      if (ACCEPTED.has(outcome)) {
        count.lastDeliveryAt = now
        return
      }
      if (!isTime(`${provider} ${outcome}`)) return
      log.warn('a webhook of a Git host was refused', { provider, reason: outcome, total })
    },
    counts: () =>
      [...counts].map(([provider, { outcomes, lastDeliveryAt }]) => {
        return { provider, outcomes: Object.fromEntries(outcomes), lastDeliveryAt }
      }),
  }
}
