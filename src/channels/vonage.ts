import { createHash } from 'node:crypto'
import { isRecent } from '../proof.ts'
import type { SmsContent } from '../steps/step.ts'
import { accepted, callApi, channelFailure, detailsOf, endpointSchema } from './api.ts'
import { endpointUrl, pick, refused } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { readSignedClaims } from './jwt.ts'
import { phoneNumber } from './phone.ts'
import { withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { readReports, refusedCall, secretsIn, secretsOr } from './report.ts'
import type { Fate, Received, Report, Secrets, WebhookCall, WebhookContext } from './report.ts'
import { secretOr } from './secret.ts'

export interface VonageSettings {
  readonly api_key: string
  readonly api_secret: string
  readonly from: string
  readonly endpoint?: string
  readonly webhook_secret?: Secrets
}

const FATES: Readonly<Record<string, Fate>> = {
  delivered: 'delivered',
  read: 'delivered',
  rejected: 'rejected',
  undeliverable: 'rejected',
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
      webhook_secret: secretsOr({
        description: 'The signature secret of the account.',
        type: 'string',
        minLength: 8,
        maxLength: 500,
      }),
    },
  },
  example: {
    api_key: 'a key, or { secret: NAME }',
    api_secret: 'a secret, or { secret: NAME }',
    from: 'Example',
    endpoint: 'https://api.nexmo.com',
    webhook_secret: 'a secret, or { secret: NAME }, or a list',
  },
  delivery: 'handed_over',
  overrides: ['to', 'channel', 'client_ref', 'webhook_url', 'failover'],
  service: {
    perSecond: null,
    permanent: ['422'],
    idempotency: null,
    reports: 'a webhook, signed by a token (HS256) with the hash of the body',
  },

  webhook: { settings: ['webhook_secret'], headers: ['authorization'], receive },

  async send(message, context) {
    const { settings } = context
    // Without the secret nothing that it reports would be believed.
    const webhookUrl = settings.webhook_secret && context.webhookUrl
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
      ...(webhookUrl && { webhook_url: webhookUrl, webhook_version: 'v1' }),
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

function receive(
  { headers, body }: WebhookCall,
  { settings, now }: WebhookContext<VonageSettings>,
): Received {
  const token = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1]
  if (token === undefined) return refusedCall('unsigned')
  const claims = readSignedClaims(token, secretsIn(settings.webhook_secret))
  const hash = createHash('sha256').update(body).digest('hex')
  if (String(claims?.['payload_hash']).toLowerCase() !== hash) return refusedCall('bad_signature')
  if (!isRecent(String(claims?.['iat']), now)) return refusedCall('bad_timestamp')
  return readReports(body, (event) => [reportOf(event)])
}

function reportOf(event: unknown): Report | undefined {
  const status = pick(event, 'status')
  const fate =
    typeof status === 'string' && Object.hasOwn(FATES, status) ? FATES[status] : undefined
  if (fate === undefined) return undefined
  return {
    message: pick(event, 'client_ref'),
    fate,
    details: pick(event, 'error', 'detail') ?? pick(event, 'error', 'title'),
    reference: pick(event, 'message_uuid'),
    shown: event,
  }
}
