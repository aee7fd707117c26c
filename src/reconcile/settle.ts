import type { Clock } from '../clock.ts'
import type { Database } from '../db/database.ts'
import type { CommitSource, WorkingSource } from '../git/source.ts'
import { isKey } from '../ids.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import { environmentNameOf } from '../workflow/environment-file.ts'
import type { ProviderShape } from '../workflow/environment-schema.ts'
import { isOpen } from './drift-fight.ts'
import type { WriteMark } from './drift-store.ts'
import { assertLead } from './leader-store.ts'
import type { Leadership } from './leader-store.ts'
import type { Sight, Trigger } from './measure.ts'
import { POLICY_FILE_INVALID } from './policy-file.ts'
import type { PolicyFile } from './policy-file.ts'
import type { KnownSigners } from './signature-guard.ts'
import { drifted } from './status.ts'
import { announce } from './outbox.ts'
import type { Announcing } from './outbox.ts'
import type { Status } from './status.ts'
import { saveStatus } from './store.ts'
import type { KnownEnvironment } from './store.ts'

/** What every look needs. */
export interface Ground {
  readonly database: Database
  readonly clock: Clock
  readonly repository: CommitSource
  /** Set in development mode. */
  readonly workingTree: WorkingSource | null
  /** `--default-branch`. */
  readonly defaultBranch: string | null
  /** The providers that environments can name. */
  readonly providers: readonly ProviderShape[]
  readonly hasSecret: (environment: EnvironmentName, name: string) => boolean
  readonly log: Log
  readonly metrics: Metrics
  /** Null where no forge is told what becomes of a commit. */
  readonly announcing: Announcing | null
  /** Called where a branch, or the head of a pull request, may have moved since the look before; null: nobody asks. */
  readonly onMoved: (() => void) | null
  /** How long a broken working tree is left alone before it is taken at its word. */
  readonly settleMs: number
  /** `--policy-file`: policies that are kept outside of the repository. */
  readonly policyFile: string | null
  /** The files that say who may sign commits. */
  readonly allowedSigners: readonly string[]
}

/** What a process remembers between looks. A new process starts with nothing, and reads once more what was stalled. */
export interface Memory {
  /** The revision that was last read and the policy it was held to, per environment. */
  readonly judged: Map<EnvironmentName, string>
  /** Until when a revision waits that has to be live elsewhere first, per environment. */
  readonly soakingUntil: Map<EnvironmentName, Date>
  /** The state that was last logged, per environment. */
  readonly logged: Map<EnvironmentName, string>
  /** What is wrong with the declarations of the default branch. */
  declarationProblems: readonly Diagnostic[]
  policyFile: PolicyFile | null
  signers: KnownSigners | null
  /** Whether it was said that there is no default branch. */
  isDefaultMissing: boolean
  /** Why the repository cannot be read, where that was logged since no environment was there to say it. */
  saidUnreadable: string | null
  /** Announced commits that were looked for in vain, each with its branch and the tip that was there. */
  readonly unseen: Set<string>
  /** When the refs of the repository were last read. */
  polledAt: Date | null
  /** The revision that was last found at an environment's branch, and since when; null for what was there at the start. */
  readonly sights: Map<EnvironmentName, Sight>
  /** The fingerprint of the refs at the last look; null where it could not be had. */
  fingerprint: string | null
  /** What asked for the look under way. */
  trigger: Trigger
  /** Whether something announced a change since the pass before. */
  isAnnounced: boolean
  /** What an environment's rows came to when they were last found right. */
  readonly seals: Map<EnvironmentName, string>
  /** Versions that were written before it are known to be right; null before the first check. */
  writeMark: WriteMark | null
}

/** One look under way. */
export interface Looking extends Ground {
  readonly leadership: Leadership
  readonly memory: Memory
  /** Calls back when something may have moved; answers how to stop that. */
  readonly onNews: (listener: () => void) => () => void
}

/** What a look found out about an environment. */
export interface Settled {
  readonly status: Status
  /** Absent: what was found last still holds. */
  readonly diagnostics?: readonly Diagnostic[]
  readonly attempted?: Revision
}

/** Marks a warning that repeats, at an environment, what is wrong with its declaration elsewhere. */
const DECLARATION_INVALID = 'declaration_invalid'

/** Writes the state of an environment where it differs from the known one, and logs a change of it. */
export async function settle(
  looking: Looking,
  row: KnownEnvironment,
  { status: wanted, diagnostics: found = row.diagnostics, attempted }: Settled,
): Promise<void> {
  const { database, leadership, clock } = looking
  const status = withDrift(row, wanted)
  const diagnostics = withDeclarationProblems(looking.memory, row, found)
  logChange(looking, row, status)
  const isSame =
    row.state === status.state &&
    row.message === status.message &&
    (attempted === undefined || row.attempted === attempted) &&
    fingerprint(diagnostics) === fingerprint(row.diagnostics)
  // A forge that was set since knows nothing yet of what has long been settled.
  if (isSame && (looking.announcing === null || attempted === undefined)) return
  await database.transaction(async (tx) => {
    await assertLead(tx, leadership)
    const now = clock.now()
    const { name: environment, gitRef } = row
    const look = { status, diagnostics, attempted: attempted ?? null, now }
    if (!isSame) await saveStatus(tx, environment, look)
    if (attempted === undefined) return
    // Drift is about what runs, and not about the commit.
    const finding = { environment, gitRef, revision: attempted, status: wanted, diagnostics, now }
    await announce(tx, looking.announcing, finding)
  })
}

/** What runs is not what the revision says while somebody fights the repair of it. */
function withDrift({ drift, observed }: KnownEnvironment, status: Status): Status {
  return status.state === 'ready' && drift && isOpen(drift) ? drifted(drift, observed) : status
}

/**
 * Adds what is wrong with the environment's file on the default branch, as warnings: the known
 * declaration goes on to hold, so they keep nothing from being applied.
 */
export function withDeclarationProblems(
  { declarationProblems, policyFile }: Pick<Memory, 'declarationProblems' | 'policyFile'>,
  { name }: Pick<KnownEnvironment, 'name'>,
  diagnostics: readonly Diagnostic[],
): readonly Diagnostic[] {
  const own = diagnostics.filter(
    ({ code }) => code !== DECLARATION_INVALID && code !== POLICY_FILE_INVALID,
  )
  const warnings = declarationProblems
    .filter((diagnostic) => concerns(diagnostic, name))
    .map(({ message, ...place }): Diagnostic => {
      const text = `on the default branch, whose last good declarations still hold: ${message}`
      return { ...place, code: DECLARATION_INVALID, message: text, severity: 'warning' }
    })
  const outside = (policyFile?.problems ?? []).map(({ message, ...place }): Diagnostic => {
    const text = `in the policy file, whose last good content still holds: ${message}`
    return { ...place, code: POLICY_FILE_INVALID, message: text, severity: 'warning' }
  })
  return [...own, ...warnings, ...outside]
}

/**
 * Whether a problem of the declarations is shown at this environment: one about its own file, and
 * one about a file that can be no environment's.
 */
function concerns({ path }: Diagnostic, name: EnvironmentName): boolean {
  const about = environmentNameOf(path)
  return about === undefined || !isKey(about) || about === name
}

/** Whether a problem of the declarations is one of this environment's own file. */
export function isAbout({ path }: Diagnostic, name: EnvironmentName): boolean {
  return environmentNameOf(path) === name
}

/** Postgres keeps neither the order of keys nor absent ones, so both sides are put in one form. */
function fingerprint(diagnostics: readonly Diagnostic[]): string {
  const lines = diagnostics.map(({ path, line, column, code, message, hint = '', severity }) =>
    JSON.stringify([path, line, column, code, message, hint, severity]),
  )
  return lines.join('\n')
}

/** Tells the log where an environment's state is another one than before; work under way is none. */
export function logChange({ log, memory }: Looking, row: KnownEnvironment, status: Status): void {
  const before = memory.logged.get(row.name) ?? row.reason
  if (status.reason === 'progressing' || status.reason === before) return
  memory.logged.set(row.name, status.reason)
  const { state, reason, message } = status
  if (state === 'ready') log.info('environment is ready', { environment: row.name, message })
  else log.warn(`environment is ${state}`, { environment: row.name, reason, message })
}
