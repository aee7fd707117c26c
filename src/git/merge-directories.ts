import type { Renames } from './merge-renames.ts'

/**
 * Directories that one side has taken away whole, each with what hangs on where it went: files that
 * the other side has put directly into it, such files further up, or nothing.
 */
export type DirectoryRemovals = ReadonlyMap<string, 'itself' | 'ancestor' | 'nothing'>

/** The path of the directory that holds a file; empty at the top. */
export function directoryOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Every directory that these files lie in, directly or not. */
export function directoriesOf(paths: Iterable<string>): ReadonlySet<string> {
  const found = new Set<string>()
  for (const path of paths) {
    let directory = directoryOf(path)
    while (directory !== '' && !found.has(directory)) {
      found.add(directory)
      directory = directoryOf(directory)
    }
  }
  return found
}

/** Which directories of `base` one side has removed, and why that may matter to the other side. */
export function findRemovals(
  base: ReadonlyMap<string, unknown>,
  side: ReadonlyMap<string, unknown>,
  other: ReadonlyMap<string, unknown>,
): DirectoryRemovals {
  const kept = directoriesOf(side.keys())
  const gone = [...directoriesOf(base.keys())].filter((one) => !kept.has(one)).toSorted()
  const added = new Set(
    [...other.keys()].filter((path) => !base.has(path)).map((path) => directoryOf(path)),
  )
  const removals = new Map<string, 'itself' | 'ancestor' | 'nothing'>()
  for (const directory of gone) {
    const above = removals.get(directoryOf(directory)) ?? 'nothing'
    if (added.has(directory)) removals.set(directory, 'itself')
    else removals.set(directory, above === 'nothing' ? 'nothing' : 'ancestor')
  }
  return removals
}

export type RenameCounts = ReadonlyMap<string, ReadonlyMap<string, number>>

/** How many files of each removed directory went to which other one. */
export function countRenames(renames: Renames, removals: DirectoryRemovals): RenameCounts {
  const counts = new Map<string, Map<string, number>>()
  for (const [target, source] of renames) {
    for (const [from, to] of movedDirectories(source, target, removals)) {
      const of = counts.get(from) ?? new Map<string, number>()
      counts.set(from, of.set(to, (of.get(to) ?? 0) + 1))
    }
  }
  return counts
}

/** The directories that a renamed file speaks for: its own, and those above below which the names stay the same. */
function movedDirectories(
  source: string,
  target: string,
  removals: DirectoryRemovals,
): readonly (readonly [from: string, to: string])[] {
  const found: [string, string][] = []
  let [from, to] = [directoryOf(source), directoryOf(target)]
  for (let isOwn = true; from !== '' && to !== ''; isOwn = false) {
    const why = removals.get(from)
    if (why === undefined) break
    if (why === 'itself' || isOwn) found.push([from, to])
    if (why === 'nothing' || nameOf(from) !== nameOf(to)) break
    ;[from, to] = [directoryOf(from), directoryOf(to)]
  }
  return found
}

export interface DirectoryRenames {
  /** Old directory → new one. */
  readonly renames: ReadonlyMap<string, string>
  /** Directories whose files went to several others in equal parts. */
  readonly split: readonly string[]
}

/** Where removed directories went, by the majority of their files. */
export function findDirectoryRenames(
  renames: Renames,
  removals: DirectoryRemovals,
): DirectoryRenames {
  const found = new Map<string, string>()
  const split: string[] = []
  for (const [directory, targets] of countRenames(renames, removals)) {
    if (removals.get(directory) === 'nothing') continue
    const most = Math.max(...targets.values())
    const best = [...targets].filter(([, count]) => count === most)
    if (best.length > 1) split.push(directory)
    else if (best[0]) found.set(directory, best[0][0])
  }
  return { renames: found, split }
}

/** Where a path of the other side goes with the directory that it lies in; undefined where that stays. */
export function renamedPath(
  path: string,
  renames: ReadonlyMap<string, string>,
): { readonly path: string; readonly directory: string } | undefined {
  for (let at = directoryOf(path); at !== ''; at = directoryOf(at)) {
    const directory = renames.get(at)
    if (directory !== undefined) return { path: `${directory}${path.slice(at.length)}`, directory }
  }
  return undefined
}
