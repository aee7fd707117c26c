import { createECDH, randomBytes } from 'node:crypto'
import { describe, expect } from 'vitest'
import webPush from 'web-push'
import { channelId, type ChannelKey, type EnvironmentName } from '../../src/ids.ts'
import { addressesOf } from '../../src/channels/channel-data.ts'
import type { Database } from '../../src/db/database.ts'
import { loadChannelData } from '../../src/recipients/channel-data-store.ts'
import { test as baseTest } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'
import { startHttp, type HttpFake } from '../support/http.ts'

interface Scene {
  readonly engine: Engine
  readonly slack: HttpFake
}

const test = baseTest.extend<{ scene: Scene }>({
  scene: async ({ database }, use) => {
    await using slack = await startHttp((request, response) => {
      const isHook = request.path.startsWith('/services/')
      response.writeHead(200, { 'content-type': 'application/json' })
      // Whatever comes back is logged, also what gives access.
      const echo = [request.path, request.headers.authorization]
      response.end(JSON.stringify(isHook ? echo : { ok: true, ts: '1.2', echo }))
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

const subscription = (url: string) => ({
  endpoint: url,
  keys: {
    p256dh: createECDH('prime256v1').generateKeys().toString('base64url'),
    auth: randomBytes(16).toString('base64url'),
  },
})

/** An environment whose push services say of everything with `dead` in it that it is no more. */
async function pushScene(database: Database, more = '') {
  const service = await startHttp((request, response) => {
    const isDead = `${request.path}${request.body}`.includes('dead')
    if (request.path.startsWith('/browser')) {
      response.writeHead(isDead ? 410 : 201).end()
      return
    }
    const error = { status: 'error', details: { error: 'DeviceNotRegistered' } }
    const data = isDead ? error : { status: 'ok', id: 'ex-1' }
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ data }))
  })
  const keys = webPush.generateVAPIDKeys()
  const production = `
ref: main
channels:
  app: { type: push, provider: expo, settings: { endpoint: "${service.url}"${more} } }
  web: { type: push, provider: webpush, settings: { public_key: ${keys.publicKey}, private_key: "${keys.privateKey}", subject: "mailto:a@example.com" } }
`
  const engine = await openEngine(database, { environments: { production } })
  await engine.commit({
    'workflows/ping/workflow.yaml': `name: Ping
steps:
  - { ref: app, type: push, channel: app, title: Hi, body: There, data: { page: "{{data.page}}" } }
  - { ref: web, type: push, channel: web, title: Hi, body: There, silent: true }
`,
  })
  const kept = async () => {
    const refs = [{ collection: '$users', id: 'ada' }]
    const found = await loadChannelData(database, 'production' as EnvironmentName, refs)
    return found.map(({ channel, data }) => [channel, addressesOf(data).map(({ token }) => token)])
  }
  return {
    service,
    engine,
    kept,
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]()
      await service[Symbol.asyncDispose]()
    },
  }
}

baseTest('a device that is no more is forgotten, and the others are not', async ({ database }) => {
  await using scene = await pushScene(database)
  const { engine, service, kept } = scene
  const browsers = ['/browser/dead', '/browser/alive'].map((path) =>
    subscription(service.url + path),
  )
  const channel_data = {
    app: { tokens: ['alive-1', 'dead-1', 'dead-2', 'alive-2'] },
    web: { subscriptions: browsers },
  }
  await engine.trigger('ping', { recipients: [{ id: 'ada', channel_data }], data: { page: 7 } })
  await engine.drain()
  const messages = await engine.messages()
  const ends = messages.map(({ step_ref, status, reason, content }) => [
    step_ref,
    String(content['token']).replace(service.url, ''),
    status,
    reason,
  ])
  expect(ends).toHaveLength(6)
  expect(ends).toEqual(
    expect.arrayContaining([
      ['app', 'alive-1', 'sent', null],
      ['app', 'dead-1', 'bounced', 'address_gone'],
      ['app', 'dead-2', 'bounced', 'address_gone'],
      ['app', 'alive-2', 'sent', null],
      ['web', '/browser/dead', 'bounced', 'address_gone'],
      ['web', '/browser/alive', 'sent', null],
    ]),
  )
  expect(await kept()).toEqual(
    expect.arrayContaining([
      ['app', ['alive-1', 'alive-2']],
      ['web', [`${service.url}/browser/alive`]],
    ]),
  )
  await engine.trigger('ping', { recipients: ['ada'], data: { page: 7 } })
  await engine.drain()
  expect(await engine.messages()).toHaveLength(9)
})

baseTest('a device is kept where the channel says so', async ({ database }) => {
  await using scene = await pushScene(database, ', token_deregistration: false')
  const { engine } = scene
  const channel_data = { app: { tokens: ['dead-1'] } }
  await engine.trigger('ping', { recipients: [{ id: 'ada', channel_data }], data: {} })
  await engine.drain()
  expect(await engine.messages()).toMatchObject([{ step_ref: 'app', status: 'bounced' }])
  expect(await scene.kept()).toEqual([['app', ['dead-1']]])
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
    // The service takes one message in a second for each place.
    engine.clock.advance(1_000)
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
