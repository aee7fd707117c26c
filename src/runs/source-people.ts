import type { Transaction } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import type { EnvironmentName } from '../ids.ts'
import { readFields } from '../recipients/fields.ts'
import { checkRecipientId, USERS, type RecipientRef } from '../recipients/recipient.ts'
import { loadRecipients, upsertRecipients, type RecipientPatch } from '../recipients/store.ts'
import { keepSubscriptions } from '../recipients/subscription-store.ts'
import { mergeUser } from './merge.ts'
import { objectOf, type Json, type SourceEvent } from './source-event.ts'

const GROUPS_DEFAULT = 'groups'

/** What an event says of users and objects. */
export interface People {
  readonly patches: readonly RecipientPatch[]
  readonly subscription?: { readonly object: RecipientRef; readonly subscriber: RecipientRef }
  readonly merge?: { readonly from: string; readonly into: string }
}

/**
 * Reads an `identify`, a `group` or an `alias`; undefined for an event that is none of these, or is about nobody.
 * Throws a 422 `RequestError` where it cannot be kept.
 */
export function readPeople(
  { kind, userId, body }: SourceEvent,
  groupCollection: string = GROUPS_DEFAULT,
): People | undefined {
  if (userId === null || body === null) return undefined
  if (kind === 'identify') {
    const ref = userRef(userId)
    const traits = { ...objectOf(objectOf(body['context'])['traits']), ...objectOf(body['traits']) }
    return { patches: [patchOf(ref, userFields(traits))] }
  }
  if (kind === 'group') {
    const subscriber = userRef(userId)
    const id = checkRecipientId(body['groupId'], '/groupId')
    const object = { collection: groupCollection, id }
    const traits = withoutOurs(objectOf(body['traits']))
    const user = { ...subscriber, properties: {} }
    return { patches: [patchOf(object, traits), user], subscription: { object, subscriber } }
  }
  if (kind !== 'alias') return undefined
  const from = checkRecipientId(body['previousId'], '/previousId')
  return from === userId ? undefined : { patches: [], merge: { from, into: userRef(userId).id } }
}

function userRef(id: string): RecipientRef {
  return { collection: USERS, id: checkRecipientId(id, '/userId') }
}

function patchOf(ref: RecipientRef, fields: Json): RecipientPatch {
  const { patch, problems } = readFields(ref, fields, '/traits')
  const [first] = problems
  if (!first) return patch
  throw new RequestError(422, 'invalid_params', `${first.field} ${first.message}`, problems)
}

/** Traits under the names that users have here. */
function userFields(traits: Json): Json {
  const { phone, createdAt, ...others } = withoutOurs(traits)
  const { firstName, lastName } = others
  const names = [firstName, lastName].filter((one) => typeof one === 'string' && one !== '')
  return {
    ...(names.length > 0 && { name: names.join(' ') }),
    ...(typeof phone === 'string' && { phone_number: phone }),
    ...(typeof createdAt === 'string' && { created_at: createdAt }),
    ...others,
  }
}

/** A trait of such a name would be more than a property. */
function withoutOurs(traits: Json): Json {
  const { channel_data: _channels, preferences: _sets, ...others } = traits
  return others
}

/** Keeps what events say of users and objects, with a fixed number of statements but for merges. Answers who was merged. */
export async function keepPeople(
  tx: Transaction,
  environment: EnvironmentName,
  people: readonly People[],
  now: Date,
): Promise<void> {
  await upsertRecipients(
    tx,
    environment,
    people.flatMap(({ patches }) => patches),
    now,
  )
  const subscriptions = people.flatMap(({ subscription }) => subscription ?? [])
  await keepSubscriptions(tx, environment, subscriptions, now)
}

/** Merges users one after the other; one whose other name is not known has nothing to be merged. */
export async function mergePeople(
  tx: Transaction,
  environment: EnvironmentName,
  people: readonly People[],
  now: Date,
): Promise<void> {
  for (const { from, into } of people.flatMap(({ merge }) => merge ?? [])) {
    const [known] = await loadRecipients(tx, environment, [{ collection: USERS, id: from }])
    if (!known) continue
    await upsertRecipients(tx, environment, [{ collection: USERS, id: into, properties: {} }], now)
    await mergeUser(tx, environment, { from, into }, now)
  }
}
