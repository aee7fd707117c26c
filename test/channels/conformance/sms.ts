import { sns } from '../../../src/channels/sns.ts'
import { twilio } from '../../../src/channels/twilio.ts'
import { vonage } from '../../../src/channels/vonage.ts'
import type { SmsContent } from '../../../src/steps/step.ts'
import {
  aCase,
  awsScope,
  formBody,
  id,
  jsonBody,
  WEBHOOK_URL,
  type Case,
  type FakeAnswer,
} from './case.ts'

const content: SmsContent = { type: 'sms', to: '+1 (555) 010-0000', body: 'Hi & <welcome> 🔔' }

const unsafe: readonly SmsContent[] = [
  { ...content, to: '+15550100000,+15550199' },
  { ...content, to: '0555 0100' },
]

const twilioError = (code: number, status = 400): FakeAnswer => ({ status, body: { code } })
const awsError = (code: string, status = 400): FakeAnswer => ({
  status,
  headers: { 'content-type': 'text/xml' },
  body: `<ErrorResponse><Error><Code>${code}</Code></Error></ErrorResponse>`,
})

/** The services that take text messages. */
export const smsCases: readonly Case[] = [
  aCase({
    provider: twilio,
    content: () => content,
    unsafe,
    unusable: [{ from: undefined }],
    settings: (endpoint) => ({
      account_sid: 'AC01',
      auth_token: 'tw-verysecret',
      from: '+15550100',
      endpoint,
    }),
    secrets: ['tw-verysecret', Buffer.from('AC01:tw-verysecret').toString('base64')],
    request: {
      method: 'POST',
      path: '/2010-04-01/Accounts/AC01/Messages.json',
      headers: {
        authorization: `Basic ${Buffer.from('AC01:tw-verysecret').toString('base64')}`,
      },
      body: {
        To: '+15550100000',
        From: '+15550100',
        Body: content.body,
        StatusCallback: `${WEBHOOK_URL}?message=${id}`,
      },
    },
    body: formBody,
    overrides: {
      given: {
        ValidityPeriod: 600,
        MediaUrl: ['https://example.com/a', 'https://example.com/b'],
        From: 'Shop',
      },
      body: {
        To: '+15550100000',
        From: 'Shop',
        ValidityPeriod: '600',
        MediaUrl: 'https://example.com/b',
      },
    },
    accepted: { status: 201, body: { sid: 'SM1', status: 'queued' } },
    reference: 'SM1',
    permanent: {
      '21211': twilioError(21_211),
      '21408': twilioError(21_408, 403),
      '21610': twilioError(21_610),
      '21614': twilioError(21_614),
      '21617': twilioError(21_617),
      '400': { status: 400, body: {} },
    },
    channel: twilioError(20_003, 401),
    throttled: [twilioError(20_429, 400)],
  }),
  aCase({
    provider: vonage,
    content: () => content,
    unsafe,
    settings: (endpoint) => ({
      api_key: 'vonagekey',
      api_secret: 'vo-verysecret',
      webhook_secret: 'a signature secret',
      from: '+15550100',
      endpoint,
    }),
    secrets: ['vo-verysecret', Buffer.from('vonagekey:vo-verysecret').toString('base64')],
    request: {
      method: 'POST',
      path: '/v1/messages',
      headers: {
        authorization: `Basic ${Buffer.from('vonagekey:vo-verysecret').toString('base64')}`,
      },
      body: {
        message_type: 'text',
        channel: 'sms',
        to: '15550100000',
        from: '15550100',
        text: content.body,
        client_ref: id,
        webhook_url: WEBHOOK_URL,
      },
    },
    body: jsonBody,
    overrides: {
      given: { ttl: 600, sms: { encoding_type: 'text' } },
      body: { to: '15550100000', text: content.body, ttl: 600, sms: { encoding_type: 'text' } },
    },
    accepted: { status: 202, body: { message_uuid: 'vo-1' } },
    reference: 'vo-1',
    permanent: { '422': { status: 422, body: { title: 'Invalid params' } } },
    channel: { status: 402, body: { title: 'Low balance' } },
  }),
  aCase({
    provider: sns,
    content: () => content,
    unsafe,
    settings: (endpoint) => ({
      region: 'eu-central-1',
      access_key_id: 'AKIDEXAMPLE',
      secret_access_key: 'aws-verysecret',
      sender_id: 'Example',
      endpoint,
    }),
    secrets: ['AKIDEXAMPLE', 'aws-verysecret'],
    request: {
      method: 'POST',
      path: '/',
      headers: {
        'x-amz-date': '20300102T030405Z',
        authorization: awsScope('eu-central-1', 'sns'),
      },
      body: {
        Action: 'Publish',
        PhoneNumber: '+15550100000',
        Message: content.body,
        'MessageAttributes.entry.1.Name': 'AWS.SNS.SMS.SMSType',
        'MessageAttributes.entry.1.Value.StringValue': 'Transactional',
        'MessageAttributes.entry.2.Value.StringValue': 'Example',
      },
    },
    body: formBody,
    overrides: {
      given: { MessageStructure: 'json', 'MessageAttributes.entry.2.Value.StringValue': 'Other' },
      body: {
        PhoneNumber: '+15550100000',
        MessageStructure: 'json',
        'MessageAttributes.entry.2.Value.StringValue': 'Other',
      },
    },
    accepted: {
      status: 200,
      headers: { 'content-type': 'text/xml' },
      body: '<PublishResponse><PublishResult><MessageId>sns-1</MessageId></PublishResult></PublishResponse>',
    },
    reference: 'sns-1',
    permanent: {
      InvalidParameter: awsError('InvalidParameter'),
      InvalidParameterValue: awsError('InvalidParameterValue'),
      OptedOut: awsError('OptedOut', 403),
    },
    channel: awsError('AuthorizationError', 403),
    throttled: [awsError('Throttling'), awsError('KMSThrottling')],
  }),
]
