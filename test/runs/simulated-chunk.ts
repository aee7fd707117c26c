import type { Revision, RunId } from '../../src/ids.ts'
import type { BatchContents } from '../../src/runs/batch-contents.ts'
import type { Chunk } from '../../src/runs/chunk.ts'
import { secretPlaceholders } from '../../src/runs/scope.ts'
import type { LoadedWait } from '../../src/runs/wait-store.ts'
import type { EnvironmentSettings } from '../../src/workflow/environment.ts'
import { ENVIRONMENT, USERS, type Stored } from './simulated-runs.ts'
import { SIMULATED } from './simulated-workflow.ts'

const settings = {
  timezone: 'Etc/UTC',
  locale: 'en',
  variables: {},
  channels: { feed: { key: 'feed', type: 'in_app', provider: 'in_app' } },
} as unknown as EnvironmentSettings

export const secrets = secretPlaceholders(settings)

/** What is so for all runs at a time. */
export interface Surroundings {
  readonly now: number
  readonly active: boolean
  readonly archived: boolean
  readonly contents: (stored: Stored) => BatchContents
  readonly waits: (stored: Stored) => readonly LoadedWait[]
}

/** All that these runs need to go on, as it would be loaded. */
export function chunkOf(queued: readonly Stored[], around: Surroundings): Chunk {
  const now = new Date(around.now)
  const sending = around.active
    ? { active: true as const }
    : { active: false as const, reason: null }
  const byRun = <T>(value: (stored: Stored) => T | null): ReadonlyMap<RunId, T> =>
    new Map(
      queued.flatMap((stored) => {
        const found = value(stored)
        return found === null ? [] : [[stored.run.id, found]]
      }),
    )
  return {
    environment: ENVIRONMENT,
    live: { sequence: 1, revision: 'r1' as Revision, settings, appliedAt: now },
    workflowRuns: new Map(queued.map(({ trigger }) => [trigger.id, trigger])),
    versions: new Map(queued.map(({ version }) => [version.id, version])),
    archived: new Set(around.archived ? [SIMULATED] : []),
    switches: { workflow: () => sending, sending: () => sending },
    preferences: new Map(),
    entities: new Map(
      USERS.map((id, n) => [
        `$users/${id}`,
        { collection: '$users', id, properties: { n }, createdAt: now, updatedAt: now },
      ]),
    ),
    statuses: new Map(),
    channelData: new Map(),
    memberships: new Map(),
    batches: byRun((stored) => {
      const { batchId, waitsFor } = stored.run
      return batchId === null || waitsFor === 'batch' ? null : around.contents(stored)
    }),
    fetches: byRun(({ fetch }) => fetch),
    links: null,
    dryRun: false,
    made: { bytes: 0 },
    waits: byRun(around.waits),
    now,
  }
}
