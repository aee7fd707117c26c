import { describe, expect, test } from 'vitest'
import { realMerge } from '../git/real-merge.ts'
import type { TestRepository } from '../support/repository.ts'
import { commitOn, one, pipeline, plan, verdicts } from './promotion-support.ts'

/** A history, and what the plan of a promotion from staging to production says of it. */
interface Scripted {
  readonly name: string
  readonly head?: string
  script(repository: TestRepository): Promise<unknown>
  readonly relation: string
  readonly verdict: string
  readonly workflows: Readonly<Record<string, string>>
  readonly order?: string
}

const TABLE: readonly Scripted[] = [
  {
    name: 'nothing',
    script: async () => {},
    relation: 'same',
    verdict: 'nothing_to_do',
    workflows: {},
  },
  {
    name: 'a fast-forward',
    script: (repository) =>
      commitOn(repository, 'staging', {
        ...one('alpha', 'New text'),
        ...one('delta', 'Fourth'),
        'workflows/gamma': null,
      }),
    relation: 'fast_forward',
    verdict: 'ready',
    workflows: { alpha: 'changed', delta: 'added', gamma: 'archived' },
  },
  {
    name: 'a promotion that was merged',
    script: async (repository) => {
      await commitOn(repository, 'staging', one('alpha', 'New text'))
      await repository.merge('staging', 'production')
      await commitOn(repository, 'production', { 'README.md': 'Only here' })
    },
    relation: 'up_to_date',
    verdict: 'nothing_to_do',
    workflows: {},
  },
  {
    name: 'a second promotion after a merge commit',
    script: async (repository) => {
      await commitOn(repository, 'staging', one('alpha', 'New text'))
      await repository.git('checkout', '--quiet', 'production')
      await repository.git('merge', '--quiet', '--no-ff', '--no-edit', 'staging')
      await commitOn(repository, 'staging', one('beta', 'Newer text'))
    },
    relation: 'merge',
    verdict: 'ready',
    workflows: { beta: 'changed' },
  },
  {
    name: 'a squash',
    script: async (repository) => {
      await commitOn(repository, 'staging', one('alpha', 'New text'))
      await commitOn(repository, 'staging', one('beta', 'Newer text'))
      await repository.git('checkout', '--quiet', 'production')
      await repository.git('merge', '--quiet', '--squash', 'staging')
      await repository.commit({}, 'Squashed')
    },
    relation: 'merge',
    verdict: 'ready',
    workflows: { alpha: 'same', beta: 'same' },
  },
  {
    name: 'a rebase',
    script: async (repository) => {
      await commitOn(repository, 'production', one('gamma', 'Fixed'))
      await commitOn(repository, 'staging', one('alpha', 'New text'))
      await repository.git('checkout', '--quiet', '-b', 'rebased', 'staging')
      await repository.git('rebase', '--quiet', 'production')
      await repository.git('checkout', '--quiet', 'production')
      await repository.git('merge', '--quiet', '--ff-only', 'rebased')
    },
    relation: 'merge',
    verdict: 'ready',
    workflows: { alpha: 'same', gamma: 'only_in_target' },
  },
  {
    name: 'a cherry-pick',
    script: async (repository) => {
      const fix = await commitOn(repository, 'staging', one('alpha', 'Fixed'))
      await commitOn(repository, 'staging', one('beta', 'New text'))
      await repository.git('checkout', '--quiet', 'production')
      await repository.git('cherry-pick', fix)
    },
    relation: 'merge',
    verdict: 'ready',
    workflows: { alpha: 'same', beta: 'changed' },
  },
  {
    name: 'a hotfix that the head does not have',
    script: async (repository) => {
      await commitOn(repository, 'production', one('gamma', 'Fixed'))
      await commitOn(repository, 'staging', one('beta', 'New text'))
    },
    relation: 'merge',
    verdict: 'ready',
    workflows: { beta: 'changed', gamma: 'only_in_target' },
  },
  {
    name: 'a hotfix after its back-merge',
    script: async (repository) => {
      await commitOn(repository, 'production', one('gamma', 'Fixed'))
      await commitOn(repository, 'staging', one('beta', 'New text'))
      await repository.merge('production', 'staging')
    },
    relation: 'fast_forward',
    verdict: 'ready',
    workflows: { beta: 'changed' },
  },
  {
    name: 'a hotfix of the same lines',
    script: async (repository) => {
      await commitOn(repository, 'production', one('gamma', 'Fixed'))
      await commitOn(repository, 'staging', one('gamma', 'Written anew'))
    },
    relation: 'merge',
    verdict: 'blocked',
    workflows: { gamma: 'conflicting' },
  },
  {
    name: 'a promotion that was reverted, promoted again',
    script: async (repository) => {
      await commitOn(repository, 'staging', one('alpha', 'New text'))
      await repository.git('checkout', '--quiet', 'production')
      await repository.git('merge', '--quiet', '--no-ff', '--no-edit', 'staging')
      await repository.git('revert', '--no-edit', '-m', '1', 'HEAD')
      await commitOn(repository, 'staging', one('beta', 'New text'))
    },
    relation: 'merge',
    verdict: 'ready',
    // Git takes the reverted change for a decision of the target, and so does the plan.
    workflows: { alpha: 'only_in_target', beta: 'changed' },
  },
  {
    name: 'criss-cross merges',
    script: async (repository) => {
      await commitOn(repository, 'production', one('gamma', 'Fixed'))
      await commitOn(repository, 'staging', one('beta', 'New text'))
      const [fix, text] = [await repository.tip('production'), await repository.tip('staging')]
      await repository.git('checkout', '--quiet', 'production')
      await repository.git('merge', '--quiet', '--no-edit', text)
      await repository.git('checkout', '--quiet', 'staging')
      await repository.git('merge', '--quiet', '--no-edit', fix)
      await commitOn(repository, 'staging', one('alpha', 'Newest text'))
      await commitOn(repository, 'production', one('gamma', 'Fixed twice'))
    },
    relation: 'merge',
    verdict: 'ready',
    workflows: { alpha: 'changed', gamma: 'only_in_target' },
  },
  {
    name: 'a force-push of the head',
    script: async (repository) => {
      await commitOn(repository, 'staging', one('alpha', 'Thrown away'))
      await repository.merge('staging', 'production')
      await repository.git('checkout', '--quiet', 'staging')
      await repository.git('reset', '--quiet', '--hard', 'main')
      await repository.commit(one('beta', 'New text'))
    },
    relation: 'merge',
    verdict: 'ready',
    workflows: { alpha: 'only_in_target', beta: 'changed' },
  },
  {
    name: 'an orphan branch',
    script: async (repository) => {
      await repository.git('checkout', '--quiet', '--orphan', 'apart')
      await repository.git('rm', '-r', '--quiet', '--force', 'workflows/beta')
      await repository.commit(one('alpha', 'Other'))
      await repository.git('branch', '--force', 'staging')
    },
    relation: 'unrelated',
    verdict: 'blocked',
    workflows: { alpha: 'conflicting', beta: 'only_in_target', gamma: 'same' },
  },
  {
    name: 'a renamed directory',
    script: async (repository) => {
      await repository.git('checkout', '--quiet', 'staging')
      await repository.git('mv', 'workflows/alpha', 'workflows/renamed')
      await repository.commit({})
    },
    relation: 'fast_forward',
    verdict: 'ready',
    workflows: { alpha: 'archived', renamed: 'added' },
  },
  {
    name: 'a feature branch that was never on staging',
    head: 'feature',
    script: async (repository) => {
      await repository.git('branch', 'feature', 'main')
      await commitOn(repository, 'feature', one('alpha', 'Never tried'))
    },
    relation: 'fast_forward',
    verdict: 'ready',
    workflows: { alpha: 'changed' },
    order: 'out_of_order',
  },
  {
    name: 'a feature branch whose content is on staging',
    head: 'feature',
    script: async (repository) => {
      await repository.git('branch', 'feature', 'main')
      await commitOn(repository, 'feature', one('alpha', 'Tried'))
      await commitOn(repository, 'staging', one('alpha', 'Tried'))
    },
    relation: 'fast_forward',
    verdict: 'ready',
    workflows: { alpha: 'changed' },
  },
]

describe('the plan of', () => {
  test.each(TABLE)('$name', async (scripted) => {
    const { head = 'staging', relation, verdict, workflows, order = 'in_order' } = scripted
    await using repository = await pipeline()
    await scripted.script(repository)
    const found = await plan(repository, head)
    expect(found).toMatchObject({ relation, verdict, order: { verdict: order } })
    expect(verdicts(found)).toEqual(workflows)
    if (relation === 'unrelated') return
    const real = await realMerge(repository, 'production', head)
    expect(found.conflicts.length === 0).toBe(real.isClean)
    if (found.result_tree === null) return
    const { base } = found.valid_for
    const merged = await repository.git('merge-tree', '--write-tree', base, found.valid_for.head)
    expect(await repository.git('rev-parse', `${merged}:workflows`)).toBe(found.result_tree)
  })
})
