import type { Queryable } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import { isUuid, type ChannelKey, type EnvironmentName, type MessageId } from '../ids.ts'
import {
  findMessage,
  findMessageEvents,
  listDeliveries,
  listMessages,
  loadMessageContents,
  type MessageFilter,
} from '../messages/log-store.ts'
import { MESSAGE_STATUSES, type MessageStatus } from '../messages/message.ts'
import { contentToWire, deliveryToWire, eventsToWire, messageToWire } from '../messages/wire.ts'
import { findChannel } from './channel.ts'
import { pageInfo, pageQuery, readPage, slicePage } from './page.ts'
import { readReference, referenceSchema, resourceMissing, type WireReference } from './reference.ts'
import { ok, type ReadRoute } from './route.ts'

const IDS_MAX = 50
const text = { type: 'string' } as const
const time = { type: 'string', format: 'date-time' } as const
const uuid = { type: 'string', format: 'uuid' } as const

interface MessagesQuery {
  readonly tenant?: string
  readonly channel_id?: string
  readonly status?: readonly MessageStatus[]
  readonly message_ids?: readonly string[]
  readonly source?: string
  readonly workflow_run_id?: string
  readonly workflow_recipient_run_id?: string
  readonly recipient?: WireReference
  readonly 'inserted_at.gt'?: string
  readonly 'inserted_at.gte'?: string
  readonly 'inserted_at.lt'?: string
  readonly 'inserted_at.lte'?: string
}

/** Filters of the contract that are not supported; a list that leaves one out would be a wrong answer. */
const MISSING_FILTERS = ['engagement_status', 'workflow_categories', 'trigger_data']

const FILTERS =
  'tenant, channel_id, status, message_ids, source, workflow_run_id, workflow_recipient_run_id, recipient and inserted_at'

const list: ReadRoute = {
  kind: 'read',
  method: 'GET',
  path: '/v1/messages',
  scope: 'read',
  environment: 'key',
  query: {
    type: 'object',
    properties: {
      ...pageQuery,
      tenant: text,
      channel_id: text,
      status: { type: 'array', items: { enum: MESSAGE_STATUSES } },
      message_ids: { type: 'array', items: text, maxItems: IDS_MAX },
      source: text,
      workflow_run_id: uuid,
      workflow_recipient_run_id: uuid,
      recipient: referenceSchema,
      'inserted_at.gt': time,
      'inserted_at.gte': time,
      'inserted_at.lt': time,
      'inserted_at.lte': time,
    },
  },
  async handle({ database, environment, query }) {
    refuseMissingFilters(query)
    const page = readPage(query)
    const filter = await filterOf(database, environment, query)
    const { rows, ...ends } = await listMessages(database, environment, filter, page)
    return ok({ items: rows.map(messageToWire), page_info: pageInfo(ends, page) })
  },
}

function refuseMissingFilters(query: Readonly<Record<string, unknown>>): void {
  const name = MISSING_FILTERS.find((filter) => query[filter] !== undefined)
  if (name === undefined) return
  const message = `is not supported; messages are filtered by ${FILTERS}`
  throw new RequestError(422, 'invalid_params', `${name} ${message}`, [
    { field: `?/${name}`, message },
  ])
}

async function filterOf(
  db: Queryable,
  environment: EnvironmentName,
  query: MessagesQuery,
): Promise<MessageFilter> {
  const { channel_id: channel, recipient, message_ids: ids } = query
  return {
    ...(query.status && { statuses: query.status }),
    // An id that is none of ours names no message, and is not an error in a filter.
    ...(ids && { ids: ids.filter(isUuid) as MessageId[] }),
    ...(query.source !== undefined && { workflow: query.source }),
    ...(query.workflow_run_id !== undefined && { workflowRunId: query.workflow_run_id }),
    ...(query.workflow_recipient_run_id !== undefined && {
      runId: query.workflow_recipient_run_id,
    }),
    ...(recipient !== undefined && { recipient: readReference(recipient) }),
    ...(channel !== undefined && { channel: await channelKey(db, environment, channel) }),
    ...(query.tenant !== undefined && { tenant: query.tenant }),
    insertedAt: timesOf(query),
  }
}

function timesOf(query: MessagesQuery): NonNullable<MessageFilter['insertedAt']> {
  const named = (['gt', 'gte', 'lt', 'lte'] as const).flatMap((name) => {
    const at = query[`inserted_at.${name}`]
    return at === undefined ? [] : [[name, new Date(at)] as const]
  })
  return Object.fromEntries(named)
}

/** Messages of a channel that is gone from the environment are still found by its key. */
async function channelKey(
  db: Queryable,
  environment: EnvironmentName,
  name: string,
): Promise<ChannelKey> {
  return (await findChannel(db, environment, name)) ?? (name as ChannelKey)
}

const find: ReadRoute = {
  kind: 'read',
  method: 'GET',
  path: '/v1/messages/:id',
  scope: 'read',
  environment: 'key',
  async handle({ database, environment, params }) {
    const id = params['id'] ?? ''
    const row = await findMessage(database, environment, id)
    if (!row) throw resourceMissing('message', id)
    return ok(messageToWire(row))
  },
}

const content: ReadRoute = {
  kind: 'read',
  method: 'GET',
  path: '/v1/messages/:id/content',
  scope: 'read',
  environment: 'key',
  async handle({ database, environment, params }) {
    const id = params['id'] ?? ''
    const [row] = await loadMessageContents(database, environment, [id])
    if (!row) throw resourceMissing('message', id)
    return ok(contentToWire(row))
  },
}

const events: ReadRoute = {
  kind: 'read',
  method: 'GET',
  path: '/v1/messages/:id/events',
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: pageQuery },
  async handle({ database, environment, params, query }) {
    const id = params['id'] ?? ''
    const row = await findMessageEvents(database, environment, id)
    if (!row) throw resourceMissing('message', id)
    return ok(slicePage(eventsToWire(row), query))
  },
}

const deliveryLogs: ReadRoute = {
  kind: 'read',
  method: 'GET',
  path: '/v1/messages/:id/delivery_logs',
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: pageQuery },
  async handle({ database, environment, params, query }) {
    const id = params['id'] ?? ''
    if (!(await findMessage(database, environment, id))) throw resourceMissing('message', id)
    const rows = await listDeliveries(database, environment, id)
    const items = rows.map((row) => deliveryToWire(environment, row))
    return ok(slicePage(items, query))
  },
}

export const messages = [list, find, content, events, deliveryLogs] as const
