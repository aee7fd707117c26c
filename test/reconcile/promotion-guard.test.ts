import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { pin } from '../../src/reconcile/brakes.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import type { Files, TestRepository } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'

beforeEach<{ database: Database }>(({ database }) => clear(database))

const file = (key: string) => `workflows/${key}/workflow.yaml`
const FEED = 'channels:\n  feed: {type: in_app, provider: in_app}\n'

function declared(promotion: string): Files {
  const policy = `promotes_from: staging\npolicy: {promotion: ${promotion}}\n`
  return {
    'environments/production.yaml': `${policy}${FEED}`,
    'environments/staging.yaml': FEED,
  }
}

const withMark = `name: Marked\nsteps:\n  - ref: feed\n    type: in_app\n    body: "{{> mark}}"\n`

/** Two workflows that are live in staging and in production, each of which follows a branch of its own. */
async function pipeline(database: Database, promotion = 'enforce') {
  const made = await testRepository()
  await made.commit({
    ...declared(promotion),
    [file('a1')]: workflow('One'),
    [file('b1')]: withMark,
    'workflows/_partials/mark.hbs': 'Mark one',
  })
  await made.git('branch', 'production')
  await made.checkout('staging')
  const { reconciler } = await scene(database, made.path)
  await reconciler.pass()
  const commit = async (branch: string, files: Files) => {
    await made.git('checkout', '--quiet', branch)
    const tip = await made.commit(files)
    await reconciler.pass()
    return tip
  }
  const production = () => environment(database, 'production')
  return { made, reconciler, commit, production }
}

const isReady = { state: 'ready', reason: 'applied', diagnostics: [] }
const isHeld = { state: 'stalled', reason: 'out_of_order' }

const WAYS: readonly (readonly [string, (made: TestRepository) => Promise<unknown>])[] = [
  ['fast-forward', (made) => made.git('merge', '--quiet', '--ff-only', 'staging')],
  ['merge', (made) => made.git('merge', '--quiet', '--no-ff', '--no-edit', 'staging')],
  [
    'squash',
    async (made) => {
      await made.git('merge', '--quiet', '--squash', 'staging')
      await made.git('commit', '--quiet', '--message', 'All at once')
    },
  ],
  [
    'rebase',
    async (made) => {
      await made.commit({ 'README.md': 'Of production' })
      await made.git('checkout', '--quiet', '-b', 'rebased', 'staging')
      await made.git('rebase', '--quiet', 'production')
      await made.git('checkout', '--quiet', 'production')
      await made.git('merge', '--quiet', '--ff-only', 'rebased')
    },
  ],
  ['cherry-pick', (made) => made.git('cherry-pick', 'staging')],
]

describe('promotion that is enforced', () => {
  test.for(WAYS)(
    'lets a %s of what staging has applied pass',
    async ([, promote], { database }) => {
      const { made, reconciler, commit, production } = await pipeline(database)
      await using _ = made
      await commit('staging', { 'workflows/c1/workflow.yaml': workflow('New') })
      await commit('staging', { [file('a1')]: workflow('Two') })
      await made.git('checkout', '--quiet', 'production')
      await promote(made)
      await reconciler.pass()
      expect(await production()).toMatchObject({
        ...isReady,
        observedRevision: await made.tip('production'),
      })
      const staging = await live(database, 'staging')
      expect((await live(database, 'production'))['a1']).toBe(staging['a1'])
    },
  )

  test('applies nothing of a hotfix, says which workflow it is, and goes on once staging has it', async ({
    database,
  }) => {
    const { made, reconciler, commit, production } = await pipeline(database)
    await using _ = made
    const before = await live(database, 'production')
    const tip = await commit('production', { [file('a1')]: workflow('Hotfix') })
    const held = await production()
    expect(held).toMatchObject({
      ...isHeld,
      attemptedRevision: tip,
      diagnostics: [{ path: file('a1'), code: 'out_of_order', severity: 'error' }],
    })
    expect(held.message).toBe(
      `Revision ${tip.slice(0, 12)} has a workflow that was never applied in staging, from which production is promoted: a1. Merge this content into staging first: once it is applied there, it is applied here by itself. Or revert it here. Revision ${held.observedRevision?.slice(0, 12)} stays live.`,
    )
    expect(await live(database, 'production')).toEqual(before)
    // Nothing has changed, and nothing is read again.
    await reconciler.pass()
    expect(await production()).toMatchObject(isHeld)

    // The back-merge; production's branch does not move.
    await made.merge('production', 'staging')
    await reconciler.pass()
    expect(await production()).toMatchObject({ ...isReady, observedRevision: tip })
    expect(await live(database, 'production')).toEqual(await live(database, 'staging'))
  })

  test('goes by what was applied, not by what the branch of staging has', async ({ database }) => {
    const { made, commit, production } = await pipeline(database)
    await using _ = made
    // The branch of staging has it, and could never apply it.
    await commit('staging', { [file('a1')]: workflow('Two'), [file('c1')]: 'name: [\n' })
    await made.git('checkout', '--quiet', 'production')
    await made.git('merge', '--quiet', '--ff-only', 'staging')
    await commit('production', { 'workflows/c1': null })
    expect(await environment(database, 'staging')).toMatchObject({ reason: 'invalid_files' })
    expect(await production()).toMatchObject(isHeld)
  })

  test('lets what staging had before pass, after staging went on', async ({ database }) => {
    const { made, reconciler, commit, production } = await pipeline(database)
    await using _ = made
    const two = await commit('staging', { [file('a1')]: workflow('Two') })
    await commit('staging', { [file('a1')]: workflow('Three') })
    await made.git('checkout', '--quiet', 'production')
    await made.git('merge', '--quiet', '--ff-only', two)
    await reconciler.pass()
    expect(await production()).toMatchObject({ ...isReady, observedRevision: two })
  })

  test('covers shared parts: a partial that staging never had holds its users back', async ({
    database,
  }) => {
    const { made, reconciler, commit, production } = await pipeline(database)
    await using _ = made
    await commit('production', { 'workflows/_partials/mark.hbs': 'Mark hot' })
    expect(await production()).toMatchObject({
      ...isHeld,
      diagnostics: [
        {
          path: file('b1'),
          message: expect.stringContaining(
            'with these layouts, partials or translations',
          ) as string,
        },
      ],
    })
    await made.revert()
    await reconciler.pass()
    expect(await production()).toMatchObject(isReady)
  })

  test('lets the way back pass: a revert, a removal, and the settings of the environment', async ({
    database,
  }) => {
    const { made, reconciler, commit, production } = await pipeline(database)
    await using _ = made
    await commit('staging', { [file('a1')]: workflow('Two') })
    await made.merge('staging', 'production')
    await reconciler.pass()
    expect(await production()).toMatchObject(isReady)
    // Staging is at the new content, and production goes back to what it had.
    await made.git('checkout', '--quiet', 'production')
    await made.git('revert', '--no-edit', '-m', '1', 'HEAD').catch(() => made.revert())
    await reconciler.pass()
    expect(await production()).toMatchObject({ ...isReady, workflows: 2 })
    await commit('production', { 'workflows/b1': null })
    expect(await production()).toMatchObject({ ...isReady, workflows: 1 })
    await commit('production', { [file('b1')]: withMark })
    expect(await production()).toMatchObject({ ...isReady, workflows: 2 })
    const tip = await commit('production', {
      'environments/production.yaml': `locale: de\n${FEED}`,
    })
    expect(await production()).toMatchObject({ ...isReady, observedRevision: tip })
  })

  test('looks at staging first, so that one look is enough for both', async ({ database }) => {
    const { made, reconciler, production } = await pipeline(database)
    await using _ = made
    const tip = await made.commit({ [file('a1')]: workflow('Two') })
    await made.merge('staging', 'production')
    await reconciler.pass()
    expect(await production()).toMatchObject({ ...isReady, observedRevision: tip })
    const held = await database.query(sql`
      select revision from revisions where environment = 'production' order by sequence`)
    expect(held).toHaveLength(2)
  })

  test('takes what a pin has brought back in staging as applied there', async ({ database }) => {
    const { made, reconciler, commit, production } = await pipeline(database)
    await using _ = made
    const one = (await environment(database, 'staging')).observedRevision ?? ''
    await commit('staging', { [file('a1')]: workflow('Two') })
    await database.transaction(async (tx) => {
      const name = 'staging' as EnvironmentName
      const acting = { environment: name, actor: 'ada', now: new Date('2026-03-01T12:00:00Z') }
      const pinning = { named: one, reason: 'Bad', expiresAt: null }
      await pin(tx, await environment(tx, name), { ...acting, ...pinning })
    })
    await reconciler.pass()
    await made.merge('staging', 'production')
    await reconciler.pass()
    expect(await production()).toMatchObject(isReady)
  })

  test('takes the first revision as it is, with a warning', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ ...declared('enforce'), [file('a1')]: workflow('One') })
    await made.git('branch', 'staging')
    await made.checkout('production')
    const tip = await made.commit({ [file('a1')]: workflow('Own') })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      observedRevision: tip,
      diagnostics: [{ code: 'out_of_order', severity: 'warning' }],
    })
    // It may go back to that later, although staging never had it.
    await made.commit({ [file('a1')]: workflow('One') })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject(isReady)
    await made.revert()
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      ...isReady,
      observedRevision: await made.tip('production'),
    })
  })

  test('stays when the process is another one', async ({ database }) => {
    const { made, reconciler, commit, production } = await pipeline(database)
    await using _ = made
    await commit('production', { [file('a1')]: workflow('Hotfix') })
    await reconciler.close()
    const next = await scene(database, made.path)
    await next.reconciler.pass()
    expect(await production()).toMatchObject(isHeld)
  })
})

describe('promotion that is only watched', () => {
  test('applies a hotfix with a warning, which goes when staging has it', async ({ database }) => {
    const { made, reconciler, commit, production } = await pipeline(database, 'warn')
    await using _ = made
    const tip = await commit('production', { [file('a1')]: workflow('Hotfix') })
    const warned = [{ path: file('a1'), code: 'out_of_order', severity: 'warning' }]
    expect(await production()).toMatchObject({
      state: 'ready',
      observedRevision: tip,
      diagnostics: warned,
    })
    // It is about what is live, and stays whatever else changes.
    await commit('production', { 'README.md': 'More' })
    expect((await production()).diagnostics).toMatchObject(warned)
    await commit('production', { [file('c1')]: 'name: [\n' })
    await made.revert()
    await reconciler.close()
    const next = await scene(database, made.path)
    await next.reconciler.pass()
    expect((await production()).diagnostics).toMatchObject(warned)
    await made.merge('production', 'staging')
    await next.reconciler.pass()
    await next.reconciler.pass()
    expect((await production()).diagnostics).toEqual([])
  })

  test('says nothing where it is off', async ({ database }) => {
    const { made, commit, production } = await pipeline(database, 'off')
    await using _ = made
    await commit('production', { [file('a1')]: workflow('Hotfix') })
    expect(await production()).toMatchObject(isReady)
  })
})

describe('the declaration of a promotion', () => {
  test('names an environment that there is, and no circle', async ({ database }) => {
    const { made, commit, production } = await pipeline(database)
    await using _ = made
    await commit('main', { 'environments/production.yaml': `promotes_from: stagin\n${FEED}` })
    expect(await production()).toMatchObject({
      state: 'ready',
      diagnostics: [
        {
          path: 'environments/production.yaml',
          line: 1,
          column: 16,
          code: 'declaration_invalid',
          message: expect.stringContaining('there is no environment "stagin"') as string,
          hint: 'did you mean "staging"?',
        },
      ],
    })
    // What was declared before still holds.
    await commit('production', { [file('a1')]: workflow('Hotfix') })
    expect(await production()).toMatchObject(isHeld)

    await commit('main', {
      ...declared('enforce'),
      'environments/staging.yaml': `promotes_from: production\n${FEED}`,
    })
    for (const name of ['staging', 'production']) {
      const { diagnostics } = await environment(database, name)
      expect(diagnostics.map(({ message }) => message).join('\n')).toContain(
        `promote in a circle: ${name} from `,
      )
    }
  })

  test('is not loosened by the branch that it guards', async ({ database }) => {
    const { made, commit, production } = await pipeline(database)
    await using _ = made
    for (const text of [FEED, `promotes_from: staging\npolicy: {promotion: off}\n${FEED}`]) {
      await commit('production', {
        'environments/production.yaml': text,
        [file('a1')]: workflow('Hotfix'),
      })
      expect(await production()).toMatchObject(isHeld)
      await commit('production', { 'README.md': text })
      expect(await production()).toMatchObject(isHeld)
    }
    await commit('main', { 'environments/production.yaml': FEED })
    expect(await production()).toMatchObject({ state: 'ready' })
  })

  test('holds a revision of the default branch that drops it', async ({ database }) => {
    await using made = await testRepository()
    const head = `ref: main\n${FEED}`
    await made.commit({
      'environments/production.yaml': `promotes_from: staging\npolicy: {promotion: enforce}\n${head}`,
      'environments/staging.yaml': FEED,
      [file('a1')]: workflow('One'),
    })
    await made.git('branch', 'staging')
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    await made.commit({ 'environments/production.yaml': head, [file('a1')]: workflow('Two') })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject(isHeld)
    await made.commit({}, 'Go on')
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject(isHeld)
    // By itself it may be dropped; then nothing is asked any more.
    await made.commit({ [file('a1')]: workflow('One') })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
    await made.commit({ [file('a1')]: workflow('Two') })
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({ state: 'ready' })
  })
})
