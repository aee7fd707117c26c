import { isJsonObject } from '../json.ts'
import { RequestError, type Violation } from '../errors.ts'
import { readFields } from '../recipients/fields.ts'
import {
  checkCollection,
  channelDataOf,
  checkRecipientId,
  TENANTS,
  USERS,
  recipientKey,
  type RecipientRef,
} from '../recipients/recipient.ts'
import type { RecipientPatch } from '../recipients/store.ts'
import type { ReachedBy } from '../recipients/subscribers.ts'
import type { GivenChannelData } from './channel-data.ts'
import type { TriggerSettings } from './run.ts'

/** Named in one direct trigger; more are reached through an object (design section 10). */
export const RECIPIENTS_MAX = 1_000
export const CANCELLATION_KEY_LENGTH_MAX = 255

/** An entity to create or update before the runs start. */
export interface InlineEntity extends RecipientPatch {
  /** To be stored when it is there. */
  readonly channelData?: GivenChannelData
}

export interface NamedRecipient extends RecipientRef {
  /** `$trigger_data`: laid over the trigger's data for this recipient only. */
  readonly data?: Readonly<Record<string, unknown>>
  /** By which it was reached, of a run that is repeated; absent where the trigger names it. */
  readonly subscription?: ReachedBy
}

/** A trigger call, checked: what the body says and nothing else. */
export interface TriggerRequest {
  readonly recipients: readonly NamedRecipient[]
  readonly actor: RecipientRef | null
  readonly tenant: string | null
  readonly data: Readonly<Record<string, unknown>>
  readonly settings: TriggerSettings
  readonly cancellationKey: string | null
  /** Inline users, objects and the tenant, each once. */
  readonly entities: readonly InlineEntity[]
}

type Json = Readonly<Record<string, unknown>>

/** Reads a trigger call's body; a `RequestError` 422 `invalid_params` lists all that is wrong with it. */
export function parseTrigger(body: unknown): TriggerRequest {
  if (!isJsonObject(body))
    throw new RequestError(422, 'invalid_params', 'the body is not a JSON object')
  const reader = new BodyReader()
  const recipients = readRecipients(reader, body['recipients'])
  const actor = body['actor'] == null ? null : reader.entity('/actor', body['actor'])
  const tenant = readTenant(reader, body['tenant'])
  const data = body['data'] ?? {}
  if (!isJsonObject(data)) reader.refuse('/data', 'is not an object')
  const settings = readSettings(reader, body['settings'])
  const cancellationKey = readCancellationKey(reader, body['cancellation_key'])
  if (reader.violations.length > 0) {
    const first = reader.violations[0]!
    const message = `${first.field.slice(1).replaceAll('/', '.')} ${first.message}`
    throw new RequestError(422, 'invalid_params', message, reader.violations)
  }
  return {
    recipients,
    actor: actor ? { collection: actor.collection, id: actor.id } : null,
    tenant,
    data: isJsonObject(data) ? data : {},
    settings,
    cancellationKey,
    entities: reader.entities(),
  }
}

/** Collects violations and inline entities while the fields of one body are read. */
export class BodyReader {
  readonly violations: Violation[] = []
  readonly #entities = new Map<string, InlineEntity>()

  refuse(field: string, message: string): void {
    this.violations.push({ field, message })
  }

  /** Throws a 422 `RequestError` that lists all that was refused. */
  requireValid(): void {
    const [first] = this.violations
    if (!first) return
    const message = `${first.field} ${first.message}`
    throw new RequestError(422, 'invalid_params', message, this.violations)
  }

  entities(): readonly InlineEntity[] {
    return [...this.#entities.values()]
  }

  keep(entity: InlineEntity): void {
    const key = recipientKey(entity)
    const earlier = this.#entities.get(key)
    this.#entities.set(key, earlier ? joined(earlier, entity) : entity)
  }

  /** An id, or an object with one; with a collection, and properties to store first. */
  entity(field: string, value: unknown, ours = USERS): NamedRecipient | undefined {
    if (typeof value === 'string') return this.#ref(field, value, ours)
    if (!isJsonObject(value)) {
      this.refuse(field, 'is neither an id nor an object')
      return undefined
    }
    const { id, collection, $trigger_data: data, ...fields } = value
    const ref = this.#ref(`${field}/id`, id, ours)
    const place = collection === undefined ? ours : this.#collection(field, collection)
    if (data !== undefined && !isJsonObject(data)) {
      this.refuse(`${field}/$trigger_data`, 'is not an object')
      return undefined
    }
    if (!ref || place === undefined) return undefined
    const named = { ...ref, collection: place }
    this.#keepInline(field, named, { fields, isReference: collection !== undefined })
    return data ? { ...named, data } : named
  }

  /** An object with an id alone is a user to be created; one with a collection alone is a reference. */
  #keepInline(
    field: string,
    named: RecipientRef,
    { fields, isReference }: { readonly fields: Json; readonly isReference: boolean },
  ): void {
    const { patch, problems } = readFields(named, fields, field)
    this.violations.push(...problems)
    const given = channelDataOf(fields)
    const isGiven = Object.keys(given).length > 0
    if (isReference && !isGiven && !saysSomething(patch)) return
    const pointer = (name: string) => `${field}/channel_data/${name}`
    const channelData = { ...named, channelData: given, pointer }
    this.keep({ ...patch, ...(isGiven && { channelData }) })
  }

  #ref(field: string, id: unknown, collection: string): RecipientRef | undefined {
    const checked = this.#checked(() => checkRecipientId(id, field))
    return checked === undefined ? undefined : { collection, id: checked }
  }

  #collection(field: string, collection: unknown): string | undefined {
    return this.#checked(() => checkCollection(collection, `${field}/collection`))
  }

  #checked(check: () => string): string | undefined {
    try {
      return check()
    } catch (error) {
      if (!(error instanceof RequestError)) throw error
      this.violations.push(...(error.errors ?? []))
      return undefined
    }
  }
}

/** What a request says of one recipient in two places. */
function joined(earlier: InlineEntity, later: InlineEntity): InlineEntity {
  const preferences = [...(earlier.preferences ?? []), ...(later.preferences ?? [])]
  const channelData = later.channelData ?? earlier.channelData
  const given = { ...earlier.channelData?.channelData, ...later.channelData?.channelData }
  return {
    ...earlier,
    ...later,
    properties: { ...earlier.properties, ...later.properties },
    ...(preferences.length > 0 && { preferences }),
    ...(channelData && { channelData: { ...channelData, channelData: given } }),
  }
}

function saysSomething({ properties, preferences }: RecipientPatch): boolean {
  return Object.keys(properties).length > 0 || preferences !== undefined
}

function readRecipients(reader: BodyReader, value: unknown): readonly NamedRecipient[] {
  if (!Array.isArray(value) || value.length === 0) {
    reader.refuse('/recipients', 'is missing or empty: name at least one recipient')
    return []
  }
  if (value.length > RECIPIENTS_MAX) {
    reader.refuse('/recipients', `has ${value.length} entries, more than ${RECIPIENTS_MAX}`)
    return []
  }
  const named = new Map<string, NamedRecipient>()
  for (const [index, entry] of value.entries()) {
    const recipient = reader.entity(`/recipients/${index}`, entry)
    if (!recipient) continue
    const key = recipientKey(recipient)
    named.set(key, { ...named.get(key), ...recipient })
  }
  return [...named.values()]
}

/** The tenant that a body names; one that it brings is kept. */
export function readTenant(reader: BodyReader, value: unknown): string | null {
  if (value == null) return null
  const tenant = reader.entity('/tenant', value, TENANTS)
  if (!tenant) return null
  if (tenant.collection !== TENANTS) {
    reader.refuse('/tenant/collection', 'is not for a tenant')
    return null
  }
  // A tenant named for the first time is kept, so that it can be listed and given properties later.
  reader.keep({ collection: TENANTS, id: tenant.id, properties: {} })
  return tenant.id
}

function readSettings(reader: BodyReader, value: unknown): TriggerSettings {
  if (value == null) return {}
  if (!isJsonObject(value)) {
    reader.refuse('/settings', 'is not an object')
    return {}
  }
  const settings: { sandbox_mode?: boolean; skip_delay?: boolean } = {}
  for (const name of ['sandbox_mode', 'skip_delay'] as const) {
    const flag = value[name]
    if (flag == null) continue
    if (typeof flag === 'boolean') settings[name] = flag
    else reader.refuse(`/settings/${name}`, 'is neither true nor false')
  }
  return settings
}

function readCancellationKey(reader: BodyReader, value: unknown): string | null {
  if (value == null) return null
  if (typeof value === 'string' && value !== '' && value.length <= CANCELLATION_KEY_LENGTH_MAX)
    return value
  const limit = `1 to ${CANCELLATION_KEY_LENGTH_MAX} characters`
  reader.refuse('/cancellation_key', `is not a string of ${limit}`)
  return null
}
