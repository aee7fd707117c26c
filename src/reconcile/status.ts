import type { Revision } from '../ids.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import type { Drift } from './drift-fight.ts'
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
  out_of_order: 'stalled',
  history_rewritten: 'stalled',
  unsigned: 'stalled',
  undeclared: 'stalled',
  unsupported_repository: 'stalled',
  authentication: 'stalled',
  repository_missing: 'stalled',
  default_branch_changed: 'stalled',
  drift: 'stalled',
  suspended: 'suspended',
  retired: 'suspended',
  ref_missing: 'waiting',
  soaking: 'waiting',
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

/** The revision would archive more than it may without being told to. */
export function pruneGuard(held: HeldBack, { archived, of }: Prune): Status {
  const { environment, revision } = held
  const message = `Revision ${short(revision)} would archive ${archived.length} of ${of} live workflows: ${listed(archived)}. Bring their directories back; or, if this is meant, confirm it with "belfry reconcile ${environment} --allow-prune ${short(revision)}", or commit again with the trailer "${ALLOW_PRUNE}: true". ${meanwhile(held)}`
  return { state: 'stalled', reason: 'prune_guard', message }
}

/** A revision that a policy holds back, and what is live meanwhile. */
export interface HeldBack {
  readonly environment: string
  readonly revision: Revision
  readonly live: Revision | null
  /** Whether it declares another policy than that which holds it back. */
  readonly isPolicyNew: boolean
}

/** What is live meanwhile; and that a policy is no way out for the revision that brings it. */
function meanwhile({ live, isPolicyNew }: HeldBack): string {
  const why =
    'The policy that is declared now counts once a revision with it is applied, and not before.'
  return isPolicyNew ? `${why} ${staysLive(live)}` : staysLive(live)
}

/** What is out of order, and where it has to come from; `soak` is how long it has to be live there. */
export interface OutOfOrder {
  readonly keys: readonly string[]
  readonly from: string
  readonly soak: string | null
}

/** The revision holds content that has to stay where it comes from a little longer. */
export function soaking(
  held: HeldBack,
  { keys, from, soak, until }: OutOfOrder & { readonly until: Date },
): Status {
  const message = `Revision ${short(held.revision)} waits until ${until.toISOString()}: by then ${listed(keys)} will have been live in ${from} for ${soak ?? 'long enough'}. Then it is applied by itself. ${meanwhile(held)}`
  return { state: 'waiting', reason: 'soaking', message }
}

/** The revision holds content that was never applied where it has to come from, or not for long enough. */
export function outOfOrder(held: HeldBack, { keys, from, soak }: OutOfOrder): Status {
  const { environment, revision } = held
  const what = keys.length === 1 ? 'a workflow that was' : `${keys.length} workflows that were`
  const [never, once] =
    soak === null
      ? [`never applied in ${from}`, 'once it is applied there']
      : [`not live in ${from} for ${soak}`, 'once it was live there for that long']
  const message = `Revision ${short(revision)} has ${what} ${never}, from which ${environment} is promoted: ${listed(keys)}. Merge this content into ${from} first: ${once}, it is applied here by itself. Or revert it here. ${meanwhile(held)}`
  return { state: 'stalled', reason: 'out_of_order', message }
}

const REWRITE_REFUSED = 'Its policy refuses that.'

/**
 * Whether the environment waits with a rewritten branch that no confirmation lets pass. Its message says so: which
 * policy holds is known to the process alone that reads the policy file.
 */
export function refusesRewrite({ reason, message }: { reason: Reason; message: string }): boolean {
  return reason === 'history_rewritten' && message.includes(REWRITE_REFUSED)
}

/** The branch does not descend any more from what was applied from it last. */
export function historyRewritten(
  held: HeldBack,
  { from, isFinal }: { readonly from: Revision; readonly isFinal: boolean },
): Status {
  const { environment, revision } = held
  const confirm = `If this is meant, confirm it with "belfry reconcile ${environment} --allow-rewrite ${short(revision)}".`
  const goOn = `a branch that goes on from ${short(from)}`
  const what = isFinal ? `${REWRITE_REFUSED} Push ${goOn}.` : `${confirm} Or push ${goOn}.`
  const message = `Revision ${short(revision)} does not descend from ${short(from)}, which was applied before it: the branch was rewritten. ${what} ${meanwhile(held)}`
  return { state: 'stalled', reason: 'history_rewritten', message }
}

/** A new commit has no signature that counts; `why` says which, whose, and what about it. */
export function unsigned(
  held: HeldBack,
  { count, why }: { readonly count: number; readonly why: string },
): Status {
  const { revision } = held
  const what = count === 1 ? 'a commit' : `${count} commits`
  const message = `Revision ${short(revision)} brings ${what} without a signature of an allowed signer: ${why}. Sign it anew, and what comes after it; or list its key in a file of BELFRY_ALLOWED_SIGNERS. ${meanwhile(held)}`
  return { state: 'stalled', reason: 'unsigned', message }
}

/** Who may sign is not known, so no signature counts; `cause` says what is wrong with the list. */
export function signersUnreadable(held: HeldBack, cause: string): Status {
  const { revision } = held
  const message = `The signatures of revision ${short(revision)} cannot be checked: ${cause}. Mend that; it is read anew by itself. ${meanwhile(held)}`
  return { state: 'stalled', reason: 'unsigned', message }
}

/** The default branch does not name the environment any more. */
export function undeclared(name: string, live: Revision | null): Status {
  const message = `The default branch has no environments/${name}.yaml any more. Bring it back to follow its branch again; or, if it is no longer needed, take it out of service with "belfry retire ${name} --reason <text>". ${staysLive(live)}`
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
  // An address or a path at its beginning stays as it is.
  const sentence = cause.replace(/^[a-z](?=[a-z]* )/, (letter) => letter.toUpperCase())
  return `${sentence}. ${staysLive(live)}`
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

/** An operator has taken the environment out of service. */
export function retired(name: string, { reason, actor, since }: Suspension): Status {
  const message = `Retired by ${actor} at ${since}: ${ended(reason)} None of its workflows is live; its data is kept. It comes back as it was once environments/${name}.yaml is on the default branch again.`
  return { state: 'suspended', reason: 'retired', message }
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

/** Somebody else goes on writing what the revision says, or it could not be put right. */
export function drifted(
  { outcome, count, found, pausedUntil }: Drift,
  live: Revision | null,
): Status {
  const [first] = found
  const more = count > 1 ? ` and ${count - 1} more` : ''
  const what = first ? `${first.what} ${first.key} (${first.fields.join(', ')})${more}` : 'nothing'
  const message =
    outcome === 'fought'
      ? `Something else goes on changing what revision ${live === null ? '' : short(live)} says, in Belfry's own tables: ${what}. Find who writes there and stop it; the repair rests until ${pausedUntil ?? 'the next look'}, or until somebody asks for a look.`
      : `What revision ${live === null ? '' : short(live)} says was changed in Belfry's own tables and cannot be repaired, since Git cannot be asked for it: ${what}. Bring its commit back, or commit the workflow anew.`
  return { state: 'stalled', reason: 'drift', message }
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

const NAMES_MAX = 10

/** The first of some names, and how many there are beside. */
function listed(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_MAX).join(', ')
  return names.length > NAMES_MAX ? `${shown} and ${names.length - NAMES_MAX} more` : shown
}

function staysLive(live: Revision | null): string {
  return live === null ? 'Nothing was applied before.' : `Revision ${short(live)} stays live.`
}
