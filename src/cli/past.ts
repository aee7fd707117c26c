import type { PromotionPlan } from '../reconcile/promotion.ts'
import { Refusal, type Client } from './client.ts'
import type { WireEnvironment, WireList, WireRevision } from './wire.ts'

/** What was just pushed comes by itself, as a rule: it is asked for at the third look, and at every eighth from there. */
const FIRST = 3
const EVERY = 8
const FULL_ID = /^[0-9a-f]{40}$/

/** Where a revision went that is waited for and is not the live one: into this one, which came after it. */
export interface Past {
  readonly into: string
  /** Whether it was live itself; else only what came after it was read. */
  readonly wasApplied: boolean
}

/** Finds out whether something newer has taken a revision's place; undefined while that cannot be told. */
export interface PastLookup {
  find(found: WireEnvironment): Promise<Past | undefined>
}

/**
 * Asks the history of the environment whether the revision was applied, and the server, by a plan of merging it,
 * whether the branch holds it already. Neither is asked at once, nor each time.
 */
export function openPast(client: Client, name: string, revision: string): PastLookup {
  const path = `/v1/environments/${encodeURIComponent(name)}`
  let looks = 0
  return {
    async find(found) {
      looks += 1
      const isSettled =
        found.state !== 'reconciling' && !found.observed_revision?.startsWith(revision)
      if (!isSettled || looks % EVERY !== FIRST) return undefined
      try {
        return await findPast({ client, path, revision }, found)
      } catch (error) {
        // It may not have come so far, or nobody may be there who reads Git.
        if (error instanceof Refusal) return undefined
        throw error
      }
    },
  }
}

interface Asking {
  readonly client: Client
  readonly path: string
  readonly revision: string
}

async function findPast(
  { client, path, revision }: Asking,
  { observed_revision: observed, attempted_revision: attempted }: WireEnvironment,
): Promise<Past | undefined> {
  if (observed === null) return undefined
  const { items } = await client.call<WireList<WireRevision>>('GET', `${path}/revisions`)
  if (items.some((one) => one.revision.startsWith(revision))) {
    return { into: observed, wasApplied: true }
  }
  if (!FULL_ID.test(revision)) return undefined
  const query = { head: revision }
  const { relation, base } = await client.call<PromotionPlan>('GET', `${path}/plan`, { query })
  if (relation !== 'up_to_date') return undefined
  const into = [observed, attempted].find((one) => one === base.revision)
  return into ? { into, wasApplied: false } : undefined
}
