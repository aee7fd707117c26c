import { ConfigError } from '../errors.ts'
import { openRepository } from './repository.ts'
import type { CommitSource, WorkingSource } from './source.ts'
import { WorkingTree } from './working-tree.ts'

/** Where revisions come from: commits, and in development mode also the working tree. */
export interface Sources {
  readonly repository: CommitSource
  readonly workingTree: WorkingSource | null
}

/**
 * Opens the repository that `path` is or lies in.
 * Throws a `ConfigError` where there is none, or where development mode finds no working tree.
 */
export async function openSources(
  path: string,
  { development }: { readonly development: boolean },
): Promise<Sources> {
  const repository = await openRepository(path)
  if (!development) return { repository, workingTree: null }
  const { workTree, ...location } = repository.location
  if (workTree === null) {
    throw new ConfigError(
      `${path} is a bare repository: development mode needs one with a working tree`,
    )
  }
  return { repository, workingTree: new WorkingTree({ ...location, workTree }) }
}
