import { rename } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { ConfigError, RetryableFailure } from '../../src/errors.ts'
import type { Revision } from '../../src/ids.ts'
import { openSources } from '../../src/git/open.ts'
import { openRepository } from '../../src/git/repository.ts'
import { bareClone, git, testRepository } from '../support/repository.ts'

const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString()

describe('repository', () => {
  test('lists directories with the ids that Git gives them, and reads their files', async () => {
    await using made = await testRepository()
    const tip = await made.commit({
      'README.md': 'x',
      'workflows/README.md': 'about',
      'workflows/welcome/workflow.yaml': 'name: Welcome',
      'workflows/welcome/mail/body.hbs': 'Hällo',
      'workflows/_partials/button.hbs': 'b',
      'environments/staging.yaml': 'ref: staging',
    })
    const repository = await openRepository(made.path)
    const tree = await repository.tree(tip as Revision)
    expect([...tree.directories.keys()]).toEqual(['_partials', 'welcome'])
    expect(tree.directories.get('welcome')).toBe(
      await made.git('rev-parse', 'HEAD:workflows/welcome'),
    )
    expect(tree.environmentsTree).toBe(await made.git('rev-parse', 'HEAD:environments'))
    expect(tree.strays.map(({ path, mode }) => [path, mode])).toEqual([
      ['workflows/README.md', '100644'],
    ])
    expect(tree.environments.map(({ path }) => path)).toEqual(['environments/staging.yaml'])
    const files = await tree.list('welcome')
    expect(files.map(({ path }) => path)).toEqual([
      'workflows/welcome/mail/body.hbs',
      'workflows/welcome/workflow.yaml',
    ])
    const contents = await tree.read(files.map(({ blob }) => blob))
    expect(files.map(({ blob }) => text(contents.get(blob)))).toEqual(['Hällo', 'name: Welcome'])
    expect(await tree.list('absent')).toEqual([])
  })

  test('needs a working tree in development mode', async () => {
    await using made = await testRepository()
    await made.commit({ a: '1' })
    await using bare = await bareClone(made)
    await expect(openSources(bare.path, { development: true })).rejects.toThrow(ConfigError)
    const { workingTree } = await openSources(made.path, { development: true })
    expect(workingTree?.kind).toBe('working_tree')
  })

  test('reports symbolic links and submodules with their modes', async () => {
    await using made = await testRepository()
    await made.commit({
      'workflows/a/workflow.yaml': 'x',
      'workflows/a/link.hbs': { link: '/etc/passwd' },
    })
    await made.write({ 'workflows/linked': { link: 'a' } })
    await made.git('add', '--all')
    await made.git('update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},workflows/sub`)
    await made.git('commit', '--quiet', '--message', 'Add odd entries')
    const tree = await (await openRepository(made.path)).tree((await made.tip('main')) as Revision)
    expect(tree.strays.map(({ path, mode }) => [path, mode])).toEqual([
      ['workflows/linked', '120000'],
      ['workflows/sub', '160000'],
    ])
    expect((await tree.list('a')).map(({ mode }) => mode)).toEqual(['120000', '100644'])
  })

  test('reads on while the repository is repacked, and new packs after it', async () => {
    await using made = await testRepository()
    await using bare = await bareClone(made)
    await made.git('remote', 'add', 'bare', bare.path)
    const repository = await openRepository(bare.path)
    for (let round = 0; round < 4; round += 1) {
      const tip = await made.commit({ 'workflows/a/workflow.yaml': `round ${round}` })
      await made.git('push', '--quiet', 'bare', 'main')
      const repacking = bare.git('repack', '-adq')
      const tree = await repository.tree(tip as Revision)
      const [entry] = await tree.list('a')
      const contents = await tree.read([entry?.blob ?? ''])
      expect(text(contents.get(entry?.blob ?? ''))).toBe(`round ${round}`)
      await repacking
    }
  })

  test('fails for now when a commit or the repository is not there', async () => {
    await using made = await testRepository()
    await made.commit({ a: '1' })
    const repository = await openRepository(made.path)
    await expect(repository.tree('a'.repeat(40) as Revision)).rejects.toThrow(RetryableFailure)
    await rename(made.gitDir, `${made.gitDir}-away`)
    await expect(repository.refs()).rejects.toThrow(RetryableFailure)
  })

  test('reads the repository that was put in the place of another', async () => {
    await using made = await testRepository()
    const first = await made.commit({ a: '1' })
    const repository = await openRepository(made.path)
    expect((await repository.refs()).headRevision).toBe(first)
    await rename(made.gitDir, `${made.gitDir}-old`)
    await git(made.path, 'init', '--quiet', '--initial-branch=main')
    const second = await made.commit({ 'workflows/b/workflow.yaml': '2' })
    const refs = await repository.refs()
    expect(refs.headRevision).toBe(second)
    expect([...(await repository.tree(second as Revision)).directories.keys()]).toEqual(['b'])
  })
})
