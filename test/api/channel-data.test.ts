import { describe, expect } from 'vitest'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { insertMessages } from '../../src/messages/store.ts'
import type { MessageContent } from '../../src/steps/step.ts'
import {
  aChannel,
  aMessage,
  saveEnvironment,
  saveWorkflow,
  startOfTest,
} from '../messages/builders.ts'
import { test as base } from '../support/database.ts'
import { expectShape, serveAll } from './contract-support.ts'
import { anEnvironment, type TestReply } from './server-support.ts'

interface Api {
  call(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: object): Promise<TestReply>
}

const channels = {
  feed: aChannel({ key: 'feed' as ChannelKey, type: 'in_app', provider: 'in_app' }),
  app: aChannel({ key: 'app' as ChannelKey, type: 'push', provider: 'fcm' }),
  ops: aChannel({ key: 'ops' as ChannelKey, type: 'chat', provider: 'slack' }),
}
const pushTokens = { tokens: ['a', 'b'] }
const opsId = channelId('ops' as ChannelKey)
const data = { connections: [{ channel_id: 'C01', access_token: 'xoxb-1' }] }

const test = base.extend<{ api: Api }>({
  api: async ({ database }, use) => {
    await database.execute('truncate recipients, channel_data')
    await saveEnvironment(database, channels)
    const { key } = await anEnvironment(database, 'production')
    await using server = await serveAll(database)
    await use({
      call: (method, path, body) => server.call(method, path, { key, ...(body && { body }) }),
    })
  },
})

describe.each(['/v1/users/ann', '/v1/objects/teams/core'])('channel data of %s', (owner) => {
  test('is written whole, shown and deleted, by the id or the key of the channel', async ({
    api,
  }) => {
    const put = await api.call('PUT', `${owner}/channel_data/${opsId}`, { data })
    expect(put).toMatchObject({
      status: 200,
      body: { __typename: 'ChannelData', channel_id: opsId, provider: 'chat_slack', data },
    })
    expectShape('ChannelData', put.body)
    expect(await api.call('GET', owner)).toMatchObject({ status: 200 })
    const path = `${owner}/channel_data/ops`
    expect((await api.call('GET', path)).body).toEqual(put.body)
    const other = { connections: [{ incoming_webhook: { url: 'https://hooks.example.com/1' } }] }
    await api.call('PUT', path, { data: other })
    expect(await api.call('GET', path)).toMatchObject({ body: { data: other } })
    expect(await api.call('DELETE', path)).toMatchObject({ status: 204 })
    expect(await api.call('GET', path)).toMatchObject({ status: 404 })
  })

  test('comes with the recipient, and goes with it', async ({ api }) => {
    const written = await api.call('PUT', owner, { name: 'A', channel_data: { [opsId]: data } })
    expect(written.status).toBe(200)
    expect(JSON.stringify(written.body)).not.toContain('xoxb-1')
    expect(await api.call('GET', `${owner}/channel_data/ops`)).toMatchObject({ body: { data } })
    await api.call('PUT', owner, { channel_data: null, name: 'B' })
    expect(await api.call('GET', `${owner}/channel_data/ops`)).toMatchObject({ status: 200 })
    await api.call('DELETE', owner)
    await api.call('PUT', owner, { name: 'A' })
    expect(await api.call('GET', `${owner}/channel_data/ops`)).toMatchObject({ status: 404 })
  })

  test('is refused where it is none', async ({ api }) => {
    const wrong = [
      ['ops', { connections: [{}] }, '/data/connections/0'],
      ['feed', data, '/data'],
    ] as const
    for (const [channel, given, field] of wrong) {
      const refused = await api.call('PUT', `${owner}/channel_data/${channel}`, { data: given })
      expect(refused).toMatchObject({ status: 422, body: { errors: [{ field }] } })
    }
    const inline = await api.call('PUT', owner, { channel_data: { nowhere: data } })
    expect(inline).toMatchObject({
      status: 422,
      body: { errors: [{ field: '/channel_data/nowhere' }] },
    })
    expect(await api.call('PUT', `${owner}/channel_data/nowhere`, { data })).toMatchObject({
      status: 404,
    })
    expect(await api.call('GET', owner)).toMatchObject({ status: 404 })
  })
})

test('devices are shown as tokens too, and messages in the shapes of the contract', async ({
  api,
  database,
}) => {
  const put = await api.call('PUT', '/v1/users/ann/channel_data/app', { data: pushTokens })
  expectShape('ChannelData', put.body)
  expect(put.body).toMatchObject({
    provider: 'push_fcm',
    data: { tokens: ['a', 'b'], devices: [{ token: 'a' }, { token: 'b' }] },
  })
  await saveWorkflow(database, 'welcome')
  const secret = { channel_id: 'C01', access_token: 'xoxb-1' }
  const contents: readonly MessageContent[] = [
    { type: 'push', token: 'a', title: 'Hi', body: 'There', data: { a: 1 }, silent: false },
    { type: 'sms', to: '+15550100000', body: 'Hi' },
    { type: 'chat', connection: secret, markdown: 'Hi', blocks: null, summary: null },
  ]
  const messages = contents.map((content) => aMessage({ content }))
  await database.transaction((tx) => insertMessages(tx, messages, startOfTest))
  const shown = await Promise.all(
    messages.map(({ id }) => api.call('GET', `/v1/messages/${id}/content`)),
  )
  const bodies = shown.map(({ body }) => (body as { readonly data: object }).data)
  for (const [index, name] of ['Push', 'Sms', 'Chat'].entries())
    expectShape(`Message${name}Content`, bodies[index])
  expect(JSON.stringify(bodies)).not.toContain('xoxb-1')
})

test('merging a user gives the other one what it does not have', async ({ api }) => {
  const own = { connections: [{ channel_id: 'own' }] }
  await api.call('PUT', '/v1/users/guest', { channel_data: { ops: data } })
  await api.call('PUT', '/v1/users/ann', {})
  await api.call('PUT', '/v1/users/bob', { channel_data: { ops: own } })
  await api.call('POST', '/v1/users/ann/merge', { from_user_id: 'guest' })
  await api.call('POST', '/v1/users/bob/merge', { from_user_id: 'ann' })
  expect(await api.call('GET', '/v1/users/bob/channel_data/ops')).toMatchObject({
    body: { data: own },
  })
})
