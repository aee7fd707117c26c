import { describe, expect, test } from 'vitest'
import { commitOn, one, pipeline } from '../reconcile/promotion-support.ts'
import { failing, FORGE_TOKEN, startForge } from '../support/fake-forge.ts'
import type { FakeForge } from '../support/fake-forge.ts'
import type { TestRepository } from '../support/repository.ts'
import { belfry } from './promote-support.ts'

const PROMOTE = ['promote', 'staging', 'production', '--pull-request']

interface Scene extends AsyncDisposable {
  readonly forge: FakeForge
  readonly repository: TestRepository
  readonly env: Readonly<Record<string, string>>
}

/** Staging is a commit ahead, and a forge is set. */
async function scene(): Promise<Scene> {
  await using stack = new AsyncDisposableStack()
  const forge = stack.use(await startForge('gitea'))
  const repository = stack.use(await pipeline())
  await commitOn(repository, 'staging', one('alpha', 'New text'))
  const env = {
    BELFRY_FORGE: 'gitea',
    BELFRY_FORGE_URL: forge.settings.url,
    BELFRY_FORGE_REPO: forge.settings.repository,
    BELFRY_FORGE_TOKEN: FORGE_TOKEN,
  }
  const opened = stack.move()
  return { forge, repository, env, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

describe('belfry promote --pull-request', () => {
  test('opens a pull request with the plan as its text, and merges nothing', async () => {
    await using made = await scene()
    const { forge, repository, env } = made
    const before = await repository.tip('production')
    const told = await belfry(repository.path, PROMOTE, { env, input: 'y\n' })
    expect(told).toMatchObject({ code: 0 })
    expect(told.error).toContain('Open a pull request to merge staging into production? [y/N]')
    expect(told.out).toMatch(/pull request 1: https:\/\/forge\.example\.com\//)
    expect(forge.pulls).toEqual([
      expect.objectContaining({
        base: 'production',
        head: 'staging',
        title: 'Promote staging to production',
        body: expect.stringContaining('`alpha`'),
      }),
    ])
    expect(await repository.tip('production')).toBe(before)
  })

  test('rewrites the one that is open already', async () => {
    await using made = await scene()
    const { forge, repository, env } = made
    await belfry(repository.path, [...PROMOTE, '--yes'], { env })
    await commitOn(repository, 'staging', one('beta', 'Newer text'))
    const argv = [...PROMOTE, '--yes', '--message', 'Go live', '--output', 'json']
    const told = await belfry(repository.path, argv, { env })
    expect(JSON.parse(told.out)).toMatchObject({ number: 1, plan: { verdict: 'ready' } })
    expect(forge.pulls).toEqual([
      expect.objectContaining({ title: 'Go live', body: expect.stringContaining('`beta`') }),
    ])
  })

  test('opens nothing without a yes', async () => {
    await using made = await scene()
    const { forge, repository, env } = made
    const told = await belfry(repository.path, PROMOTE, { env, input: 'n\n' })
    expect(told).toMatchObject({ code: 1 })
    expect(forge.pulls).toEqual([])
  })

  test('says what the forge says, without the token', async () => {
    await using made = await scene()
    const { forge, repository, env } = made
    forge.trouble = failing(403)
    const told = await belfry(repository.path, [...PROMOTE, '--yes'], { env })
    expect(told).toMatchObject({ code: 2 })
    expect(told.error).toContain('the pull request was not opened: the forge answered 403')
    expect(told.out + told.error).not.toContain(FORGE_TOKEN)
  })

  test.each([
    [[...PROMOTE, '--yes'], {}, 'no forge is set: name it with BELFRY_FORGE'],
    [[...PROMOTE, '--ff'], undefined, '--ff is about a merge'],
    [[...PROMOTE, '--push'], undefined, '--push is about a merge'],
  ])('refuses %j', async (argv, env, message) => {
    await using made = await scene()
    const told = await belfry(made.repository.path, argv, { env: env ?? made.env })
    expect(told).toMatchObject({ code: 2, error: expect.stringContaining(message) })
    expect(made.forge.http.requests).toEqual([])
  })

  test('refuses a head that is no branch', async () => {
    await using made = await scene()
    const { repository, env } = made
    const head = await repository.tip('staging')
    const argv = ['promote', head, 'production', '--pull-request', '--yes']
    const told = await belfry(repository.path, argv, { env })
    expect(told).toMatchObject({ code: 2, error: expect.stringContaining('is no branch') })
  })
})
