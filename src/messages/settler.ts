import type { Clock } from '../clock.ts'
import type { Database, Transaction } from '../db/database.ts'
import { SetWriter } from '../db/set-writer.ts'
import type { ProcessId } from '../ids.ts'
import type { Log } from '../log.ts'
import { forgetDevices } from './bounce-store.ts'
import { insertDeliveries, lockClaims, saveSettlements } from './delivery-store.ts'
import type { ClaimRef, Delivery } from './delivery-store.ts'
import type { Settlement } from './message.ts'
import { insertPolls, type NewPoll } from './poll-store.ts'
import { insertSuppressions, type NewSuppression } from './suppressions.ts'

/** The end of one hand-over, to be written. */
export interface Ending {
  readonly claim: ClaimRef
  /** The next state, once it is known whether the message was cancelled meanwhile. */
  readonly decide: (cancelled: boolean) => Settlement
  readonly delivery: Delivery | null
  /** Whether the device that it went to is to be forgotten, since it is no more. */
  readonly forget?: boolean
  /** The address that takes nothing more. */
  readonly suppress?: NewSuppression
  /** When and how its service is asked what became of it. */
  readonly poll?: NewPoll
}

export interface SettlerOptions {
  readonly database: Database
  readonly clock: Clock
  readonly process: ProcessId
  /** Aborted when the process stops. */
  readonly signal: AbortSignal
  readonly log: Pick<Log, 'warn'>
}

/** Writes the ends of hand-overs in sets, and tries until it succeeds: a claim that is not settled ends with the lease. */
export interface Settler {
  /** Resolves when the ending is committed, the claim has been found to be another's, or the process stops. */
  settle(ending: Ending): Promise<void>
}

export function openSettler(options: SettlerOptions): Settler {
  const { database, log, signal } = options
  const writer = new SetWriter<Ending>({
    write: (endings) => database.transaction((tx) => write(options, tx, endings)),
    failure: 'the ends of hand-overs could not be written',
    log,
    // What a provider has answered may be what Postgres does not take.
    reduce: (ending) => ({ ...ending, delivery: null }),
    signal,
  })
  return { settle: (ending) => writer.add(ending) }
}

async function write(
  { clock, process }: SettlerOptions,
  tx: Transaction,
  endings: readonly Ending[],
): Promise<void> {
  const held = await lockClaims(
    tx,
    endings.map(({ claim }) => claim),
    process,
  )
  const cancelled = new Map(held.map((claim) => [claim.id, claim.cancelled]))
  const settled = endings.flatMap(({ claim, decide }) => {
    const wasCancelled = cancelled.get(claim.id)
    return wasCancelled === undefined ? [] : [{ ...claim, ...decide(wasCancelled) }]
  })
  if (settled.length > 0) await saveSettlements(tx, settled, clock.now())
  const dead = endings.flatMap(({ claim, forget }) => (forget ? [claim] : []))
  if (dead.length > 0) await forgetDevices(tx, dead, clock.now())
  await insertPolls(
    tx,
    endings.flatMap(({ claim, poll }) => (poll && cancelled.has(claim.id) ? [poll] : [])),
  )
  const suppressions = endings.flatMap(({ suppress }) => suppress ?? [])
  await insertSuppressions(tx, suppressions, clock.now())
  // Also for a claim that was lost meanwhile: the attempt was made, and the log says so.
  const deliveries = endings.flatMap(({ delivery }) => (delivery ? [delivery] : []))
  if (deliveries.length > 0) await insertDeliveries(tx, deliveries)
}
