import { RetryableFailure } from '../errors.ts'
import { applyNext, writeArchived, writeWorkflows } from './apply.ts'
import { clearPin, saveBrakeEvent } from './brake-store.ts'
import { findPastRevision, listWorkflowsAt } from './history-store.ts'
import type { PastRevision } from './history-store.ts'
import { assertLead } from './leader-store.ts'
import { announce, announceReplaced } from './outbox.ts'
import { planRestoration } from './plan.ts'
import { writeSchedules } from './schedules.ts'
import { settle } from './settle.ts'
import type { Looking } from './settle.ts'
import { pinned, released, retired, short, suspended } from './status.ts'
import type { Pin } from './status.ts'
import { listKnownWorkflows, saveRevision } from './store.ts'
import type { KnownEnvironment } from './store.ts'

/** Whether a brake, and not Git, decides about the environment; then it is as the brake says. */
export async function isHeld(looking: Looking, row: KnownEnvironment): Promise<boolean> {
  if (row.retirement !== null) {
    await settle(looking, row, { status: retired(row.name, row.retirement), diagnostics: [] })
    return true
  }
  if (row.suspension !== null) {
    await settle(looking, row, { status: suspended(row.name, row.suspension, row.observed) })
    return true
  }
  if (row.pin === null) return false
  await holdAt(looking, row, row.pin)
  return true
}

async function holdAt(looking: Looking, row: KnownEnvironment, pin: Pin): Promise<void> {
  const past = await findPastRevision(looking.database, row.name, pin.sequence)
  if (!past) throw new RetryableFailure(`nothing is kept of revision ${short(pin.revision)}`)
  if (row.observed !== pin.revision) return applyPin(looking, row, { pin, past })
  const { diagnostics } = past
  const status = pinned(row.name, pin)
  await settle(looking, row, { status, diagnostics, attempted: pin.revision })
}

/** Brings back what an earlier revision left in Postgres. Git is not asked. */
async function applyPin(
  looking: Looking,
  row: KnownEnvironment,
  { pin, past }: { readonly pin: Pin; readonly past: PastRevision },
): Promise<void> {
  const { database, memory, log, metrics } = looking
  const { rows, ...changes } = planRestoration(
    await listKnownWorkflows(database, row.name),
    await listWorkflowsAt(database, row.name, pin.sequence),
  )
  await applyNext(looking, row, async (tx, at) => {
    await writeWorkflows(tx, at, rows)
    await writeArchived(tx, at, changes.archived)
    const status = pinned(row.name, pin)
    const { revision } = pin
    const brought = { origin: 'pin', rewrittenFrom: null, signer: null } as const
    await saveRevision(tx, at, { ...brought, status, revision, ...past, ...changes })
    await writeSchedules(tx, at, { settings: past.settings, before: row.settings })
    const subject = { environment: row.name, gitRef: row.gitRef, now: at.now }
    const { announcing } = looking
    await announce(tx, announcing, { ...subject, ...past, revision, status })
    if (row.observed === null) return
    await announceReplaced(tx, announcing, { ...subject, revision: row.observed })
  })
  memory.logged.set(row.name, 'pinned')
  metrics.count('pruned_total', { env: row.name }, changes.archived.length)
  const { revision, actor, reason } = pin
  log.warn('environment is pinned', {
    environment: row.name,
    revision: short(revision),
    actor,
    reason,
  })
}

/** Who ends a pin whose time is over, as the audit names it. */
const EXPIRED = { actor: 'belfry', reason: 'expired' }

/** Ends the pin of an environment where its time is over, and answers what is left of its brakes. */
export async function releaseExpired(
  { database, leadership, clock }: Looking,
  row: KnownEnvironment,
): Promise<KnownEnvironment> {
  const { name: environment, pin, observed: live } = row
  const now = clock.now()
  if (!pin || pin.expiresAt === null || new Date(pin.expiresAt) > now) return row
  await database.transaction(async (tx) => {
    await assertLead(tx, leadership)
    const isGone = await clearPin(tx, environment, { pin, status: released(live), now })
    if (!isGone) return
    const { revision } = pin
    const ended = { kind: 'unpin', revision, ...EXPIRED, expiresAt: null, now } as const
    await saveBrakeEvent(tx, { environment, ...ended })
  })
  return { ...row, pin: null }
}
