import type { JsonObject } from '../json.ts'
import { createHmac } from 'node:crypto'
import { isAny, isRecent, isSame } from '../proof.ts'
import type { EmailContent } from '../steps/step.ts'
import { accepted, callApi, channelFailure, detailsOf, endpointSchema } from './api.ts'
import { endpointUrl, pick } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { sendMail } from './mail-send.ts'
import { mailboxText, senderSchema } from './mail.ts'
import type { MailParts } from './mail.ts'
import { formFields, withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { MALFORMED, parseJson, readReports, refusedCall, REPEATED_MS_MAX } from './report.ts'
import { secretsIn, secretsOr } from './report.ts'
import type { Fate, Received, Report, Secrets, WebhookCall, WebhookContext } from './report.ts'
import { secretOr } from './secret.ts'

export interface MailgunSettings {
  readonly api_key: string
  /** The sending domain. */
  readonly domain: string
  readonly from: string
  readonly endpoint?: string
  readonly webhook_secret?: Secrets
}

/** Mail through Mailgun. */
export const mailgun: Provider<'mailgun', EmailContent, MailgunSettings> = {
  name: 'mailgun',
  type: 'email',
  summary: 'Mail through Mailgun.',
  schema: {
    required: ['api_key', 'domain', 'from'],
    properties: {
      api_key: secretOr({
        description: 'A sending key.',
        type: 'string',
        minLength: 8,
        maxLength: 500,
      }),
      domain: {
        description: 'The sending domain.',
        type: 'string',
        pattern: '^[A-Za-z0-9.-]{1,253}$',
      },
      from: senderSchema,
      endpoint: endpointSchema,
      webhook_secret: secretsOr({
        description: 'The HTTP webhook signing key.',
        type: 'string',
        minLength: 16,
        maxLength: 500,
      }),
    },
  },
  example: {
    api_key: 'a sending key, or { secret: NAME }',
    domain: 'mg.example.com',
    from: 'Example <hello@example.com>',
    endpoint: 'https://api.eu.mailgun.net',
    webhook_secret: 'a signing key, or { secret: NAME }, or a list',
  },
  delivery: 'handed_over',
  overrides: [
    'from',
    'to',
    'cc',
    'bcc',
    'h:*',
    'recipient-variables',
    'v:belfry_message_id',
    'attachment',
    'inline',
  ],
  service: {
    perSecond: null,
    permanent: ['400'],
    idempotency: null,
    reports: 'a webhook, its body signed by HMAC-SHA256',
  },

  webhook: { settings: ['webhook_secret'], headers: [], receive },

  send: (message, context) =>
    sendMail(message, context, async (parts) => {
      const { api_key: key, domain } = context.settings
      const own = { ...fieldsOf(parts), 'v:belfry_message_id': message.id }
      const fields = withOverrides(own, message.overrides)
      const form = new Response(formOf(fields, parts))
      return await callApi(
        {
          url: endpointUrl(context.settings, 'https://api.mailgun.net', `/v3/${domain}/messages`),
          headers: {
            authorization: `Basic ${Buffer.from(`api:${key}`).toString('base64')}`,
            'content-type': form.headers.get('content-type') ?? '',
          },
          body: await form.bytes(),
          shown: fields,
        },
        context,
        judge,
      )
    }),
}

function fieldsOf(parts: MailParts): JsonObject {
  const { sender, replyTo, to, cc, bcc, subject, messageId, content } = parts
  const headers = Object.entries(content.headers).map(([name, value]) => [`h:${name}`, value])
  return {
    from: mailboxText(sender),
    to,
    cc,
    bcc,
    subject,
    text: content.text,
    ...(content.html !== '' && { html: content.html }),
    ...(replyTo && { 'h:Reply-To': mailboxText(replyTo) }),
    'h:Message-Id': messageId,
    ...Object.fromEntries(headers),
  }
}

/** As a form with files; the names of inline images are their ids, by which the HTML names them. */
function formOf(fields: JsonObject, { content }: MailParts): FormData {
  const form = new FormData()
  for (const [name, value] of formFields(fields)) form.append(name, value)
  for (const one of content.attachments) {
    const file = new Blob([Buffer.from(one.content, 'base64')], { type: one.content_type })
    const inline = one.content_id !== undefined
    form.append(inline ? 'inline' : 'attachment', file, one.content_id ?? one.name)
  }
  return form
}

function judge(reply: ApiReply): Verdict | undefined {
  if (reply.status === 200) return accepted(pick(reply.body, 'id'))
  // The domain is not known to this account, or not in this region.
  return reply.status === 404 ? channelFailure(detailsOf(reply)) : undefined
}

/** What proves a call stands in its body, and covers no more than a time and a token, which counts once. */
function receive({ body }: WebhookCall, context: WebhookContext<MailgunSettings>): Received {
  const value = parseJson(body)
  if (value === undefined) return MALFORMED
  const [at, token, signature] = ['timestamp', 'token', 'signature'].map((name) =>
    pick(value, 'signature', name),
  )
  if (typeof token !== 'string' || typeof signature !== 'string') return refusedCall('unsigned')
  const given = Buffer.from(signature, 'hex')
  const isSigned = isAny(secretsIn(context.settings.webhook_secret), (secret) =>
    isSame(
      createHmac('sha256', secret)
        .update(`${String(at)}${token}`)
        .digest(),
      given,
    ),
  )
  if (!isSigned) return refusedCall('bad_signature')
  if (!isRecent(String(at), context.now, REPEATED_MS_MAX)) return refusedCall('bad_timestamp')
  const received = readReports(body, () => [reportOf(pick(value, 'event-data'))])
  return { ...received, once: token } as Received
}

function reportOf(event: unknown): Report | undefined {
  const fate = fateOf(event)
  if (fate === undefined) return undefined
  const status = pick(event, 'delivery-status')
  const said = pick(status, 'description') || pick(status, 'message') || pick(event, 'reason')
  return {
    message: pick(event, 'user-variables', 'belfry_message_id'),
    address: pick(event, 'recipient'),
    fate,
    details: said,
    url: pick(event, 'url'),
    shown: event,
  }
}

function fateOf(event: unknown): Fate | undefined {
  switch (pick(event, 'event')) {
    case 'delivered':
      return 'delivered'
    case 'failed':
      return pick(event, 'severity') === 'permanent' ? failureOf(event) : undefined
    case 'rejected':
      return 'rejected'
    case 'complained':
      return 'complained'
    case 'opened':
      // A machine that looks at mails for its owner is no reader.
      return pick(event, 'client-info', 'bot') ? undefined : 'opened'
    case 'clicked':
      return pick(event, 'client-info', 'bot') ? undefined : 'clicked'
    default:
      return undefined
  }
}

function failureOf(event: unknown): Fate {
  const reason = String(pick(event, 'reason'))
  if (reason.startsWith('suppress-')) return 'rejected'
  return reason === 'bounce' ? 'gone' : 'returned'
}
