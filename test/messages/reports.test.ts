import { afterEach, beforeEach, describe, expect } from 'vitest'
import type { Fate } from '../../src/channels/report.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { MessageId } from '../../src/ids.ts'
import { deliver } from '../../src/messages/deliver.ts'
import { releaseDeadClaims } from '../../src/messages/due.ts'
import { findMessageEvents, listDeliveries } from '../../src/messages/log-store.ts'
import { sweepChannelReports } from '../../src/messages/report-store.ts'
import type { Channel } from '../../src/workflow/environment.ts'
import type { TestClock } from '../support/clock.ts'
import { counted } from '../support/counted.ts'
import { test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import { production } from './builders.ts'
import { aProcess, eventTypes, insert, stateOf, prepare } from './harness.ts'
import { aMail, aMailChannel, listed, send, taken, tell } from './report-harness.ts'

let clock: TestClock
let stop: AbortController

beforeEach<{ database: Database }>(async ({ database }) => {
  ;({ clock, stop } = await prepare(database))
})
afterEach(() => {
  stop.abort()
})

describe('a report', () => {
  test.for([
    ['delivered', 'delivered'],
    ['gone', 'bounced'],
  ] as const)(
    'that a mail is %s holds although it comes before the answer of its own hand-over',
    async ([fate, status], { database }) => {
      const message = aMail()
      const told: { channel?: Channel } = {}
      await using server = await startHttp(async (request, response) => {
        await tell({ database, clock }, told.channel!, {
          message: message.id,
          fate,
          reference: 're-1',
        })
        await taken(request, response, 0)
      })
      told.channel = await aMailChannel(database, server)
      await send({ database, clock, signal: stop.signal }, message)
      expect(await stateOf(database, message.id)).toMatchObject({
        status,
        attempt: 1,
        due_at: null,
        claimed_by: null,
        reference: 're-1',
      })
      expect(await eventTypes(database, message.id)).toEqual([
        'message.created',
        'message.queued',
        'message.sent',
        `message.${status}`,
      ])
      // The report, and the hand-over that it overtook.
      expect(await listDeliveries(database, production, message.id)).toHaveLength(2)
    },
  )

  test.for(['retry', 'hold'] as const)(
    'ends a message of unknown outcome (%s): it is not handed over again',
    async (on_ambiguous, { database }) => {
      await using server = await startHttp((_request, response) => void response.destroy())
      const channel = await aMailChannel(database, server, { on_ambiguous })
      const message = aMail()
      const { ctx, job } = await send({ database, clock, signal: stop.signal }, message)
      expect(await stateOf(database, message.id)).toMatchObject({ reason: 'handover_unknown' })
      expect(
        await tell({ database, clock }, channel, { message: message.id, fate: 'delivered' }),
      ).toBe(1)
      clock.advance(3_600_000)
      await deliver(ctx, job)
      expect(server.requests).toHaveLength(1)
      expect(await stateOf(database, message.id)).toMatchObject({
        status: 'delivered',
        reason: null,
        due_at: null,
      })
    },
  )

  test('holds where the process that handed the message over has died', async ({ database }) => {
    const message = aMail()
    const told: { channel?: Channel } = {}
    await using server = await startHttp(taken)
    told.channel = await aMailChannel(database, server)
    const ctx = await aProcess(database, { clock, signal: stop.signal })
    await insert(database, clock, [message])
    await database.query(sql`
      update messages set attempt = 1, claimed_by = gen_random_uuid(), claimed_at = ${clock.now()}`)
    await tell({ database, clock }, told.channel, { message: message.id, fate: 'delivered' })
    expect(await releaseDeadClaims(ctx, clock.now())).toBe(0)
    expect(await stateOf(database, message.id)).toMatchObject({ status: 'delivered' })
  })

  test('of a message that was not handed over changes nothing', async ({ database }) => {
    await using server = await startHttp(taken)
    const channel = await aMailChannel(database, server)
    const waiting = aMail()
    const unsent = aMail()
    await insert(database, clock, [waiting, unsent])
    await database.query(sql`
      update messages set status = 'not_sent', reason = 'cancelled', attempt = 1, due_at = null
      where id = ${unsent.id}`)
    for (const { id } of [waiting, unsent]) {
      const fates: readonly Fate[] = ['delivered', 'gone', 'rejected', 'complained', 'clicked']
      const reports = fates.map((fate) => ({ message: id, fate }))
      expect(await tell({ database, clock }, channel, ...reports)).toBe(0)
    }
    expect(await stateOf(database, waiting.id)).toMatchObject({ status: 'queued' })
    expect(await stateOf(database, unsent.id)).toMatchObject({ status: 'not_sent' })
    expect(await listed(database)).toEqual([])
  })

  test('is told as an event and a log, with what can be stored', async ({ database }) => {
    await using server = await startHttp(taken)
    const channel = await aMailChannel(database, server)
    const message = aMail()
    await send({ database, clock, signal: stop.signal }, message)
    const details = `550 ${'x'.repeat(2_000)}\0\uD800`
    await tell({ database, clock }, channel, {
      message: message.id.toUpperCase(),
      fate: 'returned',
      details,
      shown: { a: '\0\uD800', b: ['y'.repeat(20_000)] },
    })
    const { events } = (await findMessageEvents(database, production, message.id))!
    const { data } = events.at(-1)!
    expect(data).toMatchObject({ attempt: 1, reason: 'returned', by: 'report' })
    expect(String(data?.['details'])).toHaveLength(500)
    const [, log] = await listDeliveries(database, production, message.id)
    expect(JSON.stringify(log).length).toBeLessThan(10_000)
  })

  test('is heard by who waits for it', async ({ database }) => {
    await using server = await startHttp(taken)
    const channel = await aMailChannel(database, server)
    const message = aMail()
    await send({ database, clock, signal: stop.signal }, message)
    await database.query(sql`
      insert into event_listeners (environment, event) values (${production}, 'message.bounced')`)
    await tell({ database, clock }, channel, { message: message.id, fate: 'gone' })
    const heard = await database.query(sql`
      select event, recipient, data ->> 'message_id' as message from recipient_events`)
    expect(heard).toEqual([{ event: 'message.bounced', recipient: 'ann', message: message.id }])
  })

  test('costs no statement more where there are many', async ({ database }) => {
    await using server = await startHttp(taken)
    const channel = await aMailChannel(database, server)
    const counts: number[] = []
    for (const count of [2, 200]) {
      const messages = Array.from({ length: count }, (_, index) => aMail(`u${index}@example.com`))
      await insert(database, clock, messages)
      await database.query(sql`update messages set status = 'sent', attempt = 1, due_at = null`)
      const counting = counted(database)
      const reports = messages.flatMap(({ id }) =>
        (['opened', 'clicked', 'gone', 'complained'] as const).map((fate) => ({
          message: id,
          fate,
        })),
      )
      expect(await tell({ database: counting.database, clock }, channel, ...reports)).toBe(count)
      counts.push(counting.count())
    }
    expect(counts[1]).toBe(counts[0])
  })

  test('that counts each time is known again for two days', async ({ database }) => {
    await using server = await startHttp(taken)
    const channel = await aMailChannel(database, server)
    const message = aMail()
    await send({ database, clock, signal: stop.signal }, message)
    const clicks = async () =>
      (await eventTypes(database, message.id))?.filter((type) => type === 'message.link_clicked')
        .length
    const click = (at: number) => ({
      message: message.id,
      fate: 'clicked' as const,
      url: 'https://example.com/a',
      shown: { at },
    })
    await tell({ database, clock }, channel, click(1), click(1), click(2))
    await tell({ database, clock }, channel, click(2))
    expect(await clicks()).toBe(2)
    clock.advance(48 * 3_600_000)
    expect(await sweepChannelReports(database, clock.now())).toBe(0)
    clock.advance(1)
    expect(await sweepChannelReports(database, clock.now())).toBe(2)
  })
})

test('a click of somebody else’s id is no click', async ({ database }) => {
  await using server = await startHttp(taken)
  const channel = await aMailChannel(database, server)
  const ids = [null, 7, {}, '', 'x'.repeat(100_000), ['0190a0b0-0000-7000-8000-0000000000ff']]
  const reports = ids.map((message) => ({
    message: message as unknown as MessageId,
    fate: 'gone' as const,
  }))
  expect(await tell({ database, clock }, channel, ...reports)).toBe(0)
})
