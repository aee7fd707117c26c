import { createPublicKey, verify } from 'node:crypto'
import { headerOf, isAny, isRecent } from '../proof.ts'
import type { EmailContent } from '../steps/step.ts'
import { accepted, callApi, endpointSchema, endpointUrl, pick } from './api.ts'
import { sendMail } from './mail-send.ts'
import { senderSchema } from './mail.ts'
import type { MailParts } from './mail.ts'
import type { Mailbox } from './address.ts'
import { withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { readReports, refusedCall, REPEATED_MS_MAX, secretsIn, secretsOr } from './report.ts'
import type { Fate, Received, Report, Secrets, WebhookCall, WebhookContext } from './report.ts'
import { secretOr } from './secret.ts'

export interface SendgridSettings {
  readonly api_key: string
  readonly from: string
  readonly endpoint?: string
  /** In base64. */
  readonly webhook_key?: Secrets
}

const SIGNATURE = 'x-twilio-email-event-webhook-signature'
const TIMESTAMP = 'x-twilio-email-event-webhook-timestamp'

/** Mail through SendGrid. */
export const sendgrid: Provider<'sendgrid', EmailContent, SendgridSettings> = {
  name: 'sendgrid',
  type: 'email',
  summary: 'Mail through SendGrid.',
  schema: {
    required: ['api_key', 'from'],
    properties: {
      api_key: secretOr({
        description: 'An API key that may send mail.',
        type: 'string',
        minLength: 8,
        maxLength: 500,
      }),
      from: senderSchema,
      endpoint: endpointSchema,
      webhook_key: secretsOr({
        description: 'The verification key of the signed event webhook.',
        type: 'string',
        minLength: 8,
        maxLength: 500,
      }),
    },
  },
  example: {
    api_key: 'SG.123456789, or { secret: NAME }',
    from: 'Example <hello@example.com>',
    endpoint: 'https://api.eu.sendgrid.com',
    webhook_key: 'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE…, or { secret: NAME }, or a list',
  },
  delivery: 'handed_over',
  overrides: [
    'personalizations',
    'from',
    'reply_to*',
    'headers',
    'attachments',
    'custom_args.belfry_message_id',
    'mail_settings.bcc',
    'mail_settings.spam_check',
  ],
  service: {
    perSecond: 600,
    permanent: ['400', '413'],
    idempotency: null,
    reports: 'a webhook with lists of events, signed by ECDSA (P-256, SHA-256)',
  },

  webhook: { settings: ['webhook_key'], headers: [SIGNATURE, TIMESTAMP], receive },

  send: (message, context) =>
    sendMail(message, context, (parts) => {
      const own = { ...bodyOf(parts), custom_args: { belfry_message_id: message.id } }
      const body = withOverrides(own, message.overrides)
      const attachments = parts.content.attachments.map((one) => ({
        filename: one.name,
        content: one.content,
        type: one.content_type,
        disposition: one.disposition ?? 'attachment',
        ...(one.content_id !== undefined && { content_id: one.content_id }),
      }))
      return callApi(
        {
          url: endpointUrl(context.settings, 'https://api.sendgrid.com', '/v3/mail/send'),
          headers: {
            authorization: `Bearer ${context.settings.api_key}`,
            'content-type': 'application/json',
          },
          body: JSON.stringify({ ...body, ...(attachments.length > 0 && { attachments }) }),
          shown: body,
        },
        context,
        ({ status, headers }) => (status === 202 ? accepted(headers['x-message-id']) : undefined),
      )
    }),
}

function bodyOf({ sender, replyTo, to, cc, bcc, subject, messageId, content }: MailParts) {
  // The service refuses an address that stands twice among the recipients of one mail.
  const seen = new Set([to])
  const others = (addresses: readonly string[]) =>
    addresses.flatMap((email) => {
      if (seen.has(email)) return []
      seen.add(email)
      return [{ email }]
    })
  const copies = others(cc)
  const blind = others(bcc)
  return {
    personalizations: [
      {
        to: [{ email: to }],
        ...(copies.length > 0 && { cc: copies }),
        ...(blind.length > 0 && { bcc: blind }),
      },
    ],
    from: mailbox(sender),
    ...(replyTo && { reply_to: mailbox(replyTo) }),
    // It refuses a mail without a subject or a body.
    subject: subject === '' ? ' ' : subject,
    content: [
      // In this order, or it refuses the mail.
      { type: 'text/plain', value: content.text === '' ? ' ' : content.text },
      ...(content.html === '' ? [] : [{ type: 'text/html', value: content.html }]),
    ],
    headers: { ...content.headers, 'Message-ID': messageId },
  }
}

function mailbox({ name, address }: Mailbox) {
  return name === '' ? { email: address } : { email: address, name }
}

function receive(
  { headers, body }: WebhookCall,
  { settings, now }: WebhookContext<SendgridSettings>,
): Received {
  const keys = secretsIn(settings.webhook_key)
  const at = headerOf(headers, TIMESTAMP) ?? ''
  const signed = Buffer.concat([Buffer.from(at), body])
  const signature = Buffer.from(headerOf(headers, SIGNATURE) ?? '', 'base64')
  if (!isAny(keys, (key) => isSignedBy(key, signed, signature))) return refusedCall('bad_signature')
  if (!isRecent(at, now, REPEATED_MS_MAX)) return refusedCall('bad_timestamp')
  return readReports(body, (value) => [value].flat().map(reportOf))
}

function isSignedBy(key: string, signed: Buffer, signature: Buffer): boolean {
  try {
    const spki = { key: Buffer.from(key, 'base64'), format: 'der', type: 'spki' } as const
    return verify('sha256', signed, createPublicKey(spki), signature)
  } catch {
    // The setting holds no key.
    return false
  }
}

function reportOf(event: unknown): Report | undefined {
  const fate = fateOf(event)
  if (fate === undefined) return undefined
  return {
    message: pick(event, 'belfry_message_id'),
    address: pick(event, 'email'),
    fate,
    details: pick(event, 'reason') ?? pick(event, 'response'),
    url: pick(event, 'url'),
    shown: event,
  }
}

function fateOf(event: unknown): Fate | undefined {
  switch (pick(event, 'event')) {
    case 'delivered':
      return 'delivered'
    case 'bounce':
      // What is blocked may be taken another time.
      return pick(event, 'type') === 'blocked' ? 'returned' : 'gone'
    case 'dropped':
      return 'rejected'
    case 'spamreport':
      return 'complained'
    case 'open':
      return pick(event, 'sg_machine_open') === true ? undefined : 'opened'
    case 'click':
      return 'clicked'
    default:
      return undefined
  }
}
