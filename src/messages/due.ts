import type { Database, Transaction } from '../db/database.ts'
import { laneOf, type DeliverJob } from './claim.ts'
import type { DeliveryContext } from './deliver.ts'
import {
  lockLostMessages,
  saveSettlements,
  takeDueMessages,
  takeForgottenMessages,
} from './delivery-store.ts'
import type { DueRef } from './delivery-store.ts'
import { settleLost } from './message.ts'

export interface DueContext {
  readonly database: Database
  /** Puts `deliver` jobs into the queue, as part of the transaction. */
  readonly enqueue: (tx: Transaction, jobs: readonly DeliverJob[]) => Promise<void>
}

/** How many messages one job names. */
export const MESSAGES_PER_JOB = 50
const MESSAGES_PER_PASS = 2_000
/** After that a job is taken for lost and another is made; the first to come finds the messages. */
const FORGOTTEN_MS = 60_000

/**
 * One pass of the loop that wakes due messages: marks them as enqueued, so that the next pass leaves
 * them alone, and puts jobs into the queue in the same commit. Returns how many messages it took; as
 * many as a pass takes means that there may be more.
 */
export async function enqueueDueMessages(ctx: DueContext, now: Date): Promise<number> {
  return await ctx.database.transaction(async (tx) => {
    const before = new Date(now.getTime() - FORGOTTEN_MS)
    const due = await takeDueMessages(tx, now, MESSAGES_PER_PASS)
    const forgotten = await takeForgottenMessages(tx, { now, before }, MESSAGES_PER_PASS)
    const taken = [...due, ...forgotten]
    if (taken.length > 0) await ctx.enqueue(tx, toDeliverJobs(taken))
    return taken.length
  })
}

/** Jobs of up to 50 messages, each of one channel of one environment: a slow channel delays no other. */
export function toDeliverJobs(messages: readonly DueRef[]): readonly DeliverJob[] {
  const groups = Map.groupBy(messages, ({ environment, channel }) => laneOf(environment, channel))
  return [...groups].flatMap(([lane, group]) => {
    const ids = group.map(({ id }) => id).toSorted()
    const { environment } = group[0]!
    const count = Math.ceil(ids.length / MESSAGES_PER_JOB)
    return Array.from({ length: count }, (_, index) => ({
      lane,
      environment,
      messageIds: ids.slice(index * MESSAGES_PER_JOB, (index + 1) * MESSAGES_PER_JOB),
    }))
  })
}

/**
 * One pass of the loop that frees what dead processes held, and what this one holds without knowing:
 * the connection broke while it committed a claim, and it never learned that the claim was made. Their
 * hand-overs are of unknown outcome: due again at once and with the same idempotency key, or held, as
 * their channel says. `now` is the time at the call. Returns how many messages it freed.
 */
export async function releaseDeadClaims(
  ctx: Pick<DeliveryContext, 'database' | 'process' | 'jobs'>,
  now: Date,
): Promise<number> {
  const { database, process } = ctx
  return await database.transaction(async (tx) => {
    const held = [...ctx.jobs].flatMap(({ messageIds }) => messageIds)
    const lost = await lockLostMessages(tx, { process, held, before: now }, MESSAGES_PER_PASS)
    const settled = lost.map((message) => ({
      environment: message.environment,
      id: message.id,
      ...settleLost(message, { now, random: 0 }),
    }))
    if (settled.length > 0) await saveSettlements(tx, settled, now)
    return settled.length
  })
}
