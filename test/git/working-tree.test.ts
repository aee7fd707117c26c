import { execFile } from 'node:child_process'
import { rename, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { RetryableFailure } from '../../src/errors.ts'
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
