import { checkCollection, checkRecipientId, objectToWire } from '../recipients/recipient.ts'
import { pageQuery } from './page.ts'
import { recipientPage, recipientRoutes } from './recipient-resource.ts'
import type { ReadRoute } from './route.ts'
import { ObjectShape } from './shapes/recipients.ts'
import { pageShape } from './shapes/shape.ts'

const list: ReadRoute = {
  id: 'objects.list',
  summary: 'Lists the objects of a collection',
  replies: { 200: pageShape('entries', ObjectShape) },
  kind: 'read',
  method: 'GET',
  path: '/v1/objects/:collection',
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: pageQuery },
  async handle(request) {
    const collection = checkCollection(request.params['collection'], 'path')
    return await recipientPage(request, { collection }, objectToWire)
  },
}

const one = recipientRoutes({
  what: 'object',
  a: 'an object',
  verb: 'set',
  shape: ObjectShape,
  path: '/v1/objects/:collection/:id',
  fields: {
    timezone: { type: ['string', 'null'] },
    locale: { type: ['string', 'null'] },
    created_at: { type: ['string', 'null'], format: 'date-time' },
  },
  refOf: ({ collection, id }) => ({
    collection: checkCollection(collection, 'path'),
    id: checkRecipientId(id, 'path'),
  }),
  toWire: objectToWire,
})

export const objects = [list, ...one] as const
