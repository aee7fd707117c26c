import { execFile } from 'node:child_process'
import { rename, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RetryableFailure } from '../../src/errors.ts'
import type { Revision } from '../../src/ids.ts'
import { locateRepository } from '../../src/git/location.ts'
import type { RevisionTree } from '../../src/git/source.ts'
import { isTemporary } from '../../src/git/temporary.ts'
import { WorkingTree } from '../../src/git/working-tree.ts'
import { git, testRepository } from '../support/repository.ts'
import type { TestRepository } from '../support/repository.ts'

async function workingTree({ path }: TestRepository): Promise<WorkingTree> {
  const { workTree, ...location } = await locateRepository(path)
  return new WorkingTree({ ...location, workTree: workTree ?? '' })
}

async function paths(tree: RevisionTree): Promise<string[]> {
  const lists = await Promise.all([...tree.directories.keys()].map((name) => tree.list(name)))
  return lists.flat().map(({ path }) => path)
}

describe('working tree', () => {
  test('gives directories the ids that a commit of them has', async () => {
    await using made = await testRepository()
    await made.write({
      'workflows/welcome/workflow.yaml': 'name: Welcome',
      'workflows/welcome/a/one.hbs': '1',
      'workflows/welcome/a.hbs': '2',
      // By their code units the other way round than by their bytes.
      'workflows/welcome/\u{1f600}.hbs': '3',
      'workflows/welcome/\uff5e.hbs': '4',
      'workflows/welcome-back/workflow.yaml': 'name: Back',
      'workflows/_partials/button.hbs': 'b',
      'environments/development.yaml': 'locale: en',
    })
    const tree = await (await workingTree(made)).look(null)
    expect(tree.revision).toMatch(/^0{40}\+[0-9a-f]{12}$/)
    await made.commit({})
    for (const name of ['welcome', 'welcome-back', '_partials']) {
      expect(tree.directories.get(name)).toBe(await made.git('rev-parse', `HEAD:workflows/${name}`))
    }
    expect(tree.environmentsTree).toBe(await made.git('rev-parse', 'HEAD:environments'))
    expect(tree.revision.slice(41)).toBe((await made.git('rev-parse', 'HEAD^{tree}')).slice(0, 12))
  })

  test('leaves out what Git ignores and what editors leave behind', async () => {
    await using made = await testRepository()
    await made.write({
      '.gitignore': '*.log\n/workflows/private/\n',
      'workflows/.gitignore': '*.bak\n!keep.bak\n',
      'workflows/a/workflow.yaml': 'x',
      'workflows/a/debug.log': 'x',
      'workflows/a/old.bak': 'x',
      'workflows/a/keep.bak': 'x',
      'workflows/a/mine.txt': 'x',
      'workflows/a/.workflow.yaml.swp': 'x',
      'workflows/a/workflow.yaml~': 'x',
      'workflows/a/4913': 'x',
      'workflows/a/.DS_Store': 'x',
      'workflows/private/workflow.yaml': 'x',
      'workflows/empty/note.log': 'x',
    })
    await writeFile(join(made.gitDir, 'info/exclude'), 'mine.txt\n')
    const tree = await (await workingTree(made)).look(null)
    expect(await paths(tree)).toEqual(['workflows/a/keep.bak', 'workflows/a/workflow.yaml'])
    expect(isTemporary('.#workflow.yaml')).toBe(true)
    expect(isTemporary('workflow.yaml')).toBe(false)
  })

  test('reports a symbolic link as one and does not follow it', async () => {
    await using made = await testRepository()
    await made.write({
      'secret/file.hbs': 'x',
      'workflows/a/workflow.yaml': 'x',
      'workflows/a/out.hbs': { link: '../../secret/file.hbs' },
      'workflows/b': { link: '../secret' },
    })
    await made.write({ 'workflows/nested/workflow.yaml': 'x' })
    await git(join(made.path, 'workflows/nested'), 'init', '--quiet')
    const tree = await (await workingTree(made)).look(null)
    expect([...tree.directories.keys()]).toEqual(['a'])
    expect((await tree.list('a')).map(({ mode }) => mode)).toEqual(['120000', '100644'])
    expect(tree.strays.map(({ path, mode }) => [path, mode])).toEqual(
      expect.arrayContaining([
        ['workflows/b', '120000'],
        ['workflows/nested', '160000'],
      ]),
    )
  })

  test('sees an edit that keeps size and time, and one that replaces the file', async () => {
    await using made = await testRepository()
    await made.write({ 'workflows/a/workflow.yaml': 'one' })
    const tree = await workingTree(made)
    const before = await tree.look(null)
    expect((await tree.look(null)).revision).toBe(before.revision)
    const file = join(made.path, 'workflows/a/workflow.yaml')
    await utimes(file, 1000, 1000)
    await writeFile(`${file}.new`, 'two')
    await utimes(`${file}.new`, 1000, 1000)
    await rename(`${file}.new`, file)
    expect((await tree.look(null)).revision).not.toBe(before.revision)
  })

  test('does not hand out content that is newer than its id', async () => {
    await using made = await testRepository()
    await made.write({ 'workflows/a/workflow.yaml': 'one' })
    const tree = await (await workingTree(made)).look(null)
    const [entry] = await tree.list('a')
    await made.write({ 'workflows/a/workflow.yaml': 'two' })
    await expect(tree.read([entry?.blob ?? ''])).rejects.toThrow(RetryableFailure)
  })

  test('reads only the head of a huge file, and skips what is not a file', async () => {
    await using made = await testRepository()
    await made.write({ 'workflows/a/huge.hbs': '' })
    await truncate(join(made.path, 'workflows/a/huge.hbs'), 3_000_000_000)
    await promisify(execFile)('mkfifo', [join(made.path, 'workflows/a/pipe')])
    const tree = await (await workingTree(made)).look(null)
    const files = await tree.list('a')
    expect(files.map(({ path }) => path)).toEqual(['workflows/a/huge.hbs'])
    const contents = await tree.read(files.map(({ blob }) => blob))
    expect(contents.get(files[0]?.blob ?? '')?.byteLength).toBe(1024 * 1024 + 1)
  })

  test('waits until Git has let go of its index', async () => {
    await using made = await testRepository()
    await made.write({ 'workflows/a/workflow.yaml': 'one' })
    const lock = join(made.gitDir, 'index.lock')
    await writeFile(lock, '')
    let done = false
    const looking = (await workingTree(made)).look(null).finally(() => (done = true))
    await made.git('rev-parse', '--git-dir')
    expect(done).toBe(false)
    await rm(lock)
    expect([...(await looking).directories.keys()]).toEqual(['a'])
  })
})

/** What a look everywhere finds. */
async function whole(made: TestRepository): Promise<string> {
  return (await (await workingTree(made)).look(null)).revision
}

describe('a look for which changes were noted', () => {
  const one = 'workflows/a/workflow.yaml'
  const two = 'workflows/b/workflow.yaml'

  async function looked(made: TestRepository): Promise<WorkingTree> {
    await made.write({ [one]: '1', [two]: '1', 'environments/development.yaml': 'locale: en' })
    const tree = await workingTree(made)
    await tree.look(null)
    return tree
  }

  test('is only at the directories that changed; the next one is everywhere', async () => {
    await using made = await testRepository()
    const tree = await looked(made)
    await made.write({ [one]: '2' })
    const first = await whole(made)
    await made.write({ [two]: '2' })
    tree.note(one)
    const partial = await tree.look(null)
    expect(partial.revision).toBe(first)
    const [entry] = await partial.list('a')
    expect(
      Buffer.from((await partial.read([entry?.blob ?? ''])).get(entry?.blob ?? '') ?? []),
    ).toEqual(Buffer.from('2'))
    expect((await tree.look(null)).revision).toBe(await whole(made))
  })

  test('is everywhere where one of the changes may be anywhere', async () => {
    await using made = await testRepository()
    for (const note of [
      null,
      'workflows',
      'workflows/.gitignore',
      'workflows/a/.gitignore',
      'README.md',
    ]) {
      const tree = await looked(made)
      await made.write({ [two]: `not noted beside ${note}` })
      tree.note(one)
      tree.note(note)
      tree.note(one)
      expect((await tree.look(null)).revision).toBe(await whole(made))
    }
  })

  test('is everywhere where Git has done something, or what is ignored is another', async () => {
    await using made = await testRepository()
    const tree = await looked(made)
    const actions = [
      () => made.git('add', '--all'),
      () => made.git('commit', '--quiet', '--message', 'Keep'),
      () => made.write({ '.gitignore': 'b.hbs\n' }),
      () => writeFile(join(made.gitDir, 'info/exclude'), 'a.hbs\n'),
    ]
    for (const [at, act] of actions.entries()) {
      await made.write({
        [two]: `not noted ${at}`,
        'workflows/b/a.hbs': '1',
        'workflows/b/b.hbs': '1',
      })
      await act()
      tree.note(one)
      expect((await tree.look(null)).revision).toBe(await whole(made))
    }
    tree.note(one)
    await made.write({ [two]: 'not noted, and HEAD moved' })
    const { revision } = await tree.look('a'.repeat(40) as Revision)
    expect(revision.slice(41)).toBe((await whole(made)).slice(41))
  })

  test('is everywhere after one that failed', async () => {
    await using made = await testRepository()
    const tree = await looked(made)
    await made.write({ [two]: '2', 'workflows/a/.gitignore': { link: '.gitignore' } })
    tree.note(one)
    await expect(tree.look(null)).rejects.toThrow('ELOOP')
    await made.write({ 'workflows/a/.gitignore': null })
    tree.note(one)
    expect((await tree.look(null)).revision).toBe(await whole(made))
  })

  test('finds what a look everywhere finds, whatever was done', async () => {
    const place = fc.constantFrom('a', 'b', 'c', 'a/sub', '_partials')
    const file = fc.constantFrom('workflow.yaml', 'x.hbs', 'debug.log', 'x.hbs~')
    const content = fc.constantFrom('1', '2', null, { link: 'x' })
    const edit = fc.tuple(
      fc.tuple(place, file).map((parts) => `workflows/${parts.join('/')}`),
      content,
    )
    const settings = fc.tuple(
      fc.constant('environments/development.yaml'),
      fc.constantFrom('1', '2', null),
    )
    const removal = fc.tuple(
      place.map((name) => `workflows/${name}`),
      fc.constant(null),
    )
    const change = fc.oneof({ weight: 4, arbitrary: edit }, settings, removal)
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(change, { minLength: 1, maxLength: 4 }), { maxLength: 8 }),
        async (saves) => {
          await using made = await testRepository()
          await made.write({ '.gitignore': '*.log\n' })
          const tree = await looked(made)
          for (const save of saves) {
            for (const [path, to] of save) {
              await made.write({ [path]: null })
              await made.write({ [path]: to })
              tree.note(path)
            }
            const seen = await tree.look(null)
            const fresh = await (await workingTree(made)).look(null)
            expect(seen.revision).toBe(fresh.revision)
            expect((await paths(seen)).toSorted()).toEqual((await paths(fresh)).toSorted())
            expect(seen.strays.map(({ path }) => path).toSorted()).toEqual(
              fresh.strays.map(({ path }) => path).toSorted(),
            )
          }
        },
      ),
      { numRuns: 40 },
    )
  })
})
