import type { MergedTree } from '../git/merge.ts'
import type { Entry, RevisionTree } from '../git/source.ts'
import type { EnvironmentName, WorkflowKey } from '../ids.ts'
import { checkScheduledWorkflows } from '../workflow/declared-schedules.ts'
import { checkAgainstEnvironment } from '../workflow/check.ts'
import { sortDiagnostics } from '../workflow/diagnostic.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import { checkCount, checkEntry } from '../workflow/entry.ts'
import { readKeyFiles } from './key-files.ts'
import { parseEnvironment } from '../workflow/environment-file.ts'
import type { ProviderShape } from '../workflow/environment-schema.ts'
import type { Version } from '../workflow/workflow.ts'
import { checkStrays, findEnvironmentFile } from './declarations.ts'
import { isWorkflowDirectory } from './plan.ts'
import { listShared, readVersions } from './versions.ts'

/** Workflows that one plan parses. Beyond it the rest is compared by tree ids alone, and the plan says so. */
export const READ_MAX = 2_000

/** What files are checked against. */
export interface Checks {
  readonly providers: readonly ProviderShape[]
  readonly hasSecret: (environment: EnvironmentName, name: string) => boolean
}

/** What the target has now and what the merge gives, as far as they were parsed. */
export interface PromotionReading {
  readonly before: ReadonlyMap<string, Version>
  readonly after: ReadonlyMap<string, Version>
  /** Shared files that are others after the merge. */
  readonly movedParts: ReadonlyMap<string, Entry | null>
  /** Whether each workflow was parsed that shared parts could concern. */
  readonly readsAll: boolean
  /** Whether all was parsed that the merge changes. */
  readonly isComplete: boolean
  readonly read: number
  readonly diagnostics: readonly Diagnostic[]
}

export interface Tips {
  readonly ours: RevisionTree
  readonly merged: MergedTree
}

/**
 * Parses what a merge would bring, and what it would replace. What is wrong with it is told with
 * file, line and column, except for workflows that cannot be merged by themselves.
 */
export async function readPromotion(
  { ours, merged }: Tips,
  {
    environment,
    changed,
    conflicting,
    checks,
  }: {
    readonly environment: EnvironmentName
    readonly changed: readonly WorkflowKey[]
    readonly conflicting: ReadonlySet<string>
    readonly checks: Checks
  },
): Promise<PromotionReading> {
  const { tree } = merged
  const [sharedBefore, sharedAfter] = await Promise.all([listShared(ours), listShared(tree)])
  const movedParts = diffEntries(sharedBefore, sharedAfter)
  const live = [...tree.directories.keys()]
    .filter((name) => isWorkflowDirectory(name) && !conflicting.has(name))
    .map((name) => name as WorkflowKey)
  const isInReach = live.length <= READ_MAX
  const wanted = movedParts.size > 0 && isInReach ? live : live.filter(among(changed))
  const keys = wanted.slice(0, READ_MAX)
  const after = await readVersions(tree, keys, { shared: sharedAfter })
  const old = changed.filter((key) => ours.directories.has(key)).slice(0, READ_MAX)
  const before = await readVersions(ours, old, { shared: sharedBefore })
  const found = [
    ...checkCount(live.length),
    ...checkStrays(tree),
    ...sharedAfter.flatMap((entry) => checkEntry(entry.path, entry)),
    ...after.diagnostics,
    ...(await checkSettings(tree, environment, { checks, versions: after.versions })),
  ]
  return {
    before: byKey(before.versions),
    after: byKey(after.versions),
    movedParts,
    readsAll: movedParts.size === 0 || isInReach,
    isComplete: wanted.length <= READ_MAX && (movedParts.size === 0 || isInReach),
    read: keys.length,
    diagnostics: sortDiagnostics(found),
  }
}

function among(keys: readonly string[]): (key: string) => boolean {
  const known = new Set(keys)
  return (key) => known.has(key)
}

function byKey(versions: readonly Version[]): ReadonlyMap<string, Version> {
  return new Map(versions.map((version) => [version.key, version]))
}

/** Path → what stands there now; null where nothing does. */
export function diffEntries(
  before: readonly Entry[],
  after: readonly Entry[],
): ReadonlyMap<string, Entry | null> {
  const old = new Map(before.map((entry) => [entry.path, entry]))
  const found = new Map<string, Entry | null>()
  for (const entry of after) {
    const known = old.get(entry.path)
    if (known?.blob !== entry.blob || known.mode !== entry.mode) found.set(entry.path, entry)
    old.delete(entry.path)
  }
  for (const path of old.keys()) found.set(path, null)
  return found
}

/** Checks the environment's own file as the merge gives it, and the workflows against it. */
async function checkSettings(
  tree: RevisionTree,
  environment: EnvironmentName,
  { checks, versions }: { readonly checks: Checks; readonly versions: readonly Version[] },
): Promise<readonly Diagnostic[]> {
  const file = findEnvironmentFile(tree, environment)
  if (file.kind !== 'found') return [file.diagnostic]
  const { path, blob } = file.entry
  const bytes = (await tree.read([blob])).get(blob) ?? new Uint8Array()
  const { providers, hasSecret } = checks
  const findFile = await readKeyFiles(tree)
  const context = { providers, hasSecret: (name: string) => hasSecret(environment, name), findFile }
  const parsed = parseEnvironment(environment, path, { bytes, context })
  if (parsed.kind === 'invalid') return parsed.diagnostics
  const workflows = [...tree.directories.keys()].filter(isWorkflowDirectory)
  return [
    ...versions.flatMap((version) => checkAgainstEnvironment(version, parsed.settings)),
    ...checkScheduledWorkflows(parsed.settings, workflows),
  ]
}
