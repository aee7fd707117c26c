import type { Queryable } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import {
  checkCollection,
  checkRecipientId,
  entityToWire,
  objectToWire,
  recipientKey,
  USERS,
  type RecipientRef,
} from '../recipients/recipient.ts'
import { loadRecipients } from '../recipients/store.ts'
import {
  deleteSubscriptions,
  listSubscriptions,
  type Subscription as StoredSubscription,
  type SubscriptionFilter,
} from '../recipients/subscription-store.ts'
import { cutPage, pageQuery, readPage } from './page.ts'
import { readReference, referenceSchema, type WireReference } from './reference.ts'
import {
  addSubscriptions,
  SUBSCRIBERS_MAX,
  subscriberFields,
  type SubscriptionRequest,
} from './subscription-body.ts'
import { ok, type MutationRoute, type ReadRequest, type ReadRoute, type Reply } from './route.ts'
import { Subscription } from './shapes/recipients.ts'
import { listOf, pageShape } from './shapes/shape.ts'

const PATH = '/v1/objects/:collection/:id/subscriptions'

const references = { type: 'array', items: referenceSchema, maxItems: SUBSCRIBERS_MAX } as const

type Params = Readonly<Record<string, string>>

function objectOf({ collection, id }: Params): RecipientRef {
  return { collection: checkCollection(collection, 'path'), id: checkRecipientId(id, 'path') }
}

const subscribe: MutationRoute = {
  id: 'objects.addSubscriptions',
  summary: 'Subscribes recipients to an object',
  replies: { 200: listOf(Subscription) },
  kind: 'mutation',
  method: 'POST',
  path: PATH,
  scope: 'write',
  environment: 'key',
  body: {
    type: 'object',
    required: ['recipients'],
    properties: subscriberFields,
  },
  async handle({ tx, environment, params, body, now }) {
    const asked = { ...(body as Omit<SubscriptionRequest, 'object'>), object: objectOf(params) }
    const written = await addSubscriptions(tx, environment, [asked], now)
    return ok(await toWire(tx, environment, written))
  },
}

const unsubscribe: MutationRoute = {
  id: 'objects.deleteSubscriptions',
  summary: 'Ends subscriptions to an object',
  replies: { 200: listOf(Subscription) },
  kind: 'mutation',
  method: 'DELETE',
  path: PATH,
  scope: 'write',
  environment: 'key',
  body: {
    type: 'object',
    required: ['recipients'],
    properties: { recipients: { ...references, minItems: 1 } },
  },
  async handle({ tx, environment, params, body }) {
    const object = objectOf(params)
    const { recipients } = body as { readonly recipients: readonly WireReference[] }
    const pairs = recipients.map((one) => ({ object, subscriber: readReference(one) }))
    const deleted = await deleteSubscriptions(tx, environment, pairs)
    return ok(await toWire(tx, environment, deleted))
  },
}

const ofObject: ReadRoute = {
  id: 'objects.listSubscriptions',
  summary: 'Lists the subscriptions to an object, or of it',
  replies: { 200: pageShape('entries', Subscription) },
  kind: 'read',
  method: 'GET',
  path: PATH,
  scope: 'read',
  environment: 'key',
  query: {
    type: 'object',
    properties: {
      ...pageQuery,
      mode: { enum: ['object', 'recipient'], description: 'Those to it, or those that it has.' },
      recipients: references,
      objects: references,
    },
  },
  handle(request) {
    const ref = objectOf(request.params)
    const { mode = 'object', recipients, objects } = request.query as Filters
    const isOwn = mode === 'recipient'
    const others = (isOwn ? objects : recipients)?.map(readReference) ?? null
    return pageOf(request, { of: isOwn ? 'subscriber' : 'object', ref, others })
  },
}

interface Filters {
  readonly mode?: 'object' | 'recipient'
  readonly recipients?: readonly WireReference[]
  readonly objects?: readonly WireReference[]
}

const ofUser: ReadRoute = {
  id: 'users.listSubscriptions',
  summary: 'Lists the subscriptions of a user',
  replies: { 200: pageShape('entries', Subscription) },
  kind: 'read',
  method: 'GET',
  path: '/v1/users/:id/subscriptions',
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: { ...pageQuery, objects: references } },
  handle(request) {
    const ref = { collection: USERS, id: checkRecipientId(request.params['id'], 'path') }
    const { objects } = request.query as Filters
    return pageOf(request, { of: 'subscriber', ref, others: objects?.map(readReference) ?? null })
  },
}

async function pageOf(request: ReadRequest, filter: SubscriptionFilter): Promise<Reply> {
  const { database, environment, query } = request
  const page = readPage(query)
  const found = await listSubscriptions(database, environment, filter, {
    ...page,
    limit: page.size + 1,
  })
  const { rows, info } = cutPage(found, page)
  return ok({ entries: await toWire(database, environment, rows), page_info: info })
}

/** Subscriptions in the contract's shape, with both ends in full. */
async function toWire(
  db: Queryable,
  environment: EnvironmentName,
  subscriptions: readonly StoredSubscription[],
): Promise<readonly object[]> {
  const refs = subscriptions.flatMap(({ object, subscriber }) => [object, subscriber])
  const known = await loadRecipients(db, environment, refs)
  const entities = new Map(known.map((entity) => [recipientKey(entity), entity]))
  return subscriptions.flatMap(({ object, subscriber, properties, insertedAt, updatedAt }) => {
    const ends = [object, subscriber].map((ref) => entities.get(recipientKey(ref)))
    const [to, who] = ends
    // Deleted since the list was read.
    if (!to || !who) return []
    return [
      {
        __typename: 'Subscription',
        object: objectToWire(to),
        recipient: entityToWire(who),
        properties,
        inserted_at: insertedAt,
        updated_at: updatedAt,
      },
    ]
  })
}

export const subscriptions = [subscribe, unsubscribe, ofObject, ofUser] as const
