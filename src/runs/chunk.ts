import { memoized } from '../memo.ts'
import type { Transaction } from '../db/database.ts'
import { assert } from '../errors.ts'
import type { EnvironmentName, RunId, VersionId, WorkflowKey, WorkflowRunId } from '../ids.ts'
import { loadEnvironment, type AppliedEnvironment } from '../messages/environments.ts'
import type { Links } from '../messages/links.ts'
import { loadMessageStatuses, type RefStatus } from '../messages/store.ts'
import { loadSwitches, type SwitchLookup } from '../messages/switches.ts'
import {
  channelDataKey,
  loadChannelData,
  type ChannelData,
} from '../recipients/channel-data-store.ts'
import { type Recipient, recipientKey, type RecipientRef } from '../recipients/recipient.ts'
import { loadRecipients } from '../recipients/store.ts'
import { stepTypeOf } from '../steps/index.ts'
import type { StepBase } from '../steps/step.ts'
import { loadContents, type BatchContents } from './batch-contents.ts'
import { loadFetches } from './fetch-store.ts'
import type { PendingFetch } from './fetched.ts'
import { loadPreferenceSets, type PreferenceAsker, type PreferenceSets } from './preferences.ts'
import { findMemberships, type Asking, type Memberships } from './memberships.ts'
import type { QueuedRun, WorkflowRun } from './run.ts'
import { loadArchived, loadWorkflowRuns } from './store.ts'
import { loadWaits, type LoadedWait } from './wait-store.ts'
import { hasWaits } from './waiting.ts'
import { loadVersions, type LoadedVersion } from './versions.ts'

/** What a chunk is worked on with, beside what is read. */
export interface Surroundings {
  /** Whether all of this is undone: then nobody outside is asked. */
  readonly dryRun: boolean
  /** What links to us are made with; null where nobody could reach us by them. */
  readonly links: Links | null
  /** What its runs have made so far: a chunk that grows too large leaves the rest of them. */
  readonly made: { bytes: number }
}

/** All that a chunk of runs of one environment needs to go on, read in its transaction. */
export interface Chunk extends Surroundings {
  readonly environment: EnvironmentName
  readonly live: AppliedEnvironment
  readonly workflowRuns: ReadonlyMap<WorkflowRunId, WorkflowRun>
  readonly versions: ReadonlyMap<VersionId, LoadedVersion>
  readonly archived: ReadonlySet<WorkflowKey>
  readonly switches: SwitchLookup
  /** By `collection/id`: recipients, actors, tenants, and the objects by which recipients were reached. */
  readonly entities: ReadonlyMap<string, Recipient>
  /** The sets of the recipients that may count. */
  readonly preferences: PreferenceSets
  /** Of the messages that these runs made before, by run. */
  readonly statuses: ReadonlyMap<RunId, readonly RefStatus[]>
  /** What the batches held that these runs went on from before, by run. */
  readonly batches: ReadonlyMap<RunId, BatchContents>
  /** What became of the requests that these runs wait for, by run. */
  readonly fetches: ReadonlyMap<RunId, PendingFetch>
  /** Of the runs whose versions wait for events: their waits, oldest first. */
  readonly waits: ReadonlyMap<RunId, readonly LoadedWait[]>
  /** Where the recipients of these runs are reached, by `channelDataKey`; empty where no version asks for it. */
  readonly channelData: ReadonlyMap<string, ChannelData['data']>
  /** Of the recipients of these runs; empty where no condition asks for audiences. */
  readonly memberships: Memberships
  readonly now: Date
}

/** Loads a chunk with a fixed number of queries, whatever the number of runs. */
export async function loadChunk(
  tx: Transaction,
  environment: EnvironmentName,
  {
    runs,
    known,
  }: {
    readonly runs: readonly QueuedRun[]
    /** Recipients that this transaction has read already. */
    readonly known: readonly Recipient[]
  },
  now: Date,
): Promise<Omit<Chunk, keyof Surroundings>> {
  const workflows = [...new Set(runs.map((run) => run.workflow))]
  const live = await loadEnvironment(tx, environment)
  assert(live, `environment ${environment} has runs and no applied revision`)
  const workflowRuns = await loadWorkflowRuns(
    tx,
    environment,
    runs.map((run) => run.workflowRunId),
  )
  const versions = await loadVersions(
    tx,
    runs.map((run) => run.versionId),
  )
  const archived = await loadArchived(tx, environment, workflows)
  const switches = await loadSwitches(tx, environment, workflows, now)
  const entities = new Map(known.map((entity) => [recipientKey(entity), entity]))
  const others = named(runs, workflowRuns).filter((ref) => !entities.has(recipientKey(ref)))
  for (const entity of await loadRecipients(tx, environment, others))
    entities.set(recipientKey(entity), entity)
  const preferences = await loadPreferenceSets(tx, environment, askers(runs, workflowRuns))
  const statuses = await loadStatuses(tx, environment, runs, versions)
  const batches = await loadBatches(tx, environment, runs)
  const asking = runs.filter(({ waitsFor }) => waitsFor === 'fetch').map(({ id }) => id)
  const fetches = await loadFetches(tx, environment, asking)
  const waiting = runs.filter((run) => run.steps > 0 && hasWaits(versions.get(run.versionId)!))
  const waits = await loadWaits(
    tx,
    environment,
    waiting.map(({ id }) => id),
  )
  const channelData = await loadAddresses(tx, environment, runs, versions)
  const { settings } = live
  const asked = { settings, preferences, versions: versions.values(), entities: entities.values() }
  const memberships = await loadMemberships(tx, environment, runs, asked)
  return {
    environment,
    live,
    workflowRuns,
    versions,
    archived,
    switches,
    entities,
    preferences,
    statuses,
    batches,
    fetches,
    waits,
    channelData,
    memberships,
    now,
  }
}

/** What the batches held that these runs went on from; one that waits for its batch has nothing of it yet. */
async function loadBatches(
  tx: Transaction,
  environment: EnvironmentName,
  runs: readonly QueuedRun[],
): Promise<ReadonlyMap<RunId, BatchContents>> {
  const held = runs.flatMap(({ id, batchId, waitsFor }) =>
    batchId === null || waitsFor === 'batch' ? [] : [{ id, batchId }],
  )
  const ids = held.map(({ batchId }) => batchId)
  const contents = await loadContents(tx, environment, ids)
  return new Map(
    held.flatMap(({ id, batchId }) => {
      const found = contents.get(batchId)
      return found ? [[id, found] as const] : []
    }),
  )
}

/** In which audiences the recipients of these runs are, where a condition may ask for it. */
function loadMemberships(
  tx: Transaction,
  environment: EnvironmentName,
  runs: readonly QueuedRun[],
  asked: Omit<Asking, 'isCertain'>,
): Promise<Memberships> {
  const recipients = runs.map(({ collection, recipient: id }) => ({ collection, id }))
  // Such a run may go on in a version that is not known yet.
  const isCertain = runs.some(({ waitsFor }) => waitsFor === 'batch')
  return findMemberships(tx, environment, recipients, { ...asked, isCertain })
}

/** The channel data of the recipients of those runs whose versions send by push or chat. */
async function loadAddresses(
  tx: Transaction,
  environment: EnvironmentName,
  runs: readonly QueuedRun[],
  versions: ReadonlyMap<VersionId, LoadedVersion>,
): Promise<Chunk['channelData']> {
  const asking = runs.filter((run) => mayAsk(run, versions, asksForAddresses))
  if (asking.length === 0) return new Map()
  const refs = asking.map((run) => ({ collection: run.collection, id: run.recipient }))
  const found = await loadChannelData(tx, environment, refs)
  return new Map(
    found.map(({ collection, id, channel, data }) => [
      channelDataKey(collection, id, channel),
      data,
    ]),
  )
}

/** The states of earlier messages, of those runs whose versions ask for them. */
async function loadStatuses(
  tx: Transaction,
  environment: EnvironmentName,
  runs: readonly QueuedRun[],
  versions: ReadonlyMap<VersionId, LoadedVersion>,
): Promise<ReadonlyMap<RunId, readonly RefStatus[]>> {
  const asking = runs.filter((run) => run.steps > 0 && mayAsk(run, versions, asksForMessages))
  if (asking.length === 0) return new Map()
  const ids = asking.map((run) => run.id)
  return Map.groupBy(await loadMessageStatuses(tx, environment, ids), (status) => status.runId)
}

/** A run may go on from its batch in a version that is not known yet, and that may ask for anything. */
function mayAsk(
  { versionId, waitsFor }: QueuedRun,
  versions: ReadonlyMap<VersionId, LoadedVersion>,
  asks: (version: LoadedVersion) => boolean,
): boolean {
  return waitsFor === 'batch' || asks(versions.get(versionId)!)
}

/** Everybody that the scopes of these runs show. */
function named(
  runs: readonly QueuedRun[],
  workflowRuns: ReadonlyMap<WorkflowRunId, WorkflowRun>,
): readonly RecipientRef[] {
  const refs: RecipientRef[] = runs.flatMap(({ collection, recipient, subscription }) => [
    { collection, id: recipient },
    ...(subscription ? [subscription.object] : []),
  ])
  for (const { actor, tenant } of workflowRuns.values()) {
    if (actor) refs.push(actor)
    if (tenant !== null) refs.push({ collection: '$tenants', id: tenant })
  }
  return refs
}

/** Whose preferences count for these runs. */
function askers(
  runs: readonly QueuedRun[],
  workflowRuns: ReadonlyMap<WorkflowRunId, WorkflowRun>,
): readonly PreferenceAsker[] {
  return runs.map(({ collection, recipient, workflowRunId }) => ({
    collection,
    id: recipient,
    tenant: workflowRuns.get(workflowRunId)?.tenant ?? null,
  }))
}

/**
 * Whether a version may look at `refs` anywhere, by its name or with the whole scope: only then the states of earlier
 * messages are read. To read them in vain is no harm.
 */
const asksForMessages = memoized(({ workflow, files }: LoadedVersion) =>
  /refs|@root|\bthis\b|[\s{(=]\.[\s})/[]/.test(JSON.stringify([workflow, files])),
)

/** Whether a version holds a step that sends to devices or connections. */
const asksForAddresses = memoized(({ workflow }: LoadedVersion) =>
  workflow.steps.some(sendsToAddresses),
)

function sendsToAddresses(step: StepBase): boolean {
  const type = stepTypeOf(step)
  if (type.channelType === 'push' || type.channelType === 'chat') return true
  return type.children?.(step).some(({ steps }) => steps.some(sendsToAddresses)) ?? false
}
