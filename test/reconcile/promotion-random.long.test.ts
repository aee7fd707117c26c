import { expect, test } from 'vitest'
import { providerList } from '../../src/channels/index.ts'
import { openRepository } from '../../src/git/repository.ts'
import type { CommitSource } from '../../src/git/source.ts'
import type { EnvironmentName, Revision } from '../../src/ids.ts'
import type { PlanEnd, PromotionPlan } from '../../src/reconcile/promotion.ts'
import { planPromotion } from '../../src/reconcile/promotion-plan.ts'
import { DEFAULT_POLICY } from '../../src/workflow/environment.ts'
import { writeHistories } from '../git/random-history.ts'
import { directoriesAt, realMerge } from '../git/real-merge.ts'
import type { RealMerge } from '../git/real-merge.ts'
import type { TestRepository } from '../support/repository.ts'
import { testRepository } from '../support/repository.ts'
import { verdicts } from './promotion-support.ts'

const HISTORIES = 300
const AT_ONCE = 4
const SEED = Number(process.env['BELFRY_TEST_SEED'] ?? 20_261_125)
const EMPTY_TREE = '4b825dc642cb6eb9a060e54bf8d69288fbee4904'
/** Git says in words that it cannot follow a renamed directory, and names no path. */
const UNNAMED: ReadonlySet<string> = new Set(['directory_split', 'in_the_way'])

/** Makes valid files of lines by chance, as long as they stand where they have to. */
function framed(path: string, lines: readonly string[]): readonly string[] {
  const notes = lines.map((line) => `# ${line}`)
  if (path.endsWith('/workflow.yaml'))
    return ['name: It', 'steps:', '  - { ref: feed, type: in_app, body: Hello }', ...notes]
  if (path !== 'environments/production.yaml') return lines
  return ['channels: { feed: { type: in_app, provider: in_app } }', ...notes]
}

/** Which two branches of a history are merged: now and then one that has all of the other. */
function sidesOf(seed: number): readonly [string, string] {
  const [base, ours, theirs] = [`${seed}/base`, `${seed}/ours`, `${seed}/theirs`]
  if (seed % 15 === 0) return [ours, base]
  return seed % 15 === 1 ? [base, theirs] : [ours, theirs]
}

const end = (revision: string): PlanEnd => {
  return { name: 'one', kind: 'commit', ref: null, revision: revision as Revision }
}

function planOf(source: CommitSource, base: string, head: string): Promise<PromotionPlan> {
  const checks = { providers: providerList, hasSecret: () => true }
  return planPromotion(
    { source, checks, findNeverApplied: null },
    {
      environment: 'production' as EnvironmentName,
      policy: DEFAULT_POLICY,
      base: end(base),
      head: end(head),
      from: null,
    },
  )
}

interface Sides {
  readonly base: string
  readonly ours: string
  readonly theirs: string
}

/** What the merge means for each workflow, from what `git ls-tree` says of its four places. */
async function expectedVerdicts(
  repository: TestRepository,
  { base, ours, theirs }: Sides,
  {
    directories: result,
    bad,
  }: { readonly directories: RealMerge['directories']; readonly bad: ReadonlySet<string> },
): Promise<Readonly<Record<string, string>>> {
  const [common, target, head] = await Promise.all(
    [base, ours, theirs].map((side) => directoriesAt(repository, side)),
  )
  const names = new Set([common!, target!, head!, result].flatMap((one) => [...one.keys()]))
  for (const name of bad) names.add(name)
  const found: [string, string][] = []
  for (const name of [...names].filter((one) => !one.startsWith('_'))) {
    const [before, own, next] = [common!.get(name), target!.get(name), result.get(name)]
    if (bad.has(name)) found.push([name, 'conflicting'])
    else if (next !== own && own === undefined) found.push([name, 'added'])
    else if (next !== own) found.push([name, next === undefined ? 'archived' : 'changed'])
    else if (own !== before) found.push([name, own === head!.get(name) ? 'same' : 'only_in_target'])
  }
  return Object.fromEntries(found)
}

/** Path → what the plan says becomes of the file, archived workflows left out. */
function filesOf({ workflows, shared, environments }: PromotionPlan) {
  const files = workflows.flatMap((one) => one.files)
  return Object.fromEntries(
    [...files, ...shared, ...environments]
      .filter(({ change }) => change !== 'only_in_target')
      .map(({ path, change }) => [path, change]),
  )
}

/** The same by `git diff-tree`. */
async function realFiles(repository: TestRepository, ours: string, tree: string) {
  const text = await repository.git('diff-tree', '-r', '--raw', '--no-renames', ours, tree)
  const lines = text.split('\n').flatMap((line) => {
    const [head = '', path = ''] = line.split('\t')
    const [, , old, next, kind = ''] = head.split(' ')
    const change = old === next ? 'mode' : KINDS[kind]
    return /^(workflows|environments)\//.test(path) ? [[path, change] as const] : []
  })
  return Object.fromEntries(lines)
}

const KINDS: Readonly<Record<string, string>> = { A: 'added', D: 'removed', M: 'changed' }

function within(files: Readonly<Record<string, unknown>>, without: readonly string[]) {
  return Object.fromEntries(
    Object.entries(files).filter(([path]) => !without.includes(path.split('/')[1] ?? '')),
  )
}

/** What one history is held to, and where it is read. */
interface Reading {
  readonly repository: TestRepository
  readonly source: CommitSource
  readonly seed: number
  readonly sides: Sides
}

/** Holds the plan of a history to Git; answers the words that the plan uses. */
async function compare(reading: Reading): Promise<readonly string[]> {
  const { repository, source, seed, sides } = reading
  const [plan, real] = await Promise.all([
    planOf(source, sides.ours, sides.theirs),
    realMerge(repository, sides.ours, sides.theirs),
  ])
  const unnamed = plan.conflicts.filter(({ kind }) => UNNAMED.has(kind)).map(({ path }) => path)
  const paths = [...real.conflicts, ...unnamed].filter((path) => path.startsWith('workflows/'))
  const bad = new Set(paths.map((path) => path.split('/')[1] ?? ''))
  const { directories } = real
  const result = real.isClean ? await mergedResult(reading, plan, real.tree) : UNMERGED
  expect({
    seed,
    base: plan.valid_for.merge_base,
    workflows: verdicts(plan),
    hasConflict: plan.conflicts.length > 0,
    ...resultOf(plan, result),
  }).toEqual({
    seed,
    base: sides.base,
    workflows: await expectedVerdicts(repository, sides, { directories, bad }),
    hasConflict: !real.isClean,
    ...result,
  })
  const blocks = plan.blocked_by.map(({ code }) => code)
  return [plan.relation, plan.verdict, ...blocks, ...Object.values(verdicts(plan))]
}

const UNMERGED: Partial<Result> = { result_tree: null, verdict: 'blocked' }

type Result = Pick<
  PromotionPlan,
  | 'result_tree'
  | 'relation'
  | 'verdict'
  | 'blocked_by'
  | 'diagnostics'
  | 'prune'
  | 'read'
  | 'batch_steps'
> & { readonly files: Readonly<Record<string, unknown>> }

/** What of a plan is there to be held to a result. */
function resultOf(plan: PromotionPlan, result: Partial<Result>): Partial<Result> {
  const all = { ...plan, files: filesOf(plan) }
  return Object.fromEntries(Object.keys(result).map((name) => [name, all[name as keyof Result]]))
}

/** What the plan has to say where Git merges: the tree that Git gives, and what is said of it once it is a commit. */
async function mergedResult(
  { repository, source, sides: { base, ours, theirs } }: Reading,
  { workflows }: PromotionPlan,
  merged: string,
): Promise<Partial<Result>> {
  const tree = await repository
    .git('rev-parse', '--verify', '--quiet', `${merged}:workflows`)
    .catch(() => EMPTY_TREE)
  const archived = workflows.filter(({ change }) => change === 'archived')
  const keys = archived.map(({ key }) => key as string)
  const files = within(await realFiles(repository, ours, merged), keys)
  const made = await repository.git('commit-tree', merged, '-p', ours, '-p', theirs, '-m', 'It')
  const after = await planOf(source, ours, made)
  const { verdict, blocked_by, diagnostics, prune, read, batch_steps } = after
  const judged = { result_tree: tree, files, diagnostics, prune, read, batch_steps }
  if (base === theirs)
    return { ...judged, relation: 'up_to_date', verdict: 'nothing_to_do', blocked_by: [] }
  return { ...judged, relation: base === ours ? 'fast_forward' : 'merge', verdict, blocked_by }
}

/** A plan of each kind is among them; else they would be worth nothing. */
const WORDS =
  'merge fast_forward up_to_date ready blocked nothing_to_do conflict invalid_files added changed archived conflicting only_in_target same'

test(`the plans of ${HISTORIES} random histories say what git merges (seed ${SEED})`, async () => {
  await using repository = await testRepository()
  const seeds = Array.from({ length: HISTORIES }, (_, index) => SEED + index)
  writeHistories(repository, seeds, framed)
  const refs = await repository.git('for-each-ref', '--format=%(refname:short) %(objectname)')
  const tips = new Map(refs.split('\n').map((line) => line.split(' ') as [string, string]))
  const source = await openRepository(repository.path)
  const seen = new Map<string, number>()
  const work = async () => {
    for (let seed = seeds.pop(); seed !== undefined; seed = seeds.pop()) {
      const [ours = '', theirs = ''] = sidesOf(seed).map((side) => tips.get(side))
      // Each history begins with one commit, which both sides have in common.
      const sides = { base: tips.get(`${seed}/base`) ?? '', ours, theirs }
      for (const word of await compare({ repository, source, seed, sides }))
        seen.set(word, (seen.get(word) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  expect(WORDS.split(' ').filter((word) => (seen.get(word) ?? 0) < 3)).toEqual([])
})
