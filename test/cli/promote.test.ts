import { describe, expect, test } from 'vitest'
import { planLocally } from '../../src/cli/local-plan.ts'
import { mergePromotion } from '../../src/cli/promote-merge.ts'
import { commitOn, one, pipeline } from '../reconcile/promotion-support.ts'
import { bareClone } from '../support/repository.ts'
import type { TestRepository } from '../support/repository.ts'
import { belfry } from './promote-support.ts'

/** Staging is a commit ahead, and something else is checked out, with an edit that is not committed. */
async function ahead(): Promise<TestRepository> {
  const repository = await pipeline()
  await commitOn(repository, 'staging', one('alpha', 'New text'))
  await repository.git('checkout', '--quiet', 'main')
  await repository.write({ 'workflows/alpha/notes.md': 'Half a thought', 'README.md': 'Staged' })
  await repository.git('add', 'README.md')
  return repository
}

const untouched = (repository: TestRepository) =>
  repository.git('status', '--porcelain', '--branch', '--untracked-files=all')

describe('belfry promote', () => {
  test('merges after a yes, and touches neither checkout nor index', async () => {
    await using repository = await ahead()
    const before = await untouched(repository)
    const told = await belfry(repository.path, ['promote', 'staging', 'production'], {
      input: 'yes\n',
    })
    expect(told.error).toContain('Merge staging into production? [y/N]')
    expect(told).toMatchObject({ code: 0 })
    const tip = await repository.tip('production')
    expect(told.out).toContain(`production is at ${tip} now`)
    expect(await repository.git('log', '--format=%s %p', '-1', 'production')).toBe(
      `Promote staging to production ${await repository.git('rev-parse', '--short', 'main')} ${await repository.git('rev-parse', '--short', 'staging')}`,
    )
    expect(await repository.git('show', 'production:workflows/alpha/workflow.yaml')).toContain(
      'New text',
    )
    expect(await untouched(repository)).toBe(before)
    expect(await repository.git('worktree', 'list')).not.toContain('belfry-promote')
  })

  test.each(['', 'no\n', '\n'])('changes nothing after the answer %j', async (answer) => {
    await using repository = await ahead()
    const before = await repository.tip('production')
    const told = await belfry(repository.path, ['promote', 'staging', 'production'], {
      input: answer,
    })
    expect(told).toMatchObject({ code: 1, error: expect.stringContaining('nothing was changed') })
    expect(await repository.tip('production')).toBe(before)
  })

  test('moves the branch alone where a fast-forward is asked for', async () => {
    await using repository = await ahead()
    const told = await belfry(repository.path, [
      'promote',
      'staging',
      'production',
      '--yes',
      '--ff',
    ])
    expect(told.code).toBe(0)
    expect(await repository.tip('production')).toBe(await repository.tip('staging'))
  })

  test('refuses conflicts', async () => {
    await using repository = await ahead()
    const before = await commitOn(repository, 'production', one('alpha', 'Fixed'))
    await repository.git('checkout', '--quiet', 'main')
    const told = await belfry(repository.path, ['promote', 'staging', 'production', '--yes'])
    expect(told).toMatchObject({ code: 1, error: expect.stringContaining('not merged: 1 file') })
    expect(await repository.tip('production')).toBe(before)
  })

  test('refuses conflicts outside of workflows as well, which only git finds', async () => {
    await using repository = await pipeline()
    await commitOn(repository, 'staging', { ...one('alpha', 'New text'), notes: 'One' })
    const before = await commitOn(repository, 'production', { notes: 'Other' })
    await repository.git('checkout', '--quiet', 'main')
    const told = await belfry(repository.path, ['promote', 'staging', 'production', '--yes'])
    expect(told).toMatchObject({ code: 1, error: expect.stringContaining('git did not merge') })
    expect(await repository.tip('production')).toBe(before)
    expect(await repository.git('worktree', 'list')).not.toContain('belfry-promote')
  })

  test('refuses what an enforced policy does not take', async () => {
    await using repository = await pipeline()
    await commitOn(repository, 'main', {
      'environments/production.yaml': 'promotes_from: staging\npolicy: {promotion: enforce}\n',
    })
    await repository.git('branch', 'feature')
    await commitOn(repository, 'feature', one('alpha', 'Never tried'))
    await repository.git('checkout', '--quiet', 'main')
    const told = await belfry(repository.path, ['promote', 'feature', 'production', '--yes'])
    expect(told).toMatchObject({
      code: 1,
      error: expect.stringContaining('alpha are not on the branch of staging'),
    })
  })

  test('writes into the merge commit that its archiving is meant, where that is said', async () => {
    await using repository = await pipeline()
    await repository.git('checkout', '--quiet', 'staging')
    await repository.git('rm', '-r', '--quiet', 'workflows')
    await repository.commit(one('delta', 'New'))
    await repository.git('checkout', '--quiet', 'main')
    const argv = ['promote', 'staging', 'production', '--yes']
    expect(await belfry(repository.path, argv)).toMatchObject({ code: 1 })
    expect(await belfry(repository.path, [...argv, '--allow-prune'])).toMatchObject({ code: 0 })
    const trailers = await repository.git('log', '-1', '--format=%(trailers)', 'production')
    expect(trailers.trim()).toBe('Belfry-Allow-Prune: true')
  })

  test('refuses to move a branch that is checked out', async () => {
    await using repository = await ahead()
    await repository.git('stash', '--quiet')
    await repository.git('checkout', '--quiet', 'production')
    const told = await belfry(repository.path, ['promote', 'staging', 'production', '--yes'])
    expect(told).toMatchObject({ code: 1, error: expect.stringContaining('is checked out in') })
  })

  test('pushes to origin, and changes nothing where that does not take it', async () => {
    await using repository = await ahead()
    await using origin = await bareClone(repository)
    await repository.git('remote', 'add', 'origin', origin.path)
    const argv = ['promote', 'staging', 'production', '--yes', '--push']
    expect(await belfry(repository.path, argv)).toMatchObject({ code: 0 })
    expect(await origin.tip('production')).toBe(await repository.tip('production'))

    await commitOn(repository, 'staging', one('beta', 'Newer'))
    await repository.git('stash', '--quiet')
    await repository.git('checkout', '--quiet', 'main')
    const before = await repository.tip('production')
    await repository.git('branch', 'elsewhere')
    await commitOn(repository, 'elsewhere', { 'README.md': 'Somebody was faster' })
    await repository.git('push', '--quiet', 'origin', '+elsewhere:production')
    const told = await belfry(repository.path, argv)
    expect(told).toMatchObject({ code: 1, error: expect.stringContaining('origin does not take') })
    expect(await repository.tip('production')).toBe(before)
  })

  test('refuses a plan whose tips have moved', async () => {
    await using repository = await ahead()
    const options = { text: () => undefined, flag: () => false, list: () => [] }
    const text = (name: string) => (name === 'repo' ? repository.path : undefined)
    const named = { environment: 'production', head: 'staging' }
    const { plan, repository: opened } = await planLocally({ ...options, text }, named)
    const how = { isFastForward: false, isPushed: false, isPruneAllowed: false, message: undefined }
    const before = await repository.tip('production')
    await repository.git('update-ref', 'refs/heads/staging', 'main')
    expect(await mergePromotion(opened, plan, how)).toMatchObject({
      kind: 'refused',
      why: expect.stringContaining('staging has moved since the plan was made'),
    })
    expect(await repository.tip('production')).toBe(before)
  })

  test('says in JSON what it has made', async () => {
    await using repository = await ahead()
    const argv = ['promote', 'staging', 'production', '--yes', '--output', 'json']
    const told = await belfry(repository.path, argv)
    expect(JSON.parse(told.out)).toMatchObject({
      ref: 'production',
      revision: await repository.tip('production'),
      pushed: false,
      plan: { verdict: 'ready' },
    })
    const again = await belfry(repository.path, argv)
    expect(JSON.parse(again.out)).toMatchObject({ plan: { verdict: 'nothing_to_do' } })
  })
})
