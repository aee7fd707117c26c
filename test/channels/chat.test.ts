import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { discord } from '../../src/channels/discord.ts'
import { openDoor } from '../../src/channels/door.ts'
import type { Door } from '../../src/channels/door.ts'
import { msTeams } from '../../src/channels/ms-teams.ts'
import type { HandOver } from '../../src/channels/provider.ts'
import { slack } from '../../src/channels/slack.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import type { ChatContent } from '../../src/steps/step.ts'
import { startHttp } from '../support/http.ts'
import { id, now } from './conformance/case.ts'

let door: Door
beforeEach(() => {
  door = openDoor({ allow: [], loopback: true })
})
afterEach(() => door.close())

function aChat(content: Partial<ChatContent>): HandOver<ChatContent> {
  return {
    id,
    environment: 'production' as EnvironmentName,
    attempt: 1,
    content: {
      type: 'chat',
      connection: { channel_id: 'C01' },
      markdown: 'Hi',
      blocks: null,
      summary: null,
      ...content,
    },
  }
}

function within<Settings>(settings: Settings) {
  return { settings, signal: AbortSignal.timeout(5_000), now, door, secret: () => '' }
}

const blocks = [
  { type: 'section', text: { type: 'mrkdwn', text: '<!channel> <!subteam^S1> <@U1> *a* & b' } },
]
const refusedFor = (reason: string) => ({ kind: 'rejected', reason, exchange: null })

describe('slack', () => {
  test('gets blocks as they are, but for what calls everybody', async () => {
    await using server = await startHttp()
    const settings = { bot_token: 'xoxb-1', endpoint: server.url }
    const content = { blocks, markdown: null, summary: 'a & <!here>' }
    await slack.send(aChat(content), within(settings))
    expect(JSON.parse(server.requests[0]?.body ?? '')).toMatchObject({
      text: 'a &amp; &lt;!here&gt;',
      blocks: [{ text: { text: '&lt;!channel> &lt;!subteam^S1> <@U1> *a* & b' } }],
    })
  })

  test('shows the summary where it cannot show the text', async () => {
    await using server = await startHttp()
    const settings = { bot_token: 'xoxb-1', endpoint: server.url }
    await slack.send(aChat({ summary: 'Short' }), within(settings))
    expect(JSON.parse(server.requests[0]?.body ?? '')).toMatchObject({
      text: 'Short',
      blocks: [{ type: 'section', text: { type: 'mrkdwn', text: 'Hi' } }],
    })
  })

  test('gets nothing without a token or a place', async () => {
    const none = refusedFor('invalid_address')
    expect(await slack.send(aChat({}), within({}))).toMatchObject(none)
    const placeless = aChat({ connection: { access_token: 'xoxb-1' } })
    expect(await slack.send(placeless, within({}))).toMatchObject(none)
  })
})

describe('discord', () => {
  test('gets nothing that is longer than it takes, and nothing without a place', async () => {
    const settings = within({ bot_token: 'dc-1' })
    const long = aChat({ markdown: 'x'.repeat(2_001) })
    expect(await discord.send(long, settings)).toMatchObject(refusedFor('invalid_request'))
    const none = refusedFor('invalid_address')
    expect(await discord.send(aChat({}), within({}))).toMatchObject(none)
    expect(await discord.send(aChat({ connection: {} }), settings)).toMatchObject(none)
    const broken = aChat({ connection: { incoming_webhook: { url: 'nowhere' } } })
    expect(await discord.send(broken, settings)).toMatchObject(refusedFor('invalid_request'))
  })

  test('waits as long as the answer says, to the fraction of a second', async () => {
    await using server = await startHttp((_request, response) => {
      response.writeHead(429, { 'content-type': 'application/json' })
      response.end('{"retry_after": 1.25}')
    })
    const settings = { bot_token: 'dc-1', endpoint: server.url }
    const answer = await discord.send(aChat({ blocks: [{ title: 'a' }] }), within(settings))
    expect(answer).toMatchObject({ kind: 'throttled', retryAfterMs: 1_250 })
    expect(JSON.parse(server.requests[0]?.body ?? '')).toMatchObject({ embeds: [{ title: 'a' }] })
  })
})

describe('ms_teams', () => {
  test('gets no card that it would drop, and nothing without a URL', async () => {
    const url = 'https://flows.example.com/1'
    const large = aChat({
      connection: { incoming_webhook: { url } },
      markdown: 'x'.repeat(22 * 1024),
    })
    expect(await msTeams.send(large, within({}))).toMatchObject(refusedFor('invalid_request'))
    expect(await msTeams.send(aChat({}), within({}))).toMatchObject(refusedFor('invalid_address'))
  })

  test('takes an error in the text of a 200 for one', async () => {
    await using server = await startHttp((_request, response) => {
      response.writeHead(200).end('Webhook message delivery failed with error: HTTP error 500')
    })
    const connection = { incoming_webhook: { url: server.url } }
    const answer = await msTeams.send(
      aChat({
        connection,
        markdown: null,
        blocks: [{ type: 'TextBlock', text: 'a' }],
        summary: 's',
      }),
      within({}),
    )
    expect(answer).toMatchObject({ kind: 'failed', exchange: { request: { path: '•••' } } })
    expect(JSON.parse(server.requests[0]?.body ?? '')).toMatchObject({
      summary: 's',
      attachments: [{ content: { fallbackText: 's', body: [{ type: 'TextBlock', text: 'a' }] } }],
    })
  })
})
