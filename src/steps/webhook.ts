import { addDuration } from '../language/durations.ts'
import { channelFieldSchemas, type ChannelFields } from './fields.ts'
import {
  checkHeaders,
  renderRequest,
  requestSchemas,
  requestTemplates,
  type RequestFields,
} from './request.ts'
import type { StepType } from './step.ts'

export interface Webhook extends ChannelFields, RequestFields {}

/** Calls a URL. */
export const webhook: StepType<'webhook', Webhook> = {
  type: 'webhook',
  summary: 'Calls a URL.',
  schema: {
    required: ['url'],
    properties: {
      channel: channelFieldSchemas.channel,
      ...requestSchemas('POST'),
      expires_after: channelFieldSchemas.expires_after,
    },
  },
  example: {
    channel: 'hook' as NonNullable<Webhook['channel']>,
    method: 'POST',
    url: 'https://hooks.example.com/pages/{{data.page_id}}',
    headers: { Authorization: 'Bearer {{vars.crm_token}}' },
    query: { lang: '{{recipient.locale}}' },
    body: { page: '{{data.page_id}}', items: '{{data.items}}', source: 'belfry' },
    expires_after: '1h',
  },
  channelType: 'webhook',
  conditional: true,
  templates: requestTemplates,
  check: checkHeaders,

  execute(step, context) {
    return {
      kind: 'message',
      content: { type: 'webhook', ...renderRequest(step, context, 'POST') },
      ...(step.expires_after !== undefined && {
        expiresAt: addDuration(context.now, step.expires_after, context.timeZone),
      }),
    }
  },
}
