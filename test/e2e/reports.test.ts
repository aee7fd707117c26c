import { createHmac } from 'node:crypto'
import { expect } from 'vitest'
import { test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import { openApp, type SentMessage } from './app-support.ts'

// What a provider reports, to the URL that it was told, from a trigger to a number that gets nothing more.

const PUBLIC_URL = 'https://belfry.example.com/notify'
const TOKEN = 'the token of the account'

const files = (endpoint: string) => ({
  'environments/production.yaml': `
ref: main
channels:
  sms: { type: sms, provider: twilio, settings: { account_sid: AC01, auth_token: { secret: TWILIO }, from: "+15550100", endpoint: "${endpoint}" } }
`,
  'workflows/code/workflow.yaml':
    'name: Code\nsteps: [{ ref: sms, type: sms, body: "Your code is {{data.code}}" }]\n',
})

test('a provider reports where it was told to, and a number that is gone gets nothing more', async ({
  database,
}) => {
  await using service = await startHttp((_request, response) => {
    response.writeHead(201, { 'content-type': 'application/json' }).end('{"sid":"SM1"}')
  })
  await using app = await openApp(database, {
    files: files(service.url),
    env: { BELFRY_PUBLIC_URL: PUBLIC_URL, BELFRY_SECRET_PRODUCTION__TWILIO: TOKEN },
  })
  const recipients = [{ id: 'ada', phone_number: '+1 555 010 0001' }]
  const send = async (code: string): Promise<SentMessage> => {
    const [message] = await app.send('code', { recipients, data: { code } })
    return message!
  }
  /** As Twilio calls, with the URL of the last message. */
  const report = async (fields: Readonly<Record<string, string>>, token = TOKEN) => {
    const { body = '' } = service.requests.at(-1) ?? {}
    const url = new URLSearchParams(body).get('StatusCallback') ?? ''
    const sorted = Object.entries(fields).toSorted(([a], [b]) => (a < b ? -1 : 1))
    const signed = url + sorted.flat().join('')
    return await app.call('POST', url.slice(PUBLIC_URL.length), {
      key: null,
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'x-twilio-signature': createHmac('sha1', token).update(signed).digest('base64'),
      },
      body: new URLSearchParams(fields).toString(),
    })
  }
  const statusOf = async ({ id }: SentMessage) =>
    (await app.call<SentMessage>('GET', `/v1/messages/${id}`)).body

  const first = await send('1')
  expect(first.status).toBe('sent')
  expect((await report({ MessageStatus: 'delivered' }, 'another token')).status).toBe(401)
  expect(await statusOf(first)).toMatchObject({ status: 'sent' })
  expect((await report({ MessageStatus: 'delivered' })).body).toEqual({ reports: 1, changed: 1 })
  expect(await statusOf(first)).toMatchObject({ status: 'delivered', reason: null })

  const second = await send('2')
  await report({ ErrorCode: '30005', MessageStatus: 'undelivered' })
  expect(await statusOf(second)).toMatchObject({ status: 'bounced', reason: 'address_gone' })
  expect(await send('3')).toMatchObject({ status: 'not_sent', reason: 'suppressed' })
  const path = '/v1/channels/sms/suppressions'
  expect((await app.call('GET', path)).body).toMatchObject({
    entries: [{ address: '+15550100001', reason: 'bounced', message_id: second.id }],
  })
  expect((await app.call('DELETE', `${path}/%2B15550100001`)).status).toBe(204)
  expect((await send('4')).status).toBe('sent')
  expect(app.lines.join('')).toContain('bad_signature')
  expect(app.lines.join('')).not.toContain(TOKEN)
})
