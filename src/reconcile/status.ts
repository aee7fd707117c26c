import type { Revision } from '../ids.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import type { Prune } from './plan.ts'

/** The trailer of a tip whose archiving is meant. */
export const ALLOW_PRUNE = 'Belfry-Allow-Prune'

/** Every reason, with the state it belongs to. Each is explained in docs/spec/environment-state.md. */
export const REASONS = {
  applied: 'ready',
  pinned: 'ready',
  progressing: 'reconciling',
  retrying: 'reconciling',
  invalid_files: 'stalled',
  prune_guard: 'stalled',
  undeclared: 'stalled',
  unsupported_repository: 'stalled',
  authentication: 'stalled',
  repository_missing: 'stalled',
  default_branch_changed: 'stalled',
  suspended: 'suspended',
  ref_missing: 'waiting',
} as const

export type Reason = keyof typeof REASONS
export type State = (typeof REASONS)[Reason]

/** Where an environment stands, why, and what to do about it. */
export type Status = {
  [Each in Reason]: {
    readonly state: (typeof REASONS)[Each]
    readonly reason: Each
    readonly message: string
  }
}[Reason]

/** The tip of its ref is what runs. */
export function applied(revision: Revision): Status {
  return { state: 'ready', reason: 'applied', message: `Revision ${short(revision)} is live.` }
}

/** A revision is being read. */
export function progressing(revision: Revision, live: Revision | null): Status {
  const message = `Revision ${short(revision)} is being read and checked. ${staysLive(live)}`
  return { state: 'reconciling', reason: 'progressing', message }
}

/** An environment that was declared just now. */
export function declaredFirst(): Status {
  const message = 'The environment was declared and is read for the first time.'
  return { state: 'reconciling', reason: 'progressing', message }
}

/** Something could not be read or written for now; `cause` says what. */
export function retrying(cause: string, live: Revision | null): Status {
  const message = `The last look failed and is repeated with growing pauses: ${cause}. ${staysLive(live)}`
  return { state: 'reconciling', reason: 'retrying', message }
}

/** The revision holds errors; null for one that declares an environment for the first time. */
export function invalidFiles(
  revision: Revision | null,
  diagnostics: readonly Diagnostic[],
  live: Revision | null,
): Status {
  const errors = diagnostics.filter(({ severity }) => severity === 'error')
  const [first] = errors
  const where = first ? `${first.path}:${first.line}:${first.column} ${first.message}` : ''
  const count = errors.length === 1 ? 'a problem' : `${errors.length} problems, the first`
  const subject =
    revision === null ? 'The file on the default branch' : `Revision ${short(revision)}`
  const message = `${subject} has ${count} at ${where}. Correct it and commit again. ${staysLive(live)}`
  return { state: 'stalled', reason: 'invalid_files', message }
}

const NAMES_MAX = 10

/** The revision would archive more than it may without being told to. */
export function pruneGuard(
  {
    environment,
    revision,
    live,
  }: { readonly environment: string; readonly revision: Revision; readonly live: Revision | null },
  { archived, of }: Prune,
): Status {
  const shown = archived.slice(0, NAMES_MAX).join(', ')
  const more = archived.length > NAMES_MAX ? ` and ${archived.length - NAMES_MAX} more` : ''
  const message = `Revision ${short(revision)} would archive ${archived.length} of ${of} live workflows: ${shown}${more}. Bring their directories back; or, if this is meant, confirm it with "belfry reconcile ${environment} --allow-prune ${short(revision)}", or commit again with the trailer "${ALLOW_PRUNE}: true". ${staysLive(live)}`
  return { state: 'stalled', reason: 'prune_guard', message }
}

/** The default branch does not name the environment any more. */
export function undeclared(name: string, live: Revision | null): Status {
  const message = `The default branch has no environments/${name}.yaml any more. Bring it back to follow its branch again. ${staysLive(live)}`
  return { state: 'stalled', reason: 'undeclared', message }
}

/** The repository is in a form that cannot be read; `cause` says which, and how to convert it. */
export function unsupportedRepository(cause: string, live: Revision | null): Status {
  return { state: 'stalled', reason: 'unsupported_repository', message: stays(cause, live) }
}

/** The remote refuses us; `cause` says which one, and what to set. */
export function authentication(cause: string, live: Revision | null): Status {
  return { state: 'stalled', reason: 'authentication', message: stays(cause, live) }
}

/** The remote has no such repository; `cause` says where it was looked for. */
export function repositoryMissing(cause: string, live: Revision | null): Status {
  return { state: 'stalled', reason: 'repository_missing', message: stays(cause, live) }
}

function stays(cause: string, live: Revision | null): string {
  return `${cause.charAt(0).toUpperCase()}${cause.slice(1)}. ${staysLive(live)}`
}

/** Another branch than the recorded one would now say which environments exist. */
export function defaultBranchChanged(
  { recorded, found }: { readonly recorded: string; readonly found: string },
  live: Revision | null,
): Status {
  const message = `The default branch was ${recorded} and is ${found} now. Start with --default-branch ${found} to confirm, or with --default-branch ${recorded} to stay. ${staysLive(live)}`
  return { state: 'stalled', reason: 'default_branch_changed', message }
}

/** Why nothing may be applied at present. */
export interface Suspension {
  readonly reason: string
  readonly actor: string
  /** ISO 8601. */
  readonly since: string
}

/** An operator has suspended the environment. */
export function suspended(
  name: string,
  { reason, actor, since }: Suspension,
  live: Revision | null,
): Status {
  const message = `Suspended by ${actor} at ${since}: ${ended(reason)} Nothing is applied until "belfry suspend ${name} --resume". ${staysLive(live)}`
  return { state: 'suspended', reason: 'suspended', message }
}

/** Which earlier revision is live in the place of the tip, and why. */
export interface Pin {
  readonly revision: Revision
  /** Under which it was applied. */
  readonly sequence: string
  readonly reason: string
  readonly actor: string
  /** ISO 8601, as is `expiresAt`. */
  readonly since: string
  readonly expiresAt: string | null
}

/** An operator has pinned the environment, and the revision is live. */
export function pinned(name: string, pin: Pin): Status {
  const message = `${pinOf(pin)} The branch is not followed until "belfry pin ${name} --release".`
  return { state: 'ready', reason: 'pinned', message }
}

/** An operator has pinned the environment just now. */
export function pinning(pin: Pin, live: Revision | null): Status {
  const message = `${pinOf(pin)} It is being applied. ${staysLive(live)}`
  return { state: 'reconciling', reason: 'progressing', message }
}

function pinOf({ revision, actor, since, expiresAt, reason }: Pin): string {
  const until = expiresAt === null ? '' : `, until ${expiresAt}`
  return `Pinned to revision ${short(revision)} by ${actor} at ${since}${until}: ${ended(reason)}`
}

/** A brake was released; Git decides again. */
export function released(live: Revision | null): Status {
  const message = `The environment follows its branch again, and is brought to its tip. ${staysLive(live)}`
  return { state: 'reconciling', reason: 'progressing', message }
}

/** The branch that the environment follows is not there. */
export function refMissing(gitRef: string, live: Revision | null): Status {
  const message = `There is no branch ${gitRef}. Create it or push it; it is picked up by itself. ${staysLive(live)}`
  return { state: 'waiting', reason: 'ref_missing', message }
}

/** A revision as people read it: twelve digits of a commit, all of a working tree's. */
export function short(revision: Revision): string {
  const [commit = '', tree] = revision.split('+')
  return tree === undefined ? commit.slice(0, 12) : `${commit.slice(0, 12)}+${tree}`
}

/** A sentence that somebody wrote, with its end. */
function ended(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`
}

function staysLive(live: Revision | null): string {
  return live === null ? 'Nothing was applied before.' : `Revision ${short(live)} stays live.`
}
