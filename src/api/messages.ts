import {
  findMessage,
  findMessageEvents,
  listDeliveries,
  listMessages,
  loadMessageContents,
} from '../messages/log-store.ts'
import { contentToWire, deliveryToWire, eventsToWire } from '../messages/wire.ts'
import { checkCollection, checkRecipientId, USERS } from '../recipients/recipient.ts'
import { messagesToWire } from './message-batches.ts'
import { MESSAGE_IDS_MAX, messageFilterQuery, readMessageFilter } from './message-filter.ts'
import { pageInfo, pageQuery, readPage, slicePage } from './page.ts'
import { resourceMissing, type Reference } from './reference.ts'
import { ok, type ReadRoute } from './route.ts'
import { Message, MessageContent, MessageDeliveryLog, MessageEvent } from './shapes/messages.ts'
import { listOf, pageShape, text } from './shapes/shape.ts'

/** A list of messages; those of one recipient where the path names one. */
function listRoute(
  { id, summary, path }: Pick<ReadRoute, 'id' | 'summary' | 'path'>,
  recipientOf: (params: Readonly<Record<string, string>>) => Reference | undefined,
): ReadRoute {
  return {
    id,
    summary,
    replies: { 200: pageShape('items', Message) },
    kind: 'read',
    method: 'GET',
    path,
    scope: 'read',
    environment: 'key',
    query: { type: 'object', properties: { ...pageQuery, ...messageFilterQuery } },
    async handle({ database, environment, params, query }) {
      const page = readPage(query)
      const recipient = recipientOf(params)
      const filter = {
        ...(await readMessageFilter(database, environment, query)),
        ...(recipient && { recipient }),
      }
      const { rows, ...ends } = await listMessages(database, environment, filter, page)
      const items = await messagesToWire(database, environment, rows)
      return ok({ items, page_info: pageInfo(ends, page) })
    },
  }
}

const list = listRoute(
  { id: 'messages.list', summary: 'Lists messages', path: '/v1/messages' },
  () => undefined,
)

const listOfUser = listRoute(
  {
    id: 'users.listMessages',
    summary: 'Lists the messages to a user',
    path: '/v1/users/:id/messages',
  },
  ({ id }) => ({
    collection: USERS,
    id: checkRecipientId(id, 'path'),
  }),
)

const listOfObject = listRoute(
  {
    id: 'objects.listMessages',
    summary: 'Lists the messages to an object',
    path: '/v1/objects/:collection/:id/messages',
  },
  ({ collection, id }) => ({
    collection: checkCollection(collection, 'path'),
    id: checkRecipientId(id, 'path'),
  }),
)

const find: ReadRoute = {
  id: 'messages.get',
  summary: 'Shows a message',
  replies: { 200: Message },
  kind: 'read',
  method: 'GET',
  path: '/v1/messages/:id',
  scope: 'read',
  environment: 'key',
  async handle({ database, environment, params }) {
    const id = params['id'] ?? ''
    const row = await findMessage(database, environment, id)
    if (!row) throw resourceMissing('message', id)
    const [message] = await messagesToWire(database, environment, [row])
    return ok(message)
  },
}

const content: ReadRoute = {
  id: 'messages.getContent',
  summary: 'Shows what a message says',
  replies: { 200: MessageContent },
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

const contents: ReadRoute = {
  id: 'messages.batch.getContent',
  summary: 'Shows what messages say',
  replies: { 200: listOf(MessageContent) },
  kind: 'read',
  method: 'GET',
  path: '/v1/messages/batch/content',
  scope: 'read',
  environment: 'key',
  query: {
    type: 'object',
    required: ['message_ids'],
    properties: { message_ids: { type: 'array', items: text, maxItems: MESSAGE_IDS_MAX } },
  },
  async handle({ database, environment, query }) {
    const ids = query['message_ids'] as readonly string[]
    const rows = await loadMessageContents(database, environment, ids)
    return ok(rows.map(contentToWire))
  },
}

const events: ReadRoute = {
  id: 'messages.listEvents',
  summary: 'Lists what happened to a message',
  replies: { 200: pageShape('items', MessageEvent) },
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
  id: 'messages.listDeliveryLogs',
  summary: 'Lists the attempts to hand a message over',
  replies: { 200: pageShape('items', MessageDeliveryLog) },
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

export const messages = [
  list,
  listOfUser,
  listOfObject,
  // In front of what one message says.
  contents,
  find,
  content,
  events,
  deliveryLogs,
] as const
