import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { mergeBases } from '../../src/git/history.ts'
import { mergeTrees } from '../../src/git/merge.ts'
import type { MergedTree } from '../../src/git/merge.ts'
import { openRepository } from '../../src/git/repository.ts'
import type { Revision } from '../../src/ids.ts'
import { git, testRepository } from '../support/repository.ts'
import type { TestRepository } from '../support/repository.ts'
import { writeHistories } from './random-history.ts'
import { directoriesAt, realMerge } from './real-merge.ts'

const HISTORIES = 300
const SEED = Number(process.env['BELFRY_TEST_SEED'] ?? 20_260_301)
/** Of so many histories one is also merged for good, in a work tree. */
const MERGED_EACH = 20

async function merge(
  repository: TestRepository,
  ours: string,
  theirs: string,
): Promise<MergedTree> {
  const source = await openRepository(repository.path)
  const tips = [await repository.tip(ours), await repository.tip(theirs)] as Revision[]
  const [base] = await mergeBases(source, tips[0]!, tips[1]!)
  const [first, second, third] = await Promise.all(
    [base!, tips[0]!, tips[1]!].map((id) => source.tree(id)),
  )
  return mergeTrees({ base: first!, ours: second!, theirs: third! })
}

/** The directories that nobody has to look at, with their tree ids. */
function clean(directories: ReadonlyMap<string, string>, conflicts: readonly string[]) {
  const bad = new Set(conflicts.map((path) => path.split('/')[1]))
  return Object.fromEntries([...directories].filter(([name]) => !bad.has(name)))
}

describe('a merge', () => {
  test('of random histories gives what git merge gives', async () => {
    await using repository = await testRepository()
    const seeds = Array.from({ length: HISTORIES }, (_, index) => SEED + index)
    writeHistories(repository, seeds)
    const seen = new Set<string>()
    const [promised, made]: [object[], object[]] = [[], []]
    for (const seed of seeds) {
      const [ours, theirs] = [`${seed}/ours`, `${seed}/theirs`]
      const real = await realMerge(repository, ours, theirs)
      const merged = await merge(repository, ours, theirs)
      const all = merged.conflicts.map(({ path }) => path)
      const named = merged.conflicts.filter(({ kind }) => !UNNAMED.has(kind))
      const paths = [...new Set(named.map(({ path }) => path))]
      expect({
        seed,
        isClean: all.length === 0,
        paths,
        directories: clean(merged.tree.directories, all),
      }).toEqual({
        seed,
        isClean: real.isClean,
        paths: real.conflicts,
        directories: clean(real.directories, all),
      })
      for (const { kind } of merged.conflicts) seen.add(kind)
      if (real.isClean) seen.add('clean')
      if (real.isClean && seed % MERGED_EACH === 0) {
        promised.push(Object.fromEntries(merged.tree.directories))
        made.push(await mergeForGood(repository, ours, theirs))
      }
    }
    expect(made.length).toBeGreaterThan(3)
    expect(made).toEqual(promised)
    // The histories are worth something only where they hold each kind of trouble.
    for (const kind of KINDS) expect(seen).toContain(kind)
  }, 120_000)

  test('of a file line by line joins what does not touch', async () => {
    await using repository = await testRepository()
    const path = 'workflows/welcome/workflow.yaml'
    await repository.commit({ [path]: 'a\nb\nc\nd\ne\n' })
    await repository.checkout('ours')
    await repository.commit({ [path]: 'A\nb\nc\nd\ne\n' })
    await repository.git('checkout', '--quiet', 'main')
    await repository.checkout('theirs')
    await repository.commit({ [path]: 'a\nb\nc\nd\nE\n' })
    const { tree, conflicts } = await merge(repository, 'ours', 'theirs')
    expect(conflicts).toEqual([])
    const [file] = await tree.list('welcome')
    const contents = await tree.read([file!.blob])
    expect(String(Buffer.from(contents.get(file!.blob)!))).toBe('A\nb\nc\nd\nE\n')
  })
})

/** Git says in words that it cannot follow a renamed directory, and names no path in its index. */
const UNNAMED: ReadonlySet<string> = new Set(['directory_split', 'in_the_way'])

const KINDS = [
  'clean',
  'content',
  'both_added',
  'changed_and_removed',
  'renamed_and_removed',
  'renamed_twice',
  'added_to_renamed_directory',
]

/** Merges for good, in a work tree of its own; answers the directories of `workflows/` with their ids. */
async function mergeForGood(repository: TestRepository, ours: string, theirs: string) {
  const place = join(repository.path, '..', 'apart')
  await repository.git('worktree', 'add', '--quiet', '--detach', place, ours)
  await git(place, 'merge', '--quiet', '--no-edit', theirs)
  const head = await git(place, 'rev-parse', 'HEAD')
  await repository.git('worktree', 'remove', '--force', place)
  return Object.fromEntries(await directoriesAt(repository, head))
}
