import { rename } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { locateRepository } from '../../src/git/location.ts'
import { Watch } from '../../src/git/watch.ts'
import type { WatchOptions } from '../../src/git/watch.ts'
import { testRepository } from '../support/repository.ts'

/** A far poll, so that what is noticed was noticed by an event. */
const FAR_MS = 3_600_000

/** Counts what is noticed; `next` resolves when something was noticed after the call. */
function noticing() {
  let waiting: (() => void)[] = []
  const places = new Set<string | null>()
  return {
    places,
    onChange: (place: string | null) => {
      places.add(place)
      for (const resolve of waiting) resolve()
      waiting = []
    },
    next: () => new Promise<void>((resolve) => waiting.push(resolve)),
  }
}

async function watching(path: string, onChange: WatchOptions['onChange']): Promise<Watch> {
  const watch = new Watch(await locateRepository(path), {
    workingTree: true,
    pollMs: FAR_MS,
    onChange,
  })
  await watch.start()
  return watch
}

describe('watch', () => {
  test('notices a commit, a new branch with a slash, packed refs, and a save', async () => {
    await using made = await testRepository()
    await made.commit({ 'workflows/a/workflow.yaml': '1' })
    const { onChange, next } = noticing()
    await using watch = await watching(made.path, onChange)
    expect(watch).toBeInstanceOf(Watch)
    const actions = [
      () => made.git('commit', '--quiet', '--allow-empty', '--message', 'Go on'),
      () => made.git('update-ref', 'refs/heads/team/one', 'HEAD'),
      () => made.git('pack-refs', '--all'),
      () => made.write({ 'workflows/a/workflow.yaml': '2' }),
      () => made.write({ 'workflows/new/workflow.yaml': '2' }),
    ]
    for (const action of actions) {
      const noticed = next()
      await action()
      await expect(noticed).resolves.toBeUndefined()
    }
  })

  test.each(['release.new', 'x.tmp', 'team/4913', 'Thumbs.db'])(
    'notices a branch %s, which could be the name of a temporary file',
    async (branch) => {
      await using made = await testRepository()
      await made.commit({ a: '1' })
      await made.git('branch', branch)
      const { onChange, next, places } = noticing()
      await using _ = await watching(made.path, onChange)
      const tip = await made.git('commit-tree', '-m', 'Two', 'HEAD^{tree}')
      const noticed = next()
      await made.git('update-ref', `refs/heads/${branch}`, tip)
      await expect(noticed).resolves.toBeUndefined()
      expect([...places]).toEqual([null])
    },
  )

  test('says where files changed, and that a ref or a poll says nothing about it', async () => {
    await using made = await testRepository()
    await made.commit({ 'workflows/a/workflow.yaml': '1', 'workflows/b/workflow.yaml': '1' })
    const { onChange, next, places } = noticing()
    await using watch = await watching(made.path, onChange)
    const saved = next()
    await made.write({ 'workflows/a/workflow.yaml': '2' })
    await saved
    expect([...places]).toEqual(['workflows/a/workflow.yaml'])
    await watch.poll()
    expect([...places]).toEqual(['workflows/a/workflow.yaml', null])
    places.clear()
    const moved = next()
    await made.git('update-ref', 'refs/heads/other', 'HEAD')
    await moved
    expect([...places]).toEqual([null])
  })

  test('watches directories that were made after it started', async () => {
    await using made = await testRepository()
    const { onChange, next } = noticing()
    await using watch = await watching(made.path, onChange)
    await made.write({ 'environments/development.yaml': '1' })
    await watch.poll()
    const noticed = next()
    await made.write({ 'environments/development.yaml': '2' })
    await expect(noticed).resolves.toBeUndefined()
  })

  test('goes on with the repository that took the place of the watched one', async () => {
    await using made = await testRepository()
    await made.commit({ a: '1' })
    const { onChange, next } = noticing()
    await using watch = await watching(made.path, onChange)
    await using other = await testRepository()
    await other.commit({ a: '2' })
    await rename(made.gitDir, `${made.gitDir}-old`)
    await rename(other.gitDir, made.gitDir)
    await watch.poll()
    // The first notices may still be about the old one.
    for (let round = 0; round < 5; round += 1) {
      const noticed = next()
      await made.git('commit', '--quiet', '--allow-empty', '--message', 'Begin again')
      await expect(noticed).resolves.toBeUndefined()
    }
  })
})
