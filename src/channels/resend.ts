import type { EmailContent } from '../steps/step.ts'
import { accepted, callApi, detailsOf, endpointSchema, endpointUrl, pick, rejected } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { sendMail } from './mail-send.ts'
import { mailboxText, senderSchema } from './mail.ts'
import { withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { secretOr } from './secret.ts'

export interface ResendSettings {
  readonly api_key: string
  readonly from: string
  readonly endpoint?: string
}

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
    },
  },
  example: {
    api_key: 're_123456789, or { secret: NAME }',
    from: 'Example <hello@example.com>',
    endpoint: 'https://api.resend.com',
  },
  delivery: 'handed_over',
  overrides: ['from', 'to', 'cc', 'bcc', 'reply_to', 'headers', 'attachments'],
  service: {
    perSecond: 2,
    permanent: ['400', '409 invalid_idempotent_request', '422'],
    idempotency: 'the header Idempotency-Key, for 24 hours',
    reports: 'Standard Webhooks, signed by HMAC-SHA256 (svix-signature)',
  },

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
      const body = withOverrides(own, message.overrides)
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

function judge(reply: ApiReply): Verdict | undefined {
  if (reply.status === 200) return accepted(pick(reply.body, 'id'))
  // Of two requests with one key that are under way the other one counts; its answer can be had a little later.
  if (reply.status === 409 && pick(reply.body, 'name') === 'invalid_idempotent_request') {
    return rejected(detailsOf(reply))
  }
  return undefined
}
