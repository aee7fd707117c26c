import { createHash, createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import type { ProviderName } from '../../../src/channels/index.ts'
import type { Fate } from '../../../src/channels/report.ts'
import type { MessageContent } from '../../../src/steps/step.ts'
import { aCertificate } from '../../support/certificate.ts'
import { anEmailContent } from '../../messages/builders.ts'

export const NOW = new Date('2030-01-02T03:04:05Z')

/** How a call is signed. */
export interface Signing {
  readonly at: Date
  /** 0 is the older one of the two that are known, 1 the newer one, 2 is known to nobody, and 3 is empty. */
  readonly secret: 0 | 1 | 2 | 3
  /** Where the service was told to call. */
  readonly url: string
}

type Event = Readonly<Record<string, unknown>>

/** What one service reports, as the suite needs to know it. */
export interface ReportCase {
  readonly provider: ProviderName
  readonly content: MessageContent
  /** Two of each secret where it has secrets; what is no secret as it is. */
  readonly settings: Readonly<Record<string, unknown>>
  readonly secrets: Readonly<Record<string, string>>
  /** The body that tells of an event, with its proof where that stands in it. */
  bodyOf(event: Event, signing: Signing): string
  headersOf(body: string, signing: Signing): Readonly<Record<string, string>>
  /** What the service sends of a message. */
  readonly events: Readonly<Partial<Record<Fate, (id: string, address: string) => Event>>>
  /** What changes nothing. */
  readonly ignored: readonly ((id: string, address: string) => Event)[]
  /** What the signature does not cover. */
  readonly uncovered?: 'time' | 'body' | 'time and body'
  /** What is changed in a signed body, so that it still can be read. */
  readonly tamper: (body: string) => string
  /** What comes after the path. */
  readonly query?: (id: string) => string
}

const mail = anEmailContent({ to: 'Ann@Bücher.example', cc: ['cy@example.com'] })
const text = { type: 'sms', to: '+1 555 010 0000', body: 'Hi' } as const
const names = { webhook_secret: [{ secret: 'OLD' }, { secret: 'NEW' }] }
const JSON_TYPE = { 'content-type': 'application/json' }
const seconds = ({ at }: Signing) => String(Math.floor(at.getTime() / 1000))
const swapped = (body: string) => body.replace('bounce', 'pounce').replace('Bounce', 'Pounce')

const sendgridKeys = [0, 1, 2, 3].map(() => generateKeyPairSync('ec', { namedCurve: 'P-256' }))
const sendgridPublic = (index: number) =>
  sendgridKeys[index]!.publicKey.export({ format: 'der', type: 'spki' }).toString('base64')

const sendgridEvent =
  (event: string, more: Event = {}) =>
  (id: string, email: string) => ({ event, email, belfry_message_id: id, sg_event_id: id, ...more })

const sendgrid: ReportCase = {
  provider: 'sendgrid',
  content: mail,
  settings: { webhook_key: [{ secret: 'OLD' }, { secret: 'NEW' }] },
  secrets: { OLD: sendgridPublic(0), NEW: sendgridPublic(1) },
  bodyOf: (event) => JSON.stringify([event]),
  headersOf(body, signing) {
    const { privateKey } = sendgridKeys[signing.secret]!
    const signature = sign('sha256', Buffer.from(seconds(signing) + body), privateKey)
    return {
      ...JSON_TYPE,
      'x-twilio-email-event-webhook-signature': signature.toString('base64'),
      'x-twilio-email-event-webhook-timestamp': seconds(signing),
    }
  },
  tamper: swapped,
  events: {
    delivered: sendgridEvent('delivered', { response: '250 OK' }),
    gone: sendgridEvent('bounce', { type: 'bounce', reason: '550 5.1.1 unknown' }),
    returned: sendgridEvent('bounce', { type: 'blocked', reason: '550 5.7.1 listed' }),
    rejected: sendgridEvent('dropped', { reason: 'Bounced Address' }),
    complained: sendgridEvent('spamreport'),
    opened: sendgridEvent('open'),
    clicked: sendgridEvent('click', { url: 'https://example.com/a' }),
  },
  ignored: [
    sendgridEvent('processed'),
    sendgridEvent('deferred'),
    sendgridEvent('open', { sg_machine_open: true }),
    sendgridEvent('unsubscribe'),
  ],
}

const passwords = [
  'an old password of this hook',
  'a new password of this hook',
  'another one yet',
  '',
]

const postmarkEvent =
  (RecordType: string, more: Event = {}) =>
  (id: string, address: string) => ({
    RecordType,
    MessageID: 'pm-1',
    Metadata: { belfry_message_id: id },
    [RecordType === 'Bounce' || RecordType === 'SpamComplaint' ? 'Email' : 'Recipient']: address,
    ...more,
  })

const postmark: ReportCase = {
  provider: 'postmark',
  content: mail,
  settings: names,
  secrets: { OLD: passwords[0]!, NEW: passwords[1]! },
  uncovered: 'time and body',
  bodyOf: (event) => JSON.stringify(event),
  headersOf: (_body, { secret }) => ({
    ...JSON_TYPE,
    authorization: `Basic ${Buffer.from(`postmark:${passwords[secret]}`).toString('base64')}`,
  }),
  tamper: swapped,
  events: {
    delivered: postmarkEvent('Delivery', { Details: '250 OK' }),
    gone: postmarkEvent('Bounce', { Type: 'HardBounce', Details: '550 5.1.1 unknown' }),
    returned: postmarkEvent('Bounce', { Type: 'SoftBounce' }),
    rejected: postmarkEvent('Bounce', { Type: 'ManuallyDeactivated' }),
    complained: postmarkEvent('SpamComplaint', { Type: 'SpamComplaint' }),
    opened: postmarkEvent('Open', { FirstOpen: true }),
    clicked: postmarkEvent('Click', { OriginalLink: 'https://example.com/a' }),
  },
  ignored: [
    postmarkEvent('Bounce', { Type: 'AutoResponder' }),
    postmarkEvent('Bounce', { Type: 'Transient' }),
    postmarkEvent('SubscriptionChange'),
  ],
}

const standardSecrets = [24, 25, 26, 0].map(
  (bytes) => `whsec_${Buffer.alloc(bytes, 7).toString('base64')}`,
)

const resendEvent =
  (type: string, more: Event = {}) =>
  (id: string, address: string) => ({
    type: `email.${type}`,
    data: { email_id: 're-1', to: [address], tags: { belfry_message_id: id }, ...more },
  })

const resend: ReportCase = {
  provider: 'resend',
  content: mail,
  settings: names,
  secrets: { OLD: standardSecrets[0]!, NEW: standardSecrets[1]! },
  bodyOf: (event) => JSON.stringify(event),
  headersOf(body, signing) {
    const key = Buffer.from(standardSecrets[signing.secret]!.slice('whsec_'.length), 'base64')
    const digest = createHmac('sha256', key).update(`msg_1.${seconds(signing)}.${body}`)
    return {
      ...JSON_TYPE,
      'svix-id': 'msg_1',
      'svix-timestamp': seconds(signing),
      'svix-signature': `v1,${digest.digest('base64')}`,
    }
  },
  tamper: swapped,
  events: {
    delivered: resendEvent('delivered'),
    gone: resendEvent('bounced', { bounce: { type: 'Permanent', message: '550 5.1.1 unknown' } }),
    returned: (id, address) =>
      resendEvent('bounced', {
        bounce: { type: 'Transient', message: 'mailbox full' },
        tags: [{ name: 'belfry_message_id', value: id }],
      })(id, address),
    rejected: resendEvent('failed', { failed: { reason: 'quota' } }),
    complained: resendEvent('complained'),
    opened: resendEvent('opened'),
    clicked: resendEvent('clicked', { click: { link: 'https://example.com/a' } }),
  },
  ignored: [resendEvent('sent'), resendEvent('delivery_delayed')],
}

const mailgunKeys = ['an old signing key', 'a new signing key', 'an unknown signing key', '']

const mailgunEvent =
  (event: string, more: Event = {}) =>
  (id: string, recipient: string) => ({
    event,
    recipient,
    'user-variables': { belfry_message_id: id },
    'delivery-status': { message: '550 5.1.1 unknown' },
    ...more,
  })

const mailgun: ReportCase = {
  provider: 'mailgun',
  content: mail,
  settings: names,
  secrets: { OLD: mailgunKeys[0]!, NEW: mailgunKeys[1]! },
  uncovered: 'body',
  bodyOf(event, signing) {
    const token = randomBytes(25).toString('hex')
    const timestamp = seconds(signing)
    const signature = createHmac('sha256', mailgunKeys[signing.secret]!)
      .update(timestamp + token)
      .digest('hex')
    return JSON.stringify({ signature: { timestamp, token, signature }, 'event-data': event })
  },
  headersOf: () => JSON_TYPE,
  tamper: (body) => body.replace(/"token":"./, '"token":"-'),
  events: {
    delivered: mailgunEvent('delivered'),
    gone: mailgunEvent('failed', { severity: 'permanent', reason: 'bounce' }),
    returned: mailgunEvent('failed', { severity: 'permanent', reason: 'old' }),
    rejected: mailgunEvent('failed', { severity: 'permanent', reason: 'suppress-bounce' }),
    complained: mailgunEvent('complained'),
    opened: mailgunEvent('opened'),
    clicked: mailgunEvent('clicked', { url: 'https://example.com/a' }),
  },
  ignored: [
    mailgunEvent('accepted'),
    mailgunEvent('failed', { severity: 'temporary', reason: 'generic' }),
    mailgunEvent('opened', { 'client-info': { bot: 'apple' } }),
    mailgunEvent('unsubscribed'),
  ],
}

/** The certificate of SNS, and what somebody else has for one. */
const day = 24 * 60 * 60 * 1000
export const snsCertificate = aCertificate(
  new Date(NOW.getTime() - 400 * day),
  new Date(NOW.getTime() + 400 * day),
)
const otherCertificate = aCertificate(NOW, new Date(NOW.getTime() + 400 * day))
export const TOPIC = 'arn:aws:sns:eu-central-1:123456789012:mail-events'
export const CERTIFICATE_URL =
  'https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-abc123.pem'

/** What SNS sends, signed as it does; `more` replaces what is signed as well. */
export function snsBody(
  type: string,
  more: Event,
  { at, secret }: Pick<Signing, 'at' | 'secret'>,
): string {
  const fields: Event = {
    Type: type,
    MessageId: 'sns-1',
    TopicArn: TOPIC,
    Timestamp: at.toISOString(),
    SignatureVersion: '2',
    SigningCertURL: CERTIFICATE_URL,
    ...more,
  }
  const signed = SNS_SIGNED.filter((name) => fields[name] !== undefined)
    .map((name) => `${name}\n${String(fields[name])}\n`)
    .join('')
  const { key } = secret === 2 ? otherCertificate : snsCertificate
  const algorithm = fields['SignatureVersion'] === '1' ? 'sha1' : 'sha256'
  const signature = sign(algorithm, Buffer.from(signed), key).toString('base64')
  return JSON.stringify({ ...fields, Signature: signature })
}

export const SNS_HEADERS = {
  'content-type': 'text/plain; charset=UTF-8',
  'x-amz-sns-message-type': 'Notification',
}
const SNS_SIGNED = 'Message MessageId Subject SubscribeURL Timestamp Token TopicArn Type'.split(' ')

const sesEvent =
  (eventType: string, more: (address: string) => Event = () => ({})) =>
  (id: string, address: string) => ({
    eventType,
    mail: { messageId: 'ses-1', tags: { belfry_message_id: [id] } },
    ...more(address),
  })

const ses: ReportCase = {
  provider: 'ses',
  content: mail,
  settings: { region: 'eu-central-1', webhook_topic: TOPIC },
  secrets: {},
  bodyOf: (event, signing) => snsBody('Notification', { Message: JSON.stringify(event) }, signing),
  headersOf: () => SNS_HEADERS,
  tamper: swapped,
  events: {
    delivered: sesEvent('Delivery', (address) => ({ delivery: { recipients: [address] } })),
    gone: sesEvent('Bounce', (emailAddress) => ({
      bounce: {
        bounceType: 'Permanent',
        bouncedRecipients: [
          { emailAddress: 'cy@example.com' },
          { emailAddress, diagnosticCode: '550 5.1.1 unknown' },
        ],
      },
    })),
    // As it comes without a configuration set, and so without tags.
    returned: (id, emailAddress) => ({
      notificationType: 'Bounce',
      mail: { headers: [{ name: 'Message-ID', value: `<${id}@example.com>` }] },
      bounce: { bounceType: 'Transient', bouncedRecipients: [{ emailAddress }] },
    }),
    rejected: sesEvent('Reject', () => ({ reject: { reason: 'Bad content' } })),
    complained: sesEvent('Complaint', (emailAddress) => ({
      complaint: { complainedRecipients: [{ emailAddress }] },
    })),
    opened: sesEvent('Open'),
    clicked: sesEvent('Click', () => ({ click: { link: 'https://example.com/a' } })),
  },
  ignored: [sesEvent('Send'), sesEvent('DeliveryDelay')],
}

const tokens = ['an old token of twilio', 'a new token of twilio', 'another token', '']

const twilioEvent =
  (MessageStatus: string, more: Event = {}) =>
  () => ({
    MessageSid: 'SM1',
    To: '+15550100000',
    MessageStatus,
    ...more,
  })

const twilio: ReportCase = {
  provider: 'twilio',
  content: text,
  settings: names,
  secrets: { OLD: tokens[0]!, NEW: tokens[1]! },
  uncovered: 'time',
  query: (id) => `?message=${encodeURIComponent(id).replaceAll("'", '%27')}`,
  bodyOf: (event) => new URLSearchParams(event as Readonly<Record<string, string>>).toString(),
  headersOf(body, { url, secret }) {
    const signed =
      url +
      [...new URLSearchParams(body)]
        .toSorted(([one], [other]) => (one < other ? -1 : 1))
        .flat()
        .join('')
    const signature = createHmac('sha1', tokens[secret]!).update(signed).digest('base64')
    return {
      'content-type': 'application/x-www-form-urlencoded',
      'x-twilio-signature': signature,
    }
  },
  tamper: (body) => body.replace('SM1', 'SM2'),
  events: {
    delivered: twilioEvent('delivered'),
    gone: twilioEvent('undelivered', { ErrorCode: '30005' }),
    rejected: twilioEvent('failed', { ErrorCode: '30007' }),
  },
  ignored: [twilioEvent('queued'), twilioEvent('sent')],
}

const signatures = ['an old signature secret', 'a new signature secret', 'an unknown one', '']
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A token as Vonage signs it; also one that says that it is signed in another way. */
export function vonageToken(body: string, signing: Signing, alg = 'HS256'): string {
  const payload_hash = createHash('sha256').update(body).digest('hex')
  const claims = part({ iss: 'Vonage', iat: Number(seconds(signing)), payload_hash })
  const signed = `${part({ typ: 'JWT', alg })}.${claims}`
  const digest = createHmac('sha256', signatures[signing.secret]!).update(signed)
  return `${signed}.${digest.digest('base64url')}`
}

const vonageEvent =
  (status: string, more: Event = {}) =>
  (id: string) => ({ message_uuid: 'vo-1', client_ref: id, to: '15550100000', status, ...more })

const vonage: ReportCase = {
  provider: 'vonage',
  content: text,
  settings: names,
  secrets: { OLD: signatures[0]!, NEW: signatures[1]! },
  bodyOf: (event) => JSON.stringify(event),
  headersOf: (body, signing) => ({
    ...JSON_TYPE,
    authorization: `Bearer ${vonageToken(body, signing)}`,
  }),
  tamper: (body) => body.replace('vo-1', 'vo-2'),
  events: {
    delivered: vonageEvent('delivered'),
    rejected: vonageEvent('undeliverable', { error: { title: 'Absent subscriber' } }),
  },
  ignored: [vonageEvent('submitted')],
}

/** Each service that calls us. */
export const reportCases: readonly ReportCase[] = [
  mailgun,
  postmark,
  resend,
  sendgrid,
  ses,
  twilio,
  vonage,
]
