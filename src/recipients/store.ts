import { isDeepStrictEqual } from 'node:util'
import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { RequestError } from '../errors.ts'
import type { EnvironmentName } from '../ids.ts'
import { forgetMember, moveMemberships } from './audience-store.ts'
import { mergeChannelData } from './channel-data-store.ts'
import { mergeProperties } from './merge.ts'
import type { Properties } from './merge.ts'
import {
  deletePreferences,
  mergePreferences,
  savePreferences,
  type PreferenceWrite,
} from './preference-store.ts'
import { invalid, recipientKey, USERS } from './recipient.ts'
import type { Recipient, RecipientRef } from './recipient.ts'
import { forgetScheduled, moveSchedules, rezoneSchedules } from './schedule-store.ts'
import { forgetSubscriber, moveSubscriptions } from './subscription-store.ts'

/** What a request says about a recipient; laid over what is known. */
export interface RecipientPatch extends RecipientRef {
  readonly properties: Properties
  /** Whether what was known of a tenant's preferences is dropped first. */
  readonly replacesPreferences?: boolean
  /** Sets of its own, written with it. */
  readonly preferences?: readonly PreferenceWrite[]
}

/** What is known about one recipient, as JSON. */
export const PROPERTIES_BYTES_MAX = 256 * 1024

/** Those of `refs` that are known, in no order. */
export async function loadRecipients(
  tx: Queryable,
  environment: EnvironmentName,
  refs: readonly RecipientRef[],
): Promise<Recipient[]> {
  if (refs.length === 0) return []
  return await tx.query<Recipient>(sql`
    select r.collection, r.id, r.properties, r.created_at as "createdAt", r.updated_at as "updatedAt"
    from (
      select distinct collection, id
      from unnest(
        ${refs.map(({ collection }) => collection)}::text[],
        ${refs.map(({ id }) => id)}::text[]
      ) as n (collection, id)
    ) n
    -- Lateral and limited, so that each is looked up by its key whatever the statistics say.
    cross join lateral (
      select collection, id, properties, created_at, updated_at
      from recipients
      where environment = ${environment} and collection = n.collection and id = n.id
      limit 1
    ) r
  `)
}

/**
 * Creates or changes recipients: each patch is merged into what is known, under a lock, so that
 * writers at the same time lose nothing. A recipient named twice gets both patches, in their order. Sets of
 * preferences are written with them.
 * Returns them as they are now. Throws a 422 `RequestError` where one grows beyond 256 kB.
 */
export async function upsertRecipients(
  tx: Transaction,
  environment: EnvironmentName,
  patches: readonly RecipientPatch[],
  now: Date,
): Promise<Recipient[]> {
  if (patches.length === 0) return []
  const groups = Map.groupBy(patches, recipientKey)
  const refs = [...groups.values()].map((group) => group[0]!)
  await insertMissing(tx, environment, refs, now)
  const known = await lockRecipients(tx, environment, refs)
  const merged = known.map((recipient) => {
    const group = groups.get(recipientKey(recipient)) ?? []
    const properties = group.reduce(
      (all, patch) => mergeProperties(baseOf(all, patch), patch.properties),
      recipient.properties,
    )
    return { recipient, properties }
  })
  const changed = merged.filter(
    ({ recipient, properties }) => !isDeepStrictEqual(recipient.properties, properties),
  )
  for (const { recipient, properties } of changed) checkSize(recipient, properties)
  await saveProperties(
    tx,
    environment,
    changed.map(({ recipient: { collection, id }, properties }) => ({
      collection,
      id,
      properties,
    })),
    now,
  )
  const preferences = [...groups.values()]
    .flat()
    .flatMap(({ collection, id, preferences: sets }) =>
      (sets ?? []).map((set) => ({ ...set, collection, id })),
    )
  await savePreferences(tx, environment, preferences, now)
  const moved = changed.filter(
    ({ recipient, properties }) => recipient.properties['timezone'] !== properties['timezone'],
  )
  await rezoneSchedules(
    tx,
    environment,
    moved.map(({ recipient }) => recipient),
    now,
  )
  const isChanged = new Set(changed.map(({ recipient }) => recipient))
  return merged.map(({ recipient, properties }) => ({
    ...recipient,
    properties,
    updatedAt: isChanged.has(recipient) ? now : recipient.updatedAt,
  }))
}

function baseOf(known: Properties, { replacesPreferences }: RecipientPatch): Properties {
  if (replacesPreferences !== true) return known
  return mergeProperties(known, { settings: { preference_set: null } })
}

function checkSize({ collection, id }: RecipientRef, properties: Properties): void {
  if (Buffer.byteLength(JSON.stringify(properties)) <= PROPERTIES_BYTES_MAX) return
  const who = collection === USERS ? `the user ${id}` : `${id} of ${collection}`
  throw invalid('', `properties of ${who} are larger than ${PROPERTIES_BYTES_MAX} bytes`)
}

/** In key order, as the locks are taken: two writers of the same recipients never wait for each other. */
async function insertMissing(
  tx: Transaction,
  environment: EnvironmentName,
  refs: readonly RecipientRef[],
  now: Date,
): Promise<void> {
  await tx.query(sql`
    insert into recipients (environment, collection, id, properties, created_at, updated_at)
    select ${environment}, collection, id, '{}', ${now}, ${now}
    from unnest(
      ${refs.map(({ collection }) => collection)}::text[],
      ${refs.map(({ id }) => id)}::text[]
    ) as n (collection, id)
    order by collection, id
    on conflict on constraint recipients_pkey do nothing
  `)
}

async function lockRecipients(
  tx: Transaction,
  environment: EnvironmentName,
  refs: readonly RecipientRef[],
): Promise<Recipient[]> {
  return await tx.query<Recipient>(sql`
    select r.collection, r.id, r.properties, r.created_at as "createdAt", r.updated_at as "updatedAt"
    from recipients r
    join unnest(
      ${refs.map(({ collection }) => collection)}::text[],
      ${refs.map(({ id }) => id)}::text[]
    ) as n (collection, id) on r.collection = n.collection and r.id = n.id
    where r.environment = ${environment}
    order by r.collection, r.id
    for update of r
  `)
}

async function saveProperties(
  tx: Transaction,
  environment: EnvironmentName,
  recipients: readonly RecipientPatch[],
  now: Date,
): Promise<void> {
  if (recipients.length === 0) return
  await tx.query(sql`
    update recipients r
    set properties = p.properties, updated_at = ${now}
    from json_to_recordset(${JSON.stringify(recipients)}::json) as p (
      collection text, id text, properties jsonb
    )
    where r.environment = ${environment} and r.collection = p.collection and r.id = p.id
  `)
}

/** One recipient by its name. */
export async function findRecipient(
  tx: Queryable,
  environment: EnvironmentName,
  ref: RecipientRef,
): Promise<Recipient | undefined> {
  const [recipient] = await loadRecipients(tx, environment, [ref])
  return recipient
}

/**
 * Deletes a recipient for good, with its preferences, subscriptions, memberships and schedules; false where there was none.
 * Its messages stay, its runs end as they wake.
 */
export async function deleteRecipient(
  tx: Queryable,
  environment: EnvironmentName,
  ref: RecipientRef,
): Promise<boolean> {
  const { collection, id } = ref
  const deleted = await tx.query(sql`
    delete from recipients
    where environment = ${environment} and collection = ${collection} and id = ${id}
    returning id
  `)
  // Afterwards, so that what a writer stored who held the recipient's lock is seen.
  await deletePreferences(tx, environment, ref, null)
  await forgetSubscriber(tx, environment, ref)
  if (collection === USERS) await forgetMember(tx, environment, id)
  // Behind the recipient itself, whom everyone locks first who gives it schedules.
  await forgetScheduled(tx, environment, ref)
  return deleted.length > 0
}

/**
 * Lays one user under another, whose own values win, and deletes the first. Both stay locked until the end
 * of the transaction. Throws a 404 `RequestError` where one of them is not known.
 */
export async function mergeUsers(
  tx: Transaction,
  environment: EnvironmentName,
  { from, into }: { readonly from: string; readonly into: string },
  now: Date,
): Promise<Recipient> {
  const refs = [from, into].map((id) => ({ collection: USERS, id }))
  const known = await lockRecipients(tx, environment, refs)
  const [source, target] = refs.map(({ id }) => {
    const user = known.find((one) => one.id === id)
    if (user) return user
    throw new RequestError(404, 'resource_missing', `there is no user "${id}"`)
  })
  const properties = mergeProperties(source!.properties, target!.properties)
  checkSize(target!, properties)
  await saveProperties(tx, environment, [{ collection: USERS, id: into, properties }], now)
  await moveSubscriptions(tx, environment, { collection: USERS, from, into })
  await moveMemberships(tx, environment, { from, into })
  await mergePreferences(tx, environment, { from, into }, now)
  await mergeChannelData(tx, environment, { from, into })
  await moveSchedules(tx, environment, { collection: USERS, from, into }, now)
  await deleteRecipient(tx, environment, { collection: USERS, id: from })
  return { ...target!, properties, updatedAt: now }
}
