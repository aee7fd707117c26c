import { SUBMODULE_MODE, SYMLINK_MODE, type Entry, type RevisionTree } from '../git/source.ts'
import type { FindFile } from '../workflow/client-keys.ts'
import type { EnvironmentSettings } from '../workflow/environment.ts'
import type { Parts } from './plan.ts'

/** Reads the keys that lie beside the files of environments, so that those can name them. */
export async function readKeyFiles(tree: RevisionTree): Promise<FindFile> {
  const entries = tree.environments.filter(
    ({ path, mode }) => path.endsWith('.pem') && mode !== SYMLINK_MODE && mode !== SUBMODULE_MODE,
  )
  const contents = await tree.read(entries.map(({ blob }) => blob))
  const byPath = new Map(entries.map(({ path, blob }) => [path, contents.get(blob)]))
  return (path) => byPath.get(path)
}

/** Those files that the keys of an environment stand in. */
export function listKeyFiles(tree: RevisionTree, settings: EnvironmentSettings): readonly Entry[] {
  const paths = new Set(Object.values(settings.client_keys ?? {}).map(({ file }) => file))
  return tree.environments.filter(({ path }) => paths.has(path))
}

/** Whether the keys of an environment still stand in the files in which they were found. */
export function areKeysSame(
  tree: RevisionTree,
  { settings, parts }: { readonly settings: EnvironmentSettings; readonly parts: Parts },
): boolean {
  const now = new Map(tree.environments.map(({ path, blob }) => [path, blob]))
  return Object.values(settings.client_keys ?? {}).every(
    ({ file }) => file === undefined || now.get(file) === parts[file],
  )
}
