import { checkCollection, checkRecipientId, objectToWire } from '../recipients/recipient.ts'
import { pageQuery } from './page.ts'
import { recipientPage, recipientRoutes } from './recipient-resource.ts'
import type { ReadRoute } from './route.ts'

const list: ReadRoute = {
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
