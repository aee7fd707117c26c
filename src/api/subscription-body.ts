import type { Transaction } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import { recipientKey, type RecipientRef } from '../recipients/recipient.ts'
import {
  pairKey,
  upsertSubscriptions,
  type Subscription,
  type SubscriptionPatch,
} from '../recipients/subscription-store.ts'
import { storeInline } from '../runs/channel-data.ts'
import { RecipientRequest } from './shapes/recipients.ts'
import { BodyReader } from '../runs/trigger-request.ts'

/** Of one object, that one call names. */
export const SUBSCRIBERS_MAX = 100

/** Fields of a body that subscribes to an object. */
export const subscriberFields = {
  recipients: { type: 'array', minItems: 1, maxItems: SUBSCRIBERS_MAX, items: RecipientRequest },
  properties: { type: ['object', 'null'] },
} as const

/** Who is to be subscribed to an object, as a body says it. */
export interface SubscriptionRequest {
  readonly object: RecipientRef
  readonly recipients: readonly unknown[]
  readonly properties?: Readonly<Record<string, unknown>> | null
}

/**
 * What one of these comes to, each subscriber once. What is wrong is told to the reader, and what is said of
 * subscribers is kept by it; `field` points at the request.
 */
export function readSubscription(
  reader: BodyReader,
  field: string,
  { object, recipients, properties }: SubscriptionRequest,
): readonly SubscriptionPatch[] {
  const named = new Map<string, RecipientRef>()
  for (const [index, value] of recipients.entries()) {
    const found = reader.entity(`${field}/recipients/${index}`, value)
    if (!found) continue
    const { collection, id } = found
    if (recipientKey(found) === recipientKey(object))
      reader.refuse(`${field}/recipients/${index}`, 'is the object itself')
    else named.set(recipientKey(found), { collection, id })
  }
  return [...named.values()].map((subscriber) => {
    return { object, subscriber, properties: properties ?? undefined }
  })
}

/**
 * Subscribes all that is asked for, and keeps whoever is named for the first time, so that a subscription is never to
 * or of nobody. Throws a 422 `RequestError` that lists what is wrong.
 */
export async function addSubscriptions(
  tx: Transaction,
  environment: EnvironmentName,
  asked: readonly SubscriptionRequest[],
  now: Date,
): Promise<readonly Subscription[]> {
  const reader = new BodyReader()
  const patches = new Map<string, SubscriptionPatch>()
  for (const patch of asked.flatMap((one) => readSubscription(reader, '', one))) {
    const { properties = patches.get(pairKey(patch))?.properties } = patch
    patches.set(pairKey(patch), { ...patch, properties })
  }
  reader.requireValid()
  for (const { object, subscriber } of patches.values())
    for (const ref of [object, subscriber]) reader.keep({ ...ref, properties: {} })
  await storeInline(tx, environment, reader.entities(), now)
  return await upsertSubscriptions(tx, environment, [...patches.values()], now)
}
