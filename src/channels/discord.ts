import { markdownDialect, markdownToChat } from '../language/chat-markup.ts'
import type { MessageId } from '../ids.ts'
import type { ChatContent } from '../steps/step.ts'
import { accepted, bounced, callApi, detailsOf, endpointSchema } from './api.ts'
import { endpointUrl, ofConnection, pick, refused, rejected } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { webhookUrl } from './channel-data.ts'
import { withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'
import { RETRY_AFTER_MS_MAX } from './retry-after.ts'
import { secretOr } from './secret.ts'

export interface DiscordSettings {
  readonly bot_token?: string
  readonly endpoint?: string
}

const TEXT_LENGTH_MAX = 2_000
/** Unknown channel, unknown webhook. */
const GONE = new Set([10_003, 10_015])

/** Messages in Discord. */
export const discord: Provider<'discord', ChatContent, DiscordSettings> = {
  name: 'discord',
  type: 'chat',
  summary: 'Messages in Discord, by a bot or an incoming webhook.',
  schema: {
    required: [],
    properties: {
      bot_token: secretOr({
        description: 'The token of the bot, for connections that name a channel.',
        type: 'string',
        minLength: 8,
        maxLength: 500,
      }),
      endpoint: endpointSchema,
    },
  },
  example: { bot_token: 'a token, or { secret: NAME }', endpoint: 'https://discord.com' },
  delivery: 'handed_over',
  overrides: ['nonce', 'enforce_nonce'],
  channelData: 'connections',
  wireName: 'chat_discord',
  service: {
    perSecond: 50,
    permanent: ['400', '403'],
    idempotency: 'a nonce, for a few minutes, where a bot sends',
    reports: null,
  },

  async send(message, context) {
    const { connection, markdown, blocks, summary } = message.content
    const text = markdown === null ? summary : markdownToChat(markdown, markdownDialect)
    if (text !== null && text.length > TEXT_LENGTH_MAX) {
      return refused('invalid_request', `the text is longer than ${TEXT_LENGTH_MAX} characters`)
    }
    const own = {
      ...(text !== null && { content: text }),
      ...(blocks !== null && { embeds: blocks }),
      // Nobody is called by what stands in the text.
      allowed_mentions: { parse: [] },
    }
    const shown = withOverrides(own, message.overrides)
    const headers = { 'content-type': 'application/json' }
    const url = webhookUrl(connection)
    if (url !== undefined) {
      const waiting = withWait(url)
      if (waiting === undefined) return refused('invalid_request', 'the URL cannot be used')
      const body = JSON.stringify(shown)
      const request = { url: waiting, headers, body, shown, hidden: true }
      return ofConnection(await callApi(request, context, judge))
    }
    const { channel_id: channel } = connection
    const { bot_token: token } = context.settings
    if (typeof channel !== 'string' || token === undefined) {
      const missing = token === undefined ? 'bot_token' : 'channel'
      return refused('invalid_address', `there is no ${missing} for the connection`)
    }
    const path = `/api/v10/channels/${encodeURIComponent(channel)}/messages`
    const whole = { ...shown, nonce: nonceOf(message.id), enforce_nonce: true }
    return await callApi(
      {
        url: endpointUrl(context.settings, 'https://discord.com', path),
        headers: { ...headers, authorization: `Bot ${token}` },
        body: JSON.stringify(whole),
        shown: whole,
      },
      context,
      judge,
    )
  },
}

/** A nonce has at most 25 characters, which an id just fits in. */
function nonceOf(id: MessageId): string {
  return BigInt(`0x${id.replaceAll('-', '')}`).toString(36)
}

/** Only with it the webhook says what became of the message. */
function withWait(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  url.searchParams.set('wait', 'true')
  return url.href
}

function judge(reply: ApiReply): Verdict | undefined {
  const { status, body } = reply
  if (status === 200 || status === 204) return accepted(pick(body, 'id'))
  const details = detailsOf(reply)
  const seconds = pick(body, 'retry_after')
  if (status === 429 && typeof seconds === 'number' && seconds >= 0) {
    return {
      kind: 'throttled',
      details,
      retryAfterMs: Math.min(Math.ceil(seconds * 1000), RETRY_AFTER_MS_MAX),
    }
  }
  const code = pick(body, 'code')
  if (status === 404 && typeof code === 'number' && GONE.has(code)) return bounced(details)
  // The bot may not write there: that is about this place, not about the bot.
  return status === 403 ? rejected(details) : undefined
}
