import type { Transaction } from '../db/database.ts'
import { planned, sql } from '../db/sql.ts'
import type { ChannelKey, EnvironmentName, MessageId } from '../ids.ts'
import { deleteMessages, markMessages } from './engagement-store.ts'
import type { Mark } from './engagement.ts'
import type { EngagementStatus } from './log-store.ts'
import type { MessageStatus } from './message.ts'

/** Marks or deletes all messages of a channel that match, up to the newest one of when it was asked for. */
export interface BulkMark {
  readonly action: Mark | 'delete'
  readonly channel: ChannelKey
  /** Nothing newer is touched: it was not there to be meant. */
  readonly until: string
  /** Ids of users; null: of everybody, objects too. */
  readonly recipients: readonly string[] | null
  readonly inAppOnly: boolean
  readonly archived: boolean | null
  readonly status: MessageStatus | null
  readonly engagement: EngagementStatus | null
  readonly hasTenant: boolean | null
  readonly tenants: readonly string[] | null
  readonly workflows: readonly string[] | null
  readonly triggerData: Readonly<Record<string, unknown>> | null
  readonly newerThan: string | null
  readonly olderThan: string | null
}

/** Before every message, and where none is. */
const NO_ID = '00000000-0000-0000-0000-000000000000' as MessageId

/** The id of the newest message that there is. */
export async function findNewest(
  tx: Transaction,
  environment: EnvironmentName,
): Promise<MessageId> {
  const [newest] = await tx.query<{ id: MessageId }>(sql`
    select id from messages where environment = ${environment} order by id desc limit 1
  `)
  return newest?.id ?? NO_ID
}

/** How many messages one part looks at. */
const PART_MAX = 500

export interface MarkedPart {
  readonly processed: number
  /** The last message that was looked at; null where there are no more. */
  readonly cursor: string | null
}

/** Marks or deletes the next messages after a cursor, in the order of their ids. */
export async function markNextMessages(
  tx: Transaction,
  environment: EnvironmentName,
  { request, cursor }: { readonly request: BulkMark; readonly cursor: string | null },
  now: Date,
): Promise<MarkedPart> {
  const seen = await listNext(tx, environment, request, cursor)
  const ids = await narrow(tx, environment, request, seen)
  if (request.action === 'delete') await deleteMessages(tx, environment, ids)
  else await markMessages(tx, { environment, ids }, request.action, { now, data: null })
  const isLast = seen.length < PART_MAX
  return { processed: ids.length, cursor: isLast ? null : (seen.at(-1) ?? null) }
}

/** The next ids to look at, through an index that has them in order: the recipients', or the table's own. */
async function listNext(
  tx: Transaction,
  environment: EnvironmentName,
  { recipients, until }: BulkMark,
  cursor: string | null,
): Promise<readonly MessageId[]> {
  const after = cursor ?? NO_ID
  const rows =
    recipients === null
      ? await tx.query<{ id: MessageId }>(sql`
          select id from messages
          where environment = ${environment} and id > ${after}::uuid and id <= ${until}::uuid
          order by id
          limit ${PART_MAX}
        `)
      : await tx.query<{ id: MessageId }>(sql`
          select m.id
          from unnest(${recipients}::text[]) as named (recipient)
          cross join lateral (
            select id from messages
            where environment = ${environment} and collection = '$users'
              and recipient = named.recipient and id > ${after}::uuid and id <= ${until}::uuid
            order by id
            limit ${PART_MAX}
          ) m
          order by m.id
          limit ${PART_MAX}
        `)
  return rows.map(({ id }) => id)
}

/** Those of these messages that are meant. */
async function narrow(
  tx: Transaction,
  environment: EnvironmentName,
  request: BulkMark,
  ids: readonly MessageId[],
): Promise<readonly MessageId[]> {
  if (ids.length === 0) return []
  const { channel, inAppOnly, archived, status, engagement, hasTenant } = request
  const { tenants, workflows, triggerData, newerThan, olderThan } = request
  const data = triggerData === null ? null : JSON.stringify(triggerData)
  const rows = await tx.query<{ id: MessageId }>(
    planned(sql`
    select m.id
    from messages m
    where m.environment = ${environment}
      and m.id = any(${ids}::uuid[])
      and m.channel = ${channel}
      and (not ${inAppOnly}::boolean or m.channel_type = 'in_app')
      and (${archived}::boolean is null or (m.archived_at is not null) = ${archived})
      and (${status}::text is null or m.status = ${status})
      and (${hasTenant}::boolean is null or (m.tenant is not null) = ${hasTenant})
      and (${tenants}::text[] is null or m.tenant = any(${tenants}::text[]))
      and (${workflows}::text[] is null or m.workflow = any(${workflows}::text[]))
      and (${data}::jsonb is null
        or message_data(m.environment, m.workflow_run_id, m.data, m.data_whole) @> ${data}::jsonb)
      and (${newerThan}::timestamptz is null or m.inserted_at > ${newerThan}::timestamptz)
      and (${olderThan}::timestamptz is null or m.inserted_at < ${olderThan}::timestamptz)
      and case ${engagement}::text
        when 'seen' then m.seen_at is not null
        when 'unseen' then m.seen_at is null
        when 'read' then m.read_at is not null
        when 'unread' then m.read_at is null
        when 'archived' then m.archived_at is not null
        when 'unarchived' then m.archived_at is null
        when 'link_clicked' then m.link_clicked_at is not null
        when 'interacted' then m.interacted_at is not null
        else true
      end
    order by m.id
  `),
  )
  return rows.map(({ id }) => id)
}
