import type { Queryable } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import { stepTypeOf } from '../steps/index.ts'
import type { ChildSteps, StepBase } from '../steps/step.ts'
import type { Workflow } from '../workflow/workflow.ts'
import type { Effects, PausedRuns, PromotionPlan, WorkflowChange } from './promotion.ts'
import { countPausedRuns, listVersionWorkflows } from './promotion-store.ts'
import type { PausedGroup } from './promotion-store.ts'

/** Counts what is under way in the environment and is touched by the merge, in two statements. */
export async function findEffects(
  database: Queryable,
  environment: EnvironmentName,
  { workflows }: Pick<PromotionPlan, 'workflows'>,
): Promise<Effects> {
  const touched = workflows.filter(({ change }) => change === 'changed' || change === 'archived')
  if (touched.length === 0) return { runs: [] }
  const keys = touched.map(({ key }) => key)
  const groups = await countPausedRuns(database, environment, keys)
  const ids = [...new Set(groups.map(({ versionId }) => versionId))]
  const versions = await listVersionWorkflows(database, ids)
  const byWorkflow = Map.groupBy(groups, ({ workflow }) => workflow)
  const runs = touched.flatMap((one): readonly PausedRuns[] => {
    const own = byWorkflow.get(one.key) ?? []
    if (own.length === 0) return []
    const paused = own.reduce((sum, group) => sum + group.runs, 0)
    const steps = placesOf(one, own, ({ versionId, position }) =>
      refAt(versions.get(versionId), position),
    )
    return [{ workflow: one.key, paused, steps, ends: one.change === 'archived' }]
  })
  return { runs }
}

function placesOf(
  { change, steps }: WorkflowChange,
  groups: readonly PausedGroup[],
  refOf: (group: PausedGroup) => string | null,
): PausedRuns['steps'] {
  const gone = new Set(
    (steps ?? []).filter((step) => step.change === 'removed').map(({ ref }) => ref),
  )
  return [...Map.groupBy(groups, refOf)]
    .map(([ref, some]) => ({
      ref,
      runs: some.reduce((sum, group) => sum + group.runs, 0),
      removed: change === 'archived' || (ref !== null && gone.has(ref)),
    }))
    .toSorted((one, other) => other.runs - one.runs)
}

/** The step at a run's position: an index, then for each nesting the child and the index in it. */
export function refAt(workflow: Workflow | undefined, position: readonly number[]): string | null {
  let steps: readonly StepBase[] = workflow?.steps ?? []
  const [last = 0] = position.slice(-1)
  for (let depth = 0; depth + 2 < position.length; depth += 2) {
    const [at = 0, child = 0] = position.slice(depth)
    steps = childrenOf(steps[at])[child]?.steps ?? []
  }
  return steps[last]?.ref ?? null
}

function childrenOf(step: StepBase | undefined): readonly ChildSteps[] {
  return step ? (stepTypeOf(step).children?.(step) ?? []) : []
}
