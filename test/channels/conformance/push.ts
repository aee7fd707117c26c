import { createECDH, generateKeyPairSync, randomBytes } from 'node:crypto'
import webPush from 'web-push'
import { apns } from '../../../src/channels/apns.ts'
import { expo } from '../../../src/channels/expo.ts'
import { fcm } from '../../../src/channels/fcm.ts'
import { webpush } from '../../../src/channels/webpush.ts'
import type { PushContent } from '../../../src/steps/step.ts'
import { startHttp2 } from '../../support/http2.ts'
import { aCase, id, jsonBody, type Case, type FakeAnswer } from './case.ts'

const content: PushContent = {
  type: 'push',
  token: 'device/1',
  title: 'Hi',
  body: 'There & <now>',
  data: { page: 7, name: 'x' },
  silent: false,
}

const pem = { type: 'pkcs8', format: 'pem' } as const
const spki = { type: 'spki', format: 'pem' } as const
const rsa = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  privateKeyEncoding: pem,
  publicKeyEncoding: spki,
})
const ec = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  privateKeyEncoding: pem,
  publicKeyEncoding: spki,
})
const vapid = webPush.generateVAPIDKeys()
const browser = createECDH('prime256v1')
const browserKeys = {
  p256dh: browser.generateKeys().toString('base64url'),
  auth: randomBytes(16).toString('base64url'),
}

const accountOf = (url: string) =>
  JSON.stringify({
    client_email: 'belfry@example.iam.gserviceaccount.com',
    private_key: rsa.privateKey,
    project_id: 'example',
    token_uri: `${url}/token`,
  })

const fcmError = (status: number, ...details: readonly object[]): FakeAnswer => ({
  status,
  body: { error: { code: status, details } },
})
const fcmDetail = (errorCode: string) => ({
  '@type': 'type.googleapis.com/google.firebase.fcm.v1.FcmError',
  errorCode,
})
const badRequest = { '@type': 'type.googleapis.com/google.rpc.BadRequest', fieldViolations: [] }
const apnsError = (status: number, reason: string): FakeAnswer => ({ status, body: { reason } })
const ticket = (error: string): FakeAnswer => ({
  status: 200,
  body: { data: { status: 'error', message: error, details: { error } } },
})

/** The services that take notifications. */
export const pushCases: readonly Case[] = [
  aCase({
    provider: expo,
    content: () => content,
    settings: (endpoint) => ({ access_token: 'ex-verysecret', endpoint }),
    secrets: ['ex-verysecret'],
    request: {
      method: 'POST',
      path: '/--/api/v2/push/send',
      headers: { authorization: 'Bearer ex-verysecret' },
      body: { to: 'device/1', title: 'Hi', body: 'There & <now>', data: content.data },
    },
    body: jsonBody,
    overrides: {
      given: { sound: 'ping', badge: 3 },
      body: { to: 'device/1', title: 'Hi', sound: 'ping', badge: 3 },
    },
    accepted: { status: 200, body: { data: { status: 'ok', id: 'ex-1' } } },
    reference: 'ex-1',
    permanent: {
      MessageTooBig: ticket('MessageTooBig'),
      '400': { status: 400, body: { errors: [{ code: 'VALIDATION_ERROR' }] } },
    },
    channel: ticket('InvalidCredentials'),
    throttled: [ticket('MessageRateExceeded')],
    bounced: [ticket('DeviceNotRegistered')],
  }),
  aCase({
    provider: fcm,
    content: () => content,
    settings: (endpoint) => ({ service_account: accountOf(endpoint), endpoint }),
    unusable: [
      { service_account: 'no JSON' },
      { service_account: '{}' },
      { service_account: accountOf('http://127.0.0.1:1').replace('PRIVATE', 'NO') },
    ],
    secrets: ['at-verysecret', rsa.privateKey],
    before: ({ path }) =>
      path === '/token' ? { status: 200, body: { access_token: 'at-verysecret' } } : undefined,
    request: {
      method: 'POST',
      path: '/v1/projects/example/messages:send',
      headers: { authorization: 'Bearer at-verysecret' },
      body: {
        message: {
          token: 'device/1',
          notification: { title: 'Hi', body: 'There & <now>' },
          data: { page: '7', name: 'x' },
          android: { notification: { tag: id } },
          apns: { headers: { 'apns-collapse-id': id } },
        },
      },
    },
    body: jsonBody,
    overrides: {
      given: {
        message: {
          notification: { image: 'https://example.com/a.png' },
          android: { notification: { channel_id: 'news' } },
        },
      },
      body: {
        message: {
          token: 'device/1',
          notification: { title: 'Hi', image: 'https://example.com/a.png' },
          android: { notification: { tag: id, channel_id: 'news' } },
        },
      },
    },
    accepted: { status: 200, body: { name: 'projects/example/messages/1' } },
    reference: 'projects/example/messages/1',
    permanent: {
      '400 BadRequest': fcmError(400, fcmDetail('INVALID_ARGUMENT'), badRequest),
    },
    channel: fcmError(403, fcmDetail('THIRD_PARTY_AUTH_ERROR')),
    throttled: [fcmError(429, fcmDetail('QUOTA_EXCEEDED'))],
    bounced: [
      fcmError(404, fcmDetail('UNREGISTERED')),
      fcmError(400, fcmDetail('INVALID_ARGUMENT')),
    ],
    key: (request) =>
      (jsonBody(request) as { message: { android: { notification: { tag: string } } } }).message
        .android.notification.tag,
  }),
  aCase({
    provider: apns,
    unusable: [{ key: 'no key' }, { key: rsa.privateKey }],
    content: () => content,
    settings: (endpoint) => ({
      key: ec.privateKey,
      key_id: 'ABC123DEFG',
      team_id: 'DEF123GHIJ',
      topic: 'com.example.app',
      endpoint,
    }),
    secrets: [ec.privateKey],
    start: startHttp2,
    request: {
      method: 'POST',
      path: '/3/device/device%2F1',
      headers: {
        'apns-topic': 'com.example.app',
        'apns-push-type': 'alert',
        'apns-priority': '10',
        'apns-id': id,
        'apns-collapse-id': id,
      },
      body: {
        page: 7,
        name: 'x',
        aps: { alert: { title: 'Hi', body: 'There & <now>' }, sound: 'default' },
      },
    },
    body: jsonBody,
    overrides: {
      given: { aps: { sound: 'ping', badge: 3 } },
      body: { page: 7, aps: { alert: { title: 'Hi' }, sound: 'ping', badge: 3 } },
    },
    accepted: { status: 200, headers: { 'apns-id': id } },
    reference: id,
    permanent: {
      BadDeviceToken: apnsError(400, 'BadDeviceToken'),
      DeviceTokenNotForTopic: apnsError(400, 'DeviceTokenNotForTopic'),
      PayloadTooLarge: apnsError(413, 'PayloadTooLarge'),
      BadPriority: apnsError(400, 'BadPriority'),
    },
    channel: apnsError(403, 'InvalidProviderToken'),
    throttled: [apnsError(429, 'TooManyProviderTokenUpdates'), apnsError(429, 'TooManyRequests')],
    bounced: [apnsError(410, 'Unregistered')],
    key: ({ headers }) => headers['apns-collapse-id'],
  }),
  aCase({
    provider: webpush,
    unusable: [{ private_key: 'x' }, { public_key: 'x' }],
    content: (url) => {
      const endpoint = `${url}/push/endpoint-verysecret`
      return { ...content, token: endpoint, subscription: { endpoint, keys: browserKeys } }
    },
    settings: () => ({
      public_key: vapid.publicKey,
      private_key: vapid.privateKey,
      subject: 'mailto:push@example.com',
    }),
    secrets: ['endpoint-verysecret', vapid.privateKey, browserKeys.auth],
    request: {
      method: 'POST',
      path: '/push/endpoint-verysecret',
      headers: {
        'content-encoding': 'aes128gcm',
        ttl: '2419200',
        urgency: 'normal',
        topic: id.replaceAll('-', ''),
      },
    },
    overrides: {
      given: { icon: 'https://example.com/a.png' },
      body: { id, title: 'Hi', icon: 'https://example.com/a.png' },
    },
    accepted: { status: 201, headers: { location: 'https://push.example.com/m/1' } },
    reference: 'https://push.example.com/m/1',
    permanent: { '413': { status: 413, body: {} } },
    channel: { status: 403, body: 'VAPID public key mismatch' },
    bounced: [{ status: 404 }, { status: 410 }],
    key: ({ headers }) => headers['topic'],
  }),
]
