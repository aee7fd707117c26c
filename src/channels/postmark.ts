import { isAnyToken } from '../proof.ts'
import type { EmailContent } from '../steps/step.ts'
import { accepted, callApi, channelFailure, detailsOf, endpointSchema } from './api.ts'
import { endpointUrl, pick, rejected } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { sendMail } from './mail-send.ts'
import { mailboxText, senderSchema } from './mail.ts'
import type { MailParts } from './mail.ts'
import { withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { readReports, refusedCall, secretsIn, secretsOr } from './report.ts'
import type { Fate, Received, Report, Secrets, WebhookCall, WebhookContext } from './report.ts'
import { secretOr } from './secret.ts'

export interface PostmarkSettings {
  readonly server_token: string
  readonly message_stream?: string
  readonly from: string
  readonly endpoint?: string
  readonly webhook_secret?: Secrets
}

/** Error codes that are about the server, its token or its sender, and not about this mail. */
const CHANNEL_CODES = new Set([10, 400, 401, 405, 412])

/** Kinds of what Postmark calls a bounce: the address takes none, Postmark itself gave up, and nothing came back at all. */
const GONE = new Set(['HardBounce', 'BadEmailAddress'])
const GIVEN_UP = new Set([
  'ManuallyDeactivated',
  'Unconfirmed',
  'SMTPApiError',
  'DMARCPolicy',
  'TemplateRenderingFailed',
])
const NO_BOUNCE = new Set([
  'Transient',
  'Subscribe',
  'Unsubscribe',
  'AutoResponder',
  'AddressChange',
  'ChallengeVerification',
])

/** Mail through Postmark. */
export const postmark: Provider<'postmark', EmailContent, PostmarkSettings> = {
  name: 'postmark',
  type: 'email',
  summary: 'Mail through Postmark.',
  schema: {
    required: ['server_token', 'from'],
    properties: {
      server_token: secretOr({
        description: 'The token of the server.',
        type: 'string',
        minLength: 8,
        maxLength: 500,
      }),
      message_stream: {
        description: 'The stream; `outbound` unless told.',
        type: 'string',
        minLength: 1,
        maxLength: 100,
      },
      from: senderSchema,
      endpoint: endpointSchema,
      webhook_secret: secretsOr({
        description: 'The password in the URL of the webhook.',
        type: 'string',
        minLength: 16,
        maxLength: 500,
      }),
    },
  },
  example: {
    server_token: 'a server token, or { secret: NAME }',
    message_stream: 'outbound',
    from: 'Example <hello@example.com>',
    endpoint: 'https://api.postmarkapp.com',
    webhook_secret: 'a long password, or { secret: NAME }, or a list',
  },
  delivery: 'handed_over',
  overrides: [
    'From',
    'To',
    'Cc',
    'Bcc',
    'ReplyTo',
    'Headers',
    'Attachments',
    'Metadata.belfry_message_id',
  ],
  service: {
    perSecond: null,
    permanent: ['422 code 300 (invalid)', '422 code 406 (inactive recipient)', '413'],
    idempotency: null,
    reports: 'a webhook with the credentials in its URL',
  },

  webhook: { settings: ['webhook_secret'], headers: ['authorization'], receive },

  send: (message, context) =>
    sendMail(message, context, (parts) => {
      const Metadata = { belfry_message_id: message.id }
      const own = { ...bodyOf(parts, context.settings.message_stream), Metadata }
      const body = withOverrides(own, message.overrides)
      const attachments = parts.content.attachments.map((one) => ({
        Name: one.name,
        Content: one.content,
        ContentType: one.content_type,
        ...(one.content_id !== undefined && { ContentID: `cid:${one.content_id}` }),
      }))
      return callApi(
        {
          url: endpointUrl(context.settings, 'https://api.postmarkapp.com', '/email'),
          headers: {
            accept: 'application/json',
            'content-type': 'application/json',
            'x-postmark-server-token': context.settings.server_token,
          },
          body: JSON.stringify({
            ...body,
            ...(attachments.length > 0 && { Attachments: attachments }),
          }),
          shown: body,
        },
        context,
        judge,
      )
    }),
}

function bodyOf(parts: MailParts, stream: string | undefined) {
  const { sender, replyTo, to, cc, bcc, subject, messageId, content } = parts
  const headers = Object.entries({ ...content.headers, 'Message-ID': messageId })
  return {
    From: mailboxText(sender),
    To: to,
    ...(cc.length > 0 && { Cc: cc.join(', ') }),
    ...(bcc.length > 0 && { Bcc: bcc.join(', ') }),
    ...(replyTo && { ReplyTo: mailboxText(replyTo) }),
    Subject: subject,
    ...(content.html !== '' && { HtmlBody: content.html }),
    TextBody: content.text,
    ...(stream !== undefined && { MessageStream: stream }),
    Headers: [
      ...headers.map(([Name, Value]) => ({ Name, Value })),
      // Without it Postmark writes a Message-ID of its own, another one for each attempt.
      { Name: 'X-PM-KeepID', Value: 'true' },
    ],
  }
}

function judge(reply: ApiReply): Verdict | undefined {
  const code = pick(reply.body, 'ErrorCode')
  if (reply.status === 200 && (code === 0 || code === undefined)) {
    return accepted(pick(reply.body, 'MessageID'))
  }
  if (typeof code !== 'number') return undefined
  if (CHANNEL_CODES.has(code)) return channelFailure(detailsOf(reply))
  return reply.status === 200 || reply.status === 422 ? rejected(detailsOf(reply)) : undefined
}

function receive(
  { headers, body }: WebhookCall,
  { settings }: WebhookContext<PostmarkSettings>,
): Received {
  const encoded = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(headers.authorization ?? '')?.[1]
  if (encoded === undefined) return refusedCall('unsigned')
  const login = Buffer.from(encoded, 'base64').toString('utf8')
  const password = login.slice(login.indexOf(':') + 1)
  const isOurs = isAnyToken(password, secretsIn(settings.webhook_secret))
  if (!isOurs) return refusedCall('bad_signature')
  return readReports(body, (event) => [reportOf(event)])
}

function reportOf(event: unknown): Report | undefined {
  const fate = fateOf(event)
  if (fate === undefined) return undefined
  return {
    message: pick(event, 'Metadata', 'belfry_message_id'),
    address: pick(event, 'Email') ?? pick(event, 'Recipient'),
    fate,
    details: pick(event, 'Details') ?? pick(event, 'Description'),
    reference: pick(event, 'MessageID'),
    url: pick(event, 'OriginalLink'),
    shown: event,
  }
}

function fateOf(event: unknown): Fate | undefined {
  switch (pick(event, 'RecordType')) {
    case 'Delivery':
      return 'delivered'
    case 'Bounce':
      return bounceOf(String(pick(event, 'Type')))
    case 'SpamComplaint':
      return 'complained'
    case 'Open':
      return 'opened'
    case 'Click':
      return 'clicked'
    default:
      return undefined
  }
}

function bounceOf(type: string): Fate | undefined {
  if (NO_BOUNCE.has(type)) return undefined
  if (GIVEN_UP.has(type)) return 'rejected'
  return GONE.has(type) ? 'gone' : 'returned'
}
