import { RequestError } from '../errors.ts'
import {
  newId,
  type EnvironmentName,
  type Revision,
  type VersionId,
  type WorkflowKey,
  type WorkflowRunId,
} from '../ids.ts'
import type { Queue } from '../db/queue.ts'
import { sql } from '../db/sql.ts'
import type { Transaction } from '../db/database.ts'
import { loadRecipients } from '../recipients/store.ts'
import type { RecipientRef } from '../recipients/recipient.ts'
import { storeInline } from './channel-data.ts'
import { parseTrigger, type TriggerRequest } from './trigger-request.ts'
import { CHUNK_RUNS_MAX, type RunJob } from './jobs.ts'
import { insertWorkflowRun } from './store.ts'
import { checkData, loadVersion } from './versions.ts'

export interface TriggerCall {
  readonly environment: EnvironmentName
  readonly workflow: WorkflowKey
  readonly body: unknown
  readonly now: Date
}

/** What the call found: the workflow as it is live in this environment. */
export interface Admission {
  readonly sequence: string
  readonly revision: Revision
  readonly version_id: VersionId | null
  readonly archived_at: Date | null
  readonly inactive: boolean
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
  const admission = await admit(tx, call)
  const request = parseTrigger(call.body)
  checkData(await loadVersion(tx, admission.versionId), request.data)
  await storeInline(tx, environment, request.entities, now)
  if (request.actor) await requireActor(tx, environment, request.actor)
  const id = newId<WorkflowRunId>()
  await insertWorkflowRun(tx, { id, environment, workflow, ...admission, request, now })
  const job: RunJob = { kind: 'start', environment, workflowRunId: id }
  await queue.enqueue(tx, queueFor(request), [job])
  return id
}

/** A trigger for many recipients must not stand in the way of one for a few. */
function queueFor(request: TriggerRequest): 'run' | 'run_bulk' {
  return request.recipients.length > CHUNK_RUNS_MAX ? 'run_bulk' : 'run'
}

/** The live version of a workflow that may run. Throws a `RequestError`: 404 `workflow_missing`, 422 `workflow_inactive`. */
export async function admit(tx: Transaction, call: Omit<TriggerCall, 'body'>) {
  const { environment, workflow, now } = call
  const [found] = await tx.query<Admission>(sql`
    select e.sequence, e.observed_revision as revision, w.version_id, w.archived_at,
      exists (
        select 1 from switches s
        where s.environment = e.name and s.workflow = w.key and s.channel = '' and not s.active
          and (s.expires_at is null or s.expires_at > ${now})
      ) as inactive
    from environments e
    left join workflows w on w.environment = e.name and w.key = ${workflow}
    where e.name = ${environment}
  `)
  return requireAdmission(call, found)
}

/** What may run of what was found. Throws a `RequestError`: 404 `workflow_missing`, 422 `workflow_inactive`. */
export function requireAdmission(
  { environment, workflow }: Pick<TriggerCall, 'environment' | 'workflow'>,
  found: Admission | undefined,
) {
  if (!found?.version_id || found.archived_at) {
    const why = found?.archived_at ? 'was archived' : 'does not exist'
    throw new RequestError(
      404,
      'workflow_missing',
      `workflow "${workflow}" ${why} in ${environment}`,
    )
  }
  if (found.inactive) {
    const message = `workflow "${workflow}" is switched off in ${environment}`
    throw new RequestError(422, 'workflow_inactive', message)
  }
  const { sequence, revision, version_id: versionId } = found
  return { sequence: Number(sequence), revision, versionId }
}

/** Throws a 422 `RequestError` `actor_missing` where nobody is known by this name. */
export async function requireActor(
  tx: Transaction,
  environment: EnvironmentName,
  actor: RecipientRef,
): Promise<void> {
  const found = await loadRecipients(tx, environment, [actor])
  if (found.length > 0) return
  const name = actor.collection === '$users' ? actor.id : `${actor.collection}/${actor.id}`
  throw new RequestError(422, 'actor_missing', `actor "${name}" is not known in ${environment}`)
}
