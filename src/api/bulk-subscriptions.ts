import type { BulkKind } from '../recipients/bulk-work.ts'
import { checkCollection, checkRecipientId, type RecipientRef } from '../recipients/recipient.ts'
import { deleteSubscriptions } from '../recipients/subscription-store.ts'
import { BodyReader } from '../runs/trigger-request.ts'
import { cutPart, itemList, startItems, writeEach } from './bulk-parts.ts'
import { readReference, referenceSchema, type WireReference } from './reference.ts'
import type { MutationRoute } from './route.ts'
import { BulkOperation } from './shapes/recipients.ts'
import {
  addSubscriptions,
  readSubscription,
  SUBSCRIBERS_MAX,
  subscriberFields,
  type SubscriptionRequest,
} from './subscription-body.ts'

/** Of the objects of one call, how many one part does: each may have a hundred subscribers. */
const PART_MAX = 20

const PATH = '/v1/objects/:collection/bulk/subscriptions'

interface Body<Recipient = unknown> {
  readonly subscriptions: readonly {
    readonly id: string
    readonly recipients: readonly Recipient[]
    readonly properties?: SubscriptionRequest['properties']
  }[]
}

function bodyOf(fields: object) {
  const item = { type: 'object', required: ['id', 'recipients'], properties: fields }
  return {
    type: 'object',
    required: ['subscriptions'],
    properties: { subscriptions: itemList(item) },
  }
}

const add: MutationRoute = {
  id: 'objects.bulk.addSubscriptions',
  summary: 'Subscribes to many objects',
  replies: { 200: BulkOperation },
  kind: 'mutation',
  method: 'POST',
  path: `${PATH}/add`,
  scope: 'write',
  environment: 'key',
  body: bodyOf(subscriberFields),
  async handle(request) {
    const reader = new BodyReader()
    const collection = checkCollection(request.params['collection'], 'path')
    const items = (request.body as Body).subscriptions.map(
      ({ id, recipients, properties }, index) => {
        const field = `/subscriptions/${index}`
        const object = { collection, id: checkRecipientId(id, `${field}/id`) }
        const item = { object, recipients, properties: properties ?? null }
        // What is wrong with one of them is said at once, and not after the call.
        readSubscription(reader, field, item)
        return item
      },
    )
    reader.requireValid()
    const work = { name: 'objects.add_subscriptions', total: items.length, request: { items } }
    return await startItems(request, work)
  },
}

const references = { type: 'array', items: referenceSchema, minItems: 1, maxItems: SUBSCRIBERS_MAX }

const remove: MutationRoute = {
  id: 'objects.bulk.deleteSubscriptions',
  summary: 'Ends subscriptions to many objects',
  replies: { 200: BulkOperation },
  kind: 'mutation',
  method: 'POST',
  path: `${PATH}/delete`,
  scope: 'write',
  environment: 'key',
  body: bodyOf({ recipients: references }),
  async handle(request) {
    const collection = checkCollection(request.params['collection'], 'path')
    const { subscriptions } = request.body as Body<WireReference>
    const items = subscriptions.map(({ id, recipients }, index) => {
      const object = { collection, id: checkRecipientId(id, `/subscriptions/${index}/id`) }
      return { object, subscribers: recipients.map(readReference) }
    })
    const work = { name: 'objects.delete_subscriptions', total: items.length, request: { items } }
    return await startItems(request, work)
  },
}

interface DeleteRequest {
  readonly items: readonly {
    readonly object: RecipientRef
    readonly subscribers: readonly RecipientRef[]
  }[]
}

/** Subscribes to the next of the objects of one of these calls. */
export const addManySubscriptions: BulkKind = async (tx, { environment, request, cursor }, now) => {
  const { items } = request as { readonly items: readonly SubscriptionRequest[] }
  const { part, next } = cutPart(items, cursor, PART_MAX)
  const refused = await writeEach(tx, part, (some) => addSubscriptions(tx, environment, some, now))
  return { processed: part.length, errors: refused.map(({ object }) => object), cursor: next }
}

/** Ends subscriptions to the next of the objects of one of these calls. */
export const deleteManySubscriptions: BulkKind = async (tx, { environment, request, cursor }) => {
  const { items } = request as DeleteRequest
  const { part, next } = cutPart(items, cursor, PART_MAX)
  const pairs = part.flatMap(({ object, subscribers }) =>
    subscribers.map((subscriber) => ({ object, subscriber })),
  )
  await deleteSubscriptions(tx, environment, pairs)
  return { processed: part.length, errors: [], cursor: next }
}

export const bulkSubscriptions = [add, remove] as const
