import type { Queryable } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import { stepTypeOf } from '../steps/index.ts'
import type { ChildSteps, StepBase } from '../steps/step.ts'
import type { Workflow } from '../workflow/workflow.ts'
import type {
  BatchVersion,
  Effects,
  OpenBatches,
  PausedRuns,
  PromotionPlan,
  WorkflowChange,
} from './promotion.ts'
import { countPausedRuns, listVersionWorkflows } from './promotion-store.ts'
import type { PausedGroup } from './promotion-store.ts'
import { touchedBy } from './promotion-touched.ts'

/** Workflows that are listed with what is under way in them; the others are only counted. */
const LISTED_MAX = 100

type Planned = Pick<PromotionPlan, 'workflows' | 'shared' | 'batch_steps'>

/** Counts what is under way in the environment and is touched by the merge, in two statements. */
export async function findEffects(
  database: Queryable,
  environment: EnvironmentName,
  plan: Planned,
): Promise<Effects> {
  const touched = [...touchedBy(plan)]
  if (touched.length === 0) return { runs: [], batches: [], unlisted: { runs: 0, batches: 0 } }
  const groups = await countPausedRuns(database, environment, touched)
  const paused = rank(
    groups.filter(({ batch }) => batch === null),
    runsOf,
  )
  const batches = rank(
    groups.filter(({ batch }) => batch !== null),
    activitiesOf,
  )
  const ids = paused.listed.flatMap(([, own]) => own.map(({ versionId }) => versionId))
  const versions = await listVersionWorkflows(database, [...new Set(ids)])
  const changes = new Map(plan.workflows.map((one) => [one.key as string, one]))
  const refOf = ({ versionId, position }: PausedGroup) => refAt(versions.get(versionId), position)
  return {
    runs: paused.listed.map(([workflow, own]) => ({
      workflow,
      paused: runsOf(own),
      steps: placesOf(changes.get(workflow), own, refOf),
      ends: changes.get(workflow)?.change === 'archived',
    })),
    batches: batches.listed.map(([workflow, own]) => ({
      workflow,
      batches: runsOf(own),
      activities: activitiesOf(own),
      steps: batchesOf(own, goingOn(plan, workflow)),
      ends: changes.get(workflow)?.change === 'archived',
    })),
    unlisted: { runs: paused.unlisted, batches: batches.unlisted },
  }
}

type Groups = readonly PausedGroup[]

/** What belongs to each workflow, where there is most of it first. */
function rank(
  groups: Groups,
  sizeOf: (groups: Groups) => number,
): { readonly listed: readonly (readonly [string, Groups])[]; readonly unlisted: number } {
  const all = [...Map.groupBy(groups, ({ workflow }) => workflow as string)].toSorted(
    ([key, own], [other, others]) => sizeOf(others) - sizeOf(own) || (key < other ? -1 : 1),
  )
  return { listed: all.slice(0, LISTED_MAX), unlisted: Math.max(0, all.length - LISTED_MAX) }
}

function runsOf(groups: Groups): number {
  return groups.reduce((sum, { runs }) => sum + runs, 0)
}

function activitiesOf(groups: Groups): number {
  return groups.reduce((sum, { activities }) => sum + activities, 0)
}

function placesOf(
  workflow: WorkflowChange | undefined,
  groups: Groups,
  refOf: (group: PausedGroup) => string | null,
): PausedRuns['steps'] {
  const gone = new Set(
    (workflow?.steps ?? []).filter((step) => step.change === 'removed').map(({ ref }) => ref),
  )
  return [...Map.groupBy(groups, refOf)]
    .map(([ref, some]) => ({
      ref,
      runs: runsOf(some),
      removed: workflow?.change === 'archived' || (ref !== null && gone.has(ref)),
    }))
    .toSorted((one, other) => other.runs - one.runs)
}

type GoesOn = (group: PausedGroup) => BatchVersion | null

function batchesOf(groups: Groups, goesOn: GoesOn): OpenBatches['steps'] {
  return [...Map.groupBy(groups, (group) => `${group.batch} ${goesOn(group)}`).values()]
    .map((some) => {
      const [first] = some as [PausedGroup]
      return {
        ref: first.batch ?? '',
        batches: runsOf(some),
        activities: activitiesOf(some),
        goes_on_with: goesOn(first),
      }
    })
    .toSorted((one, other) => other.activities - one.activities)
}

/** Says which version the open batches of a workflow go on with once the merge is applied. */
function goingOn({ workflows, batch_steps: known }: Planned, workflow: string): GoesOn {
  const isArchived = workflows.some(({ key, change }) => key === workflow && change === 'archived')
  const refs = known.find((one) => one.workflow === workflow)?.refs
  return ({ batch, pinned }) => {
    if (isArchived) return null
    if (pinned) return 'pinned'
    if (!refs) return null
    return batch !== null && refs.includes(batch) ? 'newest' : 'earlier'
  }
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
