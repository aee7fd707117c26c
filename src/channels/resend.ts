import type { MessageId } from '../ids.ts'
import { problemBeforeBody, provesBody, standardIn, withStandardNames } from '../proof.ts'
import type { EmailContent } from '../steps/step.ts'
import { accepted, callApi, detailsOf, endpointSchema, endpointUrl, pick, rejected } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { sendMail } from './mail-send.ts'
import { mailboxText, senderSchema } from './mail.ts'
import { withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { readReports, refusedCall, secretsIn, secretsOr } from './report.ts'
import type { Fate, Received, Report, Secrets, WebhookCall, WebhookContext } from './report.ts'
import { secretOr } from './secret.ts'

export interface ResendSettings {
  readonly api_key: string
  readonly from: string
  readonly endpoint?: string
  readonly webhook_secret?: Secrets
}

const MESSAGE_TAG = 'belfry_message_id'

/** Mail through Resend. */
export const resend: Provider<'resend', EmailContent, ResendSettings> = {
  name: 'resend',
  type: 'email',
  summary: 'Mail through Resend.',
  schema: {
    required: ['api_key', 'from'],
    properties: {
      api_key: secretOr({
        description: 'An API key that may send.',
        type: 'string',
        minLength: 8,
        maxLength: 500,
      }),
      from: senderSchema,
      endpoint: endpointSchema,
      webhook_secret: secretsOr({
        description: 'The signing secret of the webhook.',
        type: 'string',
        minLength: 16,
        maxLength: 500,
      }),
    },
  },
  example: {
    api_key: 're_123456789, or { secret: NAME }',
    from: 'Example <hello@example.com>',
    endpoint: 'https://api.resend.com',
    webhook_secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, or { secret: NAME }, or a list',
  },
  delivery: 'handed_over',
  overrides: ['from', 'to', 'cc', 'bcc', 'reply_to', 'headers', 'attachments'],
  service: {
    perSecond: 2,
    permanent: ['400', '409 invalid_idempotent_request', '422'],
    idempotency: 'the header Idempotency-Key, for 24 hours',
    reports: 'Standard Webhooks, signed by HMAC-SHA256 (svix-signature)',
  },

  webhook: { settings: ['webhook_secret'], headers: ['svix-signature'], receive },

  send: (message, context) =>
    sendMail(message, context, ({ sender, replyTo, to, cc, bcc, subject, messageId, content }) => {
      const own = {
        from: mailboxText(sender),
        to: [to],
        ...(cc.length > 0 && { cc }),
        ...(bcc.length > 0 && { bcc }),
        ...(replyTo && { reply_to: [mailboxText(replyTo)] }),
        subject,
        ...(content.html !== '' && { html: content.html }),
        text: content.text,
        headers: { ...content.headers, 'Message-ID': messageId },
      }
      const laid = withOverrides(own, message.overrides)
      const body = { ...laid, tags: tagsWith(laid['tags'], message.id) }
      const attachments = content.attachments.map((one) => ({
        filename: one.name,
        content: one.content,
        content_type: one.content_type,
        ...(one.content_id !== undefined && { content_id: one.content_id }),
      }))
      return callApi(
        {
          url: endpointUrl(context.settings, 'https://api.resend.com', '/emails'),
          headers: {
            authorization: `Bearer ${context.settings.api_key}`,
            'content-type': 'application/json',
            'idempotency-key': message.id,
          },
          body: JSON.stringify({ ...body, ...(attachments.length > 0 && { attachments }) }),
          shown: body,
        },
        context,
        judge,
      )
    }),
}

/** What the step says, and the one by which reports name the message. */
function tagsWith(tags: unknown, id: MessageId): readonly unknown[] {
  const others = [tags ?? []].flat().filter((one) => pick(one, 'name') !== MESSAGE_TAG)
  return [...others, { name: MESSAGE_TAG, value: id }]
}

function judge(reply: ApiReply): Verdict | undefined {
  if (reply.status === 200) return accepted(pick(reply.body, 'id'))
  // Of two requests with one key that are under way the other one counts; its answer can be had a little later.
  if (reply.status === 409 && pick(reply.body, 'name') === 'invalid_idempotent_request') {
    return rejected(detailsOf(reply))
  }
  return undefined
}

const FATES: Readonly<Record<string, Fate>> = {
  'email.delivered': 'delivered',
  'email.failed': 'rejected',
  'email.suppressed': 'rejected',
  'email.complained': 'complained',
  'email.opened': 'opened',
  'email.clicked': 'clicked',
}

function receive(
  { headers, body }: WebhookCall,
  { settings, now }: WebhookContext<ResendSettings>,
): Received {
  const secrets = secretsIn(settings.webhook_secret)
  const proof = standardIn(withStandardNames(headers))
  if (!proof) return refusedCall('unsigned')
  const problem = problemBeforeBody(proof, secrets, now)
  if (problem) return refusedCall(problem)
  if (!provesBody(proof, secrets, body)) return refusedCall('bad_signature')
  return readReports(body, reportsOf)
}

/** It names those of whom it is true. */
function reportsOf(event: unknown): readonly Report[] {
  const fate = fateOf(event)
  if (fate === undefined) return []
  const data = pick(event, 'data')
  const report = {
    message: tagOf(pick(data, 'tags')),
    fate,
    details: pick(data, 'bounce', 'message') ?? pick(data, 'failed', 'reason'),
    reference: pick(data, 'email_id'),
    url: pick(data, 'click', 'link'),
    shown: event,
  }
  const to = pick(data, 'to')
  return [to ?? undefined].flat().map((address) => ({ ...report, address }))
}

/** Tags come by name, or as the list that they were sent as. */
function tagOf(tags: unknown): unknown {
  if (!Array.isArray(tags)) return pick(tags, MESSAGE_TAG)
  return pick(
    tags.find((tag) => pick(tag, 'name') === MESSAGE_TAG),
    'value',
  )
}

function fateOf(event: unknown): Fate | undefined {
  const type = pick(event, 'type')
  if (type === 'email.bounced') {
    return pick(event, 'data', 'bounce', 'type') === 'Permanent' ? 'gone' : 'returned'
  }
  return typeof type === 'string' && Object.hasOwn(FATES, type) ? FATES[type] : undefined
}
