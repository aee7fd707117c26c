import { describe, expect } from 'vitest'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'
import { startHttp, type HttpFake } from '../support/http.ts'

interface Scene {
  readonly engine: Engine
  readonly slack: HttpFake
}

const test = base.extend<{ scene: Scene }>({
  scene: async ({ database }, use) => {
    await using slack = await startHttp((request, response) => {
      const isHook = request.path.startsWith('/services/')
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(isHook ? 'ok' : JSON.stringify({ ok: true, ts: '1.2' }))
    })
    const production = `
ref: main
channels:
  ops: { type: chat, provider: slack, settings: { endpoint: "${slack.url}", bot_token: { secret: BOT } } }
  phone: { type: sms, provider: vonage, settings: { api_key: key1, api_secret: { secret: BOT }, from: Example, endpoint: "${slack.url}" } }
`
    await using engine = await openEngine(database, {
      environments: { production },
      secrets: { 'production/BOT': 'xoxb-of-the-channel' },
    })
    await use({ engine, slack })
  },
})

const workflow = `name: Outage
steps:
  - { ref: chat, type: chat, markdown: "**{{data.service}}** is down, {{recipient.name}}" }
  - { ref: text, type: sms, body: "{{data.service}} is down" }
`
const ops = channelId('ops' as ChannelKey)

const named = (channel_id: string) => ({
  id: 'ada',
  phone_number: '+15550100000',
  channel_data: { [ops]: { connections: [{ channel_id }] } },
})

describe('a recipient with channel data', () => {
  test('gets a message by each connection, with the token of the connection or the channel', async ({
    scene: { engine, slack },
  }) => {
    await engine.commit({ 'workflows/outage/workflow.yaml': workflow })
    const url = `${slack.url}/services/T/B/very-secret-hook`
    const connections = [
      { channel_id: 'C01', access_token: 'xoxb-of-the-team' },
      { user_id: 'U02' },
      { incoming_webhook: { url } },
    ]
    const core = {
      id: 'core',
      collection: 'teams',
      name: 'Core',
      channel_data: { ops: { connections } },
    }
    await engine.trigger('outage', { recipients: [core], data: { service: '<!here>' } })
    await engine.drain()
    const sent = slack.requests.map(({ path, headers, body }) => [
      path,
      headers.authorization ?? null,
      (JSON.parse(body) as { text: string }).text,
    ])
    const text = '*&lt;!here&gt;* is down, Core'
    expect(sent).toHaveLength(3)
    expect(sent).toEqual(
      expect.arrayContaining([
        ['/api/chat.postMessage', 'Bearer xoxb-of-the-channel', text],
        ['/api/chat.postMessage', 'Bearer xoxb-of-the-team', text],
        ['/services/T/B/very-secret-hook', null, text],
      ]),
    )
    const messages = await engine.messages()
    expect(messages.map(({ step_ref, status }) => [step_ref, status])).toEqual([
      ['chat', 'sent'],
      ['chat', 'sent'],
      ['chat', 'sent'],
    ])
    const { rows } = await engine.database.execute('select request, response from deliveries')
    const log = JSON.stringify(rows)
    expect(log).not.toMatch(/xoxb-of|very-secret-hook/)
    const [run] = await engine.runs()
    expect(await engine.timeline(run!.id)).toContain('text step_skipped:recipient_data_missing')
  })

  test('is reached in the next run by what the last write said', async ({
    scene: { engine, slack },
  }) => {
    await engine.commit({ 'workflows/outage/workflow.yaml': workflow })
    await engine.trigger('outage', { recipients: [named('C01'), named('C02')], data: {} })
    await engine.drain()
    await engine.trigger('outage', { recipients: ['ada', 'nobody'], data: {} })
    await engine.drain()
    const places = slack.requests.map(({ body }) => {
      const { channel, to } = JSON.parse(body) as { channel?: string; to?: string }
      return `${channel === 'sms' ? to : channel}`
    })
    expect(places.toSorted()).toEqual(['15550100000', '15550100000', 'C02', 'C02'])
  })
})

test('channel data for a channel that is not there refuses the trigger', async ({
  scene: { engine },
}) => {
  await engine.commit({ 'workflows/outage/workflow.yaml': workflow })
  const recipients = [{ id: 'ada', channel_data: { nowhere: { connections: [] } } }]
  await expect(engine.trigger('outage', { recipients })).rejects.toMatchObject({
    status: 422,
    errors: [{ field: '/recipients/0/channel_data/nowhere' }],
  })
})
