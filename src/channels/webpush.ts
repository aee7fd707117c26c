import webPush from 'web-push'
import { messageOf } from '../errors.ts'
import type { PushContent } from '../steps/step.ts'
import {
  accepted,
  bounced,
  brokenChannel,
  callApi,
  channelFailure,
  detailsOf,
  ofConnection,
  refused,
} from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { deregistrationSchema, secondsLeft } from './push-settings.ts'
import { secretOr } from './secret.ts'

export interface WebpushSettings {
  readonly public_key: string
  readonly private_key: string
  readonly subject: string
  readonly token_deregistration?: boolean
}

/** How long a push service keeps what it cannot deliver at once, in seconds. */
const TTL_S = 4 * 7 * 86_400
/** What an encrypted payload may hold before it is encrypted. */
const PAYLOAD_BYTES_MAX = 3_993

/** Notifications in browsers, by the push service of each. */
export const webpush: Provider<'webpush', PushContent, WebpushSettings> = {
  name: 'webpush',
  type: 'push',
  summary: 'Notifications in browsers (Web Push, VAPID).',
  schema: {
    required: ['public_key', 'private_key', 'subject'],
    properties: {
      public_key: {
        description: 'The public key (VAPID), in base64url.',
        type: 'string',
        pattern: '^[A-Za-z0-9_-]{87}$',
      },
      private_key: secretOr({
        description: 'The private key, in base64url.',
        type: 'string',
        pattern: '^[A-Za-z0-9_-]{43}$',
      }),
      subject: {
        description: 'Whom the push services turn to: `mailto:…` or a URL.',
        type: 'string',
        pattern: '^(mailto:|https://)\\S{1,500}$',
      },
      token_deregistration: deregistrationSchema,
    },
  },
  example: {
    public_key:
      'BEl62iUYgUivxIkv69yViEuiBIa-Ib9-SkvMeAtA3LFgDzkrxZJjSgSnfckjBJuBkr3qBUYIHBQFLXYp5Nksh8U',
    private_key: 'UUxI4O8-FbRouAevSmBQ6o18hgE4nSG3qwvJTfKc-ls',
    subject: 'mailto:push@example.com',
    token_deregistration: true,
  },
  delivery: 'handed_over',
  overrides: ['id'],
  channelData: 'subscriptions',
  service: {
    perSecond: null,
    permanent: ['413'],
    idempotency: 'the header Topic: a repetition replaces the first while it waits',
    reports: null,
  },

  async send(message, context) {
    const { settings } = context
    const { subscription, title, body, data, silent } = message.content
    if (subscription === undefined) return refused('invalid_address', 'there is no subscription')
    const own = { id: message.id, title, body, data, silent }
    const shown = withOverrides(own, message.overrides)
    const payload = JSON.stringify(shown)
    if (Buffer.byteLength(payload) > PAYLOAD_BYTES_MAX) {
      return refused(
        'invalid_request',
        `the notification is larger than ${PAYLOAD_BYTES_MAX} bytes`,
      )
    }
    const written = write(subscription, payload, {
      vapidDetails: {
        subject: settings.subject,
        publicKey: settings.public_key,
        privateKey: settings.private_key,
      },
      TTL: Math.min(secondsLeft(message.expiresAt, context.now) ?? TTL_S, TTL_S),
      urgency: silent ? 'low' : 'normal',
      topic: message.id.replaceAll('-', ''),
    })
    if (typeof written === 'string') {
      const problem = problemOfKeys(settings)
      return problem === undefined ? refused('invalid_request', written) : brokenChannel(problem)
    }
    // Some are numbers, whatever their type says.
    const given: Readonly<Record<string, string | number>> = written.headers
    const headers = Object.entries(given)
      // The connection says itself how long the body is.
      .filter(([name]) => name.toLowerCase() !== 'content-length')
      .map(([name, value]) => [name.toLowerCase(), String(value)] as const)
    const answer = await callApi(
      {
        url: written.endpoint,
        headers: Object.fromEntries(headers),
        body: written.body ?? '',
        shown,
        hidden: true,
      },
      context,
      judge,
    )
    // A browser that subscribed with an older key is refused, and those with the new one are not.
    return ofConnection(answer)
  },
}

/** The request, encrypted for this browser; or why there is none. */
function write(
  subscription: NonNullable<PushContent['subscription']>,
  payload: string,
  options: webPush.RequestOptions,
): webPush.RequestDetails | string {
  try {
    return webPush.generateRequestDetails(subscription, payload, options)
  } catch (error) {
    return `the notification cannot be encrypted: ${messageOf(error)}`
  }
}

/** What is wrong with the keys of the channel, for which no browser can do anything. */
function problemOfKeys(settings: WebpushSettings): string | undefined {
  const { subject, public_key: publicKey, private_key: privateKey } = settings
  try {
    webPush.getVapidHeaders('https://example.com', subject, publicKey, privateKey, 'aes128gcm')
    return undefined
  } catch (error) {
    return `the keys of the channel cannot be used: ${messageOf(error)}`
  }
}

function judge(reply: ApiReply): Verdict | undefined {
  const { status, headers } = reply
  if (status === 200 || status === 201 || status === 202) return accepted(headers['location'])
  if (status === 404 || status === 410) return bounced(detailsOf(reply))
  return status === 400 ? channelFailure(detailsOf(reply)) : undefined
}
