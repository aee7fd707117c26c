import { PREFERENCE_CHANNEL_TYPES } from '../../language/preferences.ts'
import {
  anything,
  component,
  entity,
  flag,
  json,
  mapOf,
  nullableText,
  nullableTime,
  orNull,
  shape,
  text,
  time,
  type Schema,
} from './shape.ts'

// Beside the fields that are named here recipients have those that they were given.

export const User = entity(
  'User',
  {
    id: text,
    created_at: nullableText,
    updated_at: time,
    name: nullableText,
    email: nullableText,
    phone_number: nullableText,
    avatar: nullableText,
    timezone: nullableText,
    locale: nullableText,
  },
  {
    isOpen: true,
    optional: ['name', 'email', 'phone_number', 'avatar', 'timezone', 'locale'],
  },
)

export const ObjectShape = entity('Object', {
  id: text,
  collection: text,
  properties: json,
  created_at: nullableText,
  updated_at: time,
})

export const Tenant = entity(
  'Tenant',
  { id: text, name: anything, settings: { description: 'An object or null.' } },
  { isOpen: true },
)

export const Recipient = { title: 'Recipient', anyOf: [User, ObjectShape, Tenant] }

export const RecipientReference = {
  title: 'RecipientReference',
  description: 'The id of a user, else a collection and an id.',
  anyOf: [text, shape({ id: text, collection: text })],
}

export const ChannelData = entity('ChannelData', {
  channel_id: text,
  provider: text,
  data: { ...json, description: 'Devices, subscriptions or connections, by the provider.' },
})

export const Subscription = entity('Subscription', {
  object: ObjectShape,
  recipient: Recipient,
  properties: json,
  inserted_at: time,
  updated_at: time,
})

export const AudienceMember = entity('AudienceMember', {
  user_id: text,
  user: User,
  tenant: nullableText,
  added_at: time,
})

const preference = {
  title: 'PreferenceValue',
  description: '`true`, `false`, or true where all conditions hold.',
  anyOf: [
    flag,
    shape({ conditions: { type: ['array', 'null'] } }, { optional: ['conditions'], isOpen: true }),
  ],
}

const values = { type: ['object', 'null'], additionalProperties: orNull(preference) }
const channelTypes = shape(
  Object.fromEntries(PREFERENCE_CHANNEL_TYPES.map((type) => [type, orNull(preference)])),
  { optional: PREFERENCE_CHANNEL_TYPES, isOpen: true },
)

export const preferenceFields: Readonly<Record<string, Schema>> = {
  id: text,
  workflows: values,
  categories: values,
  channel_types: orNull(channelTypes),
  channels: values,
  commercial_subscribed: orNull(preference),
}

/** What a set says nothing of is null. */
export const PreferenceSet = component('PreferenceSet', preferenceFields)

/** Somebody in a request: an id, or an object with one. */
export const RecipientRequest = {
  title: 'RecipientRequest',
  description:
    'The id of a user; a reference to an object, with its `collection`; or somebody inline, whose properties are merged ' +
    'into what is known. `preferences` and `channel_data` are kept, and `$trigger_data` is laid over the data for this one alone.',
  type: ['string', 'object'],
  properties: {
    id: text,
    collection: text,
    channel_data: { type: ['object', 'null'], description: 'By the id or key of a channel.' },
    preferences: { type: ['object', 'null'], description: 'Sets by their ids.' },
    $trigger_data: json,
  },
}

/** As `RecipientRequest`, or nobody. */
export const ActorRequest = {
  ...RecipientRequest,
  title: 'ActorRequest',
  description: 'Who has caused it, as a recipient is named; null: nobody.',
  type: ['string', 'object', 'null'],
}

export const TenantRequest = {
  title: 'TenantRequest',
  description: 'The id of a tenant, or the tenant inline.',
  type: ['string', 'object', 'null'],
  properties: { id: text },
}

export const BulkOperation = entity('BulkOperation', {
  id: text,
  name: text,
  status: { enum: ['queued', 'processing', 'completed', 'failed'] },
  estimated_total_rows: { type: 'integer' },
  processed_rows: { type: 'integer' },
  success_count: { type: 'integer' },
  error_count: { type: 'integer' },
  error_items: {
    type: 'array',
    items: shape({ collection: nullableText, id: text }),
  },
  progress_path: text,
  inserted_at: time,
  started_at: nullableTime,
  completed_at: nullableTime,
  failed_at: nullableTime,
  updated_at: time,
})

export const counts = mapOf({ type: 'integer' })
