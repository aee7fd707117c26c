import { beforeEach, expect } from 'vitest'
import { suppressions } from '../../src/api/suppressions.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { insertSuppressions } from '../../src/messages/suppressions.ts'
import { aChannel, production, saveEnvironment, startOfTest } from '../messages/builders.ts'
import { test } from '../support/database.ts'
import { anEnvironment, serve } from './server-support.ts'

const mail = 'mail' as ChannelKey
const messageId = '0190a0b0-0000-7000-8000-000000000001' as never
const path = '/v1/channels/mail/suppressions'

beforeEach<{ database: Database }>(async ({ database }) => {
  const channel = aChannel({ type: 'email', provider: 'smtp', key: mail })
  await saveEnvironment(database, {
    mail: channel,
    other: { ...channel, key: 'other' as ChannelKey },
  })
})

async function suppress(database: Database, ...addresses: readonly string[]): Promise<void> {
  await database.query(sql`delete from suppressions`)
  const rows = addresses.map((address) => ({
    environment: production,
    channel: mail,
    address,
    reason: 'bounced' as const,
    details: '550 5.1.1 unknown',
    messageId,
  }))
  await database.transaction((tx) => insertSuppressions(tx, rows, startOfTest))
}

test('addresses that take nothing more are listed, page by page and back', async ({ database }) => {
  const { key } = await anEnvironment(database, 'production', ['read'])
  await suppress(database, 'c@example.com', 'a@example.com', 'b@example.com')
  await using api = await serve(database, suppressions)
  const get = async (query: string) => {
    const { status, body } = await api.call('GET', `${path}${query}`, { key })
    expect(status).toBe(200)
    const { entries, page_info: info } = body as {
      entries: readonly { address: string }[]
      page_info: { after: string | null; before: string | null }
    }
    return { addresses: entries.map(({ address }) => address), ...info, entries }
  }
  const all = await get('')
  expect(all).toMatchObject({
    addresses: ['a@example.com', 'b@example.com', 'c@example.com'],
    after: null,
    before: null,
  })
  expect(all.entries[0]).toEqual({
    __typename: 'Suppression',
    channel_id: channelId(mail),
    channel: 'mail',
    address: 'a@example.com',
    reason: 'bounced',
    details: '550 5.1.1 unknown',
    message_id: messageId,
    inserted_at: startOfTest.toISOString(),
  })
  const first = await get('?page_size=2')
  expect(first).toMatchObject({ addresses: ['a@example.com', 'b@example.com'], before: null })
  const second = await get(`?page_size=2&after=${first.after}`)
  expect(second).toMatchObject({ addresses: ['c@example.com'], after: null })
  const back = await get(`?page_size=1&before=${second.before}`)
  expect(back.addresses).toEqual(['b@example.com'])
  const end = Buffer.from('d@example.com').toString('base64url')
  expect((await get(`?page_size=1&before=${end}`)).addresses).toEqual(['c@example.com'])
  const byId = await api.call('GET', `/v1/channels/${channelId(mail)}/suppressions`, { key })
  expect(byId).toMatchObject({ body: { entries: [{}, {}, {}] } })
  expect(await api.call('GET', '/v1/channels/other/suppressions', { key })).toMatchObject({
    body: { entries: [] },
  })
  expect(await api.call('GET', '/v1/channels/none/suppressions', { key })).toMatchObject({
    status: 404,
  })
})

test('an address is cleared, in whatever way it is written', async ({ database }) => {
  const { key } = await anEnvironment(database, 'production', ['write'])
  const reader = await anEnvironment(database, 'production', ['read'])
  await suppress(database, 'ann@xn--bcher-kva.example', '+15550100000', 'bo@example.com')
  await using api = await serve(database, suppressions)
  const clear = (address: string, by = key) =>
    api.call('DELETE', `${path}/${encodeURIComponent(address)}`, { key: by })
  expect(await clear('bo@example.com', reader.key)).toMatchObject({ status: 403 })
  expect(await clear('Ann@Bücher.example')).toMatchObject({ status: 204 })
  expect(await clear('+1 (555) 010-0000')).toMatchObject({ status: 204 })
  expect(await clear('Ann@Bücher.example')).toMatchObject({ status: 404 })
  expect(await clear('none')).toMatchObject({ status: 404 })
  const rows = await database.query<{ address: string }>(sql`select address from suppressions`)
  expect(rows).toEqual([{ address: 'bo@example.com' }])
})
