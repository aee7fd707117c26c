import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName } from '../ids.ts'
import type { Properties } from './merge.ts'
import { recipientKey, type RecipientRef } from './recipient.ts'

/** How far a trigger reaches: the subscribers of an object that it names, and those of objects among them. */
const DEPTH_MAX = 2
/** Objects whose subscribers one page is made of. Each may have more than the page holds. */
const OBJECTS_MAX = 16

/** Where the subscribers of a trigger's objects are read on. */
export interface FanOutCursor {
  /** 1: subscribers of the named objects, 2: those of objects among them. */
  readonly depth: number
  /** The next one to read, or to go on with; null: the first. */
  readonly object: RecipientRef | null
  /** Behind this one of its subscribers; null: from the first. */
  readonly after: RecipientRef | null
}

/** Before everybody else. */
const NOBODY: RecipientRef = { collection: '', id: '' }

/** Somebody whom a trigger reaches by a subscription. */
export interface Reached extends RecipientRef {
  readonly subscription: ReachedBy
}

/** The subscription, as a run keeps it. */
export interface ReachedBy {
  readonly object: RecipientRef
  readonly properties: Properties
}

/** Where reading begins: those nearest first, so that the nearest subscription is the one that counts. */
export const FIRST_SUBSCRIBERS: FanOutCursor = { depth: 1, object: null, after: null }

/**
 * Reads up to `limit` subscribers from where the cursor stands, and says where it goes on; null behind the last one.
 * Somebody with more than one subscription comes more than once. A fixed number of statements.
 */
export async function readSubscribers(
  tx: Transaction,
  environment: EnvironmentName,
  {
    objects,
    cursor,
    limit,
  }: {
    /** Those that the trigger names. */
    readonly objects: readonly RecipientRef[]
    readonly cursor: FanOutCursor
    readonly limit: number
  },
): Promise<{ readonly reached: readonly Reached[]; readonly next: FanOutCursor | null }> {
  const { depth } = cursor
  const ahead =
    depth === 1
      ? await sortNamed(tx, objects, cursor)
      : await listSubscribedObjects(tx, environment, objects, cursor)
  const reached = await listSubscribers(tx, environment, {
    objects: ahead.slice(0, OBJECTS_MAX),
    cursor,
    limit,
  })
  const last = reached.at(-1)
  if (last && reached.length === limit) {
    const after = { collection: last.collection, id: last.id }
    return { reached, next: { depth, object: last.subscription.object, after } }
  }
  const object = ahead[OBJECTS_MAX]
  if (object) return { reached, next: { depth, object, after: null } }
  const isLast = depth === DEPTH_MAX
  return { reached, next: isLast ? null : { depth: depth + 1, object: null, after: null } }
}

/** The next ones of the named objects and one more; sorted by Postgres, whose order the pages go by. */
function sortNamed(
  tx: Transaction,
  objects: readonly RecipientRef[],
  { object }: FanOutCursor,
): Promise<readonly RecipientRef[]> {
  return tx.query<RecipientRef>(sql`
    select collection, id
    from unnest(${objects.map(({ collection }) => collection)}::text[],
      ${objects.map(({ id }) => id)}::text[]) as o (collection, id)
    where ${object === null} or (collection, id) >= (${object?.collection ?? ''}, ${object?.id ?? ''})
    order by collection, id
    limit ${OBJECTS_MAX + 1}
  `)
}

/** The next ones of the objects that are subscribed to the named ones, and one more. */
function listSubscribedObjects(
  tx: Transaction,
  environment: EnvironmentName,
  objects: readonly RecipientRef[],
  { object }: FanOutCursor,
): Promise<readonly RecipientRef[]> {
  return tx.query<RecipientRef>(sql`
    select distinct s.collection, s.recipient as id
    from unnest(${objects.map(({ collection }) => collection)}::text[],
      ${objects.map(({ id }) => id)}::text[]) as o (collection, id)
    join subscriptions s
      on s.environment = ${environment} and s.object_collection = o.collection and s.object_id = o.id
        and left(s.collection, 1) <> '$'
    where ${object === null}
      or (s.collection, s.recipient) >= (${object?.collection ?? ''}, ${object?.id ?? ''})
    order by s.collection, s.recipient
    limit ${OBJECTS_MAX + 1}
  `)
}

async function listSubscribers(
  tx: Transaction,
  environment: EnvironmentName,
  {
    objects,
    cursor,
    limit,
  }: {
    readonly objects: readonly RecipientRef[]
    readonly cursor: FanOutCursor
    readonly limit: number
  },
): Promise<readonly Reached[]> {
  if (objects.length === 0) return []
  const { object, after } = cursor
  const behind = objects.map((one) =>
    object && after && recipientKey(one) === recipientKey(object) ? after : NOBODY,
  )
  const rows = await tx.query<RecipientRef & { of: RecipientRef; properties: Properties }>(sql`
    select s.collection, s.id, s.properties,
      jsonb_build_object('collection', o.collection, 'id', o.id) as of
    from unnest(${objects.map(({ collection }) => collection)}::text[],
      ${objects.map(({ id }) => id)}::text[],
      ${behind.map(({ collection }) => collection)}::text[],
      ${behind.map(({ id }) => id)}::text[]) as o (collection, id, after_collection, after_id)
    -- Lateral and limited, so that no more of an object with many subscribers is read than the page holds.
    cross join lateral (
      select collection, recipient as id, properties
      from subscriptions
      where environment = ${environment} and object_collection = o.collection and object_id = o.id
        and (collection, recipient) > (o.after_collection, o.after_id)
      order by collection, recipient
      limit ${limit}
    ) s
    order by o.collection, o.id, s.collection, s.id
    limit ${limit}
  `)
  return rows.map(({ collection, id, of, properties }) => ({
    collection,
    id,
    subscription: { object: of, properties },
  }))
}
