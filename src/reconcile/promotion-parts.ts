import { isDeepStrictEqual } from 'node:util'
import type { Entry, RevisionTree } from '../git/source.ts'
import type { EnvironmentName } from '../ids.ts'
import { environmentNameOf } from '../workflow/environment-file.ts'
import { parseYaml } from '../workflow/parse.ts'
import { isWorkflowDirectory } from './plan.ts'
import type { EnvironmentChange, SharedChange } from './promotion.ts'
import type { PromotionReading } from './promotion-read.ts'
import { kindOf } from './promotion-workflows.ts'
import type { Four } from './promotion-workflows.ts'

/** What a merge does to the files that workflows share, and what of them only the target has. */
export async function describeShared(
  four: Four,
  reading: PromotionReading,
): Promise<readonly SharedChange[]> {
  const [base, ours, theirs, result] = await Promise.all(
    [four.base, four.ours, four.theirs, four.merged.tree].map(listShared),
  )
  const conflicts = new Set(four.merged.conflicts.map(({ path }) => path))
  const paths = new Set([base, ours, result].flatMap((files) => [...(files?.keys() ?? [])]))
  for (const path of conflicts) if (isSharedPath(path)) paths.add(path)
  return [...paths].toSorted().flatMap((path): readonly SharedChange[] => {
    const places = [base, ours, theirs, result].map((files) => files?.get(path))
    const change = changeOf(places, conflicts.has(path))
    if (change === undefined) return []
    const isIncoming = change !== 'only_in_target' && change !== 'conflicting'
    return [{ path, change, workflows: isIncoming ? usersOf(path, reading) : [] }]
  })
}

/** What a merge does to the files of `environments/`. */
export async function describeEnvironments(
  four: Four,
  environment: EnvironmentName,
): Promise<readonly EnvironmentChange[]> {
  const { base, ours, theirs, merged } = four
  const lists = [base, ours, theirs, merged.tree].map(
    (tree) => new Map(tree.environments.map((entry) => [entry.path, entry])),
  )
  const conflicts = new Set(merged.conflicts.map(({ path }) => path))
  const paths = new Set(lists.flatMap((files) => [...files.keys()]))
  const found: EnvironmentChange[] = []
  for (const path of [...paths].toSorted()) {
    const change = changeOf(
      lists.map((files) => files.get(path)),
      conflicts.has(path),
    )
    if (change === undefined) continue
    const name = environmentNameOf(path) ?? null
    const [before, after] = [four.ours, merged.tree].map((tree) =>
      tree.environments.find((entry) => entry.path === path),
    )
    const fields = change === 'changed' ? await diffFile(four, { path, before, after }) : []
    found.push({ path, name, own: name === environment, change, fields })
  }
  return found
}

function changeOf(
  [base, ours, theirs, result]: readonly (Entry | undefined)[],
  isConflict: boolean,
): SharedChange['change'] | undefined {
  if (isConflict) return 'conflicting'
  if (!isSame(ours, result)) return kindOf(ours, result ?? null)
  if (isSame(ours, base) || isSame(ours, theirs)) return undefined
  return 'only_in_target'
}

function isSame(one: Entry | undefined, other: Entry | undefined): boolean {
  return one?.blob === other?.blob && one?.mode === other?.mode
}

function isSharedPath(path: string): boolean {
  return /^workflows\/_[^/]*\/./.test(path)
}

async function listShared(tree: RevisionTree): Promise<ReadonlyMap<string, Entry>> {
  const names = [...tree.directories.keys()].filter((name) => !isWorkflowDirectory(name))
  const lists = await Promise.all(names.map((name) => tree.list(name)))
  return new Map(lists.flat().map((entry) => [entry.path, entry]))
}

/** The workflows that hold the file after the merge or, where it goes, before. */
function usersOf(
  path: string,
  { before, after, readsAll }: PromotionReading,
): readonly string[] | null {
  if (!readsAll) return null
  const users = [before, after].flatMap((versions) =>
    [...versions.values()].filter(({ blobs }) => path in blobs).map(({ key }) => key as string),
  )
  return [...new Set(users)].toSorted()
}

/** The names at the top of an environment's file whose values differ; none where it cannot be parsed. */
async function diffFile(
  { ours, merged }: Four,
  {
    path,
    before,
    after,
  }: {
    readonly path: string
    readonly before: Entry | undefined
    readonly after: Entry | undefined
  },
): Promise<readonly string[]> {
  const valueOf = async (tree: RevisionTree, entry: Entry | undefined) => {
    const bytes = entry && (await tree.read([entry.blob])).get(entry.blob)
    const parsed = bytes && parseYaml(path, bytes)
    const value = parsed?.kind === 'parsed' ? parsed.file.value : undefined
    return (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  }
  const [old, next] = [await valueOf(ours, before), await valueOf(merged.tree, after)]
  const names = new Set([...Object.keys(old), ...Object.keys(next)])
  return [...names].filter((name) => !isDeepStrictEqual(old[name], next[name])).toSorted()
}
