import { RequestError } from '../errors.ts'
import { findNewest, markNextMessages, type BulkMark } from '../messages/bulk-marks.ts'
import { MARKS, type Mark } from '../messages/engagement.ts'
import { ENGAGEMENT_STATUSES, type EngagementStatus } from '../messages/log-store.ts'
import { MESSAGE_STATUSES, type MessageStatus } from '../messages/message.ts'
import { startBulk, type BulkKind } from '../recipients/bulk-work.ts'
import { invalid } from '../recipients/recipient.ts'
import { bulkToWire } from './bulk.ts'
import { findChannel } from './channel.ts'
import { reachOf } from './client-access.ts'
import { readTriggerData } from './message-filter.ts'
import { resourceMissing } from './reference.ts'
import { ok, type Caller, type MutationRoute } from './route.ts'
import { BulkOperation } from './shapes/recipients.ts'

const NAMES_MAX = 1_000
const names = { type: 'array', items: { type: 'string' }, maxItems: NAMES_MAX } as const
const time = { type: 'string', format: 'date-time' } as const

const filterSchema = {
  type: 'object',
  properties: {
    archived: { enum: ['exclude', 'include', 'only'] },
    delivery_status: { enum: MESSAGE_STATUSES },
    engagement_status: { enum: ENGAGEMENT_STATUSES },
    has_tenant: { type: 'boolean' },
    tenants: names,
    workflows: names,
    trigger_data: { type: 'string' },
    newer_than: time,
    older_than: time,
    recipient_ids: names,
    // What clients in browsers call them.
    user_ids: names,
  },
}

interface FilterBody {
  readonly archived?: 'exclude' | 'include' | 'only'
  readonly delivery_status?: MessageStatus
  readonly engagement_status?: EngagementStatus
  readonly has_tenant?: boolean
  readonly tenants?: readonly string[]
  readonly workflows?: readonly string[]
  readonly trigger_data?: string
  readonly newer_than?: string
  readonly older_than?: string
  readonly recipient_ids?: readonly string[]
  readonly user_ids?: readonly string[]
}

type Action = BulkMark['action']

const ACTIONS: Readonly<Record<string, Action>> = {
  ...(Object.fromEntries(MARKS.map((mark) => [mark, mark])) as Record<Mark, Mark>),
  archive: 'archived',
  unarchive: 'unarchived',
  delete: 'delete',
}

const update: MutationRoute = {
  id: 'channels.bulk.updateMessageStatus',
  summary: 'Marks or deletes the messages of a channel',
  replies: { 200: BulkOperation },
  kind: 'mutation',
  method: 'POST',
  path: '/v1/channels/:channel/messages/bulk/:action',
  scope: 'write',
  environment: 'key',
  params: { action: { enum: Object.keys(ACTIONS) } },
  body: filterSchema,
  isBodyOptional: true,
  async handle({ tx, environment, params, body, caller, now }) {
    const { channel: named = '', action: verb = '' } = params
    const action = Object.hasOwn(ACTIONS, verb) ? ACTIONS[verb] : undefined
    if (action === undefined)
      throw invalid('path', `"${verb}" is not one of ${Object.keys(ACTIONS).join(', ')}`)
    if (caller.client && action === 'delete') {
      const message = 'a public key may mark messages, and not delete them'
      throw new RequestError(403, 'incorrect_token_type', message)
    }
    const channel = await findChannel(tx, environment, named)
    if (channel === undefined) throw resourceMissing('channel', named)
    const filter = (body ?? {}) as FilterBody
    const { inAppOnly } = reachOf(caller)
    const request: BulkMark = {
      action,
      channel,
      until: await findNewest(tx, environment),
      recipients: readRecipients(filter, caller),
      inAppOnly,
      ...readFilter(filter),
    }
    const name = action === 'delete' ? 'messages.delete' : 'messages.mark'
    return ok(bulkToWire(await startBulk(tx, environment, { name, total: 0, request }, now)))
  },
}

/** A client names its own user, or nobody else. */
function readRecipients(filter: FilterBody, caller: Caller): readonly string[] | null {
  const named = filter.recipient_ids ?? filter.user_ids
  const own = reachOf(caller).recipient?.id
  if (own === undefined) return named === undefined ? null : [...new Set(named)]
  if (named?.some((id) => id !== own)) {
    const message = 'the user token is for another user than those whose messages are named'
    throw new RequestError(403, 'user_mismatch', message)
  }
  return [own]
}

function readFilter(filter: FilterBody) {
  const { archived = 'include', trigger_data: data } = filter
  return {
    archived: archived === 'include' ? null : archived === 'only',
    status: filter.delivery_status ?? null,
    engagement: filter.engagement_status ?? null,
    hasTenant: filter.has_tenant ?? null,
    tenants: filter.tenants ?? null,
    workflows: filter.workflows ?? null,
    // Clients of the feed send parameters that they leave empty.
    triggerData: data ? readTriggerData(data, '/trigger_data') : null,
    newerThan: filter.newer_than ?? null,
    olderThan: filter.older_than ?? null,
  }
}

/** Does the next part of one of these calls. */
export const markChannelMessages: BulkKind = async (tx, { environment, request, cursor }, now) => {
  const part = await markNextMessages(
    tx,
    environment,
    { request: request as BulkMark, cursor },
    now,
  )
  return { ...part, errors: [] }
}

export const channelMessages = [update] as const
