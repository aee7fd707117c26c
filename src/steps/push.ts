import { isJsonObject } from '../json.ts'
import {
  channelFieldSchemas,
  checkWindows,
  plainTreeFields,
  templateField,
  templateSchema,
  timesOf,
  type ChannelFields,
  type WindowFields,
} from './fields.ts'
import {
  overridesOf,
  overridesSchema,
  overrideTemplates,
  type OverrideFields,
} from './overrides.ts'
import type { Address, PushContent, StepType, TemplateText, TemplateTree } from './step.ts'

export interface Push extends ChannelFields, OverrideFields, WindowFields {
  readonly title: TemplateText
  readonly body: TemplateText
  readonly data?: TemplateTree
  readonly silent?: boolean
}

/** Sends a notification to each device of the recipient. */
export const push: StepType<'push', Push> = {
  type: 'push',
  summary: 'Sends a notification to each device of the recipient.',
  schema: {
    required: ['title', 'body'],
    properties: {
      channel: channelFieldSchemas.channel,
      title: templateSchema('The title.'),
      body: templateSchema('The text.'),
      data: {
        description:
          'What the app gets with it. Every text in it is a template; one that is a single expression keeps the type of its value.',
        type: 'object',
      },
      silent: {
        description: 'Whether it only wakes the app, and nothing is shown.',
        type: 'boolean',
      },
      expires_after: channelFieldSchemas.expires_after,
      send_windows: channelFieldSchemas.send_windows,
      overrides: overridesSchema,
    },
  },
  example: {
    channel: 'push' as NonNullable<Push['channel']>,
    title: '{{actor.name}} commented',
    body: '{{data.comment}}',
    data: { page_id: '{{data.page_id}}' },
    silent: false,
    expires_after: '1h',
    send_windows: [{ days: 'weekdays', from: '09:00', until: '18:00' }],
    overrides: { apns: { aps: { badge: '{{data.unread}}', sound: null } } },
  },
  channelType: 'push',
  conditional: true,

  templates(step) {
    return [
      ...templateField(['title'], step.title, 'line'),
      ...templateField(['body'], step.body, 'text'),
      ...plainTreeFields(['data'], step.data),
      ...overrideTemplates(step),
    ]
  },

  check: checkWindows,

  execute(step, context) {
    const [first, ...others] = context.addresses
    if (first === undefined) return { kind: 'skip', reason: 'recipient_data_missing' }
    const data = step.data === undefined ? null : context.renderTree(step.data)
    const shown = {
      type: 'push',
      title: context.render(step.title, 'line').trim(),
      body: context.render(step.body, 'text').trim(),
      data: isJsonObject(data) ? data : null,
      silent: step.silent ?? false,
      ...overridesOf(step, context),
    } as const
    return {
      kind: 'message',
      content: { ...shown, ...deviceOf(first) },
      also: others.map((address) => ({ ...shown, ...deviceOf(address) })),
      ...timesOf(step, context, context.addresses),
    }
  },
}

function deviceOf({ token, subscription }: Address): Pick<PushContent, 'token' | 'subscription'> {
  const text = typeof token === 'string' ? token : ''
  if (subscription === undefined) return { token: text }
  return { token: text, subscription: subscription as NonNullable<PushContent['subscription']> }
}
