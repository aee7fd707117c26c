import type { Version } from '../workflow/workflow.ts'
import type { PromotionPlan } from './promotion.ts'
import { followedBatches } from './promotion-steps.ts'

/** The workflows whose content is another one after the merge, shared parts included. */
export function touchedBy({
  workflows,
  shared,
}: Pick<PromotionPlan, 'workflows' | 'shared'>): ReadonlySet<string> {
  const own = workflows.filter(({ change }) => TOUCHING.has(change)).map(({ key }) => key as string)
  return new Set([...own, ...shared.flatMap((part) => part.workflows ?? [])])
}

const TOUCHING: ReadonlySet<string> = new Set(['added', 'changed', 'archived'])

/** What the plan says of the batch steps of these workflows after the merge. */
export function listBatchSteps(
  touched: ReadonlySet<string>,
  versions: ReadonlyMap<string, Version>,
): PromotionPlan['batch_steps'] {
  return [...touched].toSorted().flatMap((workflow) => {
    const version = versions.get(workflow)
    return version ? [{ workflow, refs: followedBatches(version) }] : []
  })
}
