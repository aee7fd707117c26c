import { expect } from 'vitest'
import { mailgun } from '../../../src/channels/mailgun.ts'
import { postmark } from '../../../src/channels/postmark.ts'
import { resend } from '../../../src/channels/resend.ts'
import { sendgrid } from '../../../src/channels/sendgrid.ts'
import { ses } from '../../../src/channels/ses.ts'
import type { EmailContent } from '../../../src/steps/step.ts'
import { aCase, awsScope, id, jsonBody, mailBody, now, type Case } from './case.ts'

const content: EmailContent = {
  type: 'email',
  to: 'ann@example.com',
  from: null,
  reply_to: 'Lee, A <lee@example.com>',
  cc: ['cy@example.com'],
  bcc: ['bo@bücher.example'],
  subject: 'Hello\r\nBcc: eve@example.org',
  html: '<p>Hello</p>',
  text: 'Hello',
  headers: { 'List-Unsubscribe': '<https://example.com/u>' },
  attachments: [
    { name: 'a.csv', content_type: 'text/csv', content: 'YSxi' },
    {
      name: 'logo.png',
      content_type: 'image/png',
      content: 'bG9nbw==',
      content_id: 'logo',
      disposition: 'inline',
    },
  ],
}
const from = 'Example, Inc <hello@example.com>'
const subject = 'Hello Bcc: eve@example.org'
const messageId = `<${id}@example.com>`

/** Each would add a recipient or a header. */
const unsafe: readonly EmailContent[] = [
  { ...content, to: 'ann@example.com, eve@example.org' },
  { ...content, cc: ['cy@example.com\r\nBcc: eve@example.org'] },
  { ...content, bcc: ['Bo <bo@example.com>'] },
  { ...content, reply_to: 'lee@example.com, eve@example.org' },
  { ...content, from: 'a@example.com\nBcc: eve@example.org' },
  { ...content, headers: { 'X-A': 'a\r\nBcc: eve@example.org' } },
  { ...content, headers: { Bcc: 'eve@example.org' } },
]

/** The services that take mail over HTTP. */
export const mailCases: readonly Case[] = [
  aCase({
    provider: resend,
    content: () => content,
    unsafe,
    unusable: [{ from: 'a@example.com, b@example.com' }],
    settings: (endpoint) => ({ api_key: 're_verysecret', from, endpoint }),
    secrets: ['re_verysecret'],
    request: {
      method: 'POST',
      path: '/emails',
      headers: { authorization: 'Bearer re_verysecret', 'idempotency-key': id },
      body: {
        from: '"Example, Inc" <hello@example.com>',
        to: ['ann@example.com'],
        cc: ['cy@example.com'],
        bcc: ['bo@xn--bcher-kva.example'],
        reply_to: ['"Lee, A" <lee@example.com>'],
        subject,
        html: '<p>Hello</p>',
        text: 'Hello',
        headers: {
          'Auto-Submitted': 'auto-generated',
          'List-Unsubscribe': '<https://example.com/u>',
          'Message-ID': messageId,
        },
        tags: [{ name: 'belfry_message_id', value: id }],
        attachments: [
          { filename: 'a.csv', content: 'YSxi', content_type: 'text/csv' },
          {
            filename: 'logo.png',
            content: 'bG9nbw==',
            content_type: 'image/png',
            content_id: 'logo',
          },
        ],
      },
    },
    body: jsonBody,
    overrides: {
      given: {
        tags: [
          { name: 'kind', value: 'news' },
          { name: 'belfry_message_id', value: 'of another one' },
        ],
      },
      body: {
        to: ['ann@example.com'],
        tags: [
          { name: 'kind', value: 'news' },
          { name: 'belfry_message_id', value: id },
        ],
      },
    },
    accepted: { status: 200, body: { id: 're-1' } },
    reference: 're-1',
    permanent: {
      '400': { status: 400, body: { name: 'validation_error' } },
      '409 invalid_idempotent_request': {
        status: 409,
        body: { name: 'invalid_idempotent_request' },
      },
      '422': { status: 422, body: { name: 'invalid_parameter' } },
    },
    channel: { status: 401, body: { name: 'missing_api_key' } },
    key: ({ headers }) => headers['idempotency-key'],
  }),
  aCase({
    provider: postmark,
    content: () => content,
    unsafe,
    unusable: [{ from: 'a@example.com, b@example.com' }],
    settings: (endpoint) => ({
      server_token: 'pm-verysecret',
      message_stream: 'outbound',
      from,
      endpoint,
    }),
    secrets: ['pm-verysecret'],
    request: {
      method: 'POST',
      path: '/email',
      headers: { 'x-postmark-server-token': 'pm-verysecret' },
      body: {
        From: '"Example, Inc" <hello@example.com>',
        To: 'ann@example.com',
        Cc: 'cy@example.com',
        Bcc: 'bo@xn--bcher-kva.example',
        ReplyTo: '"Lee, A" <lee@example.com>',
        Subject: subject,
        HtmlBody: '<p>Hello</p>',
        TextBody: 'Hello',
        MessageStream: 'outbound',
        Metadata: { belfry_message_id: id },
        Headers: [
          { Name: 'Auto-Submitted', Value: 'auto-generated' },
          { Name: 'List-Unsubscribe', Value: '<https://example.com/u>' },
          { Name: 'Message-ID', Value: messageId },
          { Name: 'X-PM-KeepID', Value: 'true' },
        ],
        Attachments: [
          { Name: 'a.csv', Content: 'YSxi', ContentType: 'text/csv' },
          {
            Name: 'logo.png',
            Content: 'bG9nbw==',
            ContentType: 'image/png',
            ContentID: 'cid:logo',
          },
        ],
      },
    },
    body: jsonBody,
    overrides: {
      given: { Tag: 'news', MessageStream: 'broadcast' },
      body: { To: 'ann@example.com', Tag: 'news', MessageStream: 'broadcast' },
    },
    accepted: { status: 200, body: { ErrorCode: 0, MessageID: 'pm-1' } },
    reference: 'pm-1',
    permanent: {
      '422 code 300 (invalid)': { status: 422, body: { ErrorCode: 300, Message: 'Invalid' } },
      '422 code 406 (inactive recipient)': { status: 422, body: { ErrorCode: 406 } },
      '413': { status: 413, body: {} },
    },
    channel: { status: 401, body: { ErrorCode: 10 } },
  }),
  aCase({
    provider: sendgrid,
    content: () => content,
    unsafe,
    unusable: [{ from: 'a@example.com, b@example.com' }],
    settings: (endpoint) => ({ api_key: 'SG.verysecret', from, endpoint }),
    secrets: ['SG.verysecret'],
    request: {
      method: 'POST',
      path: '/v3/mail/send',
      headers: { authorization: 'Bearer SG.verysecret' },
      body: {
        personalizations: [
          {
            to: [{ email: 'ann@example.com' }],
            cc: [{ email: 'cy@example.com' }],
            bcc: [{ email: 'bo@xn--bcher-kva.example' }],
          },
        ],
        from: { email: 'hello@example.com', name: 'Example, Inc' },
        reply_to: { email: 'lee@example.com', name: 'Lee, A' },
        subject,
        content: [
          { type: 'text/plain', value: 'Hello' },
          { type: 'text/html', value: '<p>Hello</p>' },
        ],
        headers: {
          'Auto-Submitted': 'auto-generated',
          'List-Unsubscribe': '<https://example.com/u>',
          'Message-ID': messageId,
        },
        custom_args: { belfry_message_id: id },
        attachments: [
          { filename: 'a.csv', content: 'YSxi', type: 'text/csv', disposition: 'attachment' },
          {
            filename: 'logo.png',
            content: 'bG9nbw==',
            type: 'image/png',
            disposition: 'inline',
            content_id: 'logo',
          },
        ],
      },
    },
    body: jsonBody,
    overrides: {
      given: {
        categories: ['news'],
        custom_args: { kind: 'a' },
        tracking_settings: { click_tracking: { enable: false } },
      },
      body: {
        personalizations: [{ to: [{ email: 'ann@example.com' }] }],
        categories: ['news'],
        custom_args: { belfry_message_id: id, kind: 'a' },
        tracking_settings: { click_tracking: { enable: false } },
      },
    },
    accepted: { status: 202, headers: { 'x-message-id': 'sg-1' } },
    reference: 'sg-1',
    permanent: {
      '400': { status: 400, body: { errors: [{ message: 'Bad Request' }] } },
      '413': { status: 413, body: { errors: [] } },
    },
    channel: { status: 403, body: { errors: [{ message: 'access forbidden' }] } },
  }),
  aCase({
    provider: mailgun,
    content: () => content,
    unsafe,
    unusable: [{ from: 'a@example.com, b@example.com' }],
    settings: (endpoint) => ({
      api_key: 'mg-verysecret',
      domain: 'mg.example.com',
      from,
      endpoint,
    }),
    secrets: ['mg-verysecret', Buffer.from('api:mg-verysecret').toString('base64')],
    request: {
      method: 'POST',
      path: '/v3/mg.example.com/messages',
      headers: {
        authorization: `Basic ${Buffer.from('api:mg-verysecret').toString('base64')}`,
      },
      body: [
        'from="Example, Inc" <hello@example.com>',
        'to=ann@example.com',
        'cc=cy@example.com',
        'bcc=bo@xn--bcher-kva.example',
        `subject=${subject}`,
        'text=Hello',
        'html=<p>Hello</p>',
        'h:Reply-To="Lee, A" <lee@example.com>',
        `h:Message-Id=${messageId}`,
        'h:Auto-Submitted=auto-generated',
        'h:List-Unsubscribe=<https://example.com/u>',
        `v:belfry_message_id=${id}`,
        'attachment=a.csv:a,b',
        'inline=logo:logo',
      ],
    },
    body: ({ headers, body }) => parts(headers['content-type'] ?? '', body),
    overrides: {
      given: { 'o:tag': ['news', 'a'], 'o:tracking': false },
      body: expect.arrayContaining([
        'to=ann@example.com',
        'o:tag=news',
        'o:tag=a',
        'o:tracking=false',
      ]) as object,
    },
    accepted: { status: 200, body: { id: '<mg-1>', message: 'Queued. Thank you.' } },
    reference: '<mg-1>',
    permanent: { '400': { status: 400, body: { message: "'to' parameter is not valid" } } },
    channel: { status: 404, body: { message: 'Domain not found' } },
  }),
  aCase({
    provider: ses,
    content: () => content,
    unsafe,
    unusable: [{ from: 'a@example.com, b@example.com' }],
    settings: (endpoint) => ({
      region: 'eu-central-1',
      access_key_id: 'AKIDEXAMPLE',
      secret_access_key: 'aws-verysecret',
      session_token: 'session-verysecret',
      configuration_set: 'transactional',
      from,
      endpoint,
    }),
    secrets: ['AKIDEXAMPLE', 'aws-verysecret', 'session-verysecret'],
    request: {
      method: 'POST',
      path: '/v2/email/outbound-emails',
      headers: {
        'x-amz-date': '20300102T030405Z',
        'x-amz-security-token': 'session-verysecret',
        authorization: awsScope('eu-central-1', 'ses'),
      },
      body: {
        FromEmailAddress: '"Example, Inc" <hello@example.com>',
        Destination: {
          ToAddresses: ['ann@example.com', 'cy@example.com', 'bo@xn--bcher-kva.example'],
        },
        ConfigurationSetName: 'transactional',
        EmailTags: [{ Name: 'belfry_message_id', Value: id }],
        mail: {
          from: { value: [{ address: 'hello@example.com', name: 'Example, Inc' }] },
          to: { value: [{ address: 'ann@example.com', name: '' }] },
          cc: { value: [{ address: 'cy@example.com', name: '' }] },
          bcc: undefined,
          replyTo: { value: [{ address: 'lee@example.com', name: 'Lee, A' }] },
          subject,
          date: now,
          messageId,
          headers: expect.toSatisfy(
            (headers: ReadonlyMap<string, unknown>) =>
              headers.get('auto-submitted') === 'auto-generated',
          ) as object,
          html: '<p>Hello</p>',
          text: 'Hello',
          attachments: [
            {
              filename: 'logo.png',
              contentType: 'image/png',
              content: 'logo',
              cid: 'logo',
              contentDisposition: 'inline',
              related: true,
            },
            { filename: 'a.csv', contentType: 'text/csv', content: 'a,b' },
          ],
        },
      },
    },
    body: mailBody,
    overrides: {
      given: { ConfigurationSetName: 'other', ListManagementOptions: { ContactListName: 'a' } },
      body: { ConfigurationSetName: 'other', ListManagementOptions: { ContactListName: 'a' } },
    },
    accepted: { status: 200, body: { MessageId: 'ses-1' } },
    reference: 'ses-1',
    permanent: {
      MessageRejected: {
        status: 400,
        headers: { 'x-amzn-errortype': 'MessageRejected' },
        body: { message: 'Email address is not verified' },
      },
      BadRequestException: {
        status: 400,
        headers: { 'x-amzn-errortype': 'BadRequestException:http://internal' },
        body: {},
      },
      '413': { status: 413, body: {} },
    },
    channel: {
      status: 400,
      headers: { 'x-amzn-errortype': 'AccountSuspendedException' },
      body: {},
    },
    throttled: [
      { status: 400, headers: { 'x-amzn-errortype': 'ThrottlingException' }, body: {} },
      { status: 400, headers: { 'x-amzn-errortype': 'LimitExceededException' }, body: {} },
    ],
  }),
]

/** The parts of a form with files, each on a line. */
function parts(type: string, body: string): readonly string[] {
  const boundary = /boundary=(.+)$/.exec(type)?.[1] ?? ''
  return body
    .split(`--${boundary}`)
    .slice(1, -1)
    .map((part) => {
      const [head = '', ...rest] = part.slice(2, -2).split('\r\n\r\n')
      const { name, file } =
        /name="(?<name>[^"]*)"(?:; filename="(?<file>[^"]*)")?/.exec(head)?.groups ?? {}
      return `${name}=${file === undefined ? '' : `${file}:`}${rest.join('\r\n\r\n')}`
    })
}
