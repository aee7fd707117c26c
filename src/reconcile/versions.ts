import { setTimeout as pause } from 'node:timers/promises'
import { mapBounded } from '../git/bounded.ts'
import { SUBMODULE_MODE, SYMLINK_MODE } from '../git/source.ts'
import type { Entry, RevisionTree } from '../git/source.ts'
import type { VersionId, WorkflowKey } from '../ids.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import type { Entry as SourceFile } from '../workflow/draft.ts'
import { linkPortions } from '../workflow/link.ts'
import type { LinkResult } from '../workflow/link.ts'
import { isShared } from '../workflow/paths.ts'
import type { Portions } from '../workflow/portions.ts'
import { parseSharedParts } from '../workflow/shared.ts'
import { parsePortions } from '../workflow/snapshot.ts'
import type { Version } from '../workflow/workflow.ts'
import { awaitedEvents } from './listener-store.ts'
import type { Phases } from './measure.ts'

/** Directories whose files are in memory at once; each may have some megabytes. */
const DIRECTORIES_AT_ONCE = 16
const LISTS_MAX = 16
/** After reading this many template tags, which takes some tens of milliseconds, other work gets its turn. */
const TAGS_AT_ONCE = 1_000
/** What other work gets of the time: enough that what reads refs in several steps comes to its end, and not only to its next step. */
const TAGS_PER_TURN_MS = 500

/** The layouts and partials of a revision. */
export async function listShared(tree: RevisionTree): Promise<readonly Entry[]> {
  const names = [...tree.directories.keys()].filter((name) => name.startsWith('_'))
  const lists = await mapBounded(names, LISTS_MAX, (name) => tree.list(name))
  return lists.flat().filter(({ path }) => isShared(path))
}

export interface VersionsContext {
  readonly shared: readonly Entry[]
  /** Ends the reading before its next step, with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  readonly phases?: Phases | undefined
}

/** Parses these workflows one by one, and joins each with the shared parts. What was read of one is not kept for the next. */
export async function* eachVersion(
  tree: RevisionTree,
  keys: readonly WorkflowKey[],
  { shared, signal, phases }: VersionsContext,
): AsyncGenerator<LinkResult> {
  if (keys.length === 0) return
  phases?.enter('read')
  const sharedFiles = await readFiles(tree, shared)
  phases?.enter('compile')
  const sharedParts = parseSharedParts(sharedFiles)
  const pace = pacer(signal)
  for (let at = 0; at < keys.length; at += DIRECTORIES_AT_ONCE) {
    signal?.throwIfAborted()
    phases?.enter('read')
    const some = keys.slice(at, at + DIRECTORIES_AT_ONCE)
    const lists = await mapBounded(some, LISTS_MAX, (key) => tree.list(key))
    const files = await readFiles(tree, lists.flat())
    phases?.enter('compile')
    for (const [index, key] of some.entries()) {
      const own = new Map(
        (lists[index] ?? []).map(({ path }) => [path, files.get(path) as SourceFile]),
      )
      const parsed = await pace(parsePortions(key, own))
      yield await pace(linkPortions(parsed, sharedParts))
    }
  }
}

/** Does work portion by portion, and lets other work have its turn after some of them. */
function pacer(
  signal: AbortSignal | undefined,
): <Result>(portions: Portions<Result>) => Promise<Result> {
  let tags = 0
  return async (portions) => {
    for (;;) {
      const portion = portions.next()
      if (portion.done === true) return portion.value
      tags += portion.value
      if (tags < TAGS_AT_ONCE) continue
      await pause(tags / TAGS_PER_TURN_MS)
      tags = 0
      signal?.throwIfAborted()
    }
  }
}

export interface VersionsRead {
  readonly versions: readonly Version[]
  readonly diagnostics: readonly Diagnostic[]
}

/** Parses these workflows and joins them with the shared parts; what cannot be is told by its diagnostics. */
export async function readVersions(
  tree: RevisionTree,
  keys: readonly WorkflowKey[],
  context: VersionsContext,
): Promise<VersionsRead> {
  const versions: Version[] = []
  const found: (readonly Diagnostic[])[] = []
  for await (const result of eachVersion(tree, keys, context)) {
    found.push(result.diagnostics)
    if (result.kind === 'version') versions.push(result.version)
  }
  return { versions, diagnostics: found.flat() }
}

/** What a revision says of these workflows, all read anew; what is broken is left out. */
export async function readWorkflows(
  tree: RevisionTree,
  keys: readonly WorkflowKey[],
): Promise<readonly Version[]> {
  const present = keys.filter((key) => tree.directories.has(key))
  return (await readVersions(tree, present, { shared: await listShared(tree) })).versions
}

/** A version as it is stored. As JSON it weighs a fraction of what it does in parts, and thousands wait to be written. */
export interface PackedVersion {
  readonly id: VersionId
  readonly key: WorkflowKey
  readonly categories: readonly string[]
  /** The events that its steps wait for. */
  readonly awaited: readonly string[]
  readonly json: {
    readonly workflow: string
    readonly files: string
    readonly blobs: string
    readonly channelUses: string
    readonly variableUses: string
  }
}

export function packVersion(version: Version): PackedVersion {
  const { id, key, workflow, files, blobs, channelUses, variableUses } = version
  return {
    id,
    key,
    categories: workflow.categories ?? [],
    awaited: awaitedEvents(workflow.steps),
    json: {
      workflow: JSON.stringify(workflow),
      files: JSON.stringify(files),
      blobs: JSON.stringify(blobs),
      channelUses: JSON.stringify(channelUses),
      variableUses: JSON.stringify(variableUses),
    },
  }
}

async function readFiles(
  tree: RevisionTree,
  entries: readonly Entry[],
): Promise<ReadonlyMap<string, SourceFile>> {
  const files = entries.filter(({ mode }) => mode !== SYMLINK_MODE && mode !== SUBMODULE_MODE)
  const contents = await tree.read(files.map(({ blob }) => blob))
  return new Map(
    entries.map((entry) => {
      const isFile = entry.mode !== SYMLINK_MODE && entry.mode !== SUBMODULE_MODE
      const bytes = isFile ? contents.get(entry.blob) : undefined
      return [entry.path, { blob: entry.blob, mode: entry.mode, bytes: bytes ?? NOTHING }]
    }),
  )
}

const NOTHING = new Uint8Array()
