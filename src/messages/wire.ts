import { unreachable } from '../errors.ts'
import { channelId } from '../ids.ts'
import type { EnvironmentName } from '../ids.ts'
import type {
  ChannelType,
  ChatContent,
  EmailContent,
  InAppContent,
  MessageContent,
} from '../steps/step.ts'
import type { ContentRow, DeliveryRow, EventsRow, MessageRow } from './log-store.ts'
import type { Engagement, RecipientRef } from './store.ts'

/** How the contract calls a user or an object: users by their id alone. */
export function recipientToWire(collection: string, id: string): string | object {
  return collection === '$users' ? id : { collection, id }
}

/** A message in the contract's shape, with `reason` beside it; `actors` are those of its batch, where it came from one. */
export function messageToWire(
  row: MessageRow,
  actors: readonly RecipientRef[] = row.actor === null ? [] : [row.actor],
): object {
  const id = channelId(row.channel)
  const channelAt = (row.channelAt ?? row.insertedAt).toISOString()
  return {
    __typename: 'Message',
    id: row.id,
    channel_id: id,
    channel: {
      id,
      key: row.channel,
      name: row.channelName ?? row.channel,
      provider: row.provider,
      type: channelTypeToWire(row.channelType),
      created_at: channelAt,
      updated_at: channelAt,
    },
    recipient: recipientToWire(row.collection, row.recipient),
    actors: actors.map(({ collection, id: name }) => recipientToWire(collection, name)),
    tenant: row.tenant,
    workflow: row.workflow,
    source: {
      __typename: 'NotificationSource',
      type: 'workflow',
      key: row.workflow,
      version_id: row.versionId,
      categories: row.categories,
      step_ref: row.stepRef,
      workflow_run_id: row.workflowRunId,
      workflow_recipient_run_id: row.runId,
    },
    status: row.status,
    reason: row.reason,
    engagement_statuses: engagementOf(row),
    ...timesToWire(row),
    data: row.data,
    metadata: {},
  }
}

function timesToWire(row: MessageRow): object {
  return {
    seen_at: row.seenAt,
    read_at: row.readAt,
    interacted_at: row.interactedAt,
    link_clicked_at: row.linkClickedAt,
    clicked_at: row.linkClickedAt,
    archived_at: row.archivedAt,
    scheduled_at: row.scheduledAt,
    inserted_at: row.insertedAt,
    updated_at: row.updatedAt,
  }
}

function engagementOf(row: MessageRow): readonly Engagement[] {
  const stamps: readonly [Engagement, Date | null][] = [
    ['seen', row.seenAt],
    ['read', row.readAt],
    ['interacted', row.interactedAt],
    ['link_clicked', row.linkClickedAt],
    ['archived', row.archivedAt],
  ]
  return stamps.flatMap(([status, at]) => (at === null ? [] : [status]))
}

/** The contract's words for kinds of channels. */
export function channelTypeToWire(type: ChannelType): string {
  if (type === 'in_app') return 'in_app_feed'
  if (type === 'webhook') return 'http'
  return type
}

/** What a message says, in the contract's shape. */
export function contentToWire({ id, content, channelFrom, insertedAt }: ContentRow): object {
  return {
    __typename: 'MessageContent',
    message_id: id,
    data: {
      ...contentDataToWire(content, channelFrom),
      // The contract does not know them.
      ...('overrides' in content && { overrides: content.overrides }),
    },
    inserted_at: insertedAt,
  }
}

function contentDataToWire(content: MessageContent, channelFrom: string | null): object {
  switch (content.type) {
    case 'email':
      return emailToWire(content, channelFrom)
    case 'in_app':
      return { __typename: 'MessageInAppFeedContent', blocks: blocksToWire(content) }
    case 'push': {
      const { title, body, data, token } = content
      return { __typename: 'MessagePushContent', title, body, data, token }
    }
    case 'chat':
      return chatToWire(content)
    case 'sms':
      return { __typename: 'MessageSmsContent', to: content.to, body: content.body }
    case 'webhook': {
      // The contract has no shape for it; placeholders stay where secrets stand.
      const { method, url, headers, query, body } = content
      return { __typename: 'MessageWebhookContent', method, url, headers, query, body }
    }
    default:
      return unreachable(content)
  }
}

/** What gives access is not shown: who needs it asks for the recipient's channel data. */
function chatToWire({ connection, markdown, blocks, summary }: ChatContent): object {
  const { access_token: token, incoming_webhook: webhook, ...place } = connection
  return {
    __typename: 'MessageChatContent',
    connection: {
      ...place,
      ...(token != null && { access_token: '•••' }),
      ...(webhook != null && { incoming_webhook: { url: '•••' } }),
    },
    template: {
      blocks: markdown === null ? null : [{ type: 'markdown', name: 'body', content: markdown }],
      json_content: blocks === null ? null : { blocks },
      summary,
    },
    metadata: null,
  }
}

function emailToWire(content: EmailContent, channelFrom: string | null): object {
  return {
    __typename: 'MessageEmailContent',
    to: content.to,
    from: content.from ?? channelFrom ?? '',
    reply_to: content.reply_to,
    cc: content.cc.length > 0 ? content.cc.join(', ') : null,
    bcc: content.bcc.length > 0 ? content.bcc.join(', ') : null,
    subject_line: content.subject,
    html_body: content.html,
    text_body: content.text,
  }
}

/** The blocks of a feed item: the body, then what can be done about it. */
export function blocksToWire(content: InAppContent): readonly object[] {
  const blocks: object[] = [{ type: 'markdown', name: 'body', ...content.body }]
  if (content.action_url !== null) {
    const url = content.action_url
    blocks.push({ type: 'text', name: 'action_url', content: url, rendered: url })
  }
  if (content.buttons.length > 0) {
    const names = ['primary', 'secondary']
    const buttons = content.buttons.map((button, index) => ({
      name: names[index] ?? `button_${index + 1}`,
      label: button.label,
      action: button.action,
    }))
    blocks.push({ type: 'button_set', name: 'actions', buttons })
  }
  return blocks
}

/** What a feed item needs beside its message, in the contract's shape. */
export interface FeedParts {
  readonly content: MessageContent | undefined
  /** What it is about, and who caused that: not all of it where it is much. */
  readonly activities: readonly object[]
  readonly totalActivities: number
  readonly actors: readonly object[]
  readonly totalActors: number
}

/** What a message is about, in the contract's shape. */
export function activityToWire({ id, actor, recipient, data, at }: ActivityParts): ListedItem {
  return {
    __typename: 'Activity',
    id,
    actor,
    recipient,
    data,
    inserted_at: at,
    updated_at: at,
  }
}

interface ActivityParts {
  readonly id: string
  /** In the contract's shape; null where nobody caused it, or they are no longer known. */
  readonly actor: object | null
  readonly recipient: object
  readonly data: Readonly<Record<string, unknown>> | null
  readonly at: Date
}

/** A message as an item of a feed, in the contract's shape; `__cursor` is where a page before or after it starts. */
export function feedItemToWire(row: MessageRow, parts: FeedParts): object {
  const { content, activities, totalActivities, actors, totalActors } = parts
  return {
    __typename: 'FeedItem',
    __cursor: row.id,
    id: row.id,
    activities,
    total_activities: totalActivities,
    actors,
    total_actors: totalActors,
    blocks: content?.type === 'in_app' ? blocksToWire(content) : [],
    data: row.data,
    source: {
      __typename: 'Workflow',
      key: row.workflow,
      version_id: row.versionId,
      categories: row.categories,
    },
    tenant: row.tenant,
    ...timesToWire(row),
  }
}

/** What lists are cut by. */
interface ListedItem {
  readonly id: string
  readonly [field: string]: unknown
}

/** The history of a message in the contract's shape, oldest first. */
export function eventsToWire({
  id,
  collection,
  recipient,
  events,
}: EventsRow): readonly ListedItem[] {
  return events.map(({ type, data, at }, index) => ({
    __typename: 'MessageEvent',
    id: `${id}.${index}`,
    type,
    recipient: recipientToWire(collection, recipient),
    data,
    inserted_at: at,
  }))
}

/** One attempt in the contract's shape. */
export function deliveryToWire(environment: EnvironmentName, row: DeliveryRow): ListedItem {
  const [path = '', query] = row.request.path.split('?', 2)
  return {
    __typename: 'MessageDeliveryLog',
    id: row.id,
    environment_id: environment,
    service_name: row.service,
    attempt: row.attempt,
    request: {
      method: row.request.method,
      host: row.request.host,
      path,
      query: query === undefined ? null : `?${query}`,
      headers: row.request.headers,
      body: row.request.body,
    },
    response: row.response ?? { status: null, headers: {}, body: null },
    inserted_at: row.insertedAt,
  }
}
