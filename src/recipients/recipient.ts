import { isJsonObject } from '../json.ts'
import { RequestError } from '../errors.ts'
import { DEFAULT_SET } from '../language/preferences.ts'
import type { Properties } from './merge.ts'
import { checkText } from './text.ts'

/** Users and tenants live beside objects, in collections of these names. */
export const USERS = '$users'
export const TENANTS = '$tenants'

/** Who may receive or cause something: a user, an object or a tenant. */
export interface RecipientRef {
  readonly collection: string
  readonly id: string
}

/** One text for one recipient, for maps. */
export function recipientKey({ collection, id }: RecipientRef): string {
  return `${collection}/${id}`
}

/** Whether it is an object, which others may be subscribed to. */
export function isObjectRef({ collection }: RecipientRef): boolean {
  return !collection.startsWith('$')
}

export interface Recipient extends RecipientRef {
  readonly properties: Properties
  readonly createdAt: Date
  readonly updatedAt: Date
}

const ID_LENGTH_MAX = 256
/** Fields of a request that are not properties: who it is, what only replies say, and what is kept elsewhere. */
const NOT_PROPERTIES = new Set([
  'id',
  'collection',
  '__typename',
  'updated_at',
  'channel_data',
  'preferences',
])

/** The id of a user, an object or a tenant. Throws a 422 `RequestError` that points at it. */
export function checkRecipientId(id: unknown, pointer: string): string {
  if (typeof id !== 'string' || id === '')
    throw invalid(pointer, 'must be a text that is not empty')
  if (id.length > ID_LENGTH_MAX)
    throw invalid(pointer, `is longer than ${ID_LENGTH_MAX} characters`)
  if (/[/#]/.test(id)) throw invalid(pointer, 'must not hold / or #')
  checkText(id, pointer)
  return id
}

/** The collection of an object; names that start with $ are ours. */
export function checkCollection(collection: unknown, pointer: string): string {
  const name = checkRecipientId(collection, pointer)
  if (name.startsWith('$')) throw invalid(pointer, 'must not start with $')
  return name
}

/** The properties among the fields of a request. */
export function propertiesOf(fields: Properties): Properties {
  return Object.fromEntries(Object.entries(fields).filter(([key]) => !NOT_PROPERTIES.has(key)))
}

/** What the fields of a checked request say of where the recipient is reached, by channel. */
export function channelDataOf(fields: Properties): Properties {
  const { channel_data: given } = fields
  return typeof given === 'object' && given !== null ? (given as Properties) : {}
}

/** A recipient as conditions and templates name it: its properties, and its id above them. */
export function toScope(recipient: Recipient): Properties {
  const { collection, id, properties, createdAt, updatedAt } = recipient
  const own = collection === USERS || collection === TENANTS ? { id } : { id, collection }
  return {
    created_at: createdAt.toISOString(),
    ...properties,
    updated_at: updatedAt.toISOString(),
    ...own,
  }
}

/** A user in the contract's shape: custom properties stand beside the known ones. */
export function userToWire(user: Recipient): object {
  return {
    created_at: null,
    ...user.properties,
    __typename: 'User',
    id: user.id,
    updated_at: user.updatedAt,
  }
}

/** An object in the contract's shape: its properties stand under `properties`. */
export function objectToWire(object: Recipient): object {
  const { created_at: createdAt = null, ...properties } = object.properties
  return {
    __typename: 'Object',
    id: object.id,
    collection: object.collection,
    properties,
    created_at: createdAt,
    updated_at: object.updatedAt,
  }
}

/** A tenant in the contract's shape. */
export function tenantToWire({ id, properties }: Recipient): object {
  const { settings = null } = properties
  return {
    name: null,
    ...properties,
    settings: isJsonObject(settings) ? withSetId(settings) : settings,
    __typename: 'Tenant',
    id,
  }
}

/** A set has an id wherever it is shown. */
function withSetId(settings: Properties): Properties {
  const { preference_set: set } = settings
  return isJsonObject(set) ? { ...settings, preference_set: { id: DEFAULT_SET, ...set } } : settings
}

/** A recipient or an actor in the contract's shape of its kind. */
export function entityToWire(recipient: Recipient): object {
  if (recipient.collection === USERS) return userToWire(recipient)
  return recipient.collection === TENANTS ? tenantToWire(recipient) : objectToWire(recipient)
}

/** A request that names a value that cannot be. */
export function invalid(field: string, message: string): RequestError {
  return new RequestError(422, 'invalid_params', `${field} ${message}`, [{ field, message }])
}
