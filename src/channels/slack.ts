import type { JsonObject } from '../json.ts'
import { markdownToChat, slackDialect } from '../language/chat-markup.ts'
import type { ChatContent } from '../steps/step.ts'
import { accepted, bounced, callApi, channelFailure, detailsOf, endpointSchema } from './api.ts'
import { endpointUrl, ofConnection, pick, refused, rejected } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { webhookUrl } from './channel-data.ts'
import { withOverrides } from './overrides.ts'
import type { Answer, Provider, SendContext } from './provider.ts'
import { secretOr } from './secret.ts'

export interface SlackSettings {
  readonly bot_token?: string
  readonly endpoint?: string
}

const CHANNEL_ERRORS = new Set([
  'invalid_auth',
  'not_authed',
  'token_revoked',
  'token_expired',
  'account_inactive',
  'missing_scope',
])
const LATER = new Set(['internal_error', 'fatal_error', 'service_unavailable', 'request_timeout'])

/** Messages in Slack. */
export const slack: Provider<'slack', ChatContent, SlackSettings> = {
  name: 'slack',
  type: 'chat',
  summary: 'Messages in Slack, by an app or an incoming webhook.',
  schema: {
    required: [],
    properties: {
      bot_token: secretOr({
        description: 'The token of the app, for connections that bring none of their own.',
        type: 'string',
        minLength: 8,
        maxLength: 500,
      }),
      endpoint: endpointSchema,
    },
  },
  example: { bot_token: 'xoxb-…, or { secret: NAME }', endpoint: 'https://slack.com' },
  delivery: 'handed_over',
  overrides: ['channel', 'token'],
  channelData: 'connections',
  wireName: 'chat_slack',
  service: {
    perSecond: 1,
    place: ({ connection }: ChatContent) => JSON.stringify(connection),
    permanent: [
      'channel_not_found',
      'not_in_channel',
      'is_archived',
      'msg_too_long',
      'invalid_blocks',
    ],
    idempotency: null,
    reports: null,
  },

  async send(message, context) {
    const { connection } = message.content
    const body = withOverrides(
      bodyOf(message.content),
      withoutMentions(message.overrides) as JsonObject,
    )
    const url = webhookUrl(connection)
    if (url !== undefined) return ofConnection(await sendToWebhook(url, body, context))
    const { access_token: own, channel_id: channel, user_id: user } = connection
    const token = typeof own === 'string' ? own : context.settings.bot_token
    const place = channel ?? user
    if (token === undefined || typeof place !== 'string') {
      const missing = token === undefined ? 'token' : 'channel'
      return refused('invalid_address', `the connection has no ${missing}`)
    }
    const answer = await sendToChannel({ place, token, body }, context)
    return token === own ? ofConnection(answer) : answer
  },
}

interface Post {
  readonly place: string
  readonly token: string
  readonly body: object
}

async function sendToChannel(
  { place, token, body }: Post,
  context: SendContext<SlackSettings>,
): Promise<Answer> {
  const whole = { unfurl_links: false, ...body, channel: place }
  return await callApi(
    {
      url: endpointUrl(context.settings, 'https://slack.com', '/api/chat.postMessage'),
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json; charset=utf-8',
      },
      body: JSON.stringify(whole),
      shown: whole,
    },
    context,
    judge,
  )
}

async function sendToWebhook(
  url: string,
  body: object,
  context: SendContext<SlackSettings>,
): Promise<Answer> {
  const headers = { 'content-type': 'application/json; charset=utf-8' }
  const request = { url, headers, body: JSON.stringify(body), shown: body, hidden: true }
  return await callApi(request, context, judgeWebhook)
}

function bodyOf({ markdown, blocks, summary }: ChatContent): object {
  if (blocks !== null)
    return { text: slackDialect.text(summary ?? ''), blocks: withoutMentions(blocks) }
  const text = markdownToChat(markdown ?? '', slackDialect)
  if (summary === null) return { text }
  const section = { type: 'section', text: { type: 'mrkdwn', text } }
  return { text: slackDialect.text(summary), blocks: [section] }
}

/** What calls everybody is written out: it may stand in a value, which nobody can tell from the template any more. */
function withoutMentions(value: unknown): unknown {
  if (typeof value === 'string') {
    return value.replaceAll(/<!(channel|here|everyone|subteam\^)/g, '&lt;!$1')
  }
  if (Array.isArray(value)) return value.map(withoutMentions)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, withoutMentions(item)]),
  )
}

/** Slack answers 200 to nearly all; `ok` says what it means. */
function judge(reply: ApiReply): Verdict | undefined {
  if (reply.status !== 200) return undefined
  if (pick(reply.body, 'ok') === true) return accepted(pick(reply.body, 'ts'))
  const error = pick(reply.body, 'error')
  const details = detailsOf(reply)
  if (typeof error !== 'string') return { kind: 'failed', details }
  if (error === 'ratelimited' || error === 'rate_limited') return { kind: 'throttled', details }
  if (CHANNEL_ERRORS.has(error)) return channelFailure(details)
  return LATER.has(error) ? { kind: 'failed', details } : rejected(details)
}

function judgeWebhook(reply: ApiReply): Verdict | undefined {
  if (reply.status === 200) return accepted(null)
  if (reply.status === 404 || reply.status === 410) return bounced(detailsOf(reply))
  return reply.status === 403 ? rejected(detailsOf(reply)) : undefined
}
