import type { Queryable } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import { isKey, type EnvironmentName, type WorkflowKey } from '../ids.ts'
import { listSwitches, listSwitchEvents, setSwitch, type Switch } from '../messages/switches.ts'
import { findWorkflow, listWorkflows, type WorkflowView } from '../reconcile/read.ts'
import { cancelByKey } from '../runs/cancel.ts'
import { dryRunWorkflow } from '../runs/dry-run.ts'
import { triggerWorkflow } from '../runs/trigger.ts'
import { CANCELLATION_KEY_LENGTH_MAX, RECIPIENTS_MAX } from '../runs/trigger-request.ts'
import { requireScope } from './auth.ts'
import { requireChannel } from './channel.ts'
import { cutPage, pageQuery, plainCursors, readPage, wholePage } from './page.ts'
import { readReference, referenceSchema, type WireReference } from './reference.ts'
import { ANSWERS_NOTHING, type MutationRoute, NO_CONTENT, ok, type ReadRoute } from './route.ts'
import { toDryRun } from './run-wire.ts'
import {
  Activation,
  readSwitch,
  type SwitchBody,
  switchSchema,
  toActivation,
} from './switch-body.ts'
import { ActorRequest, RecipientRequest, TenantRequest } from './shapes/recipients.ts'
import { DryRun, WorkflowRunId } from './shapes/runs.ts'
import {
  component,
  entity,
  flag,
  json,
  listOf,
  nullableFlag,
  nullableJson,
  nullableText,
  nullableTime,
  pageShape,
  shape,
  text,
  time,
} from './shapes/shape.ts'

const workflowFields = {
  key: text,
  name: text,
  description: nullableText,
  categories: listOf(text),
  tags: listOf(text),
  active: flag,
  switches: listOf(
    shape({
      channel: nullableText,
      reason: nullableText,
      actor: text,
      expires_at: nullableTime,
      updated_at: time,
    }),
  ),
  version: text,
  revision: text,
  archived_at: nullableTime,
  created_at: time,
  updated_at: time,
}
const WorkflowShape = entity('Workflow', workflowFields)
const WorkflowDetails = component('WorkflowDetails', {
  __typename: { const: 'Workflow' },
  ...workflowFields,
  definition: { ...json, description: 'What its file says.' },
})

const keySchema = {
  description: 'By which runs are cancelled together.',
  type: ['string', 'null'],
  minLength: 1,
  maxLength: CANCELLATION_KEY_LENGTH_MAX,
} as const

const triggerSchema = {
  type: 'object',
  required: ['recipients'],
  properties: {
    recipients: {
      type: 'array',
      minItems: 1,
      maxItems: RECIPIENTS_MAX,
      items: RecipientRequest,
    },
    actor: ActorRequest,
    tenant: TenantRequest,
    data: { ...nullableJson, description: 'What templates and conditions see as `data`.' },
    cancellation_key: keySchema,
    settings: {
      type: ['object', 'null'],
      properties: { sandbox_mode: nullableFlag, skip_delay: nullableFlag },
    },
  },
}

const trigger: MutationRoute = {
  id: 'workflows.trigger',
  summary: 'Starts a workflow',
  replies: { 200: { title: 'Triggered', anyOf: [WorkflowRunId, DryRun] } },
  kind: 'mutation',
  method: 'POST',
  path: '/v1/workflows/:key/trigger',
  scope: 'trigger',
  environment: 'key',
  meter: 'trigger_seconds',
  query: {
    type: 'object',
    properties: {
      dry_run: {
        ...flag,
        description: 'Shows what would happen to each, and does nothing; needs `read` as well.',
      },
    },
  },
  body: triggerSchema,
  isIdle: (query) => query['dry_run'] === true,
  async handle({ tx, environment, params, query, body, caller, now, services }) {
    const workflow = params['key'] as WorkflowKey
    const call = { environment, workflow, body, now }
    if (query['dry_run'] === true) {
      // It shows what is known about recipients, which who may trigger may not be meant to see.
      requireScope(caller, 'read')
      return ok(toDryRun(await dryRunWorkflow(tx, services.queue, call)))
    }
    return ok({ workflow_run_id: await triggerWorkflow(tx, services.queue, call) })
  },
}

interface CancelBody {
  readonly cancellation_key: string
  readonly recipients?: readonly WireReference[] | null
}

const cancel: MutationRoute = {
  id: 'workflows.cancel',
  summary: 'Cancels the runs of a key',
  replies: ANSWERS_NOTHING,
  kind: 'mutation',
  method: 'POST',
  path: '/v1/workflows/:key/cancel',
  scope: 'trigger',
  environment: 'key',
  body: {
    type: 'object',
    required: ['cancellation_key'],
    properties: {
      cancellation_key: { ...keySchema, type: 'string' },
      recipients: {
        type: ['array', 'null'],
        maxItems: RECIPIENTS_MAX,
        items: referenceSchema,
        description: 'The runs of these alone.',
      },
    },
  },
  async handle({ tx, environment, params, body, caller, services, now }) {
    const { cancellation_key: cancellationKey, recipients } = body as CancelBody
    const { key: workflow } = await loadWorkflow(tx, environment, params['key'])
    await cancelByKey(tx, services.queue, {
      environment,
      workflow,
      cancellationKey,
      recipients: recipients ? recipients.map(readReference) : null,
      requestedBy: caller.name,
      now,
    })
    return NO_CONTENT
  },
}

const activate: MutationRoute = {
  id: 'workflows.activate',
  summary: 'Turns the switch of a workflow',
  replies: { 200: WorkflowShape },
  kind: 'mutation',
  method: 'PUT',
  path: '/v1/workflows/:key/activate',
  scope: 'operate',
  environment: 'key',
  body: switchSchema({
    channel: {
      type: ['string', 'null'],
      minLength: 1,
      maxLength: 255,
      description: 'The id or key of a channel; all of them where it is left out.',
    },
  }),
  async handle({ tx, environment, params, body, caller, now }) {
    const view = await loadWorkflow(tx, environment, params['key'])
    const { channel: named } = body as SwitchBody
    const channel = named ? await requireChannel(tx, environment, named) : ''
    const place = { environment, workflow: view.key, channel }
    await setSwitch(tx, {
      ...place,
      ...readSwitch(body as SwitchBody, now),
      actor: caller.name,
      now,
    })
    return ok(toWorkflow(view, await listSwitches(tx, environment, now)))
  },
}

async function loadWorkflow(
  db: Queryable,
  environment: EnvironmentName,
  key: string | undefined,
): Promise<WorkflowView> {
  const view = await findWorkflow(db, environment, key ?? '')
  if (view) return view
  const message = `workflow "${key}" does not exist in ${environment}`
  throw new RequestError(404, 'workflow_missing', message)
}

const activations: ReadRoute = {
  id: 'workflows.listActivations',
  summary: 'Tells who turned the switches of a workflow',
  replies: { 200: pageShape('items', Activation) },
  kind: 'read',
  method: 'GET',
  path: '/v1/workflows/:key/activations',
  scope: 'read',
  environment: 'key',
  async handle({ database, environment, params }) {
    const { key } = await loadWorkflow(database, environment, params['key'])
    const events = await listSwitchEvents(database, environment, key)
    return ok({ items: events.map(toActivation), page_info: wholePage(events.length) })
  },
}

const list: ReadRoute = {
  id: 'workflows.list',
  summary: 'Lists the workflows that are live',
  replies: { 200: pageShape('entries', WorkflowShape) },
  kind: 'read',
  method: 'GET',
  path: '/v1/workflows',
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: pageQuery },
  async handle({ database, environment, query, now }) {
    const page = readPage(query, plainCursors(isKey))
    const views = await listWorkflows(database, environment, { ...page, limit: page.size + 1 })
    const switches = await listSwitches(database, environment, now)
    const { rows, info } = cutPage(
      views.map((view) => ({ id: view.key, view })),
      page,
    )
    return ok({ entries: rows.map(({ view }) => toWorkflow(view, switches)), page_info: info })
  },
}

const find: ReadRoute = {
  id: 'workflows.get',
  summary: 'Shows a workflow',
  replies: { 200: WorkflowDetails },
  kind: 'read',
  method: 'GET',
  path: '/v1/workflows/:key',
  scope: 'read',
  environment: 'key',
  async handle({ database, environment, params, now }) {
    const view = await loadWorkflow(database, environment, params['key'])
    const switches = await listSwitches(database, environment, now)
    return ok({ ...toWorkflow(view, switches), definition: view.workflow })
  },
}

function toWorkflow(view: WorkflowView, switches: readonly Switch[]) {
  const { name, description, categories, tags } = view.workflow
  const own = switches.filter(({ workflow }) => workflow === view.key)
  return {
    __typename: 'Workflow',
    key: view.key,
    name,
    description: description ?? null,
    categories: categories ?? [],
    tags: tags ?? [],
    active: !own.some(({ channel }) => channel === ''),
    switches: own.map(({ channel, reason, actor, expiresAt, updatedAt }) => ({
      channel: channel || null,
      reason,
      actor,
      expires_at: expiresAt,
      updated_at: updatedAt,
    })),
    version: view.versionId,
    revision: view.revision,
    archived_at: view.archivedAt,
    created_at: view.createdAt,
    updated_at: view.updatedAt,
  }
}

export const workflows = [trigger, cancel, activate, activations, list, find] as const
