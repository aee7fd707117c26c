import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { openRepository } from '../../src/git/repository.ts'
import { realMerge } from '../git/real-merge.ts'
import { commitOn, one, pipeline, plan, verdicts } from './promotion-support.ts'
import { counting } from './scene.ts'

describe('a plan', () => {
  test('reads what differs and nothing else', async () => {
    await using repository = await pipeline()
    const many = Array.from({ length: 300 }, (_, index) => one(`workflow-${index}`, 'Same'))
    await commitOn(repository, 'main', Object.assign({}, ...many))
    for (const branch of ['staging', 'production']) await repository.merge('main', branch)
    await commitOn(repository, 'staging', one('alpha', 'New text'))
    const source = counting(await openRepository(repository.path))
    expect(verdicts(await plan(repository, 'staging', {}, source))).toEqual({ alpha: 'changed' })
    // Both texts of the workflow, and the environment's file.
    expect(source.blobs).toHaveLength(3)
  })

  test('names both names of a workflow whose directory was renamed', async () => {
    await using repository = await pipeline()
    await repository.git('checkout', '--quiet', 'staging')
    await repository.git('mv', 'workflows/alpha', 'workflows/renamed')
    await repository.commit({})
    const found = await plan(repository)
    expect(found.workflows).toMatchObject([
      { key: 'alpha', change: 'archived', moved_to: 'renamed' },
      { key: 'renamed', change: 'added', moved_from: 'alpha' },
    ])
    expect(found.counts.moved).toBe(1)
  })

  test('is bound to both tips and to what they have in common', async () => {
    await using repository = await pipeline()
    const common = await repository.tip('production')
    const base = await commitOn(repository, 'production', one('gamma', 'Fixed'))
    const head = await commitOn(repository, 'staging', one('beta', 'New text'))
    expect((await plan(repository)).valid_for).toEqual({ base, head, merge_base: common })
  })

  test('says how to bring back what only the target has', async () => {
    await using repository = await pipeline()
    const fix = await commitOn(repository, 'production', one('gamma', 'Fixed'))
    await commitOn(repository, 'staging', one('beta', 'New text'))
    const found = await plan(repository)
    expect(found.back_merge).toEqual({
      workflows: ['gamma'],
      paths: [],
      commits: [{ revision: fix, subject: 'Change files' }],
      more_commits: 0,
      commands: ['git switch staging', 'git merge production', 'git push origin staging'],
    })
    for (const command of found.back_merge!.commands.slice(0, 2))
      await repository.git(...command.split(' ').slice(1))
    expect((await plan(repository)).back_merge).toBeNull()
  })

  test('tells of a workflow that holds changes of both sides', async () => {
    await using repository = await pipeline()
    const file = 'workflows/gamma/feed.md.hbs'
    await commitOn(repository, 'production', { [file]: 'Fixed' })
    await commitOn(repository, 'staging', one('gamma', 'New text'))
    const [gamma] = (await plan(repository)).workflows
    expect(gamma).toMatchObject({ key: 'gamma', change: 'changed', merged: true })
  })

  test('is blocked by files that the target would not apply, and says where they are wrong', async () => {
    await using repository = await pipeline()
    const path = 'workflows/alpha/workflow.yaml'
    await commitOn(repository, 'staging', {
      [path]: 'name: Broken\nsteps:\n  - ref: feed\n    type: in_ap\n',
    })
    const found = await plan(repository)
    expect(found.verdict).toBe('blocked')
    expect(found.blocked_by).toMatchObject([{ code: 'invalid_files' }])
    expect(found.diagnostics).toMatchObject([{ path, line: 4, column: 11, severity: 'error' }])
  })

  test('finds what breaks only when both sides come together', async () => {
    await using repository = await pipeline()
    const partial = 'workflows/_partials/button.hbs'
    await commitOn(repository, 'main', { [partial]: 'A button' })
    await repository.merge('main', 'staging')
    await repository.merge('main', 'production')
    await commitOn(repository, 'production', one('gamma', '{{> button}}'))
    await commitOn(repository, 'staging', { [partial]: null })
    const found = await plan(repository)
    expect(found.conflicts).toEqual([])
    expect(found.diagnostics).toMatchObject([
      { path: 'workflows/gamma/workflow.yaml', code: 'unknown_partial' },
    ])
    expect(found.shared).toEqual([{ path: partial, change: 'removed', workflows: [] }])
  })

  test('names the workflows that a changed partial touches, those it does not change included', async () => {
    await using repository = await pipeline()
    const partial = 'workflows/_partials/button.hbs'
    await commitOn(repository, 'main', { [partial]: 'A button', ...one('beta', '{{> button}}') })
    await repository.merge('main', 'staging')
    await repository.merge('main', 'production')
    await commitOn(repository, 'staging', { [partial]: 'Another button' })
    const found = await plan(repository)
    expect(found.workflows).toEqual([])
    expect(found.shared).toEqual([{ path: partial, change: 'changed', workflows: ['beta'] }])
    expect(found.verdict).toBe('ready')
  })

  test('tells the own file of the target from those of others', async () => {
    await using repository = await pipeline()
    await commitOn(repository, 'staging', {
      'environments/production.yaml':
        'timezone: Europe/Berlin\nchannels: { feed: { type: in_app, provider: in_app } }\n',
      'environments/staging.yaml':
        'locale: de\nchannels: { feed: { type: in_app, provider: in_app } }\n',
    })
    expect((await plan(repository)).environments).toEqual([
      {
        path: 'environments/production.yaml',
        name: 'production',
        own: true,
        change: 'changed',
        fields: ['promotes_from', 'timezone'],
      },
      {
        path: 'environments/staging.yaml',
        name: 'staging',
        own: false,
        change: 'changed',
        fields: ['locale'],
      },
    ])
  })

  test('is blocked where the prune guard would hold it, until the head says that it is meant', async () => {
    await using repository = await pipeline()
    await repository.git('checkout', '--quiet', 'staging')
    const gone = Object.fromEntries(
      ['alpha', 'beta', 'gamma'].map((key) => [`workflows/${key}`, null]),
    )
    await repository.commit({ ...gone, ...one('delta', 'New') })
    const found = await plan(repository)
    expect(found.prune).toMatchObject({ held: true, of: 3, archived: ['alpha', 'beta', 'gamma'] })
    expect(found.blocked_by).toMatchObject([{ code: 'prune_guard' }])
    await repository.commit({}, 'Go\n\nBelfry-Allow-Prune: true')
    expect((await plan(repository)).prune).toMatchObject({ held: false, allowed: true })
    // The tip would be a merge commit, which has a message of its own.
    await commitOn(repository, 'production', { 'README.md': 'Only here' })
    expect((await plan(repository)).prune).toMatchObject({ held: true, allowed: false })
  })

  test.each([
    ['off', 'off', 'ready', []],
    ['warn', 'out_of_order', 'ready', ['out_of_order']],
    ['enforce', 'out_of_order', 'blocked', []],
  ] as const)(
    'under the policy %s takes content that was never there for %s',
    async (mode, order, verdict, warnings) => {
      await using repository = await pipeline()
      await repository.git('branch', 'feature', 'main')
      await commitOn(repository, 'feature', one('alpha', 'Never tried'))
      const found = await plan(repository, 'feature', { promotion: mode })
      expect(found).toMatchObject({
        verdict,
        order: { verdict: order, mode, head_is_source: false },
      })
      expect(found.warnings.map(({ code }) => code)).toEqual(warnings)
      expect(found.order.never_there).toEqual(mode === 'off' ? [] : ['alpha'])
    },
  )

  test('says of several merge bases whether they agree', async () => {
    await using repository = await pipeline()
    await commitOn(repository, 'production', one('gamma', 'Fixed'))
    await commitOn(repository, 'staging', one('gamma', 'Written anew'))
    const [fix, text] = [await repository.tip('production'), await repository.tip('staging')]
    for (const [branch, other] of [
      ['production', text],
      ['staging', fix],
    ] as const) {
      await repository.git('checkout', '--quiet', branch)
      await repository.git('merge', '--quiet', '--no-edit', '--strategy-option=ours', other)
    }
    const found = await plan(repository)
    expect(found.merge_bases.toSorted()).toEqual([fix, text].toSorted())
    expect(found.warnings).toMatchObject([
      { code: 'several_merge_bases', message: expect.stringContaining('they disagree') },
    ])
    expect(verdicts(found)).toEqual({ gamma: 'conflicting' })
    expect((await realMerge(repository, 'production', 'staging')).isClean).toBe(false)
  })
})

/** The words of a union of the source. */
function wordsOf(path: string, type: string): readonly string[] {
  const [, body = ''] =
    new RegExp(`export type ${type} =([^]*?)\\n\\n`).exec(readFileSync(path, 'utf8')) ?? []
  return [...body.matchAll(/'([a-z_]+)'/g)].map(([, word]) => word!)
}

test('each word of a plan is documented', () => {
  const page = readFileSync('docs/spec/promotion.md', 'utf8')
  const words = [
    ...['Relation', 'WorkflowVerdict', 'ProblemCode', 'BatchVersion'].flatMap((type) =>
      wordsOf('src/reconcile/promotion.ts', type),
    ),
    ...wordsOf('src/git/merge-files.ts', 'ConflictKind'),
  ]
  expect(words.length).toBeGreaterThan(25)
  expect(words.filter((word) => !page.includes(`\`${word}\``))).toEqual([])
})
