import type { JsonObject } from '../json.ts'
import { markdownDialect, markdownToChat } from '../language/chat-markup.ts'
import type { ChatContent } from '../steps/step.ts'
import { accepted, bounced, callApi, detailsOf, refused, rejected } from './api.ts'
import type { ApiReply, Verdict } from './api.ts'
import { webhookUrl } from './channel-data.ts'
import { withOverrides } from './overrides.ts'
import type { Provider } from './provider.ts'

/** Teams refuses larger ones behind its answer, and counts more than what we send. */
const CARD_BYTES_MAX = 22 * 1024

/** Messages in Microsoft Teams. */
export const msTeams: Provider<'ms_teams', ChatContent, object> = {
  name: 'ms_teams',
  type: 'chat',
  summary: 'Messages in Microsoft Teams, by the URL of a workflow.',
  schema: { required: [], properties: {} },
  example: {},
  delivery: 'handed_over',
  overrides: [],
  channelData: 'connections',
  wireName: 'chat_ms_teams',
  service: {
    perSecond: 4,
    place: ({ connection }: ChatContent) => JSON.stringify(connection),
    permanent: ['400', '401', '403'],
    idempotency: null,
    reports: null,
  },

  async send(message, context) {
    const { connection } = message.content
    const url = webhookUrl(connection)
    if (url === undefined) {
      return refused('invalid_address', 'the connection has no incoming_webhook')
    }
    const shown = bodyOf(message.content, message.overrides)
    const body = JSON.stringify(shown)
    if (Buffer.byteLength(body) > CARD_BYTES_MAX) {
      return refused('invalid_request', `the card is larger than ${CARD_BYTES_MAX} bytes`)
    }
    const headers = { 'content-type': 'application/json' }
    return await callApi({ url, headers, body, shown, hidden: true }, context, judge)
  },
}

function bodyOf(
  { markdown, blocks, summary }: ChatContent,
  overrides: JsonObject | undefined,
): object {
  const text = markdownToChat(markdown ?? '', markdownDialect)
  const card = {
    type: 'AdaptiveCard',
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    version: '1.4',
    ...(summary !== null && { fallbackText: summary }),
    body: blocks ?? [{ type: 'TextBlock', text, wrap: true }],
  }
  const content = withOverrides(card, overrides)
  const contentType = 'application/vnd.microsoft.card.adaptive'
  return {
    type: 'message',
    ...(summary !== null && { summary }),
    attachments: [{ contentType, content }],
  }
}

/** 202 says that it was taken, never that it was shown. The older kind of URL answers 200 and tells its errors in the text. */
function judge(reply: ApiReply): Verdict | undefined {
  const { status, body } = reply
  const details = detailsOf(reply)
  if (status === 200 && typeof body === 'string' && /error|failed/i.test(body)) {
    return /\b429\b|too many/i.test(body)
      ? { kind: 'throttled', details }
      : { kind: 'failed', details }
  }
  if (status >= 200 && status < 300) return accepted(null)
  if (status === 404 || status === 410) return bounced(details)
  // The signature in the URL is over; that is about this connection.
  return status === 401 || status === 403 ? rejected(details) : undefined
}
