import type { Transaction } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import { startBulk } from '../recipients/bulk-work.ts'
import { bulkToWire } from './bulk.ts'
import { ok, type MutationRequest, type Reply } from './route.ts'

/** Of what one call for many is about. */
const ITEMS_MAX = 1_000

/** JSON Schema of what one call for many is about. */
export const itemList = (items: object) => ({
  type: 'array',
  minItems: 1,
  maxItems: ITEMS_MAX,
  items,
})

/** Takes down what is to be done after the answer, and answers how far that is. */
export async function startItems(
  { tx, environment, now }: MutationRequest,
  work: Parameters<typeof startBulk>[2],
): Promise<Reply> {
  return ok(bulkToWire(await startBulk(tx, environment, work, now)))
}

/** The items that one part does. */
export function cutPart<Item>(items: readonly Item[], cursor: string | null, most: number) {
  const from = Number(cursor ?? 0)
  const to = from + most
  return { part: items.slice(from, to), next: to < items.length ? String(to) : null }
}

/** Writes all at once, or else one by one; answers those that are refused. */
export async function writeEach<Item>(
  tx: Transaction,
  items: readonly Item[],
  write: (items: readonly Item[]) => Promise<unknown>,
): Promise<readonly Item[]> {
  if (await isTaken(tx, () => write(items))) return []
  const refused: Item[] = []
  for (const item of items) if (!(await isTaken(tx, () => write([item])))) refused.push(item)
  return refused
}

async function isTaken(tx: Transaction, write: () => Promise<unknown>): Promise<boolean> {
  try {
    await tx.savepoint(write)
    return true
  } catch (error) {
    if (error instanceof RequestError) return false
    throw error
  }
}
