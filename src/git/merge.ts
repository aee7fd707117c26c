import { mapBounded } from './bounded.ts'
import { findWork, isSame, mergeFiles } from './merge-files.ts'
import type { Conflict, Keeps } from './merge-files.ts'
import type { FileId, Files } from './merge-renames.ts'
import { treeId } from './objects.ts'
import type { TreeEntry } from './objects.ts'
import { TREE_MODE } from './source.ts'
import type { Entry, RevisionTree } from './source.ts'

/** What a merge gives under `workflows/` and `environments/`. */
export interface MergedTree {
  /** What a commit with this content would hold. Where there is a conflict, what `ours` has unless told otherwise. */
  readonly tree: RevisionTree
  /** In the order of their paths; also of paths outside any directory of `workflows/`. */
  readonly conflicts: readonly Conflict[]
}

export interface ThreeTrees {
  readonly base: RevisionTree
  readonly ours: RevisionTree
  readonly theirs: RevisionTree
}

const LISTS_MAX = 16

/**
 * Merges `theirs` into `ours` as `git merge` does, as far as workflows and environments are
 * concerned: by tree ids first, then file by file, then line by line. Files elsewhere are not looked
 * at, so one that was moved out of `workflows/` counts as removed.
 */
export async function mergeTrees(
  three: ThreeTrees,
  { keeps = 'ours' }: { readonly keeps?: Keeps } = {},
): Promise<MergedTree> {
  const { base, ours, theirs } = three
  const names = new Set([base, ours, theirs].flatMap((tree) => [...tree.directories.keys()]))
  const changed = [...names].filter((name) => {
    const before = base.directories.get(name)
    return ours.directories.get(name) !== before || theirs.directories.get(name) !== before
  })
  const contested = changed.filter((name) => {
    const before = base.directories.get(name)
    return ours.directories.get(name) !== before && theirs.directories.get(name) !== before
  })
  let open = contested
  let files = await listAll(three, open)
  if (contested.length < changed.length && hasWork(files)) {
    // A file may have come from, or gone to, any directory that one of the sides has changed.
    open = changed
    files = await listAll(three, open)
  }
  const merged = await mergeFiles(files, { read: (blobs) => base.read(blobs), keeps })
  const directories = new Map<string, string>()
  for (const name of names) {
    const before = base.directories.get(name)
    const id = ours.directories.get(name)
    const taken = id === before ? theirs.directories.get(name) : id
    if (taken !== undefined) directories.set(name, taken)
  }
  const opened = groupFiles(merged.files)
  for (const name of open) {
    const own = opened.get(name)
    if (own) directories.set(name, treeOf(own))
    else directories.delete(name)
  }
  for (const [name, own] of opened) directories.set(name, treeOf(own))
  const tree = assemble(three, { directories, opened, ...merged })
  return { tree, conflicts: merged.conflicts }
}

function hasWork({ base, ours, theirs }: Record<keyof ThreeTrees, Files>): boolean {
  const works = [findWork(base, ours, theirs), findWork(base, theirs, ours)]
  return works.some(({ relevant }) => relevant.size > 0)
}

async function listAll(
  { base, ours, theirs }: ThreeTrees,
  names: readonly string[],
): Promise<Record<keyof ThreeTrees, Files>> {
  const [one, other, third] = await Promise.all(
    [base, ours, theirs].map((tree) => listFiles(tree, names)),
  )
  return { base: one ?? new Map(), ours: other ?? new Map(), theirs: third ?? new Map() }
}

/** The files of these directories, and those that lie in none. */
async function listFiles(tree: RevisionTree, names: readonly string[]): Promise<Files> {
  const known = names.filter((name) => tree.directories.has(name))
  const lists = await mapBounded(known, LISTS_MAX, (name) => tree.list(name))
  const entries = [...lists.flat(), ...tree.strays, ...tree.environments]
  return new Map(entries.map(({ path, mode, blob }) => [path, { mode, blob }]))
}

function groupFiles(files: Files): ReadonlyMap<string, readonly Entry[]> {
  const opened = new Map<string, Entry[]>()
  for (const [path, { mode, blob }] of files) {
    const [top, name = '', ...rest] = path.split('/')
    if (top !== 'workflows' || rest.length === 0) continue
    const known = opened.get(name)
    if (known) known.push({ path, mode, blob })
    else opened.set(name, [{ path, mode, blob }])
  }
  return opened
}

/** The id of the tree that holds these files of one directory of `workflows/`. */
function treeOf(files: readonly Entry[]): string {
  return nest(files.map(({ path, mode, blob }) => [path.split('/').slice(2), { mode, blob }]))
}

function nest(files: readonly (readonly [path: readonly string[], file: FileId])[]): string {
  const entries: TreeEntry[] = []
  for (const [name, inside] of Map.groupBy(files, ([[first = '']]) => first)) {
    const [file] = inside
    if (file && file[0].length === 1) {
      entries.push({ name, mode: file[1].mode, id: file[1].blob })
      continue
    }
    const id = nest(inside.map(([path, one]) => [path.slice(1), one]))
    entries.push({ name, mode: TREE_MODE, id })
  }
  return treeId(entries)
}

interface Parts {
  readonly directories: ReadonlyMap<string, string>
  readonly opened: ReadonlyMap<string, readonly Entry[]>
  readonly files: Files
  readonly contents: ReadonlyMap<string, Uint8Array>
}

function assemble(
  { base, ours, theirs }: ThreeTrees,
  { directories, opened, files, contents }: Parts,
): RevisionTree {
  const flat = [...files].map(([path, { mode, blob }]): Entry => ({ path, mode, blob }))
  const environments = flat.filter(({ path }) => /^environments\/[^/]+$/.test(path))
  const isOurs = isSameFiles(environments, ours.environments)
  return {
    revision: ours.revision,
    message: '',
    directories,
    strays: flat.filter(
      ({ path }) =>
        /^(?:workflows|environments)(?:\/[^/]+)?$/.test(path) &&
        !environments.some((one) => one.path === path),
    ),
    environments,
    environmentsTree: isOurs ? ours.environmentsTree : null,
    async list(name) {
      const known = opened.get(name)
      if (known) return known
      const isFromOurs = ours.directories.get(name) === directories.get(name)
      return (isFromOurs ? ours : theirs).list(name)
    },
    async read(blobs) {
      const wanted = [...blobs]
      const read = await base.read(wanted.filter((blob) => !contents.has(blob)))
      const made = wanted.flatMap((blob) => {
        const content = contents.get(blob)
        return content ? [[blob, content] as const] : []
      })
      return new Map([...read, ...made])
    },
  }
}

function isSameFiles(some: readonly Entry[], others: readonly Entry[]): boolean {
  const known = new Map(others.map(({ path, mode, blob }) => [path, { mode, blob }]))
  return (
    some.length === others.length &&
    some.every(({ path, ...file }) => isSame(known.get(path), file))
  )
}
