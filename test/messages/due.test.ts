import { afterEach, beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { ChannelKey, EnvironmentName } from '../../src/ids.ts'
import { deliver } from '../../src/messages/deliver.ts'
import type { DeliverJob } from '../../src/messages/claim.ts'
import type { DeliveryContext } from '../../src/messages/deliver.ts'
import { enqueueDueMessages, releaseDeadClaims } from '../../src/messages/due.ts'
import { findMessage, listDeliveries } from '../../src/messages/log-store.ts'
import { beat, endDeadLeases, listDeadProcesses } from '../../src/messages/leases.ts'
import { insertMessages } from '../../src/messages/store.ts'
import type { TestClock } from '../support/clock.ts'
import { test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import { aChannel, aMessage, aWebhookContent, production, startOfTest } from './builders.ts'
import { aProcess, insert, stateOf, statesOf, prepare } from './harness.ts'

let clock: TestClock
let stop: AbortController

beforeEach<{ database: Database }>(async ({ database }) => {
  ;({ clock, stop } = await prepare(database, {
    main: aChannel({ type: 'webhook', provider: 'webhook' }),
  }))
})
afterEach(() => {
  stop.abort()
})

function aLoop(database: Database) {
  const jobs: DeliverJob[] = []
  return {
    jobs,
    ctx: {
      database,
      enqueue: async (_tx: unknown, more: readonly DeliverJob[]) => void jobs.push(...more),
    },
  }
}

describe('a process that dies', () => {
  test('between claim and settlement has its claims freed, and the repetition has the same key', async ({
    database,
  }) => {
    await using server = await startHttp()
    const message = aMessage({ content: aWebhookContent(server.url) })
    const job = await insert(database, clock, [message])
    // The first process gets its answer, and cannot write it any more.
    const dying = await aProcess(database, { clock, signal: stop.signal })
    const settler = { settle: () => Promise.resolve() } as unknown as DeliveryContext['settler']
    await deliver({ ...dying, settler }, job)
    expect(await stateOf(database, message.id)).toMatchObject({
      claimed_by: dying.process,
      attempt: 1,
    })

    const living = await aProcess(database, { clock, signal: stop.signal })
    expect(await releaseDeadClaims(living, clock.now())).toBe(0)
    await database.query(sql`
      update leases set beats_at = beats_at - interval '7 seconds' where process = ${dying.process}`)
    expect(await releaseDeadClaims(living, clock.now())).toBe(1)
    expect(await stateOf(database, message.id)).toMatchObject({
      status: 'delivery_attempted',
      reason: 'handover_unknown',
      claimed_by: null,
      due_at: clock.now(),
    })
    await deliver(living, job)
    expect(await stateOf(database, message.id)).toMatchObject({ status: 'delivered', attempt: 2 })
    const keys = server.requests.map(({ headers }) => headers['idempotency-key'])
    expect(keys).toEqual([message.id, message.id])
  })

  test('is another one than that which is still at work', async ({ database }) => {
    const ctx = await aProcess(database, { clock, signal: stop.signal })
    await using server = await startHttp(async (_request, response) => {
      expect(await releaseDeadClaims(ctx, clock.advance(20_000))).toBe(0)
      response.writeHead(200).end()
    })
    const message = aMessage({ content: aWebhookContent(server.url) })
    await deliver(ctx, await insert(database, clock, [message]))
    expect(await stateOf(database, message.id)).toMatchObject({ status: 'delivered', attempt: 1 })
  })

  test('and is seen to be alive again keeps its lease', async ({ database }) => {
    const { process } = await aProcess(database, { clock, signal: stop.signal })
    await database.query(sql`update leases set beats_at = beats_at - interval '7 seconds'`)
    const dead = await listDeadProcesses(database)
    expect(dead).toEqual([process])
    await beat(database, process)
    await endDeadLeases(database, dead)
    expect(await database.query(sql`select process from leases`)).toEqual([{ process }])
  })

  test('for others only, cannot settle what was taken from it', async ({ database }) => {
    await using server = await startHttp(async (_request, response, index) => {
      if (index === 0) {
        await database.query(sql`delete from leases`)
        const other = await aProcess(database, { clock, signal: stop.signal })
        await releaseDeadClaims(other, clock.now())
        await deliver(other, job)
      }
      response.writeHead(index === 0 ? 500 : 200).end()
    })
    const message = aMessage({ content: aWebhookContent(server.url) })
    const job: DeliverJob = await insert(database, clock, [message])
    await deliver(await aProcess(database, { clock, signal: stop.signal }), job)
    expect(await stateOf(database, message.id)).toMatchObject({ status: 'delivered', attempt: 2 })
    expect(await listDeliveries(database, production, message.id)).toHaveLength(2)
  })

  test('only in its memory of a claim does not hold the message for ever', async ({ database }) => {
    await using server = await startHttp()
    const message = aMessage({ content: aWebhookContent(server.url) })
    const job = await insert(database, clock, [message])
    const ctx = await aProcess(database, { clock, signal: stop.signal })
    // The commit is done and its answer is lost, so the process does not know of its claims.
    const forgetful: Database = {
      ...database,
      async transaction(work) {
        await database.transaction(work)
        throw new Error('connection lost')
      },
    }
    await expect(deliver({ ...ctx, database: forgetful }, job)).rejects.toThrow('connection lost')
    const other = await aProcess(database, { clock, signal: stop.signal })
    expect(await releaseDeadClaims(other, clock.advance(1_000))).toBe(0)
    expect(await releaseDeadClaims(ctx, clock.now())).toBe(1)
    await deliver(ctx, job)
    expect(await stateOf(database, message.id)).toMatchObject({ status: 'delivered', attempt: 2 })
    expect(server.requests).toHaveLength(1)
  })

  test('in an orderly way gives back what it has not begun', async ({ database }) => {
    const arrived = Promise.withResolvers<void>()
    await using server = await startHttp((_request, _response, index) => {
      if (index === 9) arrived.resolve()
    })
    const messages = Array.from({ length: 15 }, () =>
      aMessage({ content: aWebhookContent(server.url) }),
    )
    const delivering = deliver(
      await aProcess(database, { clock, signal: stop.signal }),
      await insert(database, clock, messages),
    )
    await arrived.promise
    stop.abort()
    await delivering
    const states = await statesOf(database, messages)
    expect(states.filter(({ reason }) => reason === 'handover_unknown')).toHaveLength(10)
    expect(
      states.filter(({ status, attempt }) => status === 'queued' && attempt === 0),
    ).toHaveLength(5)
    expect(states.every(({ claimed_by: by, due_at: dueAt }) => by === null && dueAt !== null)).toBe(
      true,
    )
  })
})

describe('the loop', () => {
  test('finds a message when it is due, once', async ({ database }) => {
    const { jobs, ctx } = aLoop(database)
    const scheduledAt = new Date(startOfTest.getTime() + 5_000)
    const message = aMessage({ content: aWebhookContent('http://127.0.0.1/'), scheduledAt })
    await insert(database, clock, [message])
    expect(await enqueueDueMessages(ctx, clock.now())).toBe(0)
    expect(await enqueueDueMessages(ctx, clock.advance(5_000))).toBe(1)
    expect(await enqueueDueMessages(ctx, clock.advance(1_000))).toBe(0)
    expect(jobs).toEqual([
      { lane: 'production/main', environment: production, messageIds: [message.id] },
    ])
    expect((await findMessage(database, production, message.id))?.scheduledAt).toEqual(scheduledAt)
  })

  test('leaves a message alone whose job the run has made, and makes another when none came', async ({
    database,
  }) => {
    const { jobs, ctx } = aLoop(database)
    const message = aMessage({ content: aWebhookContent('http://127.0.0.1/') })
    const made = await database.transaction((tx) => insertMessages(tx, [message], clock.now()))
    expect(made).toEqual([
      { lane: 'production/main', environment: production, messageIds: [message.id] },
    ])
    expect(await enqueueDueMessages(ctx, clock.advance(59_000))).toBe(0)
    expect(await enqueueDueMessages(ctx, clock.advance(2_000))).toBe(1)
    expect(await enqueueDueMessages(ctx, clock.advance(1_000))).toBe(0)
    expect(jobs).toHaveLength(1)
  })

  test('makes jobs of fifty, each of one environment and channel', async ({ database }) => {
    const { jobs, ctx } = aLoop(database)
    const scheduledAt = new Date(startOfTest.getTime() + 1)
    const content = aWebhookContent('http://127.0.0.1/')
    const many = Array.from({ length: 120 }, () => aMessage({ content, scheduledAt }))
    const other = aMessage({ content, scheduledAt, channel: 'other' as ChannelKey })
    const elsewhere = aMessage({ content, scheduledAt, environment: 'staging' as EnvironmentName })
    await insert(database, clock, [...many, other, elsewhere])
    expect(await enqueueDueMessages(ctx, clock.advance(1_000))).toBe(122)
    expect(
      jobs.map(({ environment, messageIds }) => `${environment} ${messageIds.length}`).toSorted(),
    ).toEqual(['production 1', 'production 20', 'production 50', 'production 50', 'staging 1'])
  })
})
