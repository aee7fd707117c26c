import type { Queryable } from '../db/database.ts'
import { isUuid, type ChannelKey, type EnvironmentName, type MessageId } from '../ids.ts'
import {
  ENGAGEMENT_STATUSES,
  type EngagementStatus,
  type MessageFilter,
} from '../messages/log-store.ts'
import { MESSAGE_STATUSES, type MessageStatus } from '../messages/message.ts'
import { invalid } from '../recipients/recipient.ts'
import { findChannel } from './channel.ts'
import { readReference, referenceSchema, type WireReference } from './reference.ts'
import { refuseBadText } from './text.ts'

/** Of messages that one call names. */
export const MESSAGE_IDS_MAX = 50

const text = { type: 'string' } as const
const time = { type: 'string', format: 'date-time' } as const
const uuid = { type: 'string', format: 'uuid' } as const

/** Query parameters that the feed shares with lists of messages. */
export const contentFilterQuery = {
  tenant: text,
  source: { ...text, description: 'The key of a workflow.' },
  workflow_categories: { type: 'array', items: text, description: 'At least one of these.' },
  trigger_data: { ...text, description: 'JSON of plain values that `data` must hold.' },
  'inserted_at.gt': time,
  'inserted_at.gte': time,
  'inserted_at.lt': time,
  'inserted_at.lte': time,
} as const

/** Query parameters by which messages are found. */
export const messageFilterQuery = {
  ...contentFilterQuery,
  channel_id: { ...text, description: 'The id or key of a channel.' },
  status: { type: 'array', items: { enum: MESSAGE_STATUSES } },
  engagement_status: { type: 'array', items: { enum: ENGAGEMENT_STATUSES } },
  message_ids: { type: 'array', items: text, maxItems: MESSAGE_IDS_MAX },
  workflow_run_id: uuid,
  workflow_recipient_run_id: uuid,
  recipient: referenceSchema,
} as const

interface ContentQuery {
  readonly tenant?: string
  readonly source?: string
  readonly workflow_categories?: readonly string[]
  readonly trigger_data?: string
  readonly 'inserted_at.gt'?: string
  readonly 'inserted_at.gte'?: string
  readonly 'inserted_at.lt'?: string
  readonly 'inserted_at.lte'?: string
}

interface MessagesQuery extends ContentQuery {
  readonly channel_id?: string
  readonly status?: readonly MessageStatus[]
  readonly engagement_status?: readonly EngagementStatus[]
  readonly message_ids?: readonly string[]
  readonly workflow_run_id?: string
  readonly workflow_recipient_run_id?: string
  readonly recipient?: WireReference
}

/** The filter that a query of `messageFilterQuery` asks for. */
export async function readMessageFilter(
  db: Queryable,
  environment: EnvironmentName,
  query: MessagesQuery,
): Promise<MessageFilter> {
  const { channel_id: channel, recipient, message_ids: ids } = query
  return {
    ...readContentFilter(query),
    ...given({
      statuses: query.status,
      engagement: query.engagement_status,
      // An id that is none of ours names no message, and is not an error in a filter.
      ids: ids?.filter(isUuid) as readonly MessageId[] | undefined,
      workflowRunId: query.workflow_run_id,
      runId: query.workflow_recipient_run_id,
      recipient: recipient === undefined ? undefined : readReference(recipient),
    }),
    ...(channel !== undefined && { channel: await channelKey(db, environment, channel) }),
  }
}

/** The part of it that a query of `contentFilterQuery` asks for. */
export function readContentFilter(query: ContentQuery): MessageFilter {
  // Clients of the feed send parameters that they leave empty.
  const data = query.trigger_data || undefined
  return {
    ...given({
      tenant: query.tenant || undefined,
      workflow: query.source || undefined,
      categories: query.workflow_categories,
      triggerData: data === undefined ? undefined : readTriggerData(data),
    }),
    insertedAt: readTimes(query),
  }
}

type Given<Values> = { readonly [Name in keyof Values]?: Exclude<Values[Name], undefined> }

function given<Values extends object>(values: Values): Given<Values> {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Given<Values>
}

function readTimes(query: ContentQuery): NonNullable<MessageFilter['insertedAt']> {
  const named = (['gt', 'gte', 'lt', 'lte'] as const).flatMap((name) => {
    const at = query[`inserted_at.${name}`]
    return at === undefined ? [] : [[name, new Date(at)] as const]
  })
  return Object.fromEntries(named)
}

/** A JSON object of plain values, as text; what it stands in was checked as text and not for what it stands for. */
export function readTriggerData(
  json: string,
  field = '?/trigger_data',
): Readonly<Record<string, unknown>> {
  const data = parse(json)
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    throw invalid(field, 'is not a JSON object')
  refuseBadText(field, data)
  const nested = Object.entries(data).find(([, value]) => typeof value === 'object' && value)
  if (nested) throw invalid(field, 'may hold texts, numbers, booleans and null only')
  return data as Readonly<Record<string, unknown>>
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

/** Messages of a channel that is gone from the environment are still found by its key. */
async function channelKey(
  db: Queryable,
  environment: EnvironmentName,
  name: string,
): Promise<ChannelKey> {
  return (await findChannel(db, environment, name)) ?? (name as ChannelKey)
}
