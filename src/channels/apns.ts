import { createHash } from 'node:crypto'
import type { PushContent } from '../steps/step.ts'
import {
  brokenChannel,
  accepted,
  bounced,
  callApi,
  channelFailure,
  detailsOf,
  endpointSchema,
} from './api.ts'
import { endpointUrl, pick, refused, rejected } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { requestHttp2 } from './http2.ts'
import { readPrivateKey, signJwt } from './jwt.ts'
import { withOverrides } from './overrides.ts'
import type { HandOver, Provider } from './provider.ts'
import { apnsExpiration, deregistrationSchema, PUSH_BYTES_MAX } from './push-settings.ts'
import { secretOr } from './secret.ts'

export interface ApnsSettings {
  readonly key: string
  readonly key_id: string
  readonly team_id: string
  readonly topic: string
  readonly environment?: 'production' | 'development'
  readonly token_deregistration?: boolean
  readonly endpoint?: string
}

/** Apple takes a token for an hour, and objects to new ones more often than each 20 minutes. */
const TOKEN_MS = 30 * 60_000
const TOKENS_MAX = 100
const HOSTS = {
  production: 'https://api.push.apple.com',
  development: 'https://api.sandbox.push.apple.com',
} as const
const CHANNEL_REASONS = new Set([
  'BadCertificateEnvironment',
  'ExpiredProviderToken',
  'Forbidden',
  'InvalidProviderToken',
  'MissingProviderToken',
  'BadTopic',
  'TopicDisallowed',
])

/** Notifications through Apple's push service. */
export const apns: Provider<'apns', PushContent, ApnsSettings> = {
  name: 'apns',
  type: 'push',
  summary: "Notifications through Apple's push service (HTTP/2, token).",
  schema: {
    required: ['key', 'key_id', 'team_id', 'topic'],
    properties: {
      key: secretOr({
        description: 'The key of the team (`.p8`), as PEM.',
        type: 'string',
        minLength: 40,
        maxLength: 5_000,
      }),
      key_id: {
        description: 'The id of the key.',
        type: 'string',
        pattern: '^[A-Z0-9]{10}$',
      },
      team_id: {
        description: 'The id of the team.',
        type: 'string',
        pattern: '^[A-Z0-9]{10}$',
      },
      topic: {
        description: 'The bundle id of the app.',
        type: 'string',
        pattern: '^[A-Za-z0-9.-]{1,255}$',
      },
      environment: {
        description: 'Which devices: `production` unless told.',
        enum: ['production', 'development'],
      },
      token_deregistration: deregistrationSchema,
      endpoint: endpointSchema,
    },
  },
  example: {
    key: '-----BEGIN PRIVATE KEY----- … or { secret: NAME }',
    key_id: 'ABC123DEFG',
    team_id: 'DEF123GHIJ',
    topic: 'com.example.app',
    environment: 'production',
    token_deregistration: true,
    endpoint: 'https://api.push.apple.com:2197',
  },
  delivery: 'handed_over',
  overrides: [],
  channelData: 'devices',
  wireName: 'push_apns',
  service: {
    perSecond: null,
    permanent: ['BadDeviceToken', 'DeviceTokenNotForTopic', 'PayloadTooLarge', 'BadPriority'],
    idempotency: 'apns-collapse-id: a repetition replaces the first on the device',
    reports: null,
  },

  async send(message, context) {
    const { settings, now } = context
    const { token, silent } = message.content
    const shown = payloadOf(message)
    const body = JSON.stringify(shown)
    if (Buffer.byteLength(body) > PUSH_BYTES_MAX) {
      return refused('invalid_request', `the notification is larger than ${PUSH_BYTES_MAX} bytes`)
    }
    const bearer = providerToken(settings, now)
    if (bearer === undefined) {
      return brokenChannel("the channel's key is no EC key")
    }
    const usual = HOSTS[settings.environment ?? 'production']
    const request = {
      url: endpointUrl(settings, usual, `/3/device/${encodeURIComponent(token)}`),
      headers: {
        authorization: `bearer ${bearer}`,
        'apns-topic': settings.topic,
        'apns-push-type': silent ? 'background' : 'alert',
        'apns-priority': silent ? '5' : '10',
        'apns-id': message.id,
        'apns-collapse-id': message.id,
        ...apnsExpiration(message.expiresAt),
      },
      body,
      shown,
    }
    const user = `${settings.team_id}/${settings.key_id}`
    const door = {
      request: (url: string, options: Parameters<typeof context.door.request>[1]) =>
        requestHttp2(context.door, url, { ...options, user, signal: context.signal }),
    }
    return await callApi(request, { ...context, door }, judge)
  },
}

function payloadOf({ content, overrides }: HandOver<PushContent>): object {
  const { title, body, data, silent } = content
  const aps = silent ? { 'content-available': 1 } : { alert: { title, body }, sound: 'default' }
  return withOverrides({ ...data, aps }, overrides)
}

/** Provider tokens that still hold, by what they were made of. */
const tokens = new Map<string, string>()

/** One token for half an hour, whoever asks: its time is that of the half hour. */
function providerToken(settings: ApnsSettings, now: Date): string | undefined {
  const { key, key_id: keyId, team_id: iss } = settings
  const iat = (Math.floor(now.getTime() / TOKEN_MS) * TOKEN_MS) / 1000
  const name = createHash('sha256')
    .update(JSON.stringify([key, keyId, iss, iat]))
    .digest('hex')
  const known = tokens.get(name)
  if (known !== undefined) return known
  const read = readPrivateKey(key)
  if (read?.asymmetricKeyType !== 'ec') return undefined
  const token = signJwt({ algorithm: 'ES256', keyId, claims: { iss, iat } }, read)
  if (tokens.size >= TOKENS_MAX) tokens.clear()
  tokens.set(name, token)
  return token
}

function judge(reply: ApiReply): Verdict | undefined {
  const { status, body, headers } = reply
  if (status === 200) return accepted(headers['apns-id'])
  const reason = pick(body, 'reason')
  const details = detailsOf(reply)
  if (status === 410 || reason === 'Unregistered' || reason === 'ExpiredToken') {
    return bounced(details)
  }
  if (typeof reason !== 'string') return undefined
  if (reason === 'TooManyProviderTokenUpdates') return { kind: 'throttled', details }
  if (CHANNEL_REASONS.has(reason)) return channelFailure(details)
  // Most often the channel's environment is the wrong one, which is no reason to forget the device.
  return status === 400 ? rejected(details) : undefined
}
