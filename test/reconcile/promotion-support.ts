import { openRepository } from '../../src/git/repository.ts'
import type { CommitSource } from '../../src/git/source.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import type { PromotionPlan } from '../../src/reconcile/promotion.ts'
import { planPromotion } from '../../src/reconcile/promotion-plan.ts'
import { resolvePromotion } from '../../src/reconcile/promotion-source.ts'
import { DEFAULT_POLICY } from '../../src/workflow/environment.ts'
import type { Policy } from '../../src/workflow/environment.ts'
import type { Files, TestRepository } from '../support/repository.ts'
import { testRepository } from '../support/repository.ts'
import { workflow } from './scene.ts'

const CHANNELS = 'channels: { feed: { type: in_app, provider: in_app } }\n'

/** The files of a workflow that shows `text` in the feed. */
export function one(key: string, text: string): Files {
  return { [`workflows/${key}/workflow.yaml`]: workflow(text) }
}

/** Three workflows on `main`, and the branches `staging` and `production` at the same commit. */
export async function pipeline(): Promise<TestRepository> {
  const repository = await testRepository()
  await repository.commit({
    ...one('alpha', 'First'),
    ...one('beta', 'Second'),
    ...one('gamma', 'Third'),
    'environments/staging.yaml': CHANNELS,
    'environments/production.yaml': `promotes_from: staging\n${CHANNELS}`,
  })
  await repository.git('branch', 'staging')
  await repository.git('branch', 'production')
  return repository
}

/** Commits on a branch. */
export async function commitOn(
  repository: TestRepository,
  branch: string,
  files: Files,
): Promise<string> {
  await repository.git('checkout', '--quiet', branch)
  return repository.commit(files)
}

/** The plan for `production`, as it is made without a server. */
export async function plan(
  repository: TestRepository,
  head = 'staging',
  policy: Partial<Policy> = {},
  source?: CommitSource,
): Promise<PromotionPlan> {
  return planWith(source ?? (await openRepository(repository.path)), head, policy)
}

async function planWith(
  source: CommitSource,
  head: string,
  policy: Partial<Policy>,
): Promise<PromotionPlan> {
  const refs = await source.refs()
  const environments = ['staging', 'production'].map((name) => ({
    name: name as EnvironmentName,
    ref: name,
    policy: {
      ...DEFAULT_POLICY,
      promotes_from: name === 'production' ? ('staging' as EnvironmentName) : null,
      ...policy,
    },
  }))
  const named = { environment: 'production', head }
  const resolved = await resolvePromotion({ source, refs, environments }, named)
  if (resolved.kind === 'refused') throw new Error(resolved.refusal.message)
  const feed = {
    name: 'in_app',
    type: 'in_app',
    schema: { required: [], properties: {} },
    example: {},
  } as const
  const checks = { providers: [feed], hasSecret: () => true }
  return planPromotion({ source, checks, findNeverApplied: null }, resolved.request)
}

/** Key → what the merge means for it. */
export function verdicts(found: PromotionPlan): Readonly<Record<string, string>> {
  return Object.fromEntries(found.workflows.map(({ key, change }) => [key, change]))
}
