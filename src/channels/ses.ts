import type { EmailContent } from '../steps/step.ts'
import { parseMailbox } from './address.ts'
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
import { awsErrorOf, awsSchema } from './aws.ts'
import { composeMail, mailboxText, senderSchema } from './mail.ts'
import type { Mailbox } from './address.ts'
import { withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import type { Fate, Received, Report, WebhookCall, WebhookContext } from './report.ts'
import { signAws } from './sigv4.ts'
import type { AwsCredentials } from './sigv4.ts'
import { receiveNotification } from './sns-notification.ts'

export interface SesSettings extends AwsCredentials {
  readonly configuration_set?: string
  readonly from: string
  readonly endpoint?: string
  readonly webhook_topic?: string
}

const PATH = '/v2/email/outbound-emails'
const THROTTLES = new Set(['ThrottlingException', 'LimitExceededException'])
const CHANNEL_ERRORS = new Set([
  'AccountSuspendedException',
  'SendingPausedException',
  'MailFromDomainNotVerifiedException',
  'ConfigurationSetDoesNotExist',
  'NotFoundException',
])

/** Mail through Amazon SES, written here as MIME. */
export const ses: Provider<'ses', EmailContent, SesSettings> = {
  name: 'ses',
  type: 'email',
  summary: 'Mail through Amazon SES.',
  schema: {
    required: ['region', 'access_key_id', 'secret_access_key', 'from'],
    properties: {
      ...awsSchema,
      configuration_set: {
        description: 'The configuration set, which says where events go.',
        type: 'string',
        pattern: '^[A-Za-z0-9_-]{1,64}$',
      },
      from: senderSchema,
      endpoint: endpointSchema,
      webhook_topic: {
        description: 'The ARN of the SNS topic that the configuration set sends its events to.',
        type: 'string',
        pattern: '^arn:aws[a-z-]*:sns:[a-z0-9-]{1,40}:[0-9]{12}:[A-Za-z0-9_-]{1,256}$',
      },
    },
  },
  example: {
    region: 'eu-central-1',
    access_key_id: 'an access key, or { secret: NAME }',
    secret_access_key: 'its secret, or { secret: NAME }',
    session_token: 'of temporary credentials, or { secret: NAME }',
    configuration_set: 'transactional',
    from: 'Example <hello@example.com>',
    endpoint: 'https://email.eu-central-1.amazonaws.com',
    webhook_topic: 'arn:aws:sns:eu-central-1:123456789012:mail-events',
  },
  delivery: 'handed_over',
  overrides: [
    'FromEmailAddress*',
    'Destination',
    'ReplyToAddresses',
    'FeedbackForwardingEmailAddress*',
    'Content',
    'EmailTags',
  ],
  service: {
    perSecond: null,
    permanent: ['MessageRejected', 'BadRequestException', '413'],
    idempotency: null,
    reports: 'SNS, its messages signed by RSA',
  },

  webhook: { settings: ['webhook_topic'], headers: ['x-amz-sns-message-type'], receive },

  async send(message, context) {
    const { settings, now } = context
    if (parseMailbox(settings.from) === undefined) {
      return brokenChannel("the channel's from is not one mailbox")
    }
    const from = message.content.from ?? settings.from
    const mail = await composeMail(message, from, now)
    if ('reason' in mail) return refused(mail.reason, mail.details)
    const url = endpointUrl(settings, `https://email.${settings.region}.amazonaws.com`, PATH)
    const own = {
      FromEmailAddress: mailboxText(parseMailbox(from) as Mailbox),
      // The blind copies too: the MIME does not name them.
      Destination: { ToAddresses: mail.recipients },
      ...(settings.configuration_set !== undefined && {
        ConfigurationSetName: settings.configuration_set,
      }),
      EmailTags: [{ Name: 'belfry_message_id', Value: message.id }],
    }
    const envelope = withOverrides(own, message.overrides)
    const body = JSON.stringify({
      ...envelope,
      Content: { Raw: { Data: mail.raw.toString('base64') } },
    })
    const headers = { 'content-type': 'application/json' }
    const request = { method: 'POST', url, headers, body, service: 'ses' } as const
    const { html, text, subject } = message.content
    return await callApi(
      {
        url,
        headers: signAws(request, settings, now),
        body,
        shown: { ...envelope, subject, html, text },
      },
      context,
      judge,
    )
  },
}

function judge(reply: ApiReply): Verdict | undefined {
  if (reply.status === 200) return accepted(pick(reply.body, 'MessageId'))
  const error = awsErrorOf(reply)
  const details = detailsOf(reply)
  // A rate comes with 429 or with 400; only the second has to be told from a bad request.
  if (reply.status === 400 && error !== undefined && THROTTLES.has(error)) {
    return { kind: 'throttled', details }
  }
  if (error !== undefined && CHANNEL_ERRORS.has(error)) return channelFailure(details)
  if (error === 'MessageRejected') return rejected(details)
  return undefined
}

/** Who gets mails is told by SNS, and what became of them stands in its message, as a text. */
function receive(call: WebhookCall, context: WebhookContext<SesSettings>): Promise<Received> {
  return receiveNotification(call, context, context.settings.webhook_topic ?? '', reportsOf)
}

/** One for each of those of whom it is true. */
function reportsOf(event: unknown): readonly Report[] {
  const type = pick(event, 'eventType') ?? pick(event, 'notificationType')
  const [fate, people] = fateOf(type, event)
  if (fate === undefined) return []
  const message = messageOf(pick(event, 'mail'))
  const reference = pick(event, 'mail', 'messageId')
  const url = pick(event, 'click', 'link')
  const named = Array.isArray(people) && people.length > 0 ? people : [undefined]
  return named.map((one: unknown) => ({
    message,
    address: typeof one === 'string' ? one : pick(one, 'emailAddress'),
    fate,
    details: pick(one, 'diagnosticCode') ?? pick(event, 'reject', 'reason'),
    reference,
    url,
    shown: event,
  }))
}

function fateOf(type: unknown, event: unknown): readonly [fate?: Fate, people?: unknown] {
  switch (type) {
    case 'Delivery':
      return ['delivered', pick(event, 'delivery', 'recipients')]
    case 'Bounce': {
      const isGone = pick(event, 'bounce', 'bounceType') === 'Permanent'
      return [isGone ? 'gone' : 'returned', pick(event, 'bounce', 'bouncedRecipients')]
    }
    case 'Complaint':
      return ['complained', pick(event, 'complaint', 'complainedRecipients')]
    case 'Reject':
    case 'Rendering Failure':
      return ['rejected']
    case 'Open':
      return ['opened']
    case 'Click':
      return ['clicked']
    default:
      return []
  }
}

/** By the tag that each mail has, or by its own Message-ID where the event comes without tags. */
function messageOf(mail: unknown): unknown {
  const tag = pick(mail, 'tags', 'belfry_message_id', 0)
  if (tag !== undefined) return tag
  const headers = pick(mail, 'headers')
  const found = Array.isArray(headers)
    ? headers.find((one) => String(pick(one, 'name')).toLowerCase() === 'message-id')
    : undefined
  return /^<([^@]+)@/.exec(String(pick(found, 'value')))?.[1]
}
