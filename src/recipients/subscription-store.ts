import type { Queryable, Transaction } from '../db/database.ts'
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
  return inOrder(rows.map(toSubscription), subscribers)
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
  return inOrder(rows.map(toSubscription), subscribers)
}

function inOrder(
  subscriptions: readonly Subscription[],
  subscribers: readonly RecipientRef[],
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

/** A place in such a list. */
export interface SubscriptionPage {
  readonly after?: string
  readonly before?: string
  readonly limit: number
}

/** The subscriptions to an object, or of a recipient, newest first. */
export async function listSubscriptions(
  db: Queryable,
  environment: EnvironmentName,
  filter: SubscriptionFilter,
  page: SubscriptionPage,
): Promise<readonly Subscription[]> {
  const { after = null, before, limit } = page
  const { of, ref } = filter
  const names = filter.others?.map(({ collection, id }) => `${collection}/${id}`) ?? null
  const asked = { environment, ref, names, limit }
  // A statement for each direction and each end, so that each walks its index and stops at the page's end.
  const rows =
    of === 'object'
      ? await (before === undefined ? olderTo(db, asked, after) : newerTo(db, asked, before))
      : await (before === undefined ? olderOf(db, asked, after) : newerOf(db, asked, before))
  const found = rows.map(toSubscription)
  return before === undefined ? found : found.toReversed()
}

interface Asked {
  readonly environment: EnvironmentName
  readonly ref: RecipientRef
  readonly names: readonly string[] | null
  readonly limit: number
}

function olderTo(
  db: Queryable,
  { environment, ref, names, limit }: Asked,
  after: string | null,
): Promise<readonly SubscriptionRow[]> {
  return db.query<SubscriptionRow>(sql`
    select id, object_collection, object_id, collection, recipient, properties, inserted_at,
      updated_at
    from subscriptions
    where environment = ${environment} and object_collection = ${ref.collection} and object_id = ${ref.id}
      and (${after}::uuid is null or id < ${after})
      and (${names}::text[] is null or collection || '/' || recipient = any(${names}::text[]))
    order by id desc
    limit ${limit}
  `)
}

function newerTo(
  db: Queryable,
  { environment, ref, names, limit }: Asked,
  before: string,
): Promise<readonly SubscriptionRow[]> {
  return db.query<SubscriptionRow>(sql`
    select id, object_collection, object_id, collection, recipient, properties, inserted_at,
      updated_at
    from subscriptions
    where environment = ${environment} and object_collection = ${ref.collection} and object_id = ${ref.id}
      and id > ${before}
      and (${names}::text[] is null or collection || '/' || recipient = any(${names}::text[]))
    order by id
    limit ${limit}
  `)
}

function olderOf(
  db: Queryable,
  { environment, ref, names, limit }: Asked,
  after: string | null,
): Promise<readonly SubscriptionRow[]> {
  return db.query<SubscriptionRow>(sql`
    select id, object_collection, object_id, collection, recipient, properties, inserted_at,
      updated_at
    from subscriptions
    where environment = ${environment} and collection = ${ref.collection} and recipient = ${ref.id}
      and (${after}::uuid is null or id < ${after})
      and (${names}::text[] is null or object_collection || '/' || object_id = any(${names}::text[]))
    order by id desc
    limit ${limit}
  `)
}

function newerOf(
  db: Queryable,
  { environment, ref, names, limit }: Asked,
  before: string,
): Promise<readonly SubscriptionRow[]> {
  return db.query<SubscriptionRow>(sql`
    select id, object_collection, object_id, collection, recipient, properties, inserted_at,
      updated_at
    from subscriptions
    where environment = ${environment} and collection = ${ref.collection} and recipient = ${ref.id}
      and id > ${before}
      and (${names}::text[] is null or object_collection || '/' || object_id = any(${names}::text[]))
    order by id
    limit ${limit}
  `)
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
