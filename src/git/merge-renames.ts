import { directoryOf, nameOf } from './merge-directories.ts'
import type { DirectoryRemovals } from './merge-directories.ts'
import { countRenames } from './merge-directories.ts'

/** A file of a tree: equal modes and blobs are equal files. */
export interface FileId {
  readonly mode: string
  readonly blob: string
}

export type Files = ReadonlyMap<string, FileId>

export type ReadBlobs = (blobs: Iterable<string>) => Promise<ReadonlyMap<string, Uint8Array>>

/** What one side has taken away and put there, by path in the order of the paths. */
export interface SideChanges {
  readonly removed: Files
  readonly added: Files
  /** Of the removed files those whose new place decides anything. */
  readonly relevant: ReadonlySet<string>
  readonly removals: DirectoryRemovals
}

/** New path → old path. */
export type Renames = ReadonlyMap<string, string>

/** Git takes no empty file for another one. */
const EMPTY_BLOB = 'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
/** How much of the larger file must be in both, for a rename; more where the name speaks for it alone. */
const SIMILAR = 0.5
const SIMILAR_BY_NAME = 0.75
/** Scores of Git are whole numbers up to this. */
const SCORE_MAX = 60_000
/** Pairs of files that are compared; beyond it only equal files count as renamed, as in Git. */
const PAIRS_MAX = 4_000_000

/**
 * Finds which files one side has renamed, as `git merge` does: equal files first, then files whose
 * name is the only one of its kind, then the most similar ones.
 */
export async function findRenames(side: SideChanges, read: ReadBlobs): Promise<Renames> {
  const renames = new Map<string, string>()
  const used = new Set<string>()
  const take = (target: string, source: string) => {
    renames.set(target, source)
    used.add(source)
  }
  matchEqual(side, { used, take })
  const sources = [...side.removed].filter(
    ([path, file]) => !used.has(path) && side.relevant.has(path) && isCandidate(file),
  )
  const targets = () =>
    [...side.added].filter(([path, file]) => !renames.has(path) && isCandidate(file))
  const open = targets()
  if (sources.length === 0 || open.length === 0) return renames
  if (sources.length * open.length > PAIRS_MAX) return renames
  const contents = await read([...sources, ...open].map(([, { blob }]) => blob))
  const compare = similarity(contents)
  const guess = guessDirectories(renames, side.removals)
  matchNames({ sources, targets: open }, { compare, guess, renames, take })
  const left = sources.filter(([path]) => !used.has(path))
  matchSimilar({ sources: left, targets: targets() }, { compare, renames, used, take })
  return renames
}

type Take = (target: string, source: string) => void
type NamedFile = readonly [path: string, file: FileId]

function isCandidate({ blob }: FileId): boolean {
  return blob !== EMPTY_BLOB
}

function isRegular({ mode }: FileId): boolean {
  return mode.startsWith('100')
}

function matchEqual(
  { removed, added }: SideChanges,
  { used, take }: { readonly used: ReadonlySet<string>; readonly take: Take },
): void {
  const byBlob = Map.groupBy(
    [...removed].filter(([, file]) => isCandidate(file)),
    ([, { blob }]) => blob,
  )
  for (const [target, file] of added) {
    const candidates = (byBlob.get(file.blob) ?? []).filter(
      ([path, one]) =>
        !used.has(path) && (one.mode === file.mode || (isRegular(one) && isRegular(file))),
    )
    const named = candidates.find(([path]) => nameOf(path) === nameOf(target))
    const [source] = named ?? candidates[0] ?? []
    if (source !== undefined) take(target, source)
  }
}

interface Candidates {
  readonly sources: readonly NamedFile[]
  readonly targets: readonly NamedFile[]
}

interface Matching {
  readonly compare: (one: FileId, other: FileId, least: number) => number
  readonly renames: ReadonlyMap<string, string>
  readonly take: Take
}

/** Where most of the files of a directory went that are the same as before. */
function guessDirectories(
  renames: Renames,
  removals: DirectoryRemovals,
): ReadonlyMap<string, string> {
  const guesses = new Map<string, string>()
  for (const [directory, counts] of countRenames(renames, removals)) {
    let most = 0
    for (const [target, count] of counts) {
      if (count <= most) continue
      most = count
      guesses.set(directory, target)
    }
  }
  return guesses
}

function matchNames(
  { sources, targets }: Candidates,
  { compare, guess, renames, take }: Matching & { readonly guess: ReadonlyMap<string, string> },
): void {
  const ofSources = Map.groupBy(sources, ([path]) => nameOf(path))
  const ofTargets = Map.groupBy(targets, ([path]) => nameOf(path))
  const byPath = new Map(targets)
  for (const [source, file] of sources) {
    const name = nameOf(source)
    const named = ofTargets.get(name) ?? []
    const isOnly = named.length === 1 && ofSources.get(name)?.length === 1
    // Where the name stands for several files, it is looked for where the directory went.
    const target = isOnly ? named[0]?.[0] : `${guess.get(directoryOf(source))}/${name}`
    const other = target === undefined ? undefined : byPath.get(target)
    if (target === undefined || !other || renames.has(target)) continue
    if (compare(file, other, SIMILAR_BY_NAME) > 0) take(target, source)
  }
}

function matchSimilar(
  { sources, targets }: Candidates,
  { compare, renames, used, take }: Matching & { readonly used: ReadonlySet<string> },
): void {
  const pairs = targets.flatMap(([target, other]) =>
    sources
      .map(([source, file]) => ({
        target,
        source,
        score: compare(file, other, SIMILAR),
        named: nameOf(source) === nameOf(target) ? 1 : 0,
      }))
      .filter(({ score }) => score > 0),
  )
  pairs.sort((one, other) => other.score - one.score || other.named - one.named)
  for (const { target, source } of pairs) {
    if (!renames.has(target) && !used.has(source)) take(target, source)
  }
}

/** How much of two files is the same, up to 60,000; 0 for less than `least` of it. */
function similarity(contents: ReadonlyMap<string, Uint8Array>): Matching['compare'] {
  const known = new Map<string, ReadonlyMap<string, number>>()
  const chunksOf = (blob: string) => {
    const chunks = known.get(blob) ?? countChunks(contents.get(blob) ?? new Uint8Array())
    known.set(blob, chunks)
    return chunks
  }
  return (one, other, least) => {
    if (!isRegular(one) || !isRegular(other)) return 0
    const sizes = [one, other].map(({ blob }) => contents.get(blob)?.length ?? 0)
    const [small, large] = [Math.min(...sizes), Math.max(...sizes)]
    if (large * (1 - least) < large - small) return 0
    if (sizes[1] === 0) return 0
    const chunks = chunksOf(other.blob)
    let copied = 0
    for (const [chunk, bytes] of chunksOf(one.blob)) {
      copied += Math.min(bytes, chunks.get(chunk) ?? 0)
    }
    const score = Math.floor((copied * SCORE_MAX) / large)
    return score < least * SCORE_MAX ? 0 : score
  }
}

const CHUNK_BYTES_MAX = 64
const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d

/** The bytes of each line, or of each 64 bytes of a longer one, added up over those that are equal. */
function countChunks(content: Uint8Array): ReadonlyMap<string, number> {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength)
  const counts = new Map<string, number>()
  let chunk: number[] = []
  const add = () => {
    const key = Buffer.from(chunk).toString('latin1')
    counts.set(key, (counts.get(key) ?? 0) + chunk.length)
    chunk = []
  }
  for (const [at, byte] of bytes.entries()) {
    if (byte === CARRIAGE_RETURN && bytes[at + 1] === LINE_FEED) continue
    chunk.push(byte)
    if (chunk.length === CHUNK_BYTES_MAX || byte === LINE_FEED) add()
  }
  if (chunk.length > 0) add()
  return counts
}
