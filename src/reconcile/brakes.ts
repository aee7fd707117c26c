import type { Transaction } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import { clearSuspension, saveBrakeEvent, saveSuspension } from './brake-store.ts'
import { requestReconcile } from './read.ts'
import type { EnvironmentView } from './read.ts'
import { released, suspended } from './status.ts'

/** Digits of a revision that are enough to name it. */
const PREFIX_MIN = 7

/** Who uses a brake. */
export interface Acting {
  readonly environment: EnvironmentName
  readonly actor: string
  readonly now: Date
}

/**
 * Confirms what the attempted revision of an environment archives. `named` is its id or the
 * beginning of it. Throws a 422 for any other revision: nobody has seen what it would archive.
 */
export async function allowPrune(
  tx: Transaction,
  { attemptedRevision: revision, observedRevision }: EnvironmentView,
  { named, ...acting }: Acting & { readonly named: string },
): Promise<void> {
  if (revision === null || revision === observedRevision || !isNamed(revision, named)) {
    const message = `${acting.environment} does not wait for a confirmation of revision ${named}; see its state`
    throw refused('/allow_prune', message)
  }
  const kept = { kind: 'allow_prune', revision, reason: null, expiresAt: null } as const
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
  { observedRevision: live }: EnvironmentView,
  acting: Acting,
): Promise<void> {
  const { environment, now } = acting
  if (!(await clearSuspension(tx, environment, { status: released(live), now }))) return
  const kept = { kind: 'resume', revision: live, reason: null, expiresAt: null } as const
  await saveBrakeEvent(tx, { ...acting, ...kept })
  await requestReconcile(tx, environment, now)
}

function isNamed(revision: Revision, named: string): boolean {
  return named.length >= PREFIX_MIN && revision.startsWith(named)
}

function refused(field: string, message: string): RequestError {
  return new RequestError(422, 'invalid_params', message, [{ field, message }])
}
