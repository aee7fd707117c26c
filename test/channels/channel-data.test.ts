import { describe, expect, test } from 'vitest'
import {
  addressesOf,
  channelDataProblems,
  channelDataToWire,
  contentSecrets,
  normalChannelData,
} from '../../src/channels/channel-data.ts'

const subscription = { endpoint: 'https://push.example.com/1', keys: { p256dh: 'a', auth: 'b' } }

describe('devices', () => {
  test('are given as tokens or as devices, and shown as both', () => {
    const tokens = { tokens: ['a', 'b', 'a'] }
    const devices = { devices: [{ token: 'a', locale: 'de', extra: 1 }] }
    expect([tokens, devices].flatMap((data) => channelDataProblems('devices', data))).toEqual([])
    const kept = normalChannelData('devices', tokens)
    expect(channelDataToWire(kept)).toEqual({
      tokens: ['a', 'b'],
      devices: [
        { token: 'a', locale: null, timezone: null },
        { token: 'b', locale: null, timezone: null },
      ],
    })
    expect(normalChannelData('devices', devices)).toEqual({
      devices: [{ token: 'a', locale: 'de', timezone: null }],
    })
  })

  test.each([
    [{}, '/tokens'],
    [{ tokens: 'a' }, '/tokens'],
    [{ tokens: ['a', ''] }, '/tokens/1'],
    [{ devices: [{ locale: 'de' }] }, '/devices/0'],
    [{ devices: [{ token: 'a', timezone: 1 }] }, '/devices/0'],
    [{ tokens: Array.from({ length: 101 }, String) }, '/tokens'],
    [null, ''],
  ])('%j is refused', (data, path) => {
    expect(channelDataProblems('devices', data)).toMatchObject([{ path }])
  })
})

describe('subscriptions', () => {
  test('are what a browser gives', () => {
    expect(channelDataProblems('subscriptions', { subscriptions: [subscription] })).toEqual([])
    expect(addressesOf({ subscriptions: [subscription] })).toEqual([
      { token: subscription.endpoint, subscription },
    ])
  })

  test.each([{ endpoint: 'ftp://x' }, { ...subscription, keys: {} }, 1])('%j is refused', (one) => {
    const problems = channelDataProblems('subscriptions', { subscriptions: [one] })
    expect(problems).toMatchObject([{ path: '/subscriptions/0' }])
  })
})

describe('connections', () => {
  test('use the shared token where they have none of their own', () => {
    const data = {
      token: { access_token: 'shared' },
      connections: [{ channel_id: 'a' }, { channel_id: 'b', access_token: 'own' }],
    }
    expect(channelDataProblems('connections', data)).toEqual([])
    expect(addressesOf(normalChannelData('connections', data))).toEqual([
      { channel_id: 'a', access_token: 'shared' },
      { channel_id: 'b', access_token: 'own' },
    ])
  })

  test.each([
    [{ connections: [{}] }, '/connections/0'],
    [{ connections: [{ channel_id: 1 }] }, '/connections/0'],
    [{ connections: [{ incoming_webhook: {} }] }, '/connections/0'],
    [{ connections: [], token: {} }, undefined],
    [{ connections: [], token: 'x' }, '/token'],
    [{ connections: [], ms_teams_tenant_id: 1 }, '/ms_teams_tenant_id'],
    [{}, '/connections'],
  ])('%j is judged', (data, path) => {
    const [problem] = channelDataProblems('connections', data)
    expect(problem?.path).toBe(path)
  })
})

test('what is no channel data holds no addresses', () => {
  expect(addressesOf(undefined)).toEqual([])
  expect(addressesOf({ other: [] })).toEqual([])
})

test('what gives access is known, so that it can be masked', () => {
  const chat = { type: 'chat', markdown: 'Hi', blocks: null, summary: null } as const
  const url = 'https://hooks.example.com/services/T/B?key=1'
  const push = { type: 'push', title: '', body: '', data: null, silent: false } as const
  const secrets = ['/services/T/B?key=1', '/services/T/B']
  expect(contentSecrets({ ...chat, connection: { access_token: 'xoxb-1' } })).toEqual(['xoxb-1'])
  expect(contentSecrets({ ...chat, connection: { incoming_webhook: { url } } })).toEqual([
    url,
    ...secrets,
  ])
  expect(contentSecrets({ ...push, token: subscription.endpoint, subscription })).toEqual([
    'b',
    'https://push.example.com/1',
  ])
  expect(contentSecrets({ ...push, token: 'a' })).toEqual([])
  expect(contentSecrets({ type: 'sms', to: '+15550100', body: 'Hi' })).toEqual([])
})
