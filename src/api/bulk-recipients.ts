import { RequestError } from '../errors.ts'
import type { BulkKind } from '../recipients/bulk-work.ts'
import { readFields } from '../recipients/fields.ts'
import type { Properties } from '../recipients/merge.ts'
import {
  channelDataOf,
  checkCollection,
  checkRecipientId,
  TENANTS,
  USERS,
} from '../recipients/recipient.ts'
import { deleteRecipient } from '../recipients/store.ts'
import { storeInline } from '../runs/channel-data.ts'
import type { InlineEntity } from '../runs/trigger-request.ts'
import { cutPart, itemList, startItems, writeEach } from './bulk-parts.ts'
import type { MutationRoute } from './route.ts'
import { BulkOperation } from './shapes/recipients.ts'
import { text } from './shapes/shape.ts'

/** How many of them one part does. */
const PART_MAX = 100

type Params = Readonly<Record<string, string>>

/** What tells users, objects and tenants apart. */
interface Resource {
  /** Of the names of what is done. */
  readonly what: 'users' | 'objects' | 'tenants'
  readonly path: string
  readonly verb: 'identify' | 'set'
  readonly ids: 'user_ids' | 'object_ids' | 'tenant_ids'
  readonly collectionOf: (params: Params) => string
}

interface SetRequest {
  readonly collection: string
  readonly items: readonly Properties[]
}

interface DeleteRequest {
  readonly collection: string
  readonly ids: readonly string[]
}

function setRoute({ what, path, verb, collectionOf }: Resource): MutationRoute {
  return {
    id: `${what}.bulk.${verb}`,
    summary: `Writes many ${what}`,
    replies: { 200: BulkOperation },
    kind: 'mutation',
    method: 'POST',
    path: `${path}/bulk/${verb}`,
    scope: 'write',
    environment: 'key',
    body: {
      type: 'object',
      required: [what],
      properties: {
        // A tenant may be named by its id alone.
        [what]: itemList({
          type: what === 'tenants' ? ['string', 'object'] : 'object',
          required: ['id'],
          properties: { id: text },
        }),
      },
    },
    async handle(request) {
      const given = request.body as Readonly<Record<string, readonly (Properties | string)[]>>
      const items = (given[what] ?? []).map((item) =>
        typeof item === 'string' ? { id: item } : item,
      )
      const collection = collectionOf(request.params)
      // What is wrong with one of them is said at once, and not after the call.
      const problems = items.flatMap((item, index) => {
        const id = checkRecipientId(item['id'], `/${what}/${index}/id`)
        return readFields({ collection, id }, item, `/${what}/${index}`).problems
      })
      const [first] = problems
      if (first)
        throw new RequestError(422, 'invalid_params', `${first.field} ${first.message}`, problems)
      const work = { name: `${what}.${verb}`, total: items.length, request: { collection, items } }
      return await startItems(request, work)
    },
  }
}

function deleteRoute(resource: Resource): MutationRoute {
  const { what, path, ids: name, collectionOf } = resource
  const schema = {
    type: 'object',
    required: [name],
    properties: { [name]: itemList({ type: 'string' }) },
  }
  // Clients name tenants in the query, and all others in the body.
  const isInQuery = what === 'tenants'
  return {
    id: `${what}.bulk.delete`,
    summary: `Deletes many ${what}`,
    replies: { 200: BulkOperation },
    kind: 'mutation',
    method: 'POST',
    path: `${path}/bulk/delete`,
    scope: 'write',
    environment: 'key',
    ...(isInQuery ? { query: schema } : { body: schema }),
    async handle(request) {
      const given = (isInQuery ? request.query : request.body) as Readonly<
        Record<string, readonly string[]>
      >
      const root = isInQuery ? '?' : ''
      const ids = (given[name] ?? []).map((id, index) =>
        checkRecipientId(id, `${root}/${name}/${index}`),
      )
      const collection = collectionOf(request.params)
      const work = { name: `${what}.delete`, total: ids.length, request: { collection, ids } }
      return await startItems(request, work)
    },
  }
}

/** Writes the next of the users, objects or tenants of one of these calls. */
export const setRecipients: BulkKind = async (tx, { environment, request, cursor }, now) => {
  const { collection, items } = request as SetRequest
  const { part, next } = cutPart(items, cursor, PART_MAX)
  const write = (some: readonly Properties[]) =>
    storeInline(
      tx,
      environment,
      some.map((item) => readItem(collection, item)),
      now,
    )
  const errors = await writeEach(tx, part, write)
  const refs = errors.map((item) => ({ collection, id: String(item['id']) }))
  return { processed: part.length, errors: refs, cursor: next }
}

const pointer = (name: string): string => `/channel_data/${name}`

function readItem(collection: string, item: Properties): InlineEntity {
  const ref = { collection, id: String(item['id']) }
  const channelData = { ...ref, channelData: channelDataOf(item), pointer }
  return { ...readFields(ref, item, '').patch, channelData }
}

/** Deletes the next of the users, objects or tenants of one of these calls. */
export const deleteRecipients: BulkKind = async (tx, { environment, request, cursor }) => {
  const { collection, ids } = request as DeleteRequest
  const { part, next } = cutPart(ids, cursor, PART_MAX)
  // In one order, as everybody locks recipients.
  for (const id of part.toSorted()) await deleteRecipient(tx, environment, { collection, id })
  return { processed: part.length, errors: [], cursor: next }
}

const resources: readonly Resource[] = [
  {
    what: 'users',
    path: '/v1/users',
    verb: 'identify',
    ids: 'user_ids',
    collectionOf: () => USERS,
  },
  {
    what: 'objects',
    path: '/v1/objects/:collection',
    verb: 'set',
    ids: 'object_ids',
    collectionOf: ({ collection }) => checkCollection(collection, 'path'),
  },
  {
    what: 'tenants',
    path: '/v1/tenants',
    verb: 'set',
    ids: 'tenant_ids',
    collectionOf: () => TENANTS,
  },
]

export const bulkRecipients: readonly MutationRoute[] = resources.flatMap((resource) => [
  setRoute(resource),
  deleteRoute(resource),
])
