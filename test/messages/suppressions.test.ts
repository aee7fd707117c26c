import { afterEach, beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { ChannelKey } from '../../src/ids.ts'
import { deliver } from '../../src/messages/deliver.ts'
import { findMessageEvents } from '../../src/messages/log-store.ts'
import type { TestClock } from '../support/clock.ts'
import { test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import { smtpAnswer, startSmtp } from '../support/smtp.ts'
import { aChannel, aMessage, production, saveEnvironment } from './builders.ts'
import { insert, stateOf, prepare } from './harness.ts'
import { aMail, aMailChannel, listed, send, taken, tell } from './report-harness.ts'

let clock: TestClock
let stop: AbortController

beforeEach<{ database: Database }>(async ({ database }) => {
  ;({ clock, stop } = await prepare(database))
})
afterEach(() => {
  stop.abort()
})

describe('an address that is gone', () => {
  test('gets nothing more, in whatever way it is written, until it is cleared', async ({
    database,
  }) => {
    await using server = await startHttp(taken)
    const channel = await aMailChannel(database, server)
    const first = aMail('Ann@Bücher.example')
    await send({ database, clock, signal: stop.signal }, first)
    await tell({ database, clock }, channel, {
      message: first.id,
      fate: 'gone',
      address: 'ANN@xn--bcher-kva.example',
      details: '550 5.1.1 unknown',
    })
    expect(await listed(database)).toEqual([
      {
        address: 'ann@xn--bcher-kva.example',
        reason: 'bounced',
        details: '550 5.1.1 unknown',
        messageId: first.id,
        insertedAt: clock.now(),
      },
    ])
    const second = aMail('ann@bücher.example')
    const other = aMail('bo@example.com')
    const { ctx } = await send({ database, clock, signal: stop.signal }, second, other)
    expect(await stateOf(database, second.id)).toMatchObject({
      status: 'not_sent',
      reason: 'suppressed',
      attempt: 0,
    })
    const { events } = (await findMessageEvents(database, production, second.id))!
    expect(events.at(-1)).toMatchObject({
      type: 'message.not_sent',
      data: { reason: 'suppressed', cause: 'bounced', since: clock.now().toISOString() },
    })
    expect(await stateOf(database, other.id)).toMatchObject({ status: 'sent' })
    await database.query(sql`delete from suppressions`)
    // The service takes two in a second.
    clock.advance(1_000)
    const third = aMail('ann@bücher.example')
    await deliver(ctx, await insert(database, clock, [third]))
    expect(await stateOf(database, third.id)).toMatchObject({ status: 'sent' })
  })

  test('is told at once by a mail server', async ({ database }) => {
    await using server = await startSmtp({
      onRcptTo: (_address, _session, callback) => callback(smtpAnswer(550, '5.1.1 no such user')),
    })
    const settings = { host: '127.0.0.1', port: server.port, from: 'hello@example.com' }
    await saveEnvironment(database, {
      main: aChannel({ type: 'email', provider: 'smtp', settings }),
    })
    const [first, second] = [aMail('ann@example.com'), aMail('Ann@example.com')]
    await send({ database, clock, signal: stop.signal }, first)
    expect(await stateOf(database, first.id)).toMatchObject({
      status: 'bounced',
      reason: 'address_gone',
    })
    expect(await listed(database)).toMatchObject([{ reason: 'bounced', messageId: first.id }])
    await send({ database, clock, signal: stop.signal }, second)
    expect(await stateOf(database, second.id)).toMatchObject({ reason: 'suppressed' })
  })

  test('is told by nobody where the secret for it is not there, and messages go out', async ({
    database,
  }) => {
    await using server = await startHttp(taken)
    const channel = await aMailChannel(database, server)
    const settings = { ...channel.settings, webhook_secret: [{ secret: 'NOT_THERE' }] }
    await saveEnvironment(database, { main: { ...channel, settings } })
    const message = aMail()
    await send({ database, clock, signal: stop.signal }, message)
    expect(await stateOf(database, message.id)).toMatchObject({ status: 'sent' })
  })

  test('is written down for its own channel', async ({ database }) => {
    await using server = await startHttp(taken)
    const channel = await aMailChannel(database, server)
    const other = { ...channel, key: 'other' as ChannelKey }
    await saveEnvironment(database, { main: channel, other })
    const first = aMail()
    await send({ database, clock, signal: stop.signal }, first)
    await tell({ database, clock }, channel, { message: first.id, fate: 'gone' })
    const second = { ...aMail(), channel: other.key }
    await send({ database, clock, signal: stop.signal }, second)
    expect(await stateOf(database, second.id)).toMatchObject({ status: 'sent' })
  })

  test('is neither written down nor asked about where the channel says so', async ({
    database,
  }) => {
    await using server = await startHttp(taken)
    const channel = await aMailChannel(database, server, { suppress_bounced: false })
    const first = aMail()
    await send({ database, clock, signal: stop.signal }, first)
    await tell({ database, clock }, channel, { message: first.id, fate: 'gone' })
    await tell({ database, clock }, channel, { message: first.id, fate: 'complained' })
    expect(await stateOf(database, first.id)).toMatchObject({ status: 'bounced' })
    expect(await listed(database)).toEqual([])
    await database.query(sql`
      insert into suppressions (environment, channel, address, reason, message_id, inserted_at)
      values (${production}, 'main', 'ann@example.com', 'bounced', ${first.id}, ${clock.now()})`)
    const second = aMail()
    await send({ database, clock, signal: stop.signal }, second)
    expect(await stateOf(database, second.id)).toMatchObject({ status: 'sent' })
  })

  test('is not written down again by a report of before it was cleared', async ({ database }) => {
    await using server = await startHttp(taken)
    const channel = await aMailChannel(database, server)
    const message = aMail()
    await send({ database, clock, signal: stop.signal }, message)
    await tell({ database, clock }, channel, { message: message.id, fate: 'gone' })
    await database.query(sql`delete from suppressions`)
    await tell({ database, clock }, channel, { message: message.id, fate: 'gone' })
    await tell({ database, clock }, channel, { message: message.id, fate: 'returned' })
    expect(await listed(database)).toEqual([])
  })

  test('does not end as not sent where an earlier attempt may have arrived', async ({
    database,
  }) => {
    await using server = await startHttp((_request, response) => void response.destroy())
    const channel = await aMailChannel(database, server)
    const unknown = aMail()
    const { ctx, job } = await send({ database, clock, signal: stop.signal }, unknown)
    const other = aMail()
    await insert(database, clock, [other])
    await database.query(sql`
      update messages set status = 'sent', attempt = 1, due_at = null where id = ${other.id}`)
    await tell({ database, clock }, channel, { message: other.id, fate: 'gone' })
    clock.advance(60_000)
    await deliver(ctx, job)
    expect(await stateOf(database, unknown.id)).toMatchObject({
      status: 'undelivered',
      reason: 'handover_unknown',
    })
  })

  test('of a device is forgotten, unless the channel keeps it', async ({ database }) => {
    const content = {
      type: 'push',
      token: 'token-1',
      title: 'Hi',
      body: 'Hi',
      data: null,
      silent: false,
    } as never
    for (const [keeps, left] of [
      [false, []],
      [true, [{ token: 'token-1' }]],
    ] as const) {
      const channel = aChannel({
        type: 'push',
        provider: 'expo',
        settings: keeps ? { token_deregistration: false } : {},
      })
      await saveEnvironment(database, { main: channel })
      await database.query(sql`
        insert into channel_data (environment, collection, recipient, channel, data, updated_at)
        values (${production}, '$users', 'ann', 'main', '{"devices":[{"token":"token-1"}]}', ${clock.now()})
        on conflict (environment, collection, recipient, channel) do update set data = excluded.data`)
      const message = aMessage({ content, provider: 'expo' })
      await insert(database, clock, [message])
      await database.query(sql`
        update messages set status = 'sent', attempt = 1, due_at = null where id = ${message.id}`)
      await tell({ database, clock }, channel, { message: message.id, fate: 'gone' })
      const [row] = await database.query<{ devices: unknown }>(sql`
        select data -> 'devices' as devices from channel_data`)
      expect(row?.devices).toEqual(left)
      expect(await listed(database)).toEqual([])
    }
  })
})
