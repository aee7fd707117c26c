import { messageOf } from '../errors.ts'
import type { RevisionTree } from '../git/source.ts'
import type { Revision, VersionId, WorkflowKey } from '../ids.ts'
import type { Version } from '../workflow/workflow.ts'
import type { HistoryHead, VersionPlace, WorkflowDrift, WorkflowTruth } from './drift-store.ts'
import type { Looking } from './settle.ts'
import { readBeside } from './snapshot.ts'
import type { KnownEnvironment } from './store.ts'
import { readWorkflows } from './versions.ts'

/** What differs in an environment, as it was found. */
export interface Differences {
  readonly head: HistoryHead
  readonly workflows: readonly WorkflowDrift[]
  /** Where versions with other content than they had were applied. */
  readonly places: readonly VersionPlace[]
}

/** What the rows have to say instead. */
export interface Truth {
  readonly head: HistoryHead
  readonly rows: readonly WorkflowTruth[]
  /** No revision has ever declared these. */
  readonly strangers: readonly WorkflowKey[]
  /** What the rows name; as a rule it is there. */
  readonly versions: readonly Version[]
  /** Versions whose content was found again. */
  readonly restored: readonly Version[]
}

/**
 * What was applied, from Git where its commit can be read, and else from the kept history. What
 * neither can say is left as it is: unknown is not empty.
 */
export async function findTruth(
  looking: Looking,
  known: KnownEnvironment,
  { head, workflows, places }: Differences,
): Promise<Truth> {
  const tree = await treeAt(looking, head.revision)
  const keys = workflows.map(({ key }) => key)
  const read = tree === undefined ? [] : await readWorkflows(tree, keys)
  const versions = new Map(read.map((version) => [version.key, version]))
  const truths = workflows.map((drift) => truthOf(drift, { head, tree, versions }))
  return {
    head: await readHead(looking, known, { head, tree }),
    rows: truths.flatMap((truth) => (truth.kind === 'row' ? [truth.row] : [])),
    strangers: truths.flatMap((truth) => (truth.kind === 'stranger' ? [truth.key] : [])),
    versions: read,
    restored: await findVersions(looking, places),
  }
}

type WorkflowVerdict =
  | { readonly kind: 'row'; readonly row: WorkflowTruth }
  | { readonly kind: 'stranger'; readonly key: WorkflowKey }
  | { readonly kind: 'unknown' }

interface Sources {
  readonly head: HistoryHead
  readonly tree: RevisionTree | undefined
  readonly versions: ReadonlyMap<WorkflowKey, Version>
}

function truthOf(drift: WorkflowDrift, { head, tree, versions }: Sources): WorkflowVerdict {
  const { key, sequence } = drift
  const version = versions.get(key)
  const directory = tree?.directories.get(key)
  if (version && directory !== undefined) {
    const found = { id: version.id, tree: directory }
    return {
      kind: 'row',
      row: { key, version: found, sequence: sequenceOf(drift, head, found) },
    }
  }
  if (tree !== undefined && directory === undefined) {
    if (sequence === null) return { kind: 'stranger', key }
    return { kind: 'row', row: { key, sequence, version: null } }
  }
  if (sequence === null) return { kind: 'unknown' }
  const kept = drift.versionId === null ? null : { id: drift.versionId, tree: drift.tree ?? '' }
  return { kind: 'row', row: { key, sequence, version: kept } }
}

/** Where Git says what the row says, and the history does not, the row is right about its sequence too. */
function sequenceOf(
  { sequence, versionId, tree, live }: WorkflowDrift,
  head: HistoryHead,
  found: { readonly id: VersionId; readonly tree: string },
): string {
  const isHistoryRight = versionId === found.id && tree === found.tree
  const isRowRight = live?.versionId === found.id && live.tree === found.tree
  if (sequence !== null && (isHistoryRight || !isRowRight)) return sequence
  const isPossible = live !== null && BigInt(live.sequence) <= BigInt(head.sequence)
  return isPossible ? String(live.sequence) : head.sequence
}

async function readHead(
  { providers, hasSecret, database, workingTree }: Looking,
  known: KnownEnvironment,
  { head, tree }: { readonly head: HistoryHead; readonly tree: RevisionTree | undefined },
): Promise<HistoryHead> {
  if (tree === undefined || head.fields.length === 0) return head
  const fileOptional = workingTree !== null
  const context = { database, known, fileOptional, providers, hasSecret }
  return { ...head, ...(await readBeside(tree, context)) }
}

/** Revisions that are read to find the content of versions again. */
const REVISIONS_MAX = 50

/** Reads versions again where they were applied; one that comes out with its id is what it was. */
async function findVersions(
  looking: Looking,
  places: readonly VersionPlace[],
): Promise<readonly Version[]> {
  const missing = new Set(places.map(({ id }) => id))
  const found: Version[] = []
  const byRevision = [...Map.groupBy(places, ({ revision }) => revision)].slice(0, REVISIONS_MAX)
  for (const [revision, some] of byRevision) {
    const keys = [...new Set(some.filter(({ id }) => missing.has(id)).map(({ key }) => key))]
    const tree = keys.length === 0 ? undefined : await treeAt(looking, revision)
    for (const version of tree === undefined ? [] : await readWorkflows(tree, keys)) {
      if (missing.delete(version.id)) found.push(version)
    }
  }
  return found
}

/** What a revision holds; undefined where that cannot be read now. */
async function treeAt(
  { repository, workingTree, log }: Looking,
  revision: Revision,
): Promise<RevisionTree | undefined> {
  try {
    if (!revision.includes('+')) return await repository.tree(revision)
    const { headRevision } = await repository.refs()
    const tree = await workingTree?.look(headRevision)
    return tree?.revision === revision ? tree : undefined
  } catch (error) {
    log.debug('a revision cannot be read again', { revision, error: messageOf(error) })
    return undefined
  }
}
