import { settle } from './settle.ts'
import type { Looking } from './settle.ts'
import { suspended } from './status.ts'
import type { KnownEnvironment } from './store.ts'

/** Whether a brake, and not Git, decides about the environment; then its state says so. */
export async function isHeld(looking: Looking, row: KnownEnvironment): Promise<boolean> {
  if (row.suspension === null) return false
  await settle(looking, row, { status: suspended(row.name, row.suspension, row.observed) })
  return true
}
