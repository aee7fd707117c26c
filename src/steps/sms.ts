import {
  channelFieldSchemas,
  checkWindows,
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
import type { StepContext, StepType, TemplateText } from './step.ts'

export interface Sms extends ChannelFields, OverrideFields, WindowFields {
  readonly body: TemplateText
  readonly to?: TemplateText
  /** What is told of what its reader does with it; nothing unless said. */
  readonly tracking?: { readonly links?: boolean }
}

/** Sends a text message. */
export const sms: StepType<'sms', Sms> = {
  type: 'sms',
  summary: 'Sends a text message.',
  schema: {
    required: ['body'],
    properties: {
      channel: channelFieldSchemas.channel,
      body: templateSchema('The text.'),
      to: templateSchema("The phone number; left out, the recipient's `phone_number`."),
      tracking: {
        description:
          'Whether it is noted that `links` of the text are followed, by way of this server; then each becomes a short one. Not unless told; needs `BELFRY_PUBLIC_URL`.',
        type: 'object',
        properties: { links: { type: 'boolean' } },
        additionalProperties: false,
      },
      expires_after: channelFieldSchemas.expires_after,
      send_windows: channelFieldSchemas.send_windows,
      overrides: overridesSchema,
    },
  },
  example: {
    channel: 'sms' as NonNullable<Sms['channel']>,
    body: 'Your code is {{data.code}}',
    to: '{{data.phone_number}}',
    tracking: { links: true },
    expires_after: '10m',
    send_windows: [{ days: 'weekdays', from: '09:00', until: '18:00' }],
    overrides: { twilio: { ValidityPeriod: 600 } },
  },
  channelType: 'sms',
  conditional: true,

  templates(step) {
    return [
      ...templateField(['body'], step.body, 'text'),
      ...templateField(['to'], step.to, 'line'),
      ...overrideTemplates(step),
    ]
  },

  check: checkWindows,

  execute(step, context) {
    const to = phoneNumberOf(step, context)
    if (to === undefined) return { kind: 'skip', reason: 'recipient_data_missing' }
    return {
      kind: 'message',
      content: {
        type: 'sms',
        to,
        body: context.render(step.body, 'text').trim(),
        ...overridesOf(step, context),
      },
      ...timesOf(step, context),
    }
  },
}

function phoneNumberOf(step: Sms, context: StepContext): string | undefined {
  const { phone_number: own } = context.scope.recipient
  const number = step.to === undefined ? own : context.render(step.to, 'line')
  if (typeof number !== 'string') return undefined
  const trimmed = number.trim()
  return trimmed === '' ? undefined : trimmed
}
