import { isUuid } from '../ids.ts'
import { DEFAULT_SET } from '../language/preferences.ts'
import {
  findBulk,
  saveCompletedBulk,
  type BulkOperation as Operation,
} from '../recipients/bulk-store.ts'
import { withoutStrategies } from '../recipients/preference-input.ts'
import { checkRecipientId, invalid, USERS } from '../recipients/recipient.ts'
import { upsertRecipients } from '../recipients/store.ts'
import { readBody } from './preferences.ts'
import { resourceMissing } from './reference.ts'
import { ok, type MutationRoute, type ReadRoute } from './route.ts'
import { BulkOperation } from './shapes/recipients.ts'

const USERS_MAX = 1_000
/** Of all that one call writes: the sets of a thousand users are one statement. */
const BYTES_MAX = 32 * 1024 * 1024

interface PreferencesBody {
  readonly user_ids: readonly string[]
  readonly preferences: Readonly<Record<string, unknown>>
}

const setPreferences: MutationRoute = {
  id: 'users.bulk.setPreferences',
  summary: 'Sets the preferences of many users',
  replies: { 200: BulkOperation },
  kind: 'mutation',
  method: 'POST',
  path: '/v1/users/bulk/preferences',
  scope: 'write',
  environment: 'key',
  body: {
    type: 'object',
    required: ['user_ids', 'preferences'],
    properties: {
      user_ids: { type: 'array', minItems: 1, maxItems: USERS_MAX, items: { type: 'string' } },
      preferences: { type: 'object', properties: { id: { type: ['string', 'null'] } } },
    },
  },
  async handle({ tx, environment, body, now }) {
    const { user_ids: given, preferences } = body as PreferencesBody
    const ids = new Set(given.map((id, index) => checkRecipientId(id, `/user_ids/${index}`)))
    const set = checkRecipientId(preferences['id'] ?? DEFAULT_SET, '/preferences/id')
    const { settings, mode } = readBody(preferences, '/preferences')
    if (mode === 'merge')
      throw invalid('/preferences/__persistence_strategy__', 'is always "replace" here')
    const write = { set, settings: withoutStrategies(settings), mode: 'replace' as const }
    if (ids.size * Buffer.byteLength(JSON.stringify(write)) > BYTES_MAX)
      throw invalid('', `the sets of all these users are larger than ${BYTES_MAX} bytes`)
    const patches = [...ids].map((id) => ({
      collection: USERS,
      id,
      properties: {},
      preferences: [write],
    }))
    await upsertRecipients(tx, environment, patches, now)
    const done = { name: 'users.set_preferences', total: ids.size }
    return ok(bulkToWire(await saveCompletedBulk(tx, environment, done, now)))
  },
}

const find: ReadRoute = {
  id: 'bulkOperations.get',
  summary: 'Tells what a call for many has done',
  replies: { 200: BulkOperation },
  kind: 'read',
  method: 'GET',
  path: '/v1/bulk_operations/:id',
  scope: 'read',
  environment: 'key',
  async handle({ database, environment, params }) {
    const id = params['id'] ?? ''
    const operation = isUuid(id) ? await findBulk(database, environment, id) : undefined
    if (!operation) throw resourceMissing('bulk operation', id)
    return ok(bulkToWire(operation))
  },
}

/** A call for many, in the contract's shape. */
export function bulkToWire(operation: Operation): object {
  const { id, name, status, total, processed, succeeded, errors } = operation
  return {
    __typename: 'BulkOperation',
    id,
    name,
    status,
    estimated_total_rows: total,
    processed_rows: processed,
    success_count: succeeded,
    error_count: errors.length,
    error_items: errors,
    progress_path: `/v1/bulk_operations/${id}`,
    inserted_at: operation.insertedAt,
    started_at: operation.startedAt,
    completed_at: operation.completedAt,
    failed_at: operation.failedAt,
    updated_at: operation.updatedAt,
  }
}

export const bulk = [setPreferences, find] as const
