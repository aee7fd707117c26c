import type { CommitSource, RevisionTree } from '../git/source.ts'
import type { EnvironmentName, Revision, VersionId, WorkflowKey } from '../ids.ts'
import { isBefore } from './promotion-bases.ts'
import type { OrderVerdict, SharedChange, WorkflowChange } from './promotion.ts'
import type { Duration } from '../language/durations.ts'
import { durationText } from './soak.ts'
import type { Unsoaked } from './soak.ts'
import type { Policy } from '../workflow/environment.ts'
import type { Version } from '../workflow/workflow.ts'

/** Content that a merge brings to an environment. */
export interface Coming {
  readonly key: WorkflowKey
  readonly tree: string
  /** Null where the workflow was not parsed. */
  readonly versionId: VersionId | null
}

/** Answers which of these were applied neither in `from` nor in the environment itself. */
export type FindNeverApplied = (
  from: EnvironmentName,
  coming: readonly Coming[],
) => Promise<readonly WorkflowKey[]>

/** Answers which of these were live in `from`, but not for as long as they have to be. */
export type FindUnsoaked = (
  from: EnvironmentName,
  soak: Duration,
  coming: readonly Coming[],
) => Promise<readonly Unsoaked[]>

export interface OrderQuestion {
  readonly policy: Policy
  readonly source: CommitSource
  readonly head: { readonly revision: Revision; readonly tree: RevisionTree }
  /** The tip of the environment that content is promoted from; null where it has none. */
  readonly from: Revision | null
  readonly workflows: readonly WorkflowChange[]
  readonly shared: readonly SharedChange[]
  /** What was parsed of what the merge gives. */
  readonly versions: ReadonlyMap<string, Version>
  /** Null where no server is asked. */
  readonly findNeverApplied: FindNeverApplied | null
  readonly findUnsoaked: FindUnsoaked | null
}

/** Judges whether what a merge brings was in the environment before from which it has to come. */
export async function judgeOrder(question: OrderQuestion): Promise<OrderVerdict> {
  const { policy, findNeverApplied, findUnsoaked } = question
  const { promotes_from: promotesFrom, promotion: mode, soak } = policy
  const base = {
    promotes_from: promotesFrom,
    mode,
    checked_by: findNeverApplied ? 'applied' : 'branch',
    never_there: [],
    soak: soak === undefined ? null : durationText(soak),
    soaking: [],
  } as const
  if (promotesFrom === null) return { ...base, verdict: 'free', head_is_source: false }
  const { source, head, from } = question
  const isSource = from !== null && (await isBefore(source, head.revision, from))
  if (mode === 'off') return { ...base, verdict: 'off', head_is_source: isSource }
  const never = findNeverApplied
    ? await findNeverApplied(promotesFrom, comingOf(question))
    : await neverOnBranch(question, isSource)
  const unsoaked =
    soak === undefined ? [] : await findUnsoaked?.(promotesFrom, soak, comingOf(question))
  const { missing, soaking } = sortUnsoaked(never, unsoaked ?? [])
  const inOrder = soaking.length > 0 ? 'soaking' : 'in_order'
  return {
    ...base,
    head_is_source: isSource,
    verdict: missing.length > 0 ? 'out_of_order' : inOrder,
    never_there: missing.toSorted(),
    soaking,
  }
}

/** What is not live there any more has to go there again, as what never was. */
function sortUnsoaked(
  never: readonly string[],
  unsoaked: readonly Unsoaked[],
): { readonly missing: readonly string[]; readonly soaking: OrderVerdict['soaking'] } {
  const lost = unsoaked.filter(({ readyAt }) => readyAt === null).map(({ key }) => key)
  const soaking = unsoaked.flatMap(({ key, readyAt }) =>
    readyAt === null ? [] : [{ key, until: readyAt.toISOString() }],
  )
  return { missing: [...never, ...lost], soaking }
}

const COMING: ReadonlySet<WorkflowChange['change']> = new Set(['added', 'changed'])

/** The workflows that come, and those whose shared parts do. */
function comingOf({ workflows, shared, versions }: OrderQuestion): readonly Coming[] {
  const touched = workflows.flatMap(({ key, change, tree }): readonly Coming[] =>
    COMING.has(change) && tree !== null
      ? [{ key, tree, versionId: versions.get(key)?.id ?? null }]
      : [],
  )
  const known = new Set<string>(touched.map(({ key }) => key))
  const users = new Set(shared.flatMap((part) => part.workflows ?? []))
  const others = [...versions.values()].filter(({ key }) => users.has(key) && !known.has(key))
  return [...touched, ...others.map(({ key, id }) => ({ key, tree: '', versionId: id }))]
}

/** Without a server the branch stands for what was applied: the head if it is on it, and its tip. */
async function neverOnBranch(
  { source, head, from, workflows, shared }: OrderQuestion,
  isSource: boolean,
): Promise<readonly string[]> {
  const tip = from === null ? undefined : await source.tree(from)
  const trees = [tip, isSource ? head.tree : undefined].filter((tree) => tree !== undefined)
  const missing = workflows.flatMap(({ key, change, tree }) => {
    if (!COMING.has(change) || tree === null) return []
    return trees.some(({ directories }) => directories.get(key) === tree) ? [] : [key]
  })
  // The head's shared parts come as they are there, where it is a commit of that branch.
  const parts = isSource ? [] : await sharedElsewhere(shared, { head: head.tree, tip })
  return [...missing, ...parts]
}

async function sharedElsewhere(
  shared: readonly SharedChange[],
  { head, tip }: { readonly head: RevisionTree; readonly tip: RevisionTree | undefined },
): Promise<readonly string[]> {
  const incoming = shared.filter(({ change }) => change === 'added' || change === 'changed')
  const names = new Set(incoming.flatMap(({ path }) => path.split('/')[1] ?? []))
  const found = new Map<string, string>()
  for (const name of names) {
    for (const { path, blob } of (await tip?.list(name)) ?? []) found.set(path, blob)
  }
  const missing: string[] = []
  for (const name of names) {
    for (const { path, blob } of await head.list(name)) {
      const isIncoming = incoming.some((one) => one.path === path)
      if (isIncoming && found.get(path) !== blob) missing.push(path)
    }
  }
  return missing
}
