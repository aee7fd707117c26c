import { createHmac } from 'node:crypto'
import { headerOf, isAny, isSame } from '../proof.ts'
import type { SmsContent } from '../steps/step.ts'
import {
  brokenChannel,
  accepted,
  callApi,
  channelFailure,
  detailsOf,
  endpointSchema,
} from './api.ts'
import { endpointUrl, pick, refused, rejected } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { phoneNumber } from './phone.ts'
import { formText, withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { refusedCall, secretsIn, secretsOr } from './report.ts'
import type { Fate, Received, Secrets, WebhookCall, WebhookContext } from './report.ts'
import { secretOr } from './secret.ts'

export interface TwilioSettings {
  readonly account_sid: string
  readonly auth_token: string
  readonly from?: string
  readonly messaging_service_sid?: string
  readonly endpoint?: string
  readonly webhook_secret?: Secrets
}

const SIGNATURE = 'x-twilio-signature'

/** Codes about the account or its sender, and not about this message. */
const CHANNEL_CODES = new Set([20003, 21212, 21606, 21659, 21703])

/** Codes of reports: nobody has the number, or it takes no text messages. */
const GONE_CODES = new Set(['30005', '30006'])

/** Text messages through Twilio. */
export const twilio: Provider<'twilio', SmsContent, TwilioSettings> = {
  name: 'twilio',
  type: 'sms',
  summary: 'Text messages through Twilio.',
  schema: {
    required: ['account_sid', 'auth_token'],
    properties: {
      account_sid: secretOr({
        description: 'The id of the account.',
        type: 'string',
        pattern: '^[A-Za-z0-9]{2,64}$',
      }),
      auth_token: secretOr({
        description: 'Its token.',
        type: 'string',
        minLength: 8,
        maxLength: 200,
      }),
      from: {
        description: 'The sender; this or `messaging_service_sid`.',
        type: 'string',
        minLength: 1,
        maxLength: 50,
      },
      messaging_service_sid: {
        description: 'The service that picks a sender.',
        type: 'string',
        pattern: '^[A-Za-z0-9]{2,64}$',
      },
      endpoint: endpointSchema,
      webhook_secret: secretsOr({
        description:
          'The primary token of the account, which signs reports; `auth_token` unless told.',
        type: 'string',
        minLength: 8,
        maxLength: 200,
      }),
    },
  },
  example: {
    account_sid: 'AC0123456789',
    auth_token: 'a token, or { secret: NAME }',
    from: '+15550100',
    messaging_service_sid: 'MG0123456789',
    endpoint: 'https://api.twilio.com',
    webhook_secret: 'a token, or { secret: NAME }, or a list',
  },
  delivery: 'handed_over',
  overrides: ['To', 'StatusCallback'],
  service: {
    perSecond: null,
    permanent: ['21211', '21408', '21610', '21614', '21617', '400'],
    idempotency: null,
    reports: 'a webhook, signed by HMAC-SHA1 (X-Twilio-Signature)',
  },

  webhook: { settings: ['webhook_secret', 'auth_token'], headers: [SIGNATURE], receive },

  async send(message, context) {
    const { settings, webhookUrl } = context
    const { account_sid: sid, auth_token: token, from, messaging_service_sid: service } = settings
    const to = phoneNumber(message.content.to)
    if (to === undefined) return refused('invalid_address', 'the phone number is not E.164')
    if (from === undefined && service === undefined) {
      return brokenChannel('the channel has neither from nor messaging_service_sid')
    }
    const own = {
      To: to,
      ...(service === undefined ? { From: from ?? '' } : { MessagingServiceSid: service }),
      Body: message.content.body,
      ...(webhookUrl !== undefined && { StatusCallback: `${webhookUrl}?message=${message.id}` }),
    }
    const fields = withOverrides(own, message.overrides)
    const path = `/2010-04-01/Accounts/${sid}/Messages.json`
    return await callApi(
      {
        url: endpointUrl(settings, 'https://api.twilio.com', path),
        headers: {
          authorization: `Basic ${Buffer.from(`${sid}:${token}`).toString('base64')}`,
          'content-type': 'application/x-www-form-urlencoded',
        },
        body: formText(fields),
        shown: fields,
      },
      context,
      judge,
    )
  },
}

function judge(reply: ApiReply): Verdict | undefined {
  if (reply.status === 201 || reply.status === 200) return accepted(pick(reply.body, 'sid'))
  const code = pick(reply.body, 'code')
  if (code === 20429) return { kind: 'throttled', details: detailsOf(reply) }
  if (typeof code === 'number' && CHANNEL_CODES.has(code)) return channelFailure(detailsOf(reply))
  // A region that is not allowed and a person who opted out come with 403 and 400.
  const isOurs = code === 21408 || code === 21610
  return isOurs ? rejected(detailsOf(reply)) : undefined
}

/** A form, whose signature covers the URL as Twilio was given it, with our id of the message. */
function receive(
  { url, headers, body }: WebhookCall,
  { settings }: WebhookContext<TwilioSettings>,
): Received {
  if (url === undefined) return refusedCall('no_public_url')
  const form = new URLSearchParams(body.toString())
  const signed = [...form].toSorted(([one], [other]) => (one < other ? -1 : 1)).flat()
  const given = Buffer.from(headerOf(headers, SIGNATURE) ?? '', 'base64')
  const isSigned = isAny(secretsIn(settings.webhook_secret ?? settings.auth_token), (secret) =>
    isSame(
      createHmac('sha1', secret)
        .update([url, ...signed].join(''))
        .digest(),
      given,
    ),
  )
  if (!isSigned) return refusedCall('bad_signature')
  const fate = fateOf(form.get('MessageStatus'), form.get('ErrorCode'))
  const message = new URL(url).searchParams.get('message')
  const code = form.get('ErrorCode')
  const details = [form.get('MessageStatus'), ...(code === null ? [] : [code])].join(' ')
  const shown = Object.fromEntries(form)
  const reference = form.get('MessageSid')
  return {
    kind: 'taken',
    reports: fate === undefined ? [] : [{ message, fate, details, reference, shown }],
  }
}

function fateOf(status: string | null, code: string | null): Fate | undefined {
  if (status === 'delivered' || status === 'read') return 'delivered'
  if (status !== 'undelivered' && status !== 'failed') return undefined
  return code !== null && GONE_CODES.has(code) ? 'gone' : 'rejected'
}
