import { isJsonObject } from '../json.ts'
import type { PushContent } from '../steps/step.ts'
import { accepted, bounced, callApi, channelFailure, detailsOf, endpointSchema } from './api.ts'
import { endpointUrl, optionsOf, pick, readReply, rejected } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { deregistrationSchema, secondsLeft } from './push-settings.ts'
import { parseRetryAfter } from './retry-after.ts'
import { secretOr } from './secret.ts'
import type { PollContext, StatusAnswer, StatusReceipt } from './status-poll.ts'
import { DoorError } from './target.ts'

export interface ExpoSettings {
  readonly access_token?: string
  readonly token_deregistration?: boolean
  readonly endpoint?: string
}

/** Of what comes back for one set. */
const RECEIPTS_BYTES_MAX = 1024 * 1024
const MINUTE_MS = 60_000
const WAITS_MS = [15, 1, 2, 4, 8, 15, 30, 60, 120, 240].map((minutes) => minutes * MINUTE_MS)

/** Notifications through Expo. */
export const expo: Provider<'expo', PushContent, ExpoSettings> = {
  name: 'expo',
  type: 'push',
  summary: 'Notifications through Expo.',
  schema: {
    required: [],
    properties: {
      access_token: secretOr({
        description: 'Needed where the project asks for one.',
        type: 'string',
        minLength: 8,
        maxLength: 500,
      }),
      token_deregistration: deregistrationSchema,
      endpoint: endpointSchema,
    },
  },
  example: {
    access_token: 'a token, or { secret: NAME }',
    token_deregistration: true,
    endpoint: 'https://exp.host',
  },
  delivery: 'handed_over',
  overrides: ['to'],
  channelData: 'devices',
  wireName: 'push_expo',
  service: {
    perSecond: 600,
    permanent: ['MessageTooBig', '400'],
    idempotency: null,
    reports: 'receipts, which are asked for',
  },
  // Receipts are there after some minutes, a quarter of an hour at most in general, and for a day.
  poll: { waitsMs: WAITS_MS, count: 300, ask },

  async send(message, context) {
    const { token: to, title, body, data, silent } = message.content
    const ttl = secondsLeft(message.expiresAt, context.now)
    const own = {
      to,
      ...(silent ? { _contentAvailable: true } : { title, body, sound: 'default' }),
      ...(data !== null && { data }),
      ...(ttl !== undefined && { ttl }),
    }
    const shown = withOverrides(own, message.overrides)
    return await callApi(
      {
        url: endpointUrl(context.settings, 'https://exp.host', '/--/api/v2/push/send'),
        headers: headersOf(context.settings),
        body: JSON.stringify(shown),
        shown,
      },
      context,
      judge,
    )
  },
}

/** Expo answers 200 to nearly all; the ticket says what it means. */
function judge(reply: ApiReply): Verdict | undefined {
  if (reply.status !== 200) return undefined
  const data = pick(reply.body, 'data')
  const ticket = Array.isArray(data) ? (data[0] as unknown) : data
  if (pick(ticket, 'status') === 'ok') return accepted(pick(ticket, 'id'))
  const details = detailsOf(reply)
  switch (pick(ticket, 'details', 'error')) {
    case 'DeviceNotRegistered':
      return bounced(details)
    case 'MessageRateExceeded':
      return { kind: 'throttled', details }
    case 'InvalidCredentials':
    case 'MismatchSenderId':
      return channelFailure(details)
    case 'MessageTooBig':
      return rejected(details)
    default:
      return { kind: 'failed', details }
  }
}

function headersOf({ access_token: token }: ExpoSettings) {
  return {
    accept: 'application/json',
    'content-type': 'application/json',
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  }
}

async function ask(
  ids: readonly string[],
  context: PollContext<ExpoSettings>,
): Promise<StatusAnswer> {
  const { settings, door, now } = context
  const request = {
    url: endpointUrl(settings, 'https://exp.host', '/--/api/v2/push/getReceipts'),
    headers: headersOf(settings),
    body: JSON.stringify({ ids }),
    shown: null,
  }
  try {
    const options = { ...optionsOf(request, context), bytesMax: RECEIPTS_BYTES_MAX }
    const reply = readReply(await door.request(request.url, options))
    const data = pick(reply.body, 'data')
    if (reply.status !== 200 || !isJsonObject(data)) {
      const wait = parseRetryAfter(reply.headers['retry-after'], now)
      const retry = wait === undefined ? {} : { retryAfterMs: wait }
      return { kind: 'failed', details: detailsOf(reply), ...retry }
    }
    const known = ids.filter((id) => Object.hasOwn(data, id))
    return { kind: 'answered', receipts: new Map(known.map((id) => [id, receiptOf(data[id])])) }
  } catch (error) {
    if (!(error instanceof DoorError)) throw error
    return { kind: 'failed', details: error.message }
  }
}

/** That it was taken means that Apple or Google have it, and not that it has arrived. */
function receiptOf(receipt: unknown): StatusReceipt {
  if (pick(receipt, 'status') === 'ok') return { fate: null, shown: receipt }
  const isGone = pick(receipt, 'details', 'error') === 'DeviceNotRegistered'
  const details = pick(receipt, 'message')
  return { fate: isGone ? 'gone' : 'rejected', details, shown: receipt }
}
