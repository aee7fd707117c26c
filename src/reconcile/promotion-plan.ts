import { commitsBetween } from '../git/history.ts'
import { mergeTrees } from '../git/merge.ts'
import { hasTrailer } from '../git/message.ts'
import { treeId } from '../git/objects.ts'
import { TREE_MODE } from '../git/source.ts'
import type { CommitSource, RevisionTree } from '../git/source.ts'
import type { EnvironmentName, Revision, WorkflowKey } from '../ids.ts'
import type { Policy } from '../workflow/environment.ts'
import { isWorkflowDirectory, planPrune } from './plan.ts'
import type { BackMerge, PlanEnd, PromotionPlan, PruneVerdict } from './promotion.ts'
import { findParting } from './promotion-bases.ts'
import type { Parting } from './promotion-bases.ts'
import { judgeOrder } from './promotion-order.ts'
import type { FindNeverApplied, FindUnsoaked } from './promotion-order.ts'
import { describeEnvironments, describeShared } from './promotion-parts.ts'
import { readPromotion } from './promotion-read.ts'
import type { Checks, PromotionReading } from './promotion-read.ts'
import { listBatchSteps, touchedBy } from './promotion-touched.ts'
import { concludePlan } from './promotion-verdict.ts'
import { describeWorkflows, directoriesIn, sortWorkflows } from './promotion-workflows.ts'
import type { Four, Sorted } from './promotion-workflows.ts'
import { ALLOW_PRUNE } from './status.ts'

/** What is to be merged into which environment. */
export interface PromotionRequest {
  readonly environment: EnvironmentName
  readonly policy: Policy
  readonly base: PlanEnd
  readonly head: PlanEnd
  /** The tip of the environment that content is promoted from; null where there is none. */
  readonly from: Revision | null
}

export interface PromotionContext {
  readonly source: CommitSource
  readonly checks: Checks
  /** Null where no server is asked what was applied. */
  readonly findNeverApplied: FindNeverApplied | null
  readonly findUnsoaked?: FindUnsoaked
}

/**
 * Says what a merge of `head` into the branch of an environment would do, from tree ids as far as
 * they go. Nothing is written. Throws a `RetryableFailure` where a commit cannot be read.
 */
export async function planPromotion(
  { source, checks, findNeverApplied, findUnsoaked }: PromotionContext,
  request: PromotionRequest,
): Promise<PromotionPlan> {
  const { environment, policy, base, head, from } = request
  const parting = await findParting(source, base.revision, head.revision)
  const [ours, theirs] = [await source.tree(base.revision), await source.tree(head.revision)]
  const merged = await mergeTrees({ base: parting.tree, ours, theirs })
  const four: Four = { base: parting.tree, ours, theirs, merged }
  const sorted = sortWorkflows(four)
  const reading = await readChanges(four, sorted, { environment, checks })
  const [workflows, shared, environments] = await Promise.all([
    describeWorkflows(four, sorted, reading),
    describeShared(four, reading),
    describeEnvironments(four, environment),
  ])
  const order = await judgeOrder({
    policy,
    source,
    head: { revision: head.revision, tree: theirs },
    from,
    workflows,
    shared,
    versions: reading.after,
    findNeverApplied,
    findUnsoaked: findUnsoaked ?? null,
  })
  const [newest = null] = parting.bases
  const live = [...ours.directories.keys()].filter(isWorkflowDirectory)
  return concludePlan({
    environment,
    base,
    head,
    valid_for: { base: base.revision, head: head.revision, merge_base: newest },
    merge_bases: parting.bases,
    relation: parting.relation,
    isBaseUnclear: parting.isUnclear,
    workflows,
    shared,
    environments,
    batch_steps: listBatchSteps(touchedBy({ workflows, shared }), reading.after),
    conflicts: merged.conflicts,
    diagnostics: reading.diagnostics,
    read: { workflows: reading.read, of: live.length },
    isComplete: reading.isComplete,
    result_tree: merged.conflicts.length > 0 ? null : workflowsTree(merged.tree),
    prune: judgePrune(live, { policy, parting, result: merged.tree, head: theirs }),
    order,
    back_merge: await findBackMerge(source, request, { parting, sorted, shared, environments }),
  })
}

function readChanges(
  { ours, merged }: Four,
  sorted: readonly Sorted[],
  { environment, checks }: { readonly environment: EnvironmentName; readonly checks: Checks },
): Promise<PromotionReading> {
  const changed = sorted.filter(({ change }) => change !== 'only_in_target' && change !== 'same')
  const keys = changed.filter(({ change }) => change !== 'conflicting').map(({ key }) => key)
  const conflicting = directoriesIn(merged.conflicts)
  return readPromotion({ ours, merged }, { environment, changed: keys, conflicting, checks })
}

/** The id of the tree that is `workflows/` after the merge. */
function workflowsTree({ directories, strays }: RevisionTree): string {
  return treeId([
    ...[...directories].map(([name, id]) => ({ name, mode: TREE_MODE, id })),
    ...strays.flatMap(({ path, mode, blob }) => {
      const [top, name, ...rest] = path.split('/')
      const isStray = top === 'workflows' && name !== undefined && rest.length === 0
      return isStray ? [{ name, mode, id: blob }] : []
    }),
  ])
}

function judgePrune(
  live: readonly string[],
  {
    policy,
    parting,
    result,
    head,
  }: {
    readonly policy: Policy
    readonly parting: Parting
    readonly result: RevisionTree
    readonly head: RevisionTree
  },
): PruneVerdict {
  const { prune_max_percent: max_percent } = policy
  const prune = planPrune(live as readonly WorkflowKey[], result.directories, max_percent)
  const archived = live.filter((key) => !result.directories.has(key)).toSorted()
  const allowed =
    parting.relation === 'fast_forward' && hasTrailer(head.message, ALLOW_PRUNE, 'true')
  return { held: prune !== null && !allowed, allowed, archived, of: live.length, max_percent }
}

const COMMITS_SHOWN = 20

/** What only the target has, and how to bring it to the head; null where there is nothing of the kind. */
async function findBackMerge(
  source: CommitSource,
  { base, head }: PromotionRequest,
  {
    parting,
    sorted,
    shared,
    environments,
  }: {
    readonly parting: Parting
    readonly sorted: readonly Sorted[]
    readonly shared: PromotionPlan['shared']
    readonly environments: PromotionPlan['environments']
  },
): Promise<BackMerge | null> {
  const workflows = sorted
    .filter(({ change, merged }) => change === 'only_in_target' || merged)
    .map(({ key }) => key)
  const paths = [...shared, ...environments]
    .filter(({ change }) => change === 'only_in_target')
    .map(({ path }) => path)
  if (workflows.length === 0 && paths.length === 0) return null
  if (parting.relation === 'unrelated') {
    return { workflows, paths, commits: [], more_commits: 0, commands: [] }
  }
  const own = await commitsBetween(source, [head.revision], base.revision)
  const commits = own
    .filter(({ parents }) => parents.length < 2)
    .map(({ id, message }) => ({ revision: id, subject: message.split('\n', 1)[0] ?? '' }))
  const { ref } = head
  const commands =
    ref === null || base.ref === null
      ? []
      : [
          `git switch ${quoted(ref)}`,
          `git merge ${quoted(base.ref)}`,
          `git push origin ${quoted(ref)}`,
        ]
  return {
    workflows,
    paths,
    commits: commits.slice(0, COMMITS_SHOWN),
    more_commits: Math.max(0, commits.length - COMMITS_SHOWN),
    commands,
  }
}

/** As a shell takes it for one word. */
function quoted(word: string): string {
  return /^[\w./@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
