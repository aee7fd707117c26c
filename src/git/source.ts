import type { Revision } from '../ids.ts'
import type { CommitReader } from './history.ts'
import type { Location } from './location.ts'
import type { StoreSize } from './object-store.ts'
import type { Refs } from './refs.ts'

/** One file of a revision, or what stands in the place of one. */
export interface Entry {
  /** From the repository's root, with forward slashes. */
  readonly path: string
  /** As Git writes it: 100644, 100755, 120000 for a symbolic link, 160000 for a submodule. */
  readonly mode: string
  /** The id of its content; equal ids are equal content. */
  readonly blob: string
}

/** What one revision holds under `workflows/` and `environments/`: names and ids first, content on demand. */
export interface RevisionTree {
  readonly revision: Revision
  /** What the commit says of itself; empty for a working tree. */
  readonly message: string
  /** The directories directly under `workflows/`, shared ones (`_layouts` …) included, each with its tree id. */
  readonly directories: ReadonlyMap<string, string>
  /** What else stands directly under `workflows/`, and `workflows` or `environments` themselves where they are no directories. */
  readonly strays: readonly Entry[]
  /** The files directly under `environments/`. */
  readonly environments: readonly Entry[]
  /** The id of all that is under `environments/`; null where there is none. */
  readonly environmentsTree: string | null
  /** Every file under `workflows/<directory>/`, in the order of their paths. */
  list(directory: string): Promise<readonly Entry[]>
  /** The content of these blobs, by id. Throws a `RetryableFailure` when one cannot be read now. */
  read(blobs: Iterable<string>): Promise<ReadonlyMap<string, Uint8Array>>
}

/** Where commits come from. */
export interface CommitSource extends CommitReader {
  readonly kind: 'repository'
  /** Where its parts were at the last look. */
  readonly location: Location
  refs(): Promise<Refs>
  tree(revision: Revision): Promise<RevisionTree>
  /** How many packs and loose objects it is kept in, where that is nobody else's concern. */
  size?(): StoreSize
  /** What `refs` found last, for a source that has to ask others; absent where looking again costs nothing. */
  knownRefs?(): Promise<Refs>
  /** Every ref whose full name starts with `prefix`, such as `refs/pull/`. */
  list?(prefix: string): Promise<ReadonlyMap<string, Revision>>
  /** Makes commits readable that `list` has named; absent where they are already. */
  obtain?(revisions: readonly Revision[]): Promise<void>
  /** How changes of it are noticed; absent for one whose files are watched. */
  watch?(settings: WatchSettings): Watching
}

export interface WatchSettings {
  readonly pollMs: number
  /** Something may have changed: look again. Says nothing about what, and may come for nothing, as each poll does. */
  readonly onChange: (path: string | null, isPoll?: boolean) => void
}

/** Notices changes from its start to its end. */
export interface Watching {
  start(): Promise<void>
  close(): Promise<void>
}

/** Where edits come from that are not committed. */
export interface WorkingSource {
  readonly kind: 'working_tree'
  /**
   * Says where something changed, as a path from the root; null: anywhere. A look for which nothing
   * was noted looks everywhere.
   */
  note(path: string | null): void
  look(head: Revision | null): Promise<RevisionTree>
}

export const SYMLINK_MODE = '120000'
export const SUBMODULE_MODE = '160000'
export const TREE_MODE = '40000'

/** The revision of a commit that does not exist yet. */
export const UNBORN = '0'.repeat(40)
