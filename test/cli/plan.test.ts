import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createOutput } from '../../src/cli/output.ts'
import { planLines } from '../../src/cli/plan-text.ts'
import type { BatchVersion, PromotionPlan } from '../../src/reconcile/promotion.ts'
import { commitOn, one, pipeline, plan } from '../reconcile/promotion-support.ts'
import { git } from '../support/repository.ts'
import { run } from './program-support.ts'
import { belfry } from './promote-support.ts'

const open = (ref: string, goesOnWith: BatchVersion | null) => {
  return { ref, batches: 1, activities: 2, goes_on_with: goesOnWith }
}

describe('belfry plan', () => {
  test('works in the repository that it stands in, without a server', async () => {
    await using repository = await pipeline()
    await commitOn(repository, 'staging', {
      ...one('alpha', 'New text'),
      ...one('delta', 'Fourth'),
    })
    const told = await belfry(repository.path, ['plan', '--env', 'production', '--head', 'staging'])
    expect(told).toMatchObject({ code: 0, error: '' })
    expect(told.out).toContain('fast forward: 1 added, 1 changed')
    expect(told.out).toContain('~ alpha "New text" changed: 1 step changed, name')
    expect(told.out).toContain('    step feed (in_app) changed: body First → New text')
    expect(told.out).toContain('+ delta "Fourth" added: feed (in_app)')
    expect(told.out).toContain('Ready: a fast-forward.')
  })

  test('takes what is checked out where no head is named', async () => {
    await using repository = await pipeline()
    await repository.checkout('feature')
    await repository.commit(one('delta', 'Fourth'))
    const argv = ['plan', '--env', 'production', '--repo', repository.path, '--output', 'json']
    const found = JSON.parse((await run(argv)).out) as PromotionPlan
    expect(found.head).toMatchObject({ name: 'feature', kind: 'branch', ref: 'feature' })
    expect(found.order).toMatchObject({ verdict: 'out_of_order', checked_by: 'branch' })
  })

  test('takes the full id of a commit', async () => {
    await using repository = await pipeline()
    const commit = await commitOn(repository, 'staging', one('alpha', 'New text'))
    await commitOn(repository, 'staging', one('beta', 'Later'))
    const argv = ['plan', '--env', 'production', '--repo', repository.path, '--head', commit]
    const { out } = await run([...argv, '--output', 'json'])
    const found = JSON.parse(out) as PromotionPlan
    expect(found.workflows.map(({ key }) => key)).toEqual(['alpha'])
    expect(found.order).toMatchObject({ verdict: 'in_order', head_is_source: true })
  })

  test('exits with 1 where something is wrong, and for a change only where that is asked', async () => {
    await using repository = await pipeline()
    const argv = ['plan', '--env', 'production', '--head', 'staging', '--repo', repository.path]
    expect(await run([...argv, '--exit-code'])).toMatchObject({ code: 0 })
    await commitOn(repository, 'staging', one('alpha', 'New text'))
    expect(await run(argv)).toMatchObject({ code: 0 })
    expect(await run([...argv, '--exit-code'])).toMatchObject({ code: 1 })
    await commitOn(repository, 'production', one('alpha', 'Fixed'))
    const blocked = await run(argv)
    expect(blocked.code).toBe(1)
    expect(blocked.out).toContain('conflict workflows/alpha/workflow.yaml: both sides changed')
  })

  test('exits with 2 where a name leads nowhere', async () => {
    await using repository = await pipeline()
    const base = ['plan', '--repo', repository.path]
    expect(await run([...base, '--env', 'nowhere'])).toMatchObject({
      code: 2,
      error: expect.stringContaining('there are: production, staging'),
    })
    expect(await run([...base, '--env', 'production', '--head', 'none'])).toMatchObject({
      code: 2,
      error: expect.stringContaining('"none" is no environment, no branch and no full id'),
    })
    expect(await run(base)).toMatchObject({ code: 2 })
    expect(await run([...base, '--env', 'production', '--output', 'html'])).toMatchObject({
      code: 2,
      error: expect.stringContaining('--output is json or text or markdown'),
    })
  })

  test('asks for the whole history in a shallow clone', async () => {
    await using repository = await pipeline()
    await commitOn(repository, 'production', one('gamma', 'Fixed'))
    await commitOn(repository, 'staging', one('alpha', 'New text'))
    // Of what both began with, no branch is the tip any more.
    await commitOn(repository, 'main', { 'README.md': 'Read me' })
    const path = join(repository.path, '..', 'shallow')
    const from = `file://${repository.path}`
    await repository.git('clone', '--quiet', '--depth=1', '--no-single-branch', from, path)
    const argv = ['plan', '--env', 'production', '--head', 'staging', '--repo', path]
    expect(await run(argv)).toMatchObject({
      code: 2,
      error: expect.stringContaining('run `git fetch --unshallow` first'),
    })
    await git(path, 'fetch', '--quiet', '--unshallow')
    expect(await run(argv)).toMatchObject({ code: 0 })
  })

  test('prints the Markdown of a comment', async () => {
    await using repository = await pipeline()
    await commitOn(repository, 'staging', one('alpha', 'New text'))
    const argv = ['plan', '--env', 'production', '--head', 'staging', '--repo', repository.path]
    const { out } = await run([...argv, '--output', 'markdown'])
    expect(out).toMatch(/^### Promotion: `staging` → `production`\n/)
    expect(out).toContain('| `alpha` | changed |')
  })

  test('shows nothing that moves the cursor', async () => {
    await using repository = await pipeline()
    await commitOn(repository, 'staging', {
      'workflows/alpha/workflow.yaml':
        'name: "A\\e[2Jb"\nsteps:\n  - {ref: feed, type: in_app, body: x}\n',
    })
    const argv = ['plan', '--env', 'production', '--head', 'staging', '--repo', repository.path]
    const { out } = await run(argv)
    expect(out).toContain('A?[2Jb')
    expect(out).not.toContain('\u001B')
  })

  test('lists what is under way, and says how much it does not list', async () => {
    await using repository = await pipeline()
    const steps = [open('first', 'pinned'), open('last', null)]
    const batches = { workflow: 'alpha', batches: 2, activities: 4, steps, ends: false }
    const ending = { ...batches, workflow: 'beta', batches: 1, activities: 2, ends: true }
    const effects = {
      runs: [],
      batches: [batches, { ...ending, steps: [open('first', null)] }],
      unlisted: { runs: 1, batches: 2 },
    }
    const streams = { out: { write: () => true }, error: { write: () => true } }
    const output = createOutput({ isJson: false, hasColor: false, streams })
    const lines = planLines({ ...(await plan(repository)), effects }, output)
    expect(lines).toEqual(
      expect.arrayContaining([
        '  and 1 more workflow with paused runs',
        '  alpha: 2 batches with 4 activities open: 1 at first with 2 activities, to go on with the version that it was opened with; 1 at last with 2 activities, to go on with a version that was not looked at',
        '  beta: 1 batch with 2 activities open: 1 at first with 2 activities; they end when they close',
        '  and 2 more workflows with open batches',
      ]),
    )
  })
})
