import { hasTrailer } from '../git/message.ts'
import type { RevisionTree } from '../git/source.ts'
import type { Revision } from '../ids.ts'
import type { Policy } from '../workflow/environment.ts'
import { isPruneAllowed } from './brake-store.ts'
import { listWorkflowsAt } from './history-store.ts'
import { planPrune } from './plan.ts'
import type { Prune } from './plan.ts'
import type { Looking } from './settle.ts'
import type { Snapshot } from './snapshot.ts'
import { ALLOW_PRUNE } from './status.ts'
import type { KnownEnvironment } from './store.ts'

/** The policy that a revision is held to: one that loosens it is itself held to the one before. */
export function policyFor(
  { policy, policyBefore, policyRevision }: KnownEnvironment,
  revision: Revision,
): Policy {
  return revision === policyRevision ? policyBefore : policy
}

/** What a revision would archive beyond its policy, neither by its own word nor by an operator's. */
export async function findUnallowedPrune(
  { database }: Looking,
  row: KnownEnvironment,
  { tree, snapshot }: { readonly tree: RevisionTree; readonly snapshot: Snapshot },
): Promise<Prune | null> {
  const { revision, message, directories } = tree
  const { archived, changed, same } = snapshot.plan
  // After a pin a tip is compared with what the branch had last, and not with what the pin brought.
  const live =
    row.followed === row.sequence
      ? [...archived, ...changed, ...same]
      : (await listWorkflowsAt(database, row.name, row.followed)).map(({ key }) => key)
  const prune = planPrune(live, directories, policyFor(row, revision).prune_max_percent)
  if (prune === null || hasTrailer(message, ALLOW_PRUNE, 'true')) return null
  return (await isPruneAllowed(database, row.name, revision)) ? null : prune
}
