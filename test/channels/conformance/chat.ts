import { discord } from '../../../src/channels/discord.ts'
import { msTeams } from '../../../src/channels/ms-teams.ts'
import { slack } from '../../../src/channels/slack.ts'
import type { ChatContent } from '../../../src/steps/step.ts'
import { aCase, jsonBody, type Case, type FakeAnswer } from './case.ts'

const shown = {
  type: 'chat',
  markdown: '**Down:** a\\*b & [log](https://example.com/a?b=1&c=2)',
  blocks: null,
  summary: null,
} as const

const channel = (more: object = {}): ChatContent => ({
  ...shown,
  connection: { channel_id: 'C01', ...more },
})
const hook = (url: string): ChatContent => ({
  ...shown,
  connection: { incoming_webhook: { url: `${url}/services/T01/B01/hook-verysecret` } },
})

const slackError = (error: string): FakeAnswer => ({ status: 200, body: { ok: false, error } })
const slackText = '*Down:* a*b &amp; <https://example.com/a?b=1&amp;c=2|log>'
const markdownText = '**Down:** a\\*b & [log](https://example.com/a?b=1&c=2)'

/** The services that take chat messages; those with a bot come first, then those with a URL. */
export const chatCases: readonly Case[] = [
  aCase({
    provider: slack,
    content: () => channel({ access_token: 'xoxb-verysecret' }),
    settings: (endpoint) => ({ bot_token: 'xoxb-other', endpoint }),
    secrets: ['xoxb-verysecret'],
    request: {
      method: 'POST',
      path: '/api/chat.postMessage',
      headers: { authorization: 'Bearer xoxb-verysecret' },
      body: { channel: 'C01', text: slackText, unfurl_links: false },
    },
    body: jsonBody,
    overrides: {
      given: { username: 'Alarm', unfurl_links: true, attachments: [{ text: 'Hi <!channel>' }] },
      body: {
        channel: 'C01',
        text: slackText,
        username: 'Alarm',
        unfurl_links: true,
        attachments: [{ text: 'Hi &lt;!channel>' }],
      },
    },
    accepted: { status: 200, body: { ok: true, ts: '1.2', channel: 'C01' } },
    reference: '1.2',
    permanent: Object.fromEntries(
      slack.service.permanent.map((error) => [error, slackError(error)]),
    ),
    channel: slackError('token_revoked'),
    throttled: [slackError('ratelimited')],
  }),
  aCase({
    provider: slack,
    variant: 'incoming webhook',
    content: hook,
    settings: () => ({}),
    secrets: ['hook-verysecret'],
    request: {
      method: 'POST',
      path: '/services/T01/B01/hook-verysecret',
      body: { text: slackText },
    },
    body: jsonBody,
    overrides: {
      given: { icon_emoji: ':bell:' },
      body: { text: slackText, icon_emoji: ':bell:' },
    },
    accepted: { status: 200, body: 'ok' },
    reference: null,
    permanent: {
      invalid_payload: { status: 400, body: 'invalid_payload' },
      action_prohibited: { status: 403, body: 'action_prohibited' },
    },
    bounced: [
      { status: 404, body: 'no_service' },
      { status: 410, body: 'channel_is_archived' },
    ],
  }),
  aCase({
    provider: discord,
    content: () => channel(),
    settings: (endpoint) => ({ bot_token: 'dc-verysecret', endpoint }),
    secrets: ['dc-verysecret'],
    request: {
      method: 'POST',
      path: '/api/v10/channels/C01/messages',
      headers: { authorization: 'Bot dc-verysecret' },
      body: {
        content: markdownText,
        allowed_mentions: { parse: [] },
        nonce: expectNonce(),
        enforce_nonce: true,
      },
    },
    body: jsonBody,
    overrides: {
      given: { tts: true, allowed_mentions: { roles: ['1'] } },
      body: {
        content: markdownText,
        nonce: expectNonce(),
        tts: true,
        allowed_mentions: { parse: [], roles: ['1'] },
      },
    },
    accepted: { status: 200, body: { id: 'dc-1' } },
    reference: 'dc-1',
    permanent: {
      '400': { status: 400, body: { code: 50_035 } },
      '403': { status: 403, body: { code: 50_013 } },
    },
    channel: { status: 401, body: { code: 0 } },
    bounced: [{ status: 404, body: { code: 10_003 } }],
    throttled: [{ status: 429, body: { retry_after: 0.5 } }],
    key: (request) => (jsonBody(request) as { readonly nonce: string }).nonce,
  }),
  aCase({
    provider: discord,
    variant: 'incoming webhook',
    content: hook,
    settings: () => ({}),
    secrets: ['hook-verysecret'],
    request: {
      method: 'POST',
      path: '/services/T01/B01/hook-verysecret?wait=true',
      body: { content: markdownText, allowed_mentions: { parse: [] } },
    },
    body: jsonBody,
    overrides: {
      given: { username: 'Alarm' },
      body: { content: markdownText, username: 'Alarm' },
    },
    accepted: { status: 200, body: { id: 'dc-2' } },
    reference: 'dc-2',
    permanent: { '400': { status: 400, body: { code: 50_006 } } },
    bounced: [{ status: 404, body: { code: 10_015 } }],
  }),
  aCase({
    provider: msTeams,
    content: hook,
    settings: () => ({}),
    secrets: ['hook-verysecret'],
    request: {
      method: 'POST',
      path: '/services/T01/B01/hook-verysecret',
      body: {
        type: 'message',
        attachments: [
          {
            contentType: 'application/vnd.microsoft.card.adaptive',
            content: {
              type: 'AdaptiveCard',
              body: [{ type: 'TextBlock', text: markdownText, wrap: true }],
            },
          },
        ],
      },
    },
    body: jsonBody,
    overrides: {
      given: { msteams: { width: 'Full' } },
      body: { attachments: [{ content: { type: 'AdaptiveCard', msteams: { width: 'Full' } } }] },
    },
    accepted: { status: 202 },
    reference: null,
    permanent: {
      '400': { status: 400, body: { error: { code: 'TriggerInputSchemaMismatch' } } },
      '401': { status: 401, body: { error: { code: 'DirectApiAuthorizationRequired' } } },
      '403': { status: 403, body: {} },
    },
    bounced: [{ status: 404, body: { error: { code: 'WorkflowNotFound' } } }],
    throttled: [
      { status: 200, body: 'Webhook message delivery failed with error: HTTP error 429' },
    ],
  }),
]

/** The id of the message in 25 characters. */
function expectNonce(): string {
  return BigInt('0x0190a0b0000070008000000000000001').toString(36)
}
