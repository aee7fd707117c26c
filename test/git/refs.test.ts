import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { RetryableFailure } from '../../src/errors.ts'
import {
  assertSupported,
  locateRepository,
  readConfig,
  UnsupportedRepository,
} from '../../src/git/location.ts'
import { isBranchName, listRefs, readRefs } from '../../src/git/refs.ts'
import { bareClone, git, temporaryDirectory, testRepository } from '../support/repository.ts'

async function refsOf(path: string) {
  return readRefs(await locateRepository(path))
}

describe('refs', () => {
  test('finds a branch whether its ref is loose, packed, or both', async () => {
    await using repository = await testRepository()
    const first = await repository.commit({ a: '1' })
    await repository.git('branch', 'team/one')
    expect(await (await refsOf(repository.path)).tip('team/one')).toBe(first)
    await repository.git('pack-refs', '--all')
    expect(await (await refsOf(repository.path)).tip('main')).toBe(first)
    expect(await (await refsOf(repository.path)).tip('team/one')).toBe(first)
    const second = await repository.commit({ a: '2' })
    expect(await (await refsOf(repository.path)).tip('main')).toBe(second)
    expect(await (await refsOf(repository.path)).tip('team')).toBeNull()
    expect(await (await refsOf(repository.path)).tip('gone')).toBeNull()
  })

  test('lists those under a name, loose and packed', async () => {
    await using repository = await testRepository()
    const first = await repository.commit({ a: '1' })
    await repository.git('update-ref', 'refs/pull/1/head', first)
    await repository.git('pack-refs', '--all')
    const second = await repository.commit({ a: '2' })
    await repository.git('update-ref', 'refs/pull/1/head', second)
    await repository.git('update-ref', 'refs/pull/12/head', first)
    const location = await locateRepository(repository.path)
    expect([...(await listRefs(location, 'refs/pull/'))]).toEqual([
      ['refs/pull/1/head', second],
      ['refs/pull/12/head', first],
    ])
    expect([...(await listRefs(location, 'refs/heads/'))]).toEqual([['refs/heads/main', second]])
    expect(await listRefs(location, 'refs/merge-requests/')).toEqual(new Map())
  })

  test('show by a fingerprint that a branch or the head of a pull request has moved', async () => {
    await using repository = await testRepository()
    const first = await repository.commit({ a: '1' })
    const second = await repository.commit({ a: '2' })
    const seen = async () => (await refsOf(repository.path)).fingerprint()
    const point = (name: string, id: string) => repository.git('update-ref', name, id)
    let before = await seen()
    for (const name of ['refs/heads/x', 'refs/pull/7/head', 'refs/merge-requests/7/head']) {
      for (const id of [first, second]) {
        await point(name, id)
        const after = await seen()
        expect(after, `${name} at ${id}`).not.toBe(before)
        before = after
      }
    }
    // Neither what nobody plans nor another place for the same is a move.
    await point('refs/pull/7/merge', first)
    await point('refs/tags/one', first)
    expect(await seen()).toBe(before)
    await repository.git('pack-refs', '--all')
    expect(await seen()).toBe(before)
    await point('refs/pull/7/head', first)
    expect(await seen()).not.toBe(before)
  })

  test('never goes back in time while refs are updated and packed', async () => {
    await using repository = await testRepository()
    const commits: string[] = []
    for (let index = 0; index < 12; index += 1)
      commits.push(await repository.commit({ a: `${index}` }))
    const place = new Map(commits.map((commit, index) => [commit, index]))
    await repository.git('update-ref', 'refs/heads/moving', commits[0] ?? '')
    const state = { done: false }
    const writing = (async () => {
      for (const commit of commits) {
        await repository.git('update-ref', 'refs/heads/moving', commit)
        await repository.git('pack-refs', '--all')
      }
      state.done = true
    })()
    let newest = 0
    let reads = 0
    while (!state.done) {
      const tip = await (await refsOf(repository.path)).tip('moving')
      const at = place.get(tip ?? '') ?? -1
      expect(at).toBeGreaterThanOrEqual(newest)
      newest = at
      reads += 1
    }
    await writing
    expect(reads).toBeGreaterThan(0)
  })

  test('takes the remote branch where there is no local one', async () => {
    await using origin = await testRepository()
    const tip = await origin.commit({ a: '1' })
    await origin.git('branch', 'production')
    await using clone = await testRepository()
    await clone.git('remote', 'add', 'origin', origin.path)
    await clone.git('fetch', '--quiet', 'origin')
    await clone.git('remote', 'set-head', 'origin', 'main')
    const refs = await refsOf(clone.path)
    expect(await refs.tip('production')).toBe(tip)
    expect(refs.originHead).toBe('main')
    expect(refs.head).toBe('main')
    expect(refs.headRevision).toBeNull()
  })

  test('reads a detached HEAD and the HEAD of a bare repository', async () => {
    await using repository = await testRepository()
    const tip = await repository.commit({ a: '1' })
    await using bare = await bareClone(repository)
    expect(await refsOf(bare.path)).toMatchObject({ head: 'main', headRevision: tip })
    await repository.git('checkout', '--quiet', '--detach')
    expect(await refsOf(repository.path)).toMatchObject({ head: null, headRevision: tip })
  })

  test('follows a name beyond ASCII from HEAD, from a symbolic ref and in packed refs', async () => {
    await using repository = await testRepository()
    const tip = await repository.commit({ a: '1' })
    await repository.git('branch', 'größe/\u{1F514}')
    await repository.git('symbolic-ref', 'refs/heads/also', 'refs/heads/größe/\u{1F514}')
    await repository.git('symbolic-ref', 'HEAD', 'refs/heads/größe/\u{1F514}')
    for (const packing of [['--version'], ['pack-refs', '--all']]) {
      await repository.git(...packing)
      const refs = await refsOf(repository.path)
      expect(refs).toMatchObject({ head: 'größe/\u{1F514}', headRevision: tip })
      expect(await refs.tip('also')).toBe(tip)
    }
  })

  test('does not take an emptied ref, or a vanished repository, for a deleted branch', async () => {
    await using repository = await testRepository()
    await repository.commit({ a: '1' })
    const location = await locateRepository(repository.path)
    await writeFile(join(repository.gitDir, 'refs/heads/main'), '')
    await expect(readRefs(location)).rejects.toThrow(RetryableFailure)
    await writeFile(join(repository.gitDir, 'HEAD'), `${'a'.repeat(40)}\n`)
    const refs = await readRefs(location)
    await rename(repository.gitDir, `${repository.gitDir}-away`)
    await expect(refs.tip('other')).rejects.toThrow(RetryableFailure)
  })

  test.each([
    '../../etc/passwd',
    '/abs',
    'a//b',
    'a.lock',
    '-x',
    'a b',
    'a..b',
    '.hidden',
    'a/',
    '',
  ])('does not take %j for the name of a branch', (name) => {
    expect(isBranchName(name)).toBe(false)
  })
})

test('a branch whose name is too long for a file is one that is not there', async () => {
  await using repository = await testRepository()
  await repository.commit({ a: '1' })
  const name = '\u{1F514}'.repeat(250)
  expect(isBranchName(name)).toBe(true)
  expect(await (await refsOf(repository.path)).tip(name)).toBeNull()
})

describe('location', () => {
  test('finds the repository from a directory inside it, and through a linked work tree', async () => {
    await using repository = await testRepository()
    const tip = await repository.commit({ 'deep/down/file': '1' })
    const inside = await locateRepository(join(repository.path, 'deep/down'))
    expect(inside.workTree).toBe(repository.path)
    const linked = join(repository.path, '../linked')
    await repository.git('worktree', 'add', '--quiet', '-b', 'side', linked)
    const other = await locateRepository(linked)
    expect(other).toMatchObject({ workTree: linked, commonDir: repository.gitDir })
    await git(linked, 'commit', '--quiet', '--allow-empty', '--message', 'Go on')
    const refs = await readRefs(other)
    expect(refs.head).toBe('side')
    expect(refs.headRevision).toBe(await repository.tip('side'))
    expect(await refs.tip('main')).toBe(tip)
  })

  test('says what to do where there is no repository', async () => {
    const directory = await temporaryDirectory()
    await expect(locateRepository(directory)).rejects.toThrow(/git init/)
    await rm(directory, { recursive: true })
  })

  test.each([
    ['[extensions]\n\trefStorage = reftable\n', /ref-format=files/],
    ['[extensions]\n\tobjectFormat = sha256\n', /sha256/],
    ['[extensions]\n\tsomethingNew = true\n', /somethingnew/],
  ])('refuses a repository with %j', async (config, message) => {
    await using repository = await testRepository()
    const location = await locateRepository(repository.path)
    await assertSupported(location)
    await writeFile(join(repository.gitDir, 'config'), config)
    const refused = assertSupported(location)
    await expect(refused).rejects.toThrow(UnsupportedRepository)
    await expect(refused).rejects.toThrow(message)
  })

  test('refuses a repository made with sha256, and one that borrows objects', async () => {
    await using repository = await testRepository()
    const path = join(repository.path, '../other')
    await mkdir(path)
    await git(path, 'init', '--quiet', '--object-format=sha256')
    await expect(assertSupported(await locateRepository(path))).rejects.toThrow(/sha256/)
    await repository.commit({ a: '1' })
    const shared = join(repository.path, '../shared')
    await git(repository.path, 'clone', '--quiet', '--shared', repository.path, shared)
    await expect(assertSupported(await locateRepository(shared))).rejects.toThrow(/repack/)
  })

  test('reads settings in the forms that Git accepts', () => {
    const { bare, extensions } = readConfig(
      '[core]\n bare = true ; why\n[Extensions] refStorage="files" # x\n\tworktreeConfig\n[other]\nobjectformat=sha256',
    )
    expect(bare).toBe(true)
    expect([...extensions]).toEqual([
      ['refstorage', 'files'],
      ['worktreeconfig', 'true'],
    ])
  })
})
