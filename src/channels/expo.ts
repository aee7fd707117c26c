import type { PushContent } from '../steps/step.ts'
import { accepted, bounced, callApi, channelFailure, detailsOf, endpointSchema } from './api.ts'
import { endpointUrl, pick, rejected } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { deregistrationSchema } from './push-settings.ts'
import { secretOr } from './secret.ts'

export interface ExpoSettings {
  readonly access_token?: string
  readonly token_deregistration?: boolean
  readonly endpoint?: string
}

/** Notifications through Expo. */
export const expo: Provider<'expo', PushContent, ExpoSettings> = {
  name: 'expo',
  type: 'push',
  summary: 'Notifications through Expo.',
  schema: {
    required: [],
    properties: {
      access_token: secretOr({
        description: 'Needed where the project asks for one.',
        type: 'string',
        minLength: 8,
        maxLength: 500,
      }),
      token_deregistration: deregistrationSchema,
      endpoint: endpointSchema,
    },
  },
  example: {
    access_token: 'a token, or { secret: NAME }',
    token_deregistration: true,
    endpoint: 'https://exp.host',
  },
  delivery: 'handed_over',
  overrides: ['to'],
  channelData: 'devices',
  wireName: 'push_expo',
  service: {
    perSecond: 600,
    permanent: ['MessageTooBig', '400'],
    idempotency: null,
    reports: 'receipts, to be asked for',
  },

  async send(message, context) {
    const { access_token: token } = context.settings
    const { token: to, title, body, data, silent } = message.content
    const own = {
      to,
      ...(silent ? { _contentAvailable: true } : { title, body, sound: 'default' }),
      ...(data !== null && { data }),
    }
    const shown = withOverrides(own, message.overrides)
    return await callApi(
      {
        url: endpointUrl(context.settings, 'https://exp.host', '/--/api/v2/push/send'),
        headers: {
          accept: 'application/json',
          'content-type': 'application/json',
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify(shown),
        shown,
      },
      context,
      judge,
    )
  },
}

/** Expo answers 200 to nearly all; the ticket says what it means. */
function judge(reply: ApiReply): Verdict | undefined {
  if (reply.status !== 200) return undefined
  const data = pick(reply.body, 'data')
  const ticket = Array.isArray(data) ? (data[0] as unknown) : data
  if (pick(ticket, 'status') === 'ok') return accepted(pick(ticket, 'id'))
  const details = detailsOf(reply)
  switch (pick(ticket, 'details', 'error')) {
    case 'DeviceNotRegistered':
      return bounced(details)
    case 'MessageRateExceeded':
      return { kind: 'throttled', details }
    case 'InvalidCredentials':
    case 'MismatchSenderId':
      return channelFailure(details)
    case 'MessageTooBig':
      return rejected(details)
    default:
      return { kind: 'failed', details }
  }
}
