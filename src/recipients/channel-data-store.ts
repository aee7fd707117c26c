import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { ChannelKey, EnvironmentName } from '../ids.ts'
import { USERS, type RecipientRef } from './recipient.ts'

/** Where a recipient is reached on one channel. */
export interface ChannelData extends RecipientRef {
  readonly channel: ChannelKey
  /** In the form in which it is kept. */
  readonly data: Readonly<Record<string, unknown>>
}

/** One text for one recipient on one channel, for maps. */
export function channelDataKey(collection: string, id: string, channel: string): string {
  return `${collection}/${id}/${channel}`
}

/** All channel data of `refs`, in no order. */
export async function loadChannelData(
  tx: Queryable,
  environment: EnvironmentName,
  refs: readonly RecipientRef[],
): Promise<ChannelData[]> {
  return await tx.query<ChannelData>(sql`
    select d.collection, d.recipient as id, d.channel, d.data
    from (
      select distinct collection, id
      from unnest(
        ${refs.map(({ collection }) => collection)}::text[],
        ${refs.map(({ id }) => id)}::text[]
      ) as n (collection, id)
    ) n
    -- Lateral and limited, so that each is looked up by the key whatever the statistics say.
    cross join lateral (
      select collection, recipient, channel, data
      from channel_data
      where environment = ${environment} and collection = n.collection and recipient = n.id
      limit 1000
    ) d
  `)
}

/** What is known of one recipient on one channel. */
export async function findChannelData(
  tx: Queryable,
  environment: EnvironmentName,
  { collection, id }: RecipientRef,
  channel: ChannelKey,
): Promise<ChannelData | undefined> {
  const [found] = await tx.query<ChannelData>(sql`
    select collection, recipient as id, channel, data
    from channel_data
    where environment = ${environment} and collection = ${collection} and recipient = ${id}
      and channel = ${channel}
  `)
  return found
}

/** Writes channel data, each whole in the place of what was there; of two for the same the last counts. The recipients are there already. */
export async function saveChannelData(
  tx: Transaction,
  environment: EnvironmentName,
  entries: readonly ChannelData[],
  now: Date,
): Promise<void> {
  if (entries.length === 0) return
  const last = new Map(
    entries.map((entry) => [channelDataKey(entry.collection, entry.id, entry.channel), entry]),
  )
  await tx.query(sql`
    insert into channel_data (environment, collection, recipient, channel, data, updated_at)
    select ${environment}, collection, id, channel, data, ${now}
    from json_to_recordset(${JSON.stringify([...last.values()])}::json) as d (
      collection text, id text, channel text, data jsonb
    )
    order by collection, id, channel
    on conflict on constraint channel_data_pkey
      do update set data = excluded.data, updated_at = excluded.updated_at
  `)
}

/** Forgets where a recipient is reached on a channel. */
export async function deleteChannelData(
  tx: Queryable,
  environment: EnvironmentName,
  { collection, id }: RecipientRef,
  channel: ChannelKey,
): Promise<void> {
  await tx.query(sql`
    delete from channel_data
    where environment = ${environment} and collection = ${collection} and recipient = ${id}
      and channel = ${channel}
  `)
}

/** Gives the user `into` what `from` has on channels on which `into` has nothing. Both are locked. */
export async function mergeChannelData(
  tx: Transaction,
  environment: EnvironmentName,
  { from, into }: { readonly from: string; readonly into: string },
): Promise<void> {
  await tx.query(sql`
    insert into channel_data (environment, collection, recipient, channel, data, updated_at)
    select environment, collection, ${into}, channel, data, updated_at
    from channel_data
    where environment = ${environment} and collection = ${USERS} and recipient = ${from}
    on conflict on constraint channel_data_pkey do nothing
  `)
}
