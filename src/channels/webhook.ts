import type { WebhookContent } from '../steps/step.ts'
import type { Reply } from './door.ts'
import { describeRequest, responseOf, withoutHost, writeRequest } from './http-request.ts'
import { parseRetryAfter } from './retry-after.ts'
import { secretOr } from './secret.ts'
import type { Answer, Exchange, Provider } from './provider.ts'
import { DoorError } from './target.ts'

export interface WebhookSettings {
  /** Signs each request as Standard Webhooks says: `whsec_` and the key in base64, or any text. */
  readonly signing_secret?: string
}

const TOTAL_MS = 25_000
const IDLE_MS = 20_000
/** Retrying changes nothing about these: the address, the credentials or the request is wrong. */
const PERMANENT = new Set([400, 401, 403, 404, 405, 406, 410, 411, 413, 414, 415, 422, 431, 501])

/** Sends the rendered request to the URL of the step. */
export const webhook: Provider<'webhook', WebhookContent, WebhookSettings> = {
  name: 'webhook',
  type: 'webhook',
  summary: 'An HTTP request with an idempotency key and Standard Webhooks headers.',
  schema: {
    required: [],
    properties: {
      signing_secret: secretOr({
        description: 'Signs each request as Standard Webhooks says: `whsec_…` or any text.',
        type: 'string',
        minLength: 8,
        maxLength: 500,
      }),
    },
  },
  example: { signing_secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' },
  delivery: 'handed_over',
  overrides: null,
  service: {
    perSecond: null,
    permanent: [...PERMANENT].map(String),
    idempotency: 'the headers Idempotency-Key and webhook-id',
    reports: null,
  },

  async send(message, context) {
    const { signing_secret: signingSecret } = context.settings
    const { now } = context
    const secret = (variable: string) => context.secret(variable)
    const wire = writeRequest(message.content, { id: message.id, signingSecret, now, secret })
    if (typeof wire === 'string') return refused(wire)
    const request = describeRequest(message.content, wire)
    try {
      const reply = await context.door.request(wire.url, {
        method: request.method,
        headers: wire.headers,
        ...(wire.body !== undefined && { body: wire.body }),
        signal: context.signal,
        totalMs: TOTAL_MS,
        idleMs: IDLE_MS,
      })
      return judge(reply, { request, response: responseOf(reply) }, context.now)
    } catch (error) {
      if (!(error instanceof DoorError)) throw error
      return judgeFailure(error, { request, response: null }, wire.url)
    }
  },
}

function refused(details: string): Answer {
  return { kind: 'rejected', reason: 'invalid_request', details, exchange: null }
}

function judge(reply: Reply, exchange: Exchange, now: Date): Answer {
  const { status } = reply
  const details = `the endpoint answered ${status}`
  if (status >= 200 && status < 300) {
    return { kind: 'accepted', status: 'delivered', reference: null, exchange }
  }
  const wait = parseRetryAfter(reply.headers['retry-after'], now)
  const retryAfter = wait === undefined ? {} : { retryAfterMs: wait }
  if (status === 429 || (status === 503 && wait !== undefined)) {
    return { kind: 'throttled', details, ...retryAfter, exchange }
  }
  if (status >= 300 && status < 400) {
    return {
      kind: 'rejected',
      reason: 'redirected',
      details: `${details}; redirects are not followed`,
      exchange,
    }
  }
  if (PERMANENT.has(status))
    return { kind: 'rejected', reason: 'provider_rejected', details, exchange }
  return { kind: 'failed', details, ...retryAfter, exchange }
}

function judgeFailure(error: DoorError, exchange: Exchange, url: string): Answer {
  const isHidden = exchange.request.host === ''
  const details = isHidden ? withoutHost(error.message, new URL(url)) : error.message
  if (error.code === 'forbidden_target') {
    return { kind: 'rejected', reason: 'forbidden_target', details, exchange: null }
  }
  if (error.code === 'invalid_target') return refused(details)
  if (error.sent) return { kind: 'unknown', details, exchange }
  return { kind: 'failed', details, exchange }
}
