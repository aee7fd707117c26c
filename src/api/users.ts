import { checkFields } from '../recipients/fields.ts'
import { USERS, checkRecipientId, propertiesOf, userToWire } from '../recipients/recipient.ts'
import { deleteRecipient, loadRecipients, upsertRecipients } from '../recipients/store.ts'
import { resourceMissing } from './reference.ts'
import { NO_CONTENT, ok, type MutationRoute, type ReadRoute } from './route.ts'

const find: ReadRoute = {
  kind: 'read',
  method: 'GET',
  path: '/v1/users/:id',
  scope: 'read',
  environment: 'key',
  async handle({ database, environment, params }) {
    const id = checkRecipientId(params['id'], 'path')
    const [user] = await loadRecipients(database, environment, [{ collection: USERS, id }])
    if (!user) throw resourceMissing('user', id)
    return ok(userToWire(user))
  },
}

const put: MutationRoute = {
  kind: 'mutation',
  method: 'PUT',
  path: '/v1/users/:id',
  scope: 'write',
  environment: 'key',
  body: { type: 'object' },
  async handle({ tx, environment, params, body, now }) {
    const id = checkRecipientId(params['id'], 'path')
    const fields = body as Readonly<Record<string, unknown>>
    checkFields(USERS, fields)
    const properties = propertiesOf(fields)
    const patch = { collection: USERS, id, properties }
    const [user] = await upsertRecipients(tx, environment, [patch], now)
    if (!user) throw resourceMissing('user', id)
    return ok(userToWire(user))
  },
}

const remove: MutationRoute = {
  kind: 'mutation',
  method: 'DELETE',
  path: '/v1/users/:id',
  scope: 'write',
  environment: 'key',
  async handle({ tx, environment, params }) {
    const id = checkRecipientId(params['id'], 'path')
    await deleteRecipient(tx, environment, { collection: USERS, id })
    return NO_CONTENT
  },
}

export const users = [find, put, remove] as const
