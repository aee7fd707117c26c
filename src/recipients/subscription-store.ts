import type { Queryable, Transaction } from '../db/database.ts'
import { inOrder, newestFirst, type Place } from '../db/pages.ts'
import { sql } from '../db/sql.ts'
import { newRowId, type EnvironmentName } from '../ids.ts'
import type { Properties } from './merge.ts'
import type { RecipientRef } from './recipient.ts'

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

/**
 * Subscribes recipients to an object. Properties, where they are given, replace those of a subscription that is
 * there already. Answers the subscriptions as they are now, in the order of `subscribers`.
 */
export async function upsertSubscriptions(
  tx: Transaction,
  environment: EnvironmentName,
  {
    object,
    subscribers,
    properties,
  }: {
    readonly object: RecipientRef
    /** Each once. */
    readonly subscribers: readonly RecipientRef[]
    /** Undefined: as they are, and empty for a new one. */
    readonly properties: Properties | undefined
  },
  now: Date,
): Promise<readonly Subscription[]> {
  const json = properties === undefined ? null : JSON.stringify(properties)
  const rows = await tx.query<SubscriptionRow>(sql`
    insert into subscriptions (environment, object_collection, object_id, collection, recipient, id,
      properties, inserted_at, updated_at)
    select ${environment}, ${object.collection}, ${object.id}, i.collection, i.recipient, i.id,
      coalesce(${json}::jsonb, '{}'), ${now}, ${now}
    from unnest(${subscribers.map(({ collection }) => collection)}::text[],
      ${subscribers.map(({ id }) => id)}::text[],
      ${subscribers.map(() => newRowId())}::uuid[]) as i (collection, recipient, id)
    order by i.collection, i.recipient
    on conflict on constraint subscriptions_pkey do update
      set properties = coalesce(${json}::jsonb, subscriptions.properties), updated_at = ${now}
    returning id, object_collection, object_id, collection, recipient, properties, inserted_at,
      updated_at
  `)
  return inOrderOf(subscribers, rows.map(toSubscription))
}

/** Subscribes one to another, each pair once; a subscription that is there stays as it is. */
export async function keepSubscriptions(
  tx: Transaction,
  environment: EnvironmentName,
  pairs: readonly { readonly object: RecipientRef; readonly subscriber: RecipientRef }[],
  now: Date,
): Promise<void> {
  if (pairs.length === 0) return
  await tx.query(sql`
    insert into subscriptions (environment, object_collection, object_id, collection, recipient, id,
      properties, inserted_at, updated_at)
    select ${environment}, i.object_collection, i.object_id, i.collection, i.recipient, i.id, '{}',
      ${now}, ${now}
    from unnest(${pairs.map(({ object }) => object.collection)}::text[],
      ${pairs.map(({ object }) => object.id)}::text[],
      ${pairs.map(({ subscriber }) => subscriber.collection)}::text[],
      ${pairs.map(({ subscriber }) => subscriber.id)}::text[],
      ${pairs.map(() => newRowId())}::uuid[])
      as i (object_collection, object_id, collection, recipient, id)
    order by i.object_collection, i.object_id, i.collection, i.recipient
    on conflict on constraint subscriptions_pkey do nothing
  `)
}

/** Ends the subscriptions of recipients to an object; answers those that there were, in the order of `subscribers`. */
export async function deleteSubscriptions(
  tx: Transaction,
  environment: EnvironmentName,
  {
    object,
    subscribers,
  }: { readonly object: RecipientRef; readonly subscribers: readonly RecipientRef[] },
): Promise<readonly Subscription[]> {
  const rows = await tx.query<SubscriptionRow>(sql`
    delete from subscriptions s
    using unnest(${subscribers.map(({ collection }) => collection)}::text[],
      ${subscribers.map(({ id }) => id)}::text[]) as i (collection, recipient)
    where s.environment = ${environment} and s.object_collection = ${object.collection}
      and s.object_id = ${object.id} and s.collection = i.collection and s.recipient = i.recipient
    returning s.id, s.object_collection, s.object_id, s.collection, s.recipient, s.properties,
      s.inserted_at, s.updated_at
  `)
  return inOrderOf(subscribers, rows.map(toSubscription))
}

function inOrderOf(
  subscribers: readonly RecipientRef[],
  subscriptions: readonly Subscription[],
): readonly Subscription[] {
  return subscribers.flatMap(
    ({ collection, id }) =>
      subscriptions.find(
        ({ subscriber }) => subscriber.collection === collection && subscriber.id === id,
      ) ?? [],
  )
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
