import type { SmsContent } from '../steps/step.ts'
import { accepted, callApi, channelFailure, detailsOf, endpointSchema } from './api.ts'
import { endpointUrl, pick, refused } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { phoneNumber } from './phone.ts'
import { withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { secretOr } from './secret.ts'

export interface VonageSettings {
  readonly api_key: string
  readonly api_secret: string
  readonly from: string
  readonly endpoint?: string
}

/** Text messages through the Messages API of Vonage. */
export const vonage: Provider<'vonage', SmsContent, VonageSettings> = {
  name: 'vonage',
  type: 'sms',
  summary: 'Text messages through Vonage.',
  schema: {
    required: ['api_key', 'api_secret', 'from'],
    properties: {
      api_key: secretOr({
        description: 'The key of the account.',
        type: 'string',
        minLength: 4,
        maxLength: 100,
      }),
      api_secret: secretOr({
        description: 'Its secret.',
        type: 'string',
        minLength: 8,
        maxLength: 200,
      }),
      from: {
        description: 'The sender: a number or a name.',
        type: 'string',
        minLength: 1,
        maxLength: 15,
      },
      endpoint: endpointSchema,
    },
  },
  example: {
    api_key: 'a key, or { secret: NAME }',
    api_secret: 'a secret, or { secret: NAME }',
    from: 'Example',
    endpoint: 'https://api.nexmo.com',
  },
  delivery: 'handed_over',
  overrides: ['to', 'channel', 'client_ref', 'webhook_url', 'failover'],
  service: {
    perSecond: null,
    permanent: ['422'],
    idempotency: null,
    reports: 'a webhook, signed by a token (HS256) with the hash of the body',
  },

  async send(message, context) {
    const { settings } = context
    const to = phoneNumber(message.content.to)
    if (to === undefined) return refused('invalid_address', 'the phone number is not E.164')
    const own = {
      message_type: 'text',
      channel: 'sms',
      // Both without the plus.
      to: to.slice(1),
      from: settings.from.replace(/^\+/, ''),
      text: message.content.body,
      client_ref: message.id,
    }
    const body = withOverrides(own, message.overrides)
    const login = Buffer.from(`${settings.api_key}:${settings.api_secret}`).toString('base64')
    return await callApi(
      {
        url: endpointUrl(settings, 'https://api.nexmo.com', '/v1/messages'),
        headers: { authorization: `Basic ${login}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
        shown: body,
      },
      context,
      judge,
    )
  },
}

function judge(reply: ApiReply): Verdict | undefined {
  if (reply.status === 202) return accepted(pick(reply.body, 'message_uuid'))
  // An account without money.
  return reply.status === 402 ? channelFailure(detailsOf(reply)) : undefined
}
