import type { Transaction } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import {
  clearPin,
  clearSuspension,
  saveBrakeEvent,
  savePin,
  saveSuspension,
} from './brake-store.ts'
import type { Confirmation } from './brake-store.ts'
import { findNamedRevisions } from './history-store.ts'
import type { NamedRevision } from './history-store.ts'
import { requestReconcile } from './read.ts'
import type { EnvironmentView } from './read.ts'
import { pinning, refusesRewrite, released, short, suspended } from './status.ts'

/** Digits of a revision that are enough to name it. */
const PREFIX_MIN = 7

/** Who uses a brake. */
export interface Acting {
  readonly environment: EnvironmentName
  readonly actor: string
  readonly now: Date
}

/** What is confirmed, of which revision: its id or the beginning of it. */
export interface Confirming extends Acting {
  readonly kind: Confirmation
  readonly named: string
}

/**
 * Confirms that something about the attempted revision of an environment is meant. Throws a 422 for
 * any other revision, since nobody has seen what it would do, and where the policy lets nobody confirm it.
 */
export async function confirm(
  tx: Transaction,
  view: EnvironmentView,
  { kind, named, ...acting }: Confirming,
): Promise<void> {
  const { attemptedRevision: revision, observedRevision } = view
  if (revision === null || revision === observedRevision || !isNamed(revision, named)) {
    const message = `${acting.environment} does not wait for a confirmation of revision ${named}; see its state`
    throw refused(`/${kind}`, message)
  }
  if (kind === 'allow_rewrite' && refusesRewrite(view)) {
    const goOn = observedRevision === null ? '' : ` from ${short(observedRevision)}`
    const message = `the policy of ${acting.environment} refuses a rewritten branch, whoever confirms it: push a branch that goes on${goOn}, or set its policy.history to "confirm" first`
    throw refused(`/${kind}`, message)
  }
  const kept = { kind, revision, reason: null, expiresAt: null }
  await saveBrakeEvent(tx, { ...acting, ...kept })
}

/** Keeps everything from being applied, from the moment at which this is committed. */
export async function suspend(
  tx: Transaction,
  { observedRevision: live }: EnvironmentView,
  { reason, ...acting }: Acting & { readonly reason: string },
): Promise<void> {
  const { environment, actor, now } = acting
  const suspension = { reason, actor, since: now.toISOString() }
  const status = suspended(environment, suspension, live)
  await saveSuspension(tx, environment, { suspension, status, now })
  await saveBrakeEvent(tx, { ...acting, kind: 'suspend', revision: live, reason, expiresAt: null })
  await requestReconcile(tx, environment, now)
}

/** Ends a suspension; nothing happens where there is none. */
export async function resume(
  tx: Transaction,
  { observedRevision: live, pin: held }: EnvironmentView,
  acting: Acting,
): Promise<void> {
  const { environment, now } = acting
  const status = held === null ? released(live) : pinning(held, live)
  if (!(await clearSuspension(tx, environment, { status, now }))) return
  const kept = { kind: 'resume', revision: live, reason: null, expiresAt: null } as const
  await saveBrakeEvent(tx, { ...acting, ...kept })
  await requestReconcile(tx, environment, now)
}

/** What an operator says of a pin. */
export interface Pinning extends Acting {
  /** The id of a revision, or the beginning of it. */
  readonly named: string
  readonly reason: string
  /** Null: until it is released. */
  readonly expiresAt: Date | null
}

/**
 * Makes an earlier applied revision the live one, in the place of the tip, at the next look. Throws
 * a 422 for a revision that was never applied here, and for a time that is over.
 */
export async function pin(
  tx: Transaction,
  { observedRevision: live }: EnvironmentView,
  { named, ...acting }: Pinning,
): Promise<void> {
  const { environment, actor, reason, expiresAt, now } = acting
  if (expiresAt !== null && expiresAt <= now) {
    throw refused('/expires_at', 'the time at which the pin ends is over')
  }
  const { revision, sequence } = await findRevision(tx, environment, named)
  const until = expiresAt?.toISOString() ?? null
  const added = { revision, sequence, reason, actor, since: now.toISOString(), expiresAt: until }
  await savePin(tx, environment, { pin: added, status: pinning(added, live), now })
  await saveBrakeEvent(tx, { ...acting, kind: 'pin', revision })
  await requestReconcile(tx, environment, now)
}

/** Ends a pin, so that the branch is followed again; nothing happens where there is none. */
export async function unpin(
  tx: Transaction,
  { observedRevision: live, pin: held }: EnvironmentView,
  acting: Acting,
): Promise<void> {
  const { environment, now } = acting
  if (held === null) return
  if (!(await clearPin(tx, environment, { pin: held, status: released(live), now }))) return
  const kept = { revision: held.revision, reason: null, expiresAt: null }
  await saveBrakeEvent(tx, { ...acting, ...kept, kind: 'unpin' })
  await requestReconcile(tx, environment, now)
}

async function findRevision(
  tx: Transaction,
  environment: EnvironmentName,
  named: string,
): Promise<NamedRevision> {
  const [commit = '', tree = ''] = named.split('+')
  if (commit.length < PREFIX_MIN) {
    throw refused('/revision', `name at least ${PREFIX_MIN} digits of the revision`)
  }
  const [found, other] = await findNamedRevisions(tx, environment, { commit, tree })
  if (!found) throw refused('/revision', `${environment} has never applied a revision ${named}`)
  if (other) throw refused('/revision', `${environment} has applied several revisions ${named}`)
  if (found.isKept) return found
  const message = `revision ${named} was applied before the content of revisions was kept; revert to it in Git`
  throw refused('/revision', message)
}

function isNamed(revision: Revision, named: string): boolean {
  return named.length >= PREFIX_MIN && revision.startsWith(named)
}

function refused(field: string, message: string): RequestError {
  return new RequestError(422, 'invalid_params', message, [{ field, message }])
}
