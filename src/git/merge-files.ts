import { blobId } from './objects.ts'
import { findDirectoryRenames, findRemovals, renamedPath } from './merge-directories.ts'
import type { DirectoryRemovals, DirectoryRenames } from './merge-directories.ts'
import { findRenames } from './merge-renames.ts'
import type { FileId, Files, ReadBlobs, Renames } from './merge-renames.ts'
import { mergeText } from './merge-text.ts'

/** Why Git leaves the merge of a path to a person. */
export type ConflictKind =
  | 'content'
  | 'both_added'
  | 'changed_and_removed'
  | 'renamed_and_removed'
  | 'renamed_twice'
  | 'added_to_renamed_directory'
  | 'directory_split'
  | 'in_the_way'
  | 'file_and_directory'
  | 'type'

export interface Conflict {
  readonly path: string
  readonly kind: ConflictKind
}

export interface MergedFiles {
  readonly files: Files
  /** In the order of their paths. */
  readonly conflicts: readonly Conflict[]
  /** What neither side has as it is, by blob id. */
  readonly contents: ReadonlyMap<string, Uint8Array>
}

export interface ThreeFiles {
  readonly base: Files
  readonly ours: Files
  readonly theirs: Files
}

/** What one of both sides has done, as far as it may matter to the other. */
export interface SideWork {
  readonly removals: DirectoryRemovals
  /** Removed files whose new place decides what the merge gives. */
  readonly relevant: ReadonlySet<string>
}

/** Looks which files one side has removed that the other side has changed or removed, or put others beside. */
export function findWork(base: Files, side: Files, other: Files): SideWork {
  const removals = findRemovals(base, side, other)
  const needed = [...removals].filter(([, why]) => why === 'itself').map(([path]) => `${path}/`)
  const relevant = [...base].filter(([path, file]) => {
    if (side.has(path)) return false
    const theirs = other.get(path)
    return !isSame(theirs, file) || needed.some((directory) => path.startsWith(directory))
  })
  return { removals, relevant: new Set(relevant.map(([path]) => path)) }
}

/** Merges three sets of files by the rules of `git merge`: renames first, then path by path. */
export async function mergeFiles(
  three: ThreeFiles,
  { read, keeps }: { readonly read: ReadBlobs; readonly keeps: Keeps },
): Promise<MergedFiles> {
  const merge = new Merge(three, read)
  await merge.followRenames()
  return merge.finish(keeps)
}

/** What stands at a path with a conflict: what `ours` has, or nothing. */
export type Keeps = 'ours' | 'nothing'

type Side = 1 | 2
type Stages = [base: FileId | undefined, ours: FileId | undefined, theirs: FileId | undefined]

interface PathState {
  stages: Stages
  conflict?: ConflictKind
  /** Its content went to another path. */
  isGone?: boolean
}

interface Rename {
  readonly source: string
  target: string
  readonly side: Side
}

class Merge {
  readonly #three: ThreeFiles
  readonly #read: ReadBlobs
  readonly #paths = new Map<string, PathState>()
  readonly #contents = new Map<string, Uint8Array>()
  readonly #split: string[] = []

  constructor(three: ThreeFiles, read: ReadBlobs) {
    this.#three = three
    this.#read = read
    for (const [stage, files] of [three.base, three.ours, three.theirs].entries()) {
      for (const [path, file] of files) this.#at(path).stages[stage] = file
    }
  }

  async followRenames(): Promise<void> {
    const found = [await this.#renamesOf(1), await this.#renamesOf(2)] as const
    const [ours, theirs] = found.map(({ directories }) => directories.renames) as [
      ReadonlyMap<string, string>,
      ReadonlyMap<string, string>,
    ]
    for (const { directories } of found) this.#split.push(...directories.split)
    const onlyOurs = without(ours, theirs)
    const onlyTheirs = without(theirs, ours)
    const renames = [
      ...this.#moveWithDirectories(1, found[0].renames, { moved: onlyTheirs, own: onlyOurs }),
      ...this.#moveWithDirectories(2, found[1].renames, { moved: onlyOurs, own: onlyTheirs }),
    ]
    const bySource = Map.groupBy(renames, ({ source }) => source)
    for (const source of [...bySource.keys()].toSorted()) {
      const [one, other] = bySource.get(source) ?? []
      if (one && other) await this.#renamedByBoth(one, other)
      else if (one) await this.#renamedByOne(one)
    }
  }

  async finish(keeps: Keeps): Promise<MergedFiles> {
    const files = new Map<string, FileId>()
    const conflicts: Conflict[] = this.#split.map((path) => ({ path, kind: 'directory_split' }))
    for (const [path, state] of this.#paths) {
      if (state.isGone) continue
      const merged = await this.#mergeAt(path, state)
      const conflict = state.conflict ?? (merged.kind === 'conflict' ? merged.why : undefined)
      if (conflict !== undefined) conflicts.push({ path, kind: conflict })
      else if (merged.kind === 'file') files.set(path, merged.file)
    }
    for (const path of files.keys()) {
      const above = parentsOf(path).find((parent) => files.has(parent))
      if (above !== undefined) conflicts.push({ path: above, kind: 'file_and_directory' })
    }
    for (const { path } of conflicts) files.delete(path)
    if (keeps === 'ours') for (const { path } of conflicts) this.#keepOurs(path, files)
    const sorted = conflicts.toSorted((a, b) => (a.path < b.path ? -1 : 1))
    return { files: byPath(files), conflicts: sorted, contents: this.#contents }
  }

  #keepOurs(path: string, files: Map<string, FileId>): void {
    const ours = this.#paths.get(path)?.stages[1]
    if (ours) files.set(path, ours)
  }

  #at(path: string): PathState {
    const known = this.#paths.get(path) ?? { stages: [undefined, undefined, undefined] }
    this.#paths.set(path, known)
    return known
  }

  #filesOf(side: Side): { readonly own: Files; readonly other: Files } {
    const { ours, theirs } = this.#three
    return side === 1 ? { own: ours, other: theirs } : { own: theirs, other: ours }
  }

  async #renamesOf(
    side: Side,
  ): Promise<{ readonly renames: Renames; readonly directories: DirectoryRenames }> {
    const { base } = this.#three
    const { own, other } = this.#filesOf(side)
    const work = findWork(base, own, other)
    if (work.relevant.size === 0) {
      return { renames: new Map(), directories: { renames: new Map(), split: [] } }
    }
    const removed = byPath(new Map([...base].filter(([path]) => !own.has(path))))
    const added = byPath(new Map([...own].filter(([path]) => !base.has(path))))
    const renames = await findRenames({ removed, added, ...work }, this.#read)
    return { renames, directories: findDirectoryRenames(renames, work.removals) }
  }

  /** What this side has put into a directory that the other side has renamed is not clear to Git. */
  #moveWithDirectories(
    side: Side,
    renames: Renames,
    {
      moved,
      own,
    }: {
      readonly moved: ReadonlyMap<string, string>
      readonly own: ReadonlyMap<string, string>
    },
  ): readonly Rename[] {
    const found: Rename[] = [...renames].map(([target, source]) => ({ target, source, side }))
    if (moved.size === 0) return found
    const bySource = new Map(found.map((rename) => [rename.target, rename]))
    const { own: files } = this.#filesOf(side)
    for (const path of files.keys()) {
      const next = this.#three.base.has(path) ? undefined : renamedPath(path, moved)
      if (next === undefined || own.has(next.directory)) continue
      if (this.#paths.get(next.path)?.stages[side] !== undefined) {
        this.#at(path).conflict = 'in_the_way'
        continue
      }
      this.#at(next.path).stages[side] = this.#at(path).stages[side]
      this.#at(next.path).conflict = 'added_to_renamed_directory'
      this.#at(path).isGone = true
      const rename = bySource.get(path)
      if (rename) rename.target = next.path
    }
    return found
  }

  async #renamedByBoth(one: Rename, other: Rename): Promise<void> {
    const source = this.#at(one.source)
    if (one.target === other.target) {
      this.#at(one.target).stages[0] = source.stages[0]
      source.isGone = true
      return
    }
    source.conflict = 'renamed_twice'
    for (const { target } of [one, other]) this.#at(target).conflict = 'renamed_twice'
  }

  async #renamedByOne({ source: from, target: to, side }: Rename): Promise<void> {
    const source = this.#at(from)
    if (source.isGone) return
    const target = this.#at(to)
    const other: Side = side === 1 ? 2 : 1
    const [base] = source.stages
    const kept = source.stages[other]
    const hasTypeChanged = kept !== undefined && isRegular(kept) !== isRegular(target.stages[side])
    if (target.stages[other] !== undefined) {
      if (kept === undefined) target.conflict = 'renamed_and_removed'
      else {
        const stages: Stages = [base, undefined, undefined]
        stages[side] = target.stages[side]
        stages[other] = kept
        const merged = await this.#mergePath({ stages })
        if (merged.kind === 'file') target.stages[side] = merged.file
        else target.conflict = 'content'
      }
    } else {
      target.stages[0] = base
      if (hasTypeChanged) source.stages[0] = undefined
      else if (kept === undefined) target.conflict = 'renamed_and_removed'
      else target.stages[other] = kept
    }
    if (!hasTypeChanged) source.isGone = true
  }

  /** Where both sides had the same file from the start, Git does not look at it again after its renames. */
  async #mergeAt(path: string, state: PathState): Promise<PathResult> {
    const ours = this.#three.ours.get(path)
    const isEqual = ours !== undefined && isSame(ours, this.#three.theirs.get(path))
    return isEqual ? resultOf(state.stages[1]) : this.#mergePath(state)
  }

  async #mergePath({ stages: [base, ours, theirs] }: PathState): Promise<PathResult> {
    if (isSame(ours, theirs) || isSame(theirs, base)) return resultOf(ours)
    if (isSame(ours, base)) return resultOf(theirs)
    if (!ours || !theirs) return { kind: 'conflict', why: 'changed_and_removed' }
    if (isRegular(ours) !== isRegular(theirs)) return { kind: 'conflict', why: 'type' }
    const mode = mergeMode(base, ours, theirs)
    const blob = await this.#mergeBlob(base, ours, theirs)
    if (mode !== undefined && blob !== undefined) return { kind: 'file', file: { mode, blob } }
    return { kind: 'conflict', why: base ? 'content' : 'both_added' }
  }

  async #mergeBlob(
    base: FileId | undefined,
    ours: FileId,
    theirs: FileId,
  ): Promise<string | undefined> {
    if (ours.blob === theirs.blob || ours.blob === base?.blob) return theirs.blob
    if (theirs.blob === base?.blob) return ours.blob
    if (!isRegular(ours) || !isRegular(theirs)) return undefined
    const before = base && isRegular(base) ? base : undefined
    const contents = await this.#readAll([before, ours, theirs])
    const merged = mergeText(contents[0], contents[1], contents[2])
    if (merged.kind === 'conflict') return undefined
    const id = blobId(merged.content)
    this.#contents.set(id, merged.content)
    return id
  }

  async #readAll(
    files: readonly [FileId | undefined, FileId, FileId],
  ): Promise<readonly [Uint8Array, Uint8Array, Uint8Array]> {
    const blobs = files.flatMap((file) => file?.blob ?? [])
    const read = await this.#read(blobs.filter((blob) => !this.#contents.has(blob)))
    const contentOf = (file: FileId | undefined) =>
      (file && (this.#contents.get(file.blob) ?? read.get(file.blob))) ?? new Uint8Array()
    return [contentOf(files[0]), contentOf(files[1]), contentOf(files[2])]
  }
}

/** What both sides have renamed stays where each of them has put it. */
function without(
  renames: ReadonlyMap<string, string>,
  others: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  return new Map([...renames].filter(([directory]) => !others.has(directory)))
}

type PathResult =
  | { readonly kind: 'file'; readonly file: FileId }
  | { readonly kind: 'absent' }
  | { readonly kind: 'conflict'; readonly why: ConflictKind }

function resultOf(file: FileId | undefined): PathResult {
  return file ? { kind: 'file', file } : { kind: 'absent' }
}

/** Undefined where both sides have changed it, each to something else. */
function mergeMode(base: FileId | undefined, ours: FileId, theirs: FileId): string | undefined {
  if (ours.mode === theirs.mode || ours.mode === base?.mode) return theirs.mode
  return theirs.mode === base?.mode ? ours.mode : undefined
}

function isRegular(file: FileId | undefined): boolean {
  return file?.mode.startsWith('100') ?? false
}

/** Whether two files are equal, or both are not there. */
export function isSame(one: FileId | undefined, other: FileId | undefined): boolean {
  return one?.blob === other?.blob && one?.mode === other?.mode
}

function parentsOf(path: string): readonly string[] {
  const parts = path.split('/')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'))
}

/** In the order in which Git has the files of a tree. */
function byPath(files: Files): Files {
  return new Map([...files].toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
}
