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
import { endpointUrl, judgeStatus, optionsOf, pick, readReply, refused } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { readPrivateKey, signJwt } from './jwt.ts'
import { withOverrides } from './overrides.ts'
import type { Answer, HandOver, Provider, SendContext } from './provider.ts'
import {
  apnsExpiration,
  deregistrationSchema,
  PUSH_BYTES_MAX,
  secondsLeft,
} from './push-settings.ts'
import { secretOr } from './secret.ts'
import { DoorError } from './target.ts'

export interface FcmSettings {
  readonly service_account: string
  readonly project_id?: string
  readonly token_deregistration?: boolean
  readonly endpoint?: string
}

interface ServiceAccount {
  readonly client_email: string
  readonly private_key: string
  readonly project_id: string
  readonly token_uri: string
}

const SCOPE = 'https://www.googleapis.com/auth/firebase.messaging'
const TOKEN_URL = 'https://oauth2.googleapis.com/token'
/** A token is good for an hour. */
/** Answers of who gives out tokens that say that the account gets none. */
const REFUSALS = new Set([400, 401, 403])
const TOKEN_MS = 50 * 60_000
const TOKENS_MAX = 100
/** What to wait where a quota is used up and nothing is said of the time. */
const QUOTA_WAIT_MS = 60_000

/** Notifications through Firebase Cloud Messaging. */
export const fcm: Provider<'fcm', PushContent, FcmSettings> = {
  name: 'fcm',
  type: 'push',
  summary: 'Notifications through Firebase Cloud Messaging (HTTP v1).',
  schema: {
    required: ['service_account'],
    properties: {
      service_account: secretOr({
        description: 'The key file of a service account, as JSON.',
        type: 'string',
        minLength: 50,
        maxLength: 10_000,
      }),
      project_id: {
        description: 'The project; that of the service account unless told.',
        type: 'string',
        pattern: '^[a-z0-9-]{1,100}$',
      },
      token_deregistration: deregistrationSchema,
      endpoint: endpointSchema,
    },
  },
  example: {
    service_account: '{"type": "service_account", …} as a text, or { secret: NAME }',
    project_id: 'example',
    token_deregistration: true,
    endpoint: 'https://fcm.googleapis.com',
  },
  delivery: 'handed_over',
  overrides: [
    'message.token',
    'message.topic',
    'message.condition',
    'message.fid',
    'message.apns.live_activity_token',
    'message.apns.headers.authorization',
    'message.webpush.headers.authorization',
  ],
  channelData: 'devices',
  wireName: 'push_fcm',
  service: {
    perSecond: 10_000,
    permanent: ['400 BadRequest'],
    idempotency: 'tag and apns-collapse-id: a repetition replaces the first on the device',
    reports: null,
  },

  async send(message, context) {
    const { settings } = context
    const account = readAccount(settings.service_account)
    if (account === undefined) {
      return brokenChannel("the channel's service_account is no key file of a service account")
    }
    const own = { message: notificationOf(message, context.now) }
    const shown = withOverrides(own, message.overrides)
    const body = JSON.stringify(shown)
    if (Buffer.byteLength(JSON.stringify(shown['message'])) > PUSH_BYTES_MAX) {
      return refused('invalid_request', `the notification is larger than ${PUSH_BYTES_MAX} bytes`)
    }
    const token = await accessToken(account, context)
    if (typeof token !== 'string') return token
    const path = `/v1/projects/${settings.project_id ?? account.project_id}/messages:send`
    return await callApi(
      {
        url: endpointUrl(settings, 'https://fcm.googleapis.com', path),
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body,
        shown,
      },
      context,
      (reply) => judge(reply, () => tokens.delete(tokenKey(account))),
    )
  },
}

function notificationOf({ id, content, expiresAt }: HandOver<PushContent>, now: Date): object {
  const { token, title, body, data, silent } = content
  // Here all values are texts.
  const texts = Object.entries(data ?? {}).map(([name, value]) => [
    name,
    typeof value === 'string' ? value : JSON.stringify(value),
  ])
  const left = secondsLeft(expiresAt, now)
  const aps = silent ? { 'content-available': 1 } : { sound: 'default' }
  return {
    token,
    ...(!silent && { notification: { title, body } }),
    ...(data !== null && { data: Object.fromEntries(texts) }),
    android: {
      ...(silent ? { priority: 'normal' } : { notification: { tag: id } }),
      ...(left !== undefined && { ttl: `${left}s` }),
    },
    apns: {
      headers: { 'apns-collapse-id': id, ...apnsExpiration(expiresAt) },
      payload: { aps },
    },
  }
}

function readAccount(text: string): ServiceAccount | undefined {
  let read: unknown
  try {
    read = JSON.parse(text)
  } catch {
    return undefined
  }
  const texts = ['client_email', 'private_key', 'project_id'].map((name) => pick(read, name))
  if (!texts.every((value) => typeof value === 'string')) return undefined
  const [email = '', key = '', project = ''] = texts
  const uri = pick(read, 'token_uri')
  return {
    client_email: email,
    private_key: key,
    project_id: project,
    token_uri: typeof uri === 'string' ? uri : TOKEN_URL,
  }
}

/** Access tokens that still hold, by what they were asked for with. */
const tokens = new Map<string, { readonly token: string; readonly until: number }>()

function tokenKey(account: ServiceAccount): string {
  return createHash('sha256').update(JSON.stringify(account)).digest('hex')
}

/** The token to send with; or the answer where there is none to be had. Nothing of the message goes out here. */
async function accessToken(
  account: ServiceAccount,
  context: SendContext<FcmSettings>,
): Promise<string | Answer> {
  const key = tokenKey(account)
  const known = tokens.get(key)
  if (known && known.until > context.now.getTime()) return known.token
  const assertion = assertionOf(account, context.now)
  if (assertion === undefined) {
    return brokenChannel("the private key of the channel's service_account cannot be read")
  }
  const grant = { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion }
  const request = {
    url: account.token_uri,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(grant).toString(),
    shown: null,
  }
  try {
    const reply = readReply(await context.door.request(request.url, optionsOf(request, context)))
    const token = pick(reply.body, 'access_token')
    if (reply.status !== 200 || typeof token !== 'string') return noToken(reply, context.now)
    if (tokens.size >= TOKENS_MAX) tokens.clear()
    tokens.set(key, { token, until: context.now.getTime() + TOKEN_MS })
    return token
  } catch (error) {
    if (!(error instanceof DoorError)) throw error
    if (error.code === 'forbidden_target') return refused('forbidden_target', error.message)
    return { kind: 'failed', details: `no access token: ${error.message}`, exchange: null }
  }
}

function noToken(reply: ApiReply, now: Date): Answer {
  const verdict = judgeStatus(reply, now)
  const details = `no access token: ${detailsOf(reply)}`
  if (verdict.kind === 'throttled') return { ...verdict, details, exchange: null }
  // The key is not taken, or is no more.
  if (REFUSALS.has(reply.status)) return brokenChannel(details)
  return { kind: 'failed', details, exchange: null }
}

function assertionOf(account: ServiceAccount, now: Date): string | undefined {
  const key = readPrivateKey(account.private_key)
  if (key?.asymmetricKeyType !== 'rsa') return undefined
  const iat = Math.floor(now.getTime() / 1000)
  const { client_email: iss, token_uri: aud } = account
  const claims = { iss, aud, scope: SCOPE, iat, exp: iat + 3_600 }
  return signJwt({ algorithm: 'RS256', claims }, key)
}

/** Which of two things a 400 means is told by its details: the token is bad, or the notification is. */
function judge(reply: ApiReply, forgetToken: () => void): Verdict | undefined {
  const { status, body } = reply
  if (status === 200) return accepted(pick(body, 'name'))
  const found = pick(body, 'error', 'details')
  const all: readonly unknown[] = Array.isArray(found) ? found : []
  const typed = (name: string) => all.find((one) => String(pick(one, '@type')).endsWith(name))
  const code = pick(typed('FcmError'), 'errorCode')
  const details = detailsOf(reply)
  if (code === 'UNREGISTERED') return bounced(details)
  if (code === 'INVALID_ARGUMENT' && typed('BadRequest') === undefined) return bounced(details)
  if (code === 'THIRD_PARTY_AUTH_ERROR') return channelFailure(details)
  // The device was registered with another project; those of the others may well be right.
  if (code === 'SENDER_ID_MISMATCH') {
    return { kind: 'failed', details: `the device is not the channel's: ${details}` }
  }
  if (status === 401) forgetToken()
  if (status === 429 && reply.headers['retry-after'] === undefined) {
    return { kind: 'throttled', details, retryAfterMs: QUOTA_WAIT_MS }
  }
  // The project is not there, or not known to this account.
  return status === 404 ? channelFailure(details) : undefined
}
