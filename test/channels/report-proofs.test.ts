import { afterEach, beforeEach, describe, expect } from 'vitest'
import { saveEnvironment } from '../messages/builders.ts'
import { channelOf, path, test, type Scene } from './conformance/report-scene.ts'
import {
  CERTIFICATE_URL,
  NOW,
  reportCases,
  snsBody,
  SNS_HEADERS,
  TOPIC,
  vonageToken,
} from './conformance/reports.ts'

afterEach<{ scene: Scene }>(({ scene }) => {
  expect(scene.server.failures).toEqual([])
})

const send = ({ server }: Scene, body: string) =>
  server.call('POST', path, { headers: SNS_HEADERS, body })

describe('sns', () => {
  const ses = reportCases.find(({ provider }) => provider === 'ses')!
  const signing = { at: NOW, secret: 1 } as const
  beforeEach<{ scene: Scene }>(async ({ scene }) => {
    await saveEnvironment(scene.database, { main: channelOf(ses) })
    scene.asked.length = 0
  })

  test('is confirmed where it asks for that', async ({ scene }) => {
    const SubscribeURL = `https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=${TOPIC}&Token=t1`
    const more = { Token: 't1', SubscribeURL, Message: 'You have chosen to subscribe' }
    const body = snsBody('SubscriptionConfirmation', more, signing)
    expect(await send(scene, body)).toMatchObject({ status: 200 })
    expect(scene.asked).toContain(SubscribeURL)
  })

  test.for([
    ['http://sns.eu-central-1.amazonaws.com/?Token=t1', 'in the clear'],
    ['https://sns.eu-central-1.amazonaws.com.example.com/', 'elsewhere'],
    ['https://sns.eu-central-1.amazonaws.com:8443/', 'at another port'],
    ['https://sns.eu-central-1.amazonaws.com@example.com/', 'with a name that deceives'],
    ['https://169.254.169.254/latest', 'inside'],
  ])('is never confirmed at %s (%s)', async ([SubscribeURL = ''], { scene }) => {
    const more = { Token: 't1', SubscribeURL, Message: 'x' }
    const reply = await send(scene, snsBody('SubscriptionConfirmation', more, signing))
    expect(reply.status).toBe(400)
    expect(scene.asked).not.toContain(SubscribeURL)
  })

  test.for([
    'http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-abc123.pem',
    'https://sns.us-east-1.amazonaws.com/SimpleNotificationService-abc123.pem',
    'https://sns.eu-central-1.amazonaws.com.example.com/SimpleNotificationService-abc123.pem',
    'https://example.com/sns.eu-central-1.amazonaws.com/SimpleNotificationService-abc123.pem',
    'https://s3.eu-central-1.amazonaws.com/bucket/SimpleNotificationService-abc123.pem',
    'https://sns.eu-central-1.amazonaws.com/other.pem',
    'https://a:b@sns.eu-central-1.amazonaws.com/SimpleNotificationService-abc123.pem',
  ])('asks nobody for a certificate at %s', async (SigningCertURL, { scene }) => {
    const body = snsBody('Notification', { Message: '{}', SigningCertURL }, signing)
    expect(await send(scene, body)).toMatchObject({ status: 401 })
    expect(scene.asked).toEqual([])
  })

  test('is believed of its own topic only, also where SNS has signed it', async ({ scene }) => {
    const TopicArn = TOPIC.replace('123456789012', '210987654321')
    const body = snsBody('Notification', { Message: '{}', TopicArn }, signing)
    expect(await send(scene, body)).toMatchObject({ status: 401 })
  })

  test('may sign in the older way, and greets with a text', async ({ scene }) => {
    const more = {
      Message: 'Successfully validated SNS topic',
      SignatureVersion: '1',
      Subject: 'Hi',
    }
    expect(await send(scene, snsBody('Notification', more, signing))).toMatchObject({ status: 200 })
    const other = snsBody('Notification', { ...more, SignatureVersion: '3' }, signing)
    expect(await send(scene, other)).toMatchObject({ status: 401 })
  })

  test('is asked for its certificate once', async ({ scene }) => {
    for (let index = 0; index < 3; index += 1) {
      await send(scene, snsBody('Notification', { Message: '{}' }, signing))
    }
    expect(scene.asked.filter((url) => url === CERTIFICATE_URL).length).toBeLessThanOrEqual(1)
  })
})

test('a token that says that it is not signed is none', async ({ scene }) => {
  const vonage = reportCases.find(({ provider }) => provider === 'vonage')!
  await saveEnvironment(scene.database, { main: channelOf(vonage) })
  const body = '{}'
  const signing = { at: NOW, secret: 1, url: '' } as const
  const call = (token: string) =>
    scene.server.call('POST', path, { headers: { authorization: `Bearer ${token}` }, body })
  expect(await call(vonageToken(body, signing))).toMatchObject({ status: 200 })
  expect(await call(vonageToken(body, signing, 'none'))).toMatchObject({ status: 401 })
  expect(await call(vonageToken(body, signing).replace(/[^.]+$/, ''))).toMatchObject({
    status: 401,
  })
  expect(await call('a.b')).toMatchObject({ status: 401 })
})
