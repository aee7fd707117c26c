import { ENGAGEMENT_STATUSES } from '../../messages/log-store.ts'
import { MESSAGE_STATUSES } from '../../messages/message.ts'
import { Recipient, RecipientReference } from './recipients.ts'
import {
  anything,
  component,
  count,
  entity,
  json,
  listOf,
  mapOf,
  nullableJson,
  nullableText,
  nullableTime,
  oneOf,
  orNull,
  PageInfo,
  shape,
  text,
  time,
} from './shape.ts'

const times = {
  seen_at: nullableTime,
  read_at: nullableTime,
  interacted_at: nullableTime,
  link_clicked_at: nullableTime,
  clicked_at: nullableTime,
  archived_at: nullableTime,
  scheduled_at: nullableTime,
  inserted_at: time,
  updated_at: time,
}

const channelType = oneOf(['email', 'in_app_feed', 'sms', 'push', 'chat', 'http'])

export const messageFields = {
  id: text,
  channel_id: text,
  channel: component('Channel', {
    id: text,
    key: text,
    name: text,
    provider: text,
    type: channelType,
    created_at: time,
    updated_at: time,
  }),
  recipient: RecipientReference,
  actors: listOf(RecipientReference),
  tenant: nullableText,
  workflow: { ...text, description: 'The key of the workflow; `source` tells more.' },
  source: entity('NotificationSource', {
    type: { const: 'workflow' },
    key: text,
    version_id: text,
    categories: listOf(text),
    step_ref: text,
    workflow_run_id: text,
    workflow_recipient_run_id: text,
  }),
  status: oneOf(MESSAGE_STATUSES),
  reason: { ...nullableText, description: 'Why it was not sent, or not delivered.' },
  engagement_statuses: listOf(oneOf(ENGAGEMENT_STATUSES)),
  ...times,
  data: nullableJson,
  metadata: json,
}

export const Message = entity('Message', messageFields)

const button = shape({ name: text, label: text, action: text })

const Block = {
  title: 'Block',
  anyOf: [
    shape({ type: oneOf(['text', 'markdown']), name: text, content: text, rendered: text }),
    shape({ type: { const: 'button_set' }, name: text, buttons: listOf(button) }),
  ],
}

const overrides = {
  ...json,
  description: 'By provider, what the step lays over its request.',
}
const OVERRIDABLE = { optional: ['overrides'] }

export const MessageContent = entity('MessageContent', {
  message_id: text,
  data: {
    anyOf: [
      entity(
        'MessageEmailContent',
        {
          to: text,
          from: text,
          reply_to: nullableText,
          cc: nullableText,
          bcc: nullableText,
          subject_line: text,
          html_body: text,
          text_body: nullableText,
          overrides,
        },
        OVERRIDABLE,
      ),
      entity('MessageInAppFeedContent', { blocks: listOf(Block) }),
      entity(
        'MessagePushContent',
        { title: text, body: text, data: nullableJson, token: text, overrides },
        OVERRIDABLE,
      ),
      entity('MessageSmsContent', { to: text, body: text, overrides }, OVERRIDABLE),
      entity(
        'MessageChatContent',
        {
          connection: json,
          template: shape({
            blocks: orNull(
              listOf(shape({ type: { const: 'markdown' }, name: text, content: text })),
            ),
            json_content: orNull(shape({ blocks: listOf(anything) })),
            summary: nullableText,
          }),
          metadata: nullableJson,
          overrides,
        },
        OVERRIDABLE,
      ),
      entity('MessageWebhookContent', {
        method: text,
        url: text,
        headers: mapOf(text),
        query: mapOf(text),
        body: anything,
      }),
    ],
  },
  inserted_at: time,
})

export const MessageEvent = entity('MessageEvent', {
  id: text,
  type: { ...text, description: 'Such as `message.sent`.' },
  recipient: RecipientReference,
  data: nullableJson,
  inserted_at: time,
})

export const MessageDeliveryLog = entity('MessageDeliveryLog', {
  id: text,
  environment_id: text,
  service_name: text,
  attempt: count,
  request: shape({
    method: text,
    host: text,
    path: text,
    query: nullableText,
    headers: json,
    body: anything,
  }),
  response: shape({ status: { type: ['integer', 'null'] }, headers: json, body: anything }),
  inserted_at: time,
})

export const Activity = entity('Activity', {
  id: text,
  actor: orNull(Recipient),
  recipient: Recipient,
  data: nullableJson,
  inserted_at: time,
  updated_at: time,
})

/** Parts of it may be asked to be left out. */
const FeedItem = entity(
  'FeedItem',
  {
    __cursor: text,
    id: text,
    activities: listOf(Activity),
    total_activities: count,
    actors: listOf(Recipient),
    total_actors: count,
    blocks: listOf(Block),
    data: nullableJson,
    source: shape({
      __typename: { const: 'Workflow' },
      key: text,
      version_id: text,
      categories: listOf(text),
    }),
    tenant: nullableText,
    ...times,
  },
  { optional: ['activities', 'total_activities'] },
)

export const FeedMetadata = entity('FeedMetadata', {
  total_count: count,
  unread_count: count,
  unseen_count: count,
})

export const Feed = component('Feed', {
  entries: listOf(FeedItem),
  meta: FeedMetadata,
  page_info: PageInfo,
  vars: { ...json, description: 'The public variables of the environment.' },
})
