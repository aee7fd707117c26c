import type {
  OrderVerdict,
  PlanProblem,
  PromotionPlan,
  PruneVerdict,
  WorkflowChange,
} from './promotion.ts'

/** A plan before it is judged as a whole. */
export type OpenPlan = Omit<
  PromotionPlan,
  'verdict' | 'blocked_by' | 'warnings' | 'counts' | 'effects'
> & {
  /** Whether several merge bases disagree. */
  readonly isBaseUnclear: boolean
  /** Whether all was parsed that the merge changes. */
  readonly isComplete: boolean
}

/** Says what keeps a merge from being made or applied, and what else a person should know. */
export function concludePlan({ isBaseUnclear, isComplete, ...plan }: OpenPlan): PromotionPlan {
  const blocked_by = isNothing(plan) ? [] : findBlocks(plan)
  const warnings = findWarnings({ ...plan, isBaseUnclear, isComplete })
  const ready = blocked_by.length > 0 ? 'blocked' : 'ready'
  return {
    ...plan,
    verdict: isNothing(plan) ? 'nothing_to_do' : ready,
    blocked_by,
    warnings,
    counts: count(plan.workflows),
    effects: null,
  }
}

function isNothing({ relation }: Pick<PromotionPlan, 'relation'>): boolean {
  return relation === 'same' || relation === 'up_to_date'
}

function count(workflows: readonly WorkflowChange[]): PromotionPlan['counts'] {
  const counts = { added: 0, changed: 0, archived: 0, conflicting: 0, only_in_target: 0, same: 0 }
  for (const { change } of workflows) counts[change] += 1
  return { ...counts, moved: workflows.filter(({ moved_from: from }) => from !== null).length }
}

type Judged = Omit<OpenPlan, 'isBaseUnclear' | 'isComplete'>

function findBlocks(plan: Judged): readonly PlanProblem[] {
  const { relation, conflicts, prune, order, environment, base, head } = plan
  const found: PlanProblem[] = []
  if (relation === 'unrelated') {
    const message = `${head.name} and ${base.ref ?? base.name} share no commit, so Git refuses to merge them`
    return [{ code: 'unrelated_histories', message }]
  }
  if (conflicts.length > 0) {
    const paths = new Set(conflicts.map(({ path }) => path))
    const message = `${counted(paths.size, 'file')} changed on both sides in ways that a person has to bring together`
    found.push({ code: 'conflict', message })
  }
  const errors = plan.diagnostics.filter(({ severity }) => severity === 'error')
  if (errors.length > 0) {
    const message = `${environment} would not apply the merge: ${counted(errors.length, 'error')} in its files`
    found.push({ code: 'invalid_files', message })
  }
  if (prune.held) found.push({ code: 'prune_guard', message: pruneMessage(prune) })
  if (order.mode === 'enforce' && order.verdict === 'out_of_order') {
    found.push({ code: 'out_of_order', message: orderMessage(order) })
  }
  return found
}

function findWarnings(plan: OpenPlan): readonly PlanProblem[] {
  const { order, merge_bases: bases, back_merge: back, workflows, read } = plan
  const found: PlanProblem[] = []
  if (order.mode === 'warn' && order.verdict === 'out_of_order') {
    found.push({ code: 'out_of_order', message: orderMessage(order) })
  }
  if (order.verdict === 'soaking') found.push({ code: 'soaking', message: soakMessage(order) })
  const breaking = workflows.filter((one) => one.breaking).map(({ key }) => key)
  if (breaking.length > 0) {
    const message = `triggers that are right today may be refused: ${listed(breaking)}`
    found.push({ code: 'breaking_change', message })
  }
  if (back !== null && plan.relation !== 'unrelated') {
    const message = `only ${plan.environment} has ${listed([...back.workflows, ...back.paths])}: the merge keeps it, and ${plan.head.name} goes on without it`
    found.push({ code: 'only_in_target', message })
  }
  if (bases.length > 1) {
    const how = plan.isBaseUnclear
      ? 'they disagree, and what they disagree about counts as changed on both sides'
      : 'they are merged first, as Git does'
    const message = `the two sides have been merged crosswise and have ${bases.length} last common commits; ${how}`
    found.push({ code: 'several_merge_bases', message })
  }
  if (!plan.isComplete) {
    const message = `only ${read.workflows} of ${read.of} workflows were parsed; the rest was compared by its ids alone`
    found.push({ code: 'not_all_read', message })
  }
  return found
}

function pruneMessage({ archived, of, max_percent: max }: PruneVerdict): string {
  return `the merge would archive ${archived.length} of ${of} workflows, more than may go unasked (${max} %): ${listed(archived)}`
}

function orderMessage({
  promotes_from: from,
  never_there: missing,
  checked_by: by,
  soak,
}: OrderVerdict): string {
  const applied = soak === null ? 'were never applied in' : `were not live for ${soak} in`
  const where = by === 'applied' ? applied : 'are not on the branch of'
  return `${listed(missing)} ${where} ${from}, from which content has to come`
}

function soakMessage({ mode, promotes_from: from, soak, soaking }: OrderVerdict): string {
  const last = soaking
    .map(({ until }) => until)
    .toSorted()
    .at(-1)
  const then =
    mode === 'enforce' ? `the merge is applied by itself at ${last}` : `wait until ${last}`
  return `live in ${from} for less than ${soak}: ${listed(soaking.map(({ key }) => key))}; ${then}`
}

const NAMES_MAX = 10

/** Names in a sentence, the first few of many. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_MAX).join(', ')
  return names.length > NAMES_MAX ? `${shown} and ${names.length - NAMES_MAX} more` : shown
}

/** A number and its noun. */
export function counted(number: number, noun: string, nouns = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : nouns}`
}
