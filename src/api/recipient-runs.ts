import { isUuid, type RunId } from '../ids.ts'
import { cancelRun } from '../runs/cancel.ts'
import { replayRun, wakeRun } from '../runs/operate.ts'
import { findRun, listRuns, loadTimeline, type RunFilter } from '../runs/read.ts'
import { cutPage, pageQuery, readPage } from './page.ts'
import { readReference, referenceSchema, resourceMissing, type WireReference } from './reference.ts'
import { toEvent, toRun } from './run-wire.ts'
import { ANSWERS_NOTHING, type MutationRoute, NO_CONTENT, ok, type ReadRoute } from './route.ts'
import {
  RUN_STATUSES,
  WorkflowRecipientRun,
  WorkflowRecipientRunDetails,
  WorkflowRunId,
} from './shapes/runs.ts'
import { flag, pageShape, text, time } from './shapes/shape.ts'

interface RunsQuery {
  readonly workflow?: string
  readonly status?: readonly string[]
  readonly outcome?: string
  readonly reason?: string
  readonly revision?: string
  readonly tenant?: string
  readonly recipient?: WireReference
  readonly workflow_run_id?: string
  readonly cancellation_key?: string
  readonly has_errors?: boolean
  readonly starting_at?: string
  readonly ending_at?: string
}

const list: ReadRoute = {
  id: 'workflowRecipientRuns.list',
  summary: 'Lists runs',
  replies: { 200: pageShape('items', WorkflowRecipientRun) },
  kind: 'read',
  method: 'GET',
  path: '/v1/workflow_recipient_runs',
  scope: 'read',
  environment: 'key',
  query: {
    type: 'object',
    properties: {
      ...pageQuery,
      workflow: text,
      status: { type: 'array', items: { enum: RUN_STATUSES } },
      outcome: text,
      reason: text,
      revision: text,
      tenant: text,
      recipient: referenceSchema,
      workflow_run_id: { type: 'string', format: 'uuid' },
      cancellation_key: text,
      has_errors: { type: 'boolean' },
      starting_at: time,
      ending_at: time,
    },
  },
  async handle({ database, environment, query }) {
    const page = readPage(query)
    const filter = filterOf(query)
    const rows = await listRuns(database, environment, filter, { ...page, limit: page.size + 1 })
    const { rows: shown, info } = cutPage(rows, page)
    return ok({ items: shown.map(toRun), page_info: info })
  },
}

function filterOf(query: RunsQuery): RunFilter {
  const { workflow, status, outcome, reason, revision, tenant, recipient } = query
  return {
    workflow,
    status,
    outcome,
    reason,
    revision,
    tenant,
    recipient: recipient === undefined ? undefined : readReference(recipient),
    workflowRunId: query.workflow_run_id,
    cancellationKey: query.cancellation_key,
    hasErrors: query.has_errors,
    startingAt: query.starting_at === undefined ? undefined : new Date(query.starting_at),
    endingAt: query.ending_at === undefined ? undefined : new Date(query.ending_at),
  }
}

const find: ReadRoute = {
  id: 'workflowRecipientRuns.get',
  summary: 'Shows a run with its timeline',
  replies: { 200: WorkflowRecipientRunDetails },
  kind: 'read',
  method: 'GET',
  path: '/v1/workflow_recipient_runs/:id',
  scope: 'read',
  environment: 'key',
  async handle({ database, environment, params }) {
    const id = runId(params['id'])
    const row = await findRun(database, environment, id)
    if (!row) throw resourceMissing('run', id)
    const timeline = await loadTimeline(database, environment, row)
    return ok({ ...toRun(row), events: timeline.map(toEvent) })
  },
}

const cancel: MutationRoute = {
  id: 'workflowRecipientRuns.cancel',
  summary: 'Cancels a run',
  replies: ANSWERS_NOTHING,
  kind: 'mutation',
  method: 'POST',
  path: '/v1/workflow_recipient_runs/:id/cancel',
  scope: 'trigger',
  environment: 'key',
  async handle({ tx, environment, params, caller, services, now }) {
    const id = runId(params['id'])
    await cancelRun(tx, services.queue, { environment, id, requestedBy: caller.name, now })
    return NO_CONTENT
  },
}

const wake: MutationRoute = {
  id: 'workflowRecipientRuns.wake',
  summary: 'Ends the wait of a run',
  replies: ANSWERS_NOTHING,
  kind: 'mutation',
  method: 'POST',
  path: '/v1/workflow_recipient_runs/:id/wake',
  scope: 'operate',
  environment: 'key',
  async handle({ tx, environment, params, caller, services, now }) {
    const id = runId(params['id'])
    await wakeRun(tx, services.queue, { environment, id, requestedBy: caller.name, now })
    return NO_CONTENT
  },
}

const replay: MutationRoute = {
  id: 'workflowRecipientRuns.replay',
  summary: 'Does a run again',
  replies: { 200: WorkflowRunId },
  kind: 'mutation',
  method: 'POST',
  path: '/v1/workflow_recipient_runs/:id/replay',
  scope: 'operate',
  environment: 'key',
  body: {
    type: 'object',
    properties: { sandbox: { ...flag, description: 'Whether nothing is sent; true unless told.' } },
  },
  isBodyOptional: true,
  async handle({ tx, environment, params, body, caller, services, now }) {
    const id = runId(params['id'])
    const { sandbox = true } = (body ?? {}) as { readonly sandbox?: boolean }
    const call = { environment, id, sandbox, requestedBy: caller.name, now }
    return ok({ workflow_run_id: await replayRun(tx, services.queue, call) })
  },
}

/** What cannot be an id of ours names nothing that is there. */
function runId(id = ''): RunId {
  if (isUuid(id)) return id as RunId
  throw resourceMissing('run', id)
}

export const recipientRuns = [list, find, cancel, wake, replay] as const
