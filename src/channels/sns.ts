import type { SmsContent } from '../steps/step.ts'
import { accepted, callApi, channelFailure, detailsOf, endpointSchema } from './api.ts'
import { endpointUrl, pick, refused, rejected } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { awsErrorOf, awsSchema } from './aws.ts'
import { phoneNumber } from './phone.ts'
import { formText, withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { signAws } from './sigv4.ts'
import type { AwsCredentials } from './sigv4.ts'

export interface SnsSettings extends AwsCredentials {
  readonly sender_id?: string
  readonly sms_type?: 'Transactional' | 'Promotional'
  readonly endpoint?: string
}

const THROTTLES = new Set([
  'Throttling',
  'ThrottledException',
  'ThrottlingException',
  'KMSThrottling',
])

/** Text messages through Amazon SNS. */
export const sns: Provider<'sns', SmsContent, SnsSettings> = {
  name: 'sns',
  type: 'sms',
  summary: 'Text messages through Amazon SNS.',
  schema: {
    required: ['region', 'access_key_id', 'secret_access_key'],
    properties: {
      ...awsSchema,
      sender_id: {
        description: 'The name that phones show, where the country allows one.',
        type: 'string',
        pattern: '^[A-Za-z0-9-]{1,11}$',
      },
      sms_type: {
        description: 'What the message is for; `Transactional` unless told.',
        enum: ['Transactional', 'Promotional'],
      },
      endpoint: endpointSchema,
    },
  },
  example: {
    region: 'eu-central-1',
    access_key_id: 'an access key, or { secret: NAME }',
    secret_access_key: 'its secret, or { secret: NAME }',
    session_token: 'of temporary credentials, or { secret: NAME }',
    sender_id: 'Example',
    sms_type: 'Transactional',
    endpoint: 'https://sns.eu-central-1.amazonaws.com',
  },
  delivery: 'handed_over',
  overrides: [
    'Action',
    'Version',
    'PhoneNumber',
    'TopicArn',
    'TargetArn',
    'AWSAccessKeyId',
    'X-Amz-*',
    'Signature*',
  ],
  service: {
    perSecond: 20,
    permanent: ['InvalidParameter', 'InvalidParameterValue', 'OptedOut'],
    idempotency: null,
    reports: null,
  },

  async send(message, context) {
    const { settings, now } = context
    const to = phoneNumber(message.content.to)
    if (to === undefined) return refused('invalid_address', 'the phone number is not E.164')
    const own = {
      Action: 'Publish',
      Version: '2010-03-31',
      PhoneNumber: to,
      Message: message.content.body,
      ...attributes({
        'AWS.SNS.SMS.SMSType': settings.sms_type ?? 'Transactional',
        'AWS.SNS.SMS.SenderID': settings.sender_id,
      }),
    }
    const fields = withOverrides(own, message.overrides)
    const url = endpointUrl(settings, `https://sns.${settings.region}.amazonaws.com`, '/')
    const headers = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' }
    const body = formText(fields)
    const request = { method: 'POST', url, headers, body, service: 'sns' } as const
    return await callApi(
      { url, headers: signAws(request, settings, now), body, shown: fields },
      context,
      judge,
    )
  },
}

function attributes(values: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const given = Object.entries(values).filter(([, value]) => value !== undefined)
  return Object.fromEntries(
    given.flatMap(([name, value = ''], index) => {
      const at = `MessageAttributes.entry.${index + 1}`
      return [
        [`${at}.Name`, name],
        [`${at}.Value.DataType`, 'String'],
        [`${at}.Value.StringValue`, value],
      ]
    }),
  )
}

function judge(reply: ApiReply): Verdict | undefined {
  const { status, body } = reply
  if (status === 200) {
    const text = typeof body === 'string' ? body : ''
    const named = pick(body, 'PublishResponse', 'PublishResult', 'MessageId')
    return accepted(named ?? /<MessageId>([^<]+)<\/MessageId>/.exec(text)?.[1])
  }
  const error = awsErrorOf(reply) ?? pick(body, 'Error', 'Code')
  if (typeof error !== 'string') return undefined
  const details = detailsOf(reply)
  if (error.startsWith('AuthorizationError')) return channelFailure(details)
  // A rate comes with 429 or with 400; only the second has to be told from a bad request.
  if (status === 400 && THROTTLES.has(error)) return { kind: 'throttled', details }
  return error === 'OptedOut' ? rejected(details) : undefined
}
