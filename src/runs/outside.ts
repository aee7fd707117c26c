import type { Transaction } from '../db/database.ts'
import type { Queue } from '../db/queue.ts'
import { RequestError } from '../errors.ts'
import {
  newId,
  type EnvironmentName,
  type VersionId,
  type WorkflowKey,
  type WorkflowRunId,
} from '../ids.ts'
import { recipientKey, type RecipientRef } from '../recipients/recipient.ts'
import { loadRecipients } from '../recipients/store.ts'
import { storeInline } from './channel-data.ts'
import { isLarge, type RunJob } from './jobs.ts'
import type { TriggerRequest } from './trigger-request.ts'
import { checkData, loadVersions, type LoadedVersion } from './versions.ts'
import {
  insertWorkflowRuns,
  loadTargets,
  requireLive,
  type Live,
  type NewWorkflowRun,
  type StoredSource,
  type Target,
} from './workflow-run-store.ts'

/** Starting more workflows at once must not stand in the way of one that is called for. */
const INTERACTIVE_MAX = 50

/** A workflow to start because of something that is no call for it: an event, or joining an audience. */
export interface OutsideTrigger {
  readonly workflow: WorkflowKey
  readonly request: TriggerRequest
  readonly source: StoredSource
}

/** What became of it. */
export type Started =
  | { readonly kind: 'started'; readonly workflowRunId: WorkflowRunId }
  /** Why a call for it would be refused. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }

/** Where, with what, and when. */
export interface StartContext {
  readonly queue: Queue
  readonly environment: EnvironmentName
  readonly now: Date
}

/**
 * Starts workflows in the caller's transaction, each as a call for it would, with a fixed number of statements
 * whatever their number. One that may not run keeps no other from it. Answers in the order of `triggers`.
 * Throws a 422 `RequestError` where what they say inline of recipients cannot be stored.
 */
export async function startWorkflows(
  tx: Transaction,
  context: StartContext,
  triggers: readonly OutsideTrigger[],
): Promise<readonly Started[]> {
  if (triggers.length === 0) return []
  const { environment, queue, now } = context
  const keys = [...new Set(triggers.map(({ workflow }) => workflow))]
  const targets = new Map(
    (await loadTargets(tx, environment, keys, now)).map((target) => [target.workflow, target]),
  )
  const versions = await loadVersions(
    tx,
    [...targets.values()].flatMap(({ versionId }) => versionId ?? []),
  )
  const checked = triggers.map((trigger) => ({
    trigger,
    found: admit(targets.get(trigger.workflow), { environment, ...trigger }, versions),
  }))
  const admitted = checked.flatMap(({ trigger, found }) =>
    'kind' in found ? [] : [trigger.request],
  )
  await storeInline(
    tx,
    environment,
    admitted.flatMap(({ entities }) => entities),
    now,
  )
  const actors = await loadActors(tx, environment, admitted)
  const runs: NewWorkflowRun[] = []
  const started = checked.map(({ trigger, found }): Started => {
    if ('kind' in found) return found
    const { actor } = trigger.request
    if (actor && !actors.has(recipientKey(actor)))
      return refused('actor_missing', `actor "${recipientKey(actor)}" is not known`)
    const id = newId<WorkflowRunId>()
    runs.push({ id, ...trigger, ...found })
    return { kind: 'started', workflowRunId: id }
  })
  await insertWorkflowRuns(tx, environment, runs, now)
  await enqueue(tx, queue, environment, runs)
  return started
}

function admit(
  target: Target | undefined,
  { environment, workflow, request }: OutsideTrigger & Pick<StartContext, 'environment'>,
  versions: ReadonlyMap<VersionId, LoadedVersion>,
): Live | Extract<Started, { kind: 'refused' }> {
  try {
    const live = requireLive({ environment, workflow }, target)
    checkData(versions.get(live.versionId)!, request.data)
    return live
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    return refused(error.code, error.message)
  }
}

function refused(code: string, message: string) {
  return { kind: 'refused', code, message } as const
}

async function loadActors(
  tx: Transaction,
  environment: EnvironmentName,
  requests: readonly TriggerRequest[],
): Promise<ReadonlySet<string>> {
  const actors = new Map<string, RecipientRef>()
  for (const { actor } of requests) if (actor) actors.set(recipientKey(actor), actor)
  if (actors.size === 0) return new Set()
  const known = await loadRecipients(tx, environment, [...actors.values()])
  return new Set(known.map(recipientKey))
}

async function enqueue(
  tx: Transaction,
  queue: Queue,
  environment: EnvironmentName,
  runs: readonly NewWorkflowRun[],
): Promise<void> {
  const jobs = runs.map(({ id, request }) => {
    const large = isLarge(request)
    return { kind: 'start', environment, workflowRunId: id, large } satisfies RunJob
  })
  const isBulk = ({ large }: (typeof jobs)[number]) => large || runs.length > INTERACTIVE_MAX
  await queue.enqueue(
    tx,
    'run',
    jobs.filter((job) => !isBulk(job)),
  )
  await queue.enqueue(tx, 'run_bulk', jobs.filter(isBulk))
}
