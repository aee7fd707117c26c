import type { Exchange } from '../channels/provider.ts'
import type { Queryable } from '../db/database.ts'
import { newestFirst, type Place } from '../db/pages.ts'
import { planned, sql, type Sql } from '../db/sql.ts'
import { storedWeight } from '../db/weight.ts'
import { isUuid } from '../ids.ts'
import type { ChannelKey, EnvironmentName, MessageId, RunId, WorkflowRunId } from '../ids.ts'
import type { ChannelType, MessageContent } from '../steps/step.ts'
import type { MessageStatus } from './message.ts'
import type { RecipientRef } from './store.ts'

/** A message as lists and replies show it. */
export interface MessageRow {
  readonly id: MessageId
  readonly runId: RunId
  readonly workflowRunId: WorkflowRunId
  readonly workflow: string
  readonly categories: readonly string[]
  readonly versionId: string
  readonly stepRef: string
  readonly channel: ChannelKey
  readonly channelName: string | null
  readonly channelAt: Date | null
  readonly channelType: ChannelType
  readonly provider: string
  readonly collection: string
  readonly recipient: string
  readonly actor: RecipientRef | null
  readonly tenant: string | null
  /** Null where nothing is left of its trigger. */
  readonly data: Readonly<Record<string, unknown>> | null
  readonly status: MessageStatus
  readonly reason: string | null
  readonly attempt: number
  readonly scheduledAt: Date | null
  readonly seenAt: Date | null
  readonly readAt: Date | null
  readonly interactedAt: Date | null
  readonly linkClickedAt: Date | null
  readonly archivedAt: Date | null
  readonly insertedAt: Date
  readonly updatedAt: Date
}

/** What has been done with a message, or has not. */
export const ENGAGEMENT_STATUSES = [
  'seen',
  'unseen',
  'read',
  'unread',
  'archived',
  'unarchived',
  'link_clicked',
  'interacted',
] as const
export type EngagementStatus = (typeof ENGAGEMENT_STATUSES)[number]

/** What a list of messages is narrowed to; all that is given must hold. */
export interface MessageFilter {
  readonly ids?: readonly MessageId[]
  readonly statuses?: readonly MessageStatus[]
  readonly workflow?: string
  readonly workflowRunId?: string
  readonly runId?: string
  readonly recipient?: RecipientRef
  readonly channel?: ChannelKey
  readonly channelType?: ChannelType
  readonly tenant?: string
  /** Whether it is of a tenant at all. */
  readonly hasTenant?: boolean
  readonly archived?: boolean
  /** At least one of these. */
  readonly engagement?: readonly EngagementStatus[]
  /** At least one of these, of the workflow that made it. */
  readonly categories?: readonly string[]
  /** Properties of its `data`, with their values. */
  readonly triggerData?: Readonly<Record<string, unknown>>
  readonly insertedAt?: {
    readonly gt?: Date
    readonly gte?: Date
    readonly lt?: Date
    readonly lte?: Date
  }
}

/** A place in a list: cursors are those of an earlier reply. */
export interface PageRequest {
  readonly after?: string
  readonly before?: string
  /** 50 at most. */
  readonly size: number
  /** How much the entries may be together; a page that would be larger ends sooner, with one entry at least. */
  readonly bytesMax?: number
}

/** Each message may be 15 MB, and a reply is one text in memory. */
const PAGE_BYTES_MAX = 10 * 1024 * 1024

export interface Page<Row> {
  readonly rows: readonly Row[]
  /** Where to go on, and where to go back; null at the ends. */
  readonly after: string | null
  readonly before: string | null
}

/** A cursor that no reply can have given lies before every message. */
const NO_ID = '00000000-0000-0000-0000-000000000000'

/** Messages that match, newest first. */
export async function listMessages(
  tx: Queryable,
  environment: EnvironmentName,
  filter: MessageFilter,
  page: PageRequest,
): Promise<Page<MessageRow>> {
  const { rows, ...ends } = toPage(
    await queryMessages(tx, environment, filter, placeOf(page)),
    page,
  )
  return { rows: await withData(tx, environment, rows), ...ends }
}

/** A message without what it is about. */
type BareRow = Omit<MessageRow, 'data'> & { readonly bytes: number }

/** Data are looked for once it is known which messages are shown. */
async function withData(
  tx: Queryable,
  environment: EnvironmentName,
  rows: readonly BareRow[],
): Promise<readonly MessageRow[]> {
  if (rows.length === 0) return []
  const found = await tx.query<Pick<MessageRow, 'id' | 'data'>>(sql`
    select m.id, message_data(m.environment, m.workflow_run_id, m.data, m.data_whole) as data
    from messages m
    where m.environment = ${environment} and m.id = any(${rows.map(({ id }) => id)}::uuid[])
  `)
  const dataOf = new Map(found.map(({ id, data }) => [id, data]))
  // One that was deleted in between has no data any more, and is not shown.
  return rows.flatMap((row) => {
    const data = dataOf.get(row.id)
    return data === undefined ? [] : [{ ...row, data }]
  })
}

function placeOf({ after, before, size }: PageRequest): Place {
  // One row more than the page tells whether there is another one.
  const limit = size + 1
  if (before !== undefined) return { before: cursorId(before), limit }
  return { ...(after !== undefined && { after: cursorId(after) }), limit }
}

function toPage(found: readonly BareRow[], request: PageRequest): Page<BareRow> {
  const kept = found.slice(0, fitting(found, request))
  const more = found.length > kept.length
  const backwards = request.before !== undefined
  const rows = backwards ? kept.toReversed() : kept
  const hasOlder = backwards || more
  const hasNewer = backwards ? more : request.after !== undefined
  const oldest = rows.at(-1)?.id ?? null
  const newest = rows[0]?.id ?? null
  return { rows, after: hasOlder ? oldest : null, before: hasNewer ? newest : null }
}

function fitting(
  found: readonly BareRow[],
  { size, bytesMax = PAGE_BYTES_MAX }: PageRequest,
): number {
  let bytes = 0
  const over = found.findIndex((row, index) => {
    bytes += row.bytes
    return index === size || (index > 0 && bytes > bytesMax)
  })
  return over < 0 ? found.length : over
}

function cursorId(cursor: string): string {
  return isUuid(cursor) ? cursor : NO_ID
}

/** What stands for a filter that is not given. */
const ANY = {
  ids: null,
  statuses: null,
  workflow: null,
  workflowRunId: null,
  runId: null,
  recipient: { collection: null, id: null },
  channel: null,
  channelType: null,
  tenant: null,
  hasTenant: null,
  archived: null,
  engagement: null,
  categories: null,
  triggerData: null,
}
const ANY_TIME = { gt: null, gte: null, lt: null, lte: null }

/** What a filter says of messages that are in a feed or a list, as further conditions. */
export function narrowed(filter: MessageFilter): Sql {
  const { workflow, tenant, hasTenant, archived, categories, triggerData } = { ...ANY, ...filter }
  const times = { ...ANY_TIME, ...filter.insertedAt }
  return sql`
      and (${workflow}::text is null or m.workflow = ${workflow})
      and (${tenant}::text is null or m.tenant = ${tenant})
      and (${hasTenant}::boolean is null or (m.tenant is not null) = ${hasTenant})
      and (${archived}::boolean is null or (m.archived_at is not null) = ${archived})
      and (${categories}::text[] is null or v.workflow -> 'categories' ?| ${categories}::text[])
      and (${triggerData}::jsonb is null
        or message_data(m.environment, m.workflow_run_id, m.data, m.data_whole) @> ${triggerData}::jsonb)
      and (${times.gt}::timestamptz is null or m.inserted_at > ${times.gt})
      and (${times.gte}::timestamptz is null or m.inserted_at >= ${times.gte})
      and (${times.lt}::timestamptz is null or m.inserted_at < ${times.lt})
      and (${times.lte}::timestamptz is null or m.inserted_at <= ${times.lte})`
}

/** One statement for all filters: the planner folds those that are null, as it sees their values. */
async function queryMessages(
  tx: Queryable,
  environment: EnvironmentName,
  filter: MessageFilter,
  place: Place,
): Promise<BareRow[]> {
  const given = { ...ANY, ...filter }
  const { ids, statuses, workflowRunId, runId, recipient, channel, channelType, engagement } = given
  return await tx.query<BareRow>(
    planned(sql`
    select m.id, m.run_id as "runId", m.workflow_run_id as "workflowRunId", m.workflow,
           coalesce(v.workflow -> 'categories', '[]') as categories, m.version_id as "versionId",
           m.step_ref as "stepRef", m.channel, m.channel_type as "channelType", m.provider,
           e.settings -> 'channels' -> m.channel ->> 'name' as "channelName",
           e.applied_at as "channelAt", m.collection, m.recipient, m.actor, m.tenant, m.status,
           ${storedWeight(sql`(m.content), (m.data), (
             (select w.data from workflow_runs w
              where w.environment = m.environment and w.id = m.workflow_run_id and not m.data_whole))`)} as bytes,
           m.reason, m.attempt, m.scheduled_at as "scheduledAt", m.seen_at as "seenAt",
           m.read_at as "readAt", m.interacted_at as "interactedAt",
           m.link_clicked_at as "linkClickedAt", m.archived_at as "archivedAt",
           m.inserted_at as "insertedAt", m.updated_at as "updatedAt"
    from messages m
    left join versions v on v.id = m.version_id
    left join environments e on e.name = m.environment
    where m.environment = ${environment}
      and (${ids}::uuid[] is null or m.id = any(${ids}::uuid[]))
      and (${statuses}::text[] is null or m.status = any(${statuses}::text[]))
      and (${workflowRunId}::uuid is null
        or m.workflow_run_id = ${workflowRunId}::uuid)
      and (${runId}::uuid is null or m.run_id = ${runId}::uuid)
      and (${recipient.id}::text is null
        or (m.collection = ${recipient.collection} and m.recipient = ${recipient.id}))
      and (${channel}::text is null or m.channel = ${channel})
      and (${channelType}::text is null or m.channel_type = ${channelType})
      and (${engagement}::text[] is null or ${engagement}::text[] && array[
        case when m.seen_at is null then 'unseen' else 'seen' end,
        case when m.read_at is null then 'unread' else 'read' end,
        case when m.archived_at is null then 'unarchived' else 'archived' end,
        case when m.link_clicked_at is not null then 'link_clicked' end,
        case when m.interacted_at is not null then 'interacted' end])
      ${narrowed(filter)}
      ${newestFirst(sql`m.id`, place)}
  `),
  )
}

/** One message; undefined where the environment has none of that id. */
export async function findMessage(
  tx: Queryable,
  environment: EnvironmentName,
  id: string,
): Promise<MessageRow | undefined> {
  if (!isUuid(id)) return undefined
  const found = await queryMessages(tx, environment, { ids: [id as MessageId] }, { limit: 1 })
  const [row] = await withData(tx, environment, found)
  return row
}

/** What a message says. */
export interface ContentRow {
  readonly id: MessageId
  readonly content: MessageContent
  /** Whom a mail of its channel is from where its step names nobody, as the environment says now. */
  readonly channelFrom: string | null
  readonly insertedAt: Date
}

export async function loadMessageContents(
  tx: Queryable,
  environment: EnvironmentName,
  ids: readonly string[],
): Promise<ContentRow[]> {
  return await tx.query<ContentRow>(sql`
    select m.id, m.content, m.inserted_at as "insertedAt",
           case when jsonb_typeof(e.settings -> 'channels' -> m.channel -> 'settings' -> 'from') = 'string'
                then e.settings -> 'channels' -> m.channel -> 'settings' ->> 'from' end as "channelFrom"
    from messages m
    left join environments e on e.name = m.environment
    where m.environment = ${environment}
      and m.id = any(${ids.filter(isUuid)}::uuid[])
    order by m.id
  `)
}

/** One thing that happened to a message, as the table keeps it. */
export interface MessageEventRow {
  readonly type: string
  readonly data: Readonly<Record<string, unknown>> | null
  readonly at: string
}

export interface EventsRow {
  readonly id: MessageId
  readonly collection: string
  readonly recipient: string
  /** Oldest first. */
  readonly events: readonly MessageEventRow[]
}

/** The history of a message; undefined where the environment has none of that id. */
export async function findMessageEvents(
  tx: Queryable,
  environment: EnvironmentName,
  id: string,
): Promise<EventsRow | undefined> {
  if (!isUuid(id)) return undefined
  const [row] = await tx.query<EventsRow>(sql`
    select id, collection, recipient, events
    from messages
    where environment = ${environment}
      and id = ${id}
  `)
  return row
}

export interface DeliveryRow extends Exchange {
  readonly id: string
  readonly attempt: number
  readonly service: string
  readonly insertedAt: Date
}

const DELIVERIES_MAX = 500

/** What went to the provider and came back, oldest first. */
export async function listDeliveries(
  tx: Queryable,
  environment: EnvironmentName,
  id: string,
): Promise<DeliveryRow[]> {
  if (!isUuid(id)) return []
  return await tx.query<DeliveryRow>(sql`
    select id, attempt, service, request, response, inserted_at as "insertedAt"
    from deliveries
    where environment = ${environment}
      and message_id = ${id}
    order by id
    limit ${DELIVERIES_MAX}
  `)
}
