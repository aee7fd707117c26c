import { USERS, checkRecipientId, invalid, userToWire } from '../recipients/recipient.ts'
import { mergeUser } from '../runs/merge.ts'
import { pageQuery } from './page.ts'
import { recipientPage, recipientRoutes } from './recipient-resource.ts'
import { ok, type MutationRoute, type ReadRoute } from './route.ts'
import { User } from './shapes/recipients.ts'
import { nullableText, pageShape } from './shapes/shape.ts'

const list: ReadRoute = {
  id: 'users.list',
  summary: 'Lists users',
  replies: { 200: pageShape('entries', User) },
  kind: 'read',
  method: 'GET',
  path: '/v1/users',
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: pageQuery },
  handle: (request) => recipientPage(request, { collection: USERS }, userToWire),
}

const one = recipientRoutes({
  what: 'user',
  a: 'a user',
  verb: 'update',
  shape: User,
  fields: {
    name: nullableText,
    email: nullableText,
    phone_number: nullableText,
    avatar: nullableText,
    timezone: nullableText,
    locale: nullableText,
    created_at: {
      type: ['string', 'null'],
      format: 'timestamp',
      description: 'ISO 8601; a date alone is its midnight, and a time without an offset is UTC.',
    },
  },
  path: '/v1/users/:id',
  refOf: ({ id }) => ({ collection: USERS, id: checkRecipientId(id, 'path') }),
  toWire: userToWire,
})

const merge: MutationRoute = {
  id: 'users.merge',
  summary: 'Merges a user into another one',
  replies: { 200: User },
  kind: 'mutation',
  method: 'POST',
  path: '/v1/users/:id/merge',
  scope: 'write',
  environment: 'key',
  body: {
    type: 'object',
    required: ['from_user_id'],
    properties: { from_user_id: { type: 'string' } },
  },
  async handle({ tx, environment, params, body, now }) {
    const into = checkRecipientId(params['id'], 'path')
    const { from_user_id: named } = body as { readonly from_user_id: string }
    const from = checkRecipientId(named, '/from_user_id')
    if (from === into) throw invalid('/from_user_id', 'is the user that it would be merged into')
    const user = await mergeUser(tx, environment, { from, into }, now)
    return ok(userToWire(user))
  },
}

export const users = [list, ...one, merge] as const
