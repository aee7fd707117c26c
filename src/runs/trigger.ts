import { RequestError } from '../errors.ts'
import { newId, type EnvironmentName, type WorkflowKey, type WorkflowRunId } from '../ids.ts'
import type { Queue } from '../db/queue.ts'
import type { Transaction } from '../db/database.ts'
import { loadRecipients } from '../recipients/store.ts'
import { recipientKey, type RecipientRef } from '../recipients/recipient.ts'
import { storeInline } from './channel-data.ts'
import { parseTrigger } from './trigger-request.ts'
import { isLarge, type RunJob } from './jobs.ts'
import { checkData, loadVersion } from './versions.ts'
import { insertWorkflowRuns, loadTargets, requireLive, type Live } from './workflow-run-store.ts'

export interface TriggerCall {
  readonly environment: EnvironmentName
  readonly workflow: WorkflowKey
  readonly body: unknown
  readonly now: Date
}

/**
 * Asks a workflow to run for the recipients that the body names, in the caller's transaction: once that
 * is committed the trigger is in Postgres, and nothing that fails later loses it.
 * Throws a `RequestError`: 404 `workflow_missing`, 422 `workflow_inactive`, `invalid_params`,
 * `invalid_data` (with each violation of the data schema), `actor_missing`.
 */
export async function triggerWorkflow(
  tx: Transaction,
  queue: Queue,
  call: TriggerCall,
): Promise<WorkflowRunId> {
  const { environment, workflow, now } = call
  const live = await admit(tx, call)
  const request = parseTrigger(call.body)
  checkData(await loadVersion(tx, live.versionId), request.data)
  await storeInline(tx, environment, request.entities, now)
  if (request.actor) await requireActors(tx, environment, [request.actor])
  const id = newId<WorkflowRunId>()
  const run = { id, workflow, ...live, request, source: { type: 'api' } } as const
  await insertWorkflowRuns(tx, environment, [run], now)
  const large = isLarge(request)
  const job: RunJob = { kind: 'start', environment, workflowRunId: id, large }
  await queue.enqueue(tx, large ? 'run_bulk' : 'run', [job])
  return id
}

/** The live version of a workflow that may run. Throws a `RequestError`: 404 `workflow_missing`, 422 `workflow_inactive`. */
export async function admit(tx: Transaction, call: Omit<TriggerCall, 'body'>): Promise<Live> {
  const { environment, workflow, now } = call
  const [found] = await loadTargets(tx, environment, [workflow], now)
  return requireLive(call, found)
}

/** Throws a 422 `RequestError` `actor_missing` where nobody is known by the name of one of these. */
export async function requireActors(
  tx: Transaction,
  environment: EnvironmentName,
  actors: readonly RecipientRef[],
): Promise<void> {
  const known = new Set((await loadRecipients(tx, environment, actors)).map(recipientKey))
  const missing = actors.find((actor) => !known.has(recipientKey(actor)))
  if (!missing) return
  const { collection, id } = missing
  const name = collection === '$users' ? id : `${collection}/${id}`
  throw new RequestError(422, 'actor_missing', `actor "${name}" is not known in ${environment}`)
}
