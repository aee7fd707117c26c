import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { TestRepository } from '../support/repository.ts'

const run = promisify(execFile)

export interface RealMerge {
  /** The id of the tree that it gives. */
  readonly tree: string
  readonly isClean: boolean
  /** The paths that it leaves to a person, in their order. */
  readonly conflicts: readonly string[]
  /** The directories of `workflows/` in what it gives, with their tree ids. */
  readonly directories: ReadonlyMap<string, string>
}

/** What the real `git` gives for a merge of two branches or commits, without touching any file. */
export async function realMerge(
  repository: TestRepository,
  ours: string,
  theirs: string,
): Promise<RealMerge> {
  const args = ['merge-tree', '--write-tree', '--name-only', '--no-messages', '-z', ours, theirs]
  const { stdout, isClean } = await run('git', args, { cwd: repository.path }).then(
    (done) => ({ stdout: done.stdout, isClean: true }),
    (failed: { code: number; stdout: string; stderr: string }) => {
      if (failed.code !== 1) throw new Error(failed.stderr)
      return { stdout: failed.stdout, isClean: false }
    },
  )
  const [tree = '', ...paths] = stdout.split('\0').filter((text) => text !== '')
  return {
    tree,
    isClean,
    conflicts: [...new Set(paths)].toSorted(),
    directories: await directoriesAt(repository, tree),
  }
}

/** The directories of `workflows/` at a commit or tree, with their tree ids. */
export async function directoriesAt(
  repository: TestRepository,
  treeish: string,
): Promise<ReadonlyMap<string, string>> {
  const top = await repository.git('ls-tree', treeish, 'workflows/')
  return new Map(
    top.split('\n').flatMap((line) => {
      const [, id = '', name = ''] =
        /^040000 tree ([0-9a-f]{40})\tworkflows\/(.+)$/.exec(line) ?? []
      return name === '' ? [] : [[name, id] as const]
    }),
  )
}
