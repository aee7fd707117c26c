import { RequestError, unreachable } from '../errors.ts'
import { readTenantChange } from '../recipients/fields.ts'
import { mergeProperties, type Properties } from '../recipients/merge.ts'
import {
  checkCollection,
  checkRecipientId,
  TENANTS,
  USERS,
  type Recipient,
  type RecipientRef,
  recipientKey,
} from '../recipients/recipient.ts'
import { PROPERTIES_BYTES_MAX } from '../recipients/store.ts'
import { checkText } from '../recipients/text.ts'
import type { Outcome, UpdateTarget } from '../steps/step.ts'
import type { Decision } from './advance.ts'
import { DATA_BYTES_MAX, sizeOf } from './data.ts'
import type { Walker } from './walker.ts'
import { dataOf } from './scope.ts'

/**
 * Does an update as far as the run itself sees it, and notes what is to be stored with the chunk: whatever
 * others change meanwhile, each patch is merged into what is there then.
 */
export function applyUpdate(walker: Walker, outcome: Outcome & { kind: 'update' }): Decision {
  const { target, properties } = outcome
  try {
    checkText(properties, '/properties')
    return target.kind === 'data'
      ? updateData(walker, properties)
      : updateEntity(walker, target, properties)
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    return { kind: 'fail', message: error.message, retryable: false }
  }
}

/** What the trigger said stays as it was: its other runs see it too. */
function updateData(walker: Walker, properties: Properties): Decision {
  const { run, shared } = walker
  const merged = mergeProperties(dataOf(shared, run), properties)
  const changed = Object.keys(properties).map((key) => [
    key,
    Object.hasOwn(merged, key) ? merged[key] : null,
  ])
  checkSize('properties', PROPERTIES_BYTES_MAX, properties)
  const data = { ...run.data, ...Object.fromEntries(changed) }
  checkSize('the data of the run', DATA_BYTES_MAX, data)
  walker.run = { ...run, data }
  return noted('data_updated', { keys: Object.keys(properties) })
}

function updateEntity(
  walker: Walker,
  target: Exclude<UpdateTarget, { kind: 'data' }>,
  given: Properties,
): Decision {
  const ref = refOf(walker, target)
  if (ref === undefined) return { kind: 'skip', reason: 'target_missing' }
  const properties = ref.collection === TENANTS ? readTenantChange(given) : given
  // What sends nothing shall leave no other traces in the world either.
  if (walker.shared.settings.sandbox_mode === true) return { kind: 'skip', reason: 'sandbox' }
  const { chunk } = walker
  const { now } = chunk
  const key = recipientKey(ref)
  const known: Recipient = chunk.entities.get(key) ?? {
    ...ref,
    properties: {},
    createdAt: now,
    updatedAt: now,
  }
  const merged = mergeProperties(known.properties, properties)
  checkSize(`the properties of ${key}`, PROPERTIES_BYTES_MAX, merged)
  const entities = new Map(chunk.entities)
  entities.set(key, { ...known, properties: merged, updatedAt: now })
  walker.chunk = { ...chunk, entities }
  walker.updates.push({ ...ref, properties })
  return noted('properties_updated', { ...ref, keys: Object.keys(properties) })
}

function refOf(
  { run, shared }: Walker,
  target: Exclude<UpdateTarget, { kind: 'data' }>,
): RecipientRef | undefined {
  switch (target.kind) {
    case 'recipient':
      return { collection: run.collection, id: run.recipient }
    case 'tenant':
      return shared.tenant === null ? undefined : { collection: TENANTS, id: shared.tenant }
    case 'entity': {
      const { collection } = target
      const isOurs = collection === USERS || collection === TENANTS
      return {
        collection: isOurs ? collection : checkCollection(collection, '/collection'),
        id: checkRecipientId(target.id, '/id'),
      }
    }
    default:
      return unreachable(target)
  }
}

function checkSize(what: string, bytesMax: number, properties: Properties): void {
  if (sizeOf(properties) <= bytesMax) return
  const message = `${what} would be larger than ${bytesMax} bytes`
  throw new RequestError(422, 'invalid_params', message)
}

function noted(event: string, data: Readonly<Record<string, unknown>>): Decision {
  return { kind: 'next', events: [{ event, status: 'ok', data }] }
}
