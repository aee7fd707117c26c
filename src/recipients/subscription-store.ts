import type { Queryable, Transaction } from '../db/database.ts'
import { inOrder, newestFirst, type Place } from '../db/pages.ts'
import { sql, type Sql } from '../db/sql.ts'
import { newRowId, type EnvironmentName } from '../ids.ts'
import type { Properties } from './merge.ts'
import { recipientKey, type RecipientRef } from './recipient.ts'

/** Somebody who is reached when an object is named as a recipient. */
export interface Subscription {
  /** Time-ordered. */
  readonly id: string
  readonly object: RecipientRef
  readonly subscriber: RecipientRef
  readonly properties: Properties
  readonly insertedAt: Date
  readonly updatedAt: Date
}

interface SubscriptionRow {
  readonly id: string
  readonly object_collection: string
  readonly object_id: string
  readonly collection: string
  readonly recipient: string
  readonly properties: Properties
  readonly inserted_at: Date
  readonly updated_at: Date
}

const COLUMNS = sql`
  s.id, s.object_collection, s.object_id, s.collection, s.recipient, s.properties, s.inserted_at, s.updated_at`

/** Who is subscribed to what. */
export interface SubscriptionRef {
  readonly object: RecipientRef
  readonly subscriber: RecipientRef
}

export interface SubscriptionPatch extends SubscriptionRef {
  /** Undefined: as they are, and empty for a new one. */
  readonly properties?: Properties | undefined
}

/** In key order, as everybody locks them. */
function insertOf(
  environment: EnvironmentName,
  patches: readonly SubscriptionPatch[],
  now: Date,
): Sql {
  const { object, id, collection, recipient } = columnsOf(patches)
  const properties = patches.map((one) => JSON.stringify(one.properties ?? {}))
  return sql`
    insert into subscriptions as s (environment, object_collection, object_id, collection, recipient, id,
      properties, inserted_at, updated_at)
    select ${environment}, i.object_collection, i.object_id, i.collection, i.recipient, i.id, i.properties,
      ${now}, ${now}
    from unnest(${object}::text[], ${id}::text[], ${collection}::text[], ${recipient}::text[],
      ${patches.map(() => newRowId())}::uuid[], ${properties}::jsonb[])
      as i (object_collection, object_id, collection, recipient, id, properties)
    order by i.object_collection, i.object_id, i.collection, i.recipient
    on conflict on constraint subscriptions_pkey`
}

function columnsOf(refs: readonly SubscriptionRef[]) {
  return {
    object: refs.map(({ object }) => object.collection),
    id: refs.map(({ object }) => object.id),
    collection: refs.map(({ subscriber }) => subscriber.collection),
    recipient: refs.map(({ subscriber }) => subscriber.id),
  }
}

/**
 * Subscribes recipients to objects, each pair once. Properties, where they are given, replace those of a
 * subscription that is there already. Answers the subscriptions as they are now, in the order of the patches.
 */
export async function upsertSubscriptions(
  tx: Transaction,
  environment: EnvironmentName,
  patches: readonly SubscriptionPatch[],
  now: Date,
): Promise<readonly Subscription[]> {
  const groups = [
    { change: sql`properties = excluded.properties`, isGiven: true },
    { change: sql`properties = s.properties`, isGiven: false },
  ]
  const written: SubscriptionRow[] = []
  for (const { change, isGiven } of groups) {
    const some = patches.filter(({ properties }) => (properties !== undefined) === isGiven)
    if (some.length === 0) continue
    const rows = await tx.query<SubscriptionRow>(sql`
      ${insertOf(environment, some, now)} do update set ${change}, updated_at = ${now}
      returning ${COLUMNS}
    `)
    written.push(...rows)
  }
  return inOrderOf(patches, written)
}

/** Subscribes one to another, each pair once; a subscription that is there stays as it is. */
export async function keepSubscriptions(
  tx: Transaction,
  environment: EnvironmentName,
  pairs: readonly SubscriptionRef[],
  now: Date,
): Promise<void> {
  if (pairs.length === 0) return
  await tx.query(sql`${insertOf(environment, pairs, now)} do nothing`)
}

/** Ends subscriptions; answers those that there were, in the order of the pairs. */
export async function deleteSubscriptions(
  tx: Transaction,
  environment: EnvironmentName,
  pairs: readonly SubscriptionRef[],
): Promise<readonly Subscription[]> {
  const { object, id, collection, recipient } = columnsOf(pairs)
  const rows = await tx.query<SubscriptionRow>(sql`
    with theirs as (
      select s.object_collection, s.object_id, s.collection, s.recipient
      from unnest(${object}::text[], ${id}::text[], ${collection}::text[], ${recipient}::text[])
        as i (object_collection, object_id, collection, recipient)
      join subscriptions s on s.environment = ${environment} and s.object_collection = i.object_collection
        and s.object_id = i.object_id and s.collection = i.collection and s.recipient = i.recipient
      order by s.object_collection, s.object_id, s.collection, s.recipient
      for update of s
    )
    delete from subscriptions s
    using theirs t
    where s.environment = ${environment} and s.object_collection = t.object_collection
      and s.object_id = t.object_id and s.collection = t.collection and s.recipient = t.recipient
    returning ${COLUMNS}
  `)
  return inOrderOf(pairs, rows)
}

function inOrderOf(
  refs: readonly SubscriptionRef[],
  rows: readonly SubscriptionRow[],
): readonly Subscription[] {
  const found = rows.map(toSubscription)
  const byPair = new Map(found.map((one) => [pairKey(one), one]))
  return refs.flatMap((one) => byPair.get(pairKey(one)) ?? [])
}

/** One text for one pair, for maps: no id holds a slash. */
export function pairKey({ object, subscriber }: SubscriptionRef): string {
  return `${recipientKey(object)}/${recipientKey(subscriber)}`
}

/** What a list of subscriptions is narrowed to. */
export interface SubscriptionFilter {
  /** Whose: those to an object, or those that a recipient has. */
  readonly of: 'object' | 'subscriber'
  readonly ref: RecipientRef
  /** Only those with one of these at the other end; null: all. */
  readonly others: readonly RecipientRef[] | null
}

/** The subscriptions to an object, or of a recipient, newest first. */
export async function listSubscriptions(
  db: Queryable,
  environment: EnvironmentName,
  { of, ref, others }: SubscriptionFilter,
  place: Place,
): Promise<readonly Subscription[]> {
  const names = others?.map(({ collection, id }) => `${collection}/${id}`) ?? null
  const [own, other] =
    of === 'object'
      ? [sql`(s.object_collection, s.object_id)`, sql`s.collection || '/' || s.recipient`]
      : [sql`(s.collection, s.recipient)`, sql`s.object_collection || '/' || s.object_id`]
  const rows = await db.query<SubscriptionRow>(sql`
    select ${COLUMNS}
    from subscriptions s
    where s.environment = ${environment} and ${own} = (${ref.collection}, ${ref.id})
      and (${names}::text[] is null or ${other} = any(${names}::text[]))
      ${newestFirst(sql`s.id`, place)}
  `)
  return inOrder(rows, place).map(toSubscription)
}

/** Ends all subscriptions to a recipient that is deleted, and all that it has. */
export async function forgetSubscriber(
  tx: Queryable,
  environment: EnvironmentName,
  { collection, id }: RecipientRef,
): Promise<void> {
  await tx.query(sql`
    delete from subscriptions
    where environment = ${environment} and (
      (object_collection = ${collection} and object_id = ${id})
      or (collection = ${collection} and recipient = ${id})
    )
  `)
}

/** Gives the subscriptions of one recipient to another, but for those that this one has itself. */
export async function moveSubscriptions(
  tx: Transaction,
  environment: EnvironmentName,
  {
    collection,
    from,
    into,
  }: { readonly collection: string; readonly from: string; readonly into: string },
): Promise<void> {
  await tx.query(sql`
    with moved as (
      delete from subscriptions
      where environment = ${environment} and collection = ${collection} and recipient = ${from}
      returning object_collection, object_id, id, properties, inserted_at, updated_at
    )
    insert into subscriptions (environment, object_collection, object_id, collection, recipient, id,
      properties, inserted_at, updated_at)
    select ${environment}, object_collection, object_id, ${collection}, ${into}, id, properties,
      inserted_at, updated_at
    from moved
    on conflict on constraint subscriptions_pkey do nothing
  `)
}

function toSubscription(row: SubscriptionRow): Subscription {
  return {
    id: row.id,
    object: { collection: row.object_collection, id: row.object_id },
    subscriber: { collection: row.collection, id: row.recipient },
    properties: row.properties,
    insertedAt: row.inserted_at,
    updatedAt: row.updated_at,
  }
}
