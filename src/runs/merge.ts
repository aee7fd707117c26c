import type { Transaction } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import { moveMessages } from '../messages/store.ts'
import { USERS, type Recipient } from '../recipients/recipient.ts'
import { mergeUsers } from '../recipients/store.ts'
import { moveLedger } from './frequency.ts'
import { moveRuns } from './store.ts'
import { moveWaits } from './wait-store.ts'

/** How much of what has ended goes over to the user that another one is merged into. */
const HISTORY_MS = 30 * 86_400_000

/**
 * Merges one user into another, with its runs and messages. Throws a 404 `RequestError` where one of them is not
 * known.
 */
export async function mergeUser(
  tx: Transaction,
  environment: EnvironmentName,
  { from, into }: { readonly from: string; readonly into: string },
  now: Date,
): Promise<Recipient> {
  const move = { collection: USERS, from, into, since: new Date(now.getTime() - HISTORY_MS), now }
  // Runs first: one that is at work holds its lock until its messages are there to be moved, and until
  // what it changes of a user is stored.
  await moveRuns(tx, environment, move)
  await moveWaits(tx, environment, move)
  await moveLedger(tx, environment, move)
  await moveMessages(tx, environment, move)
  return mergeUsers(tx, environment, { from, into }, now)
}
