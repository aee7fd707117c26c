import { afterEach, beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { DeliveryContext } from '../../src/messages/deliver.ts'
import { deliver } from '../../src/messages/deliver.ts'
import { endLease } from '../../src/messages/leases.ts'
import { listDeliveries } from '../../src/messages/log-store.ts'
import { pollStatuses } from '../../src/messages/polls.ts'
import type { NewMessage } from '../../src/messages/store.ts'
import type { PushContent } from '../../src/steps/step.ts'
import type { TestClock } from '../support/clock.ts'
import { test } from '../support/database.ts'
import { startHttp, type HttpFake } from '../support/http.ts'
import { aChannel, aMessage, production, saveEnvironment, startOfTest } from './builders.ts'
import { aProcess, insert, stateOf, statesOf, prepare } from './harness.ts'

let clock: TestClock
let stop: AbortController
const MINUTE = 60_000

beforeEach<{ database: Database }>(async ({ database }) => {
  ;({ clock, stop } = await prepare(database))
})
afterEach(() => {
  stop.abort()
})

type Receipts = (ids: readonly string[], time: number) => unknown

/** Expo: a ticket for each device, named like its token, and the receipts that a test wants. */
interface Expo extends HttpFake {
  /** Which receipts were asked for, request by request. */
  readonly asked: readonly (readonly string[])[]
}

async function startExpo(receipts: Receipts): Promise<Expo> {
  const asked: (readonly string[])[] = []
  const server = await startHttp((request, response) => {
    const body = JSON.parse(request.body) as { readonly to: string; readonly ids: string[] }
    if (request.path.endsWith('/send')) {
      response.end(JSON.stringify({ data: { status: 'ok', id: `r-${body.to}` } }))
      return
    }
    asked.push(body.ids.toSorted())
    const answer = receipts(body.ids, asked.length)
    if (typeof answer !== 'number') response.end(JSON.stringify({ data: answer }))
    else response.writeHead(answer).end('{"error":"crm-secret-1 is wrong"}')
  })
  return { ...server, asked }
}

function aPush(token: string): NewMessage {
  const content: PushContent = {
    type: 'push',
    token,
    title: 'Hi',
    body: 'Hi',
    data: null,
    silent: false,
  }
  return aMessage({ content, provider: 'expo' })
}

/** Hands notifications to devices over. */
async function send(
  database: Database,
  server: HttpFake,
  tokens: readonly string[],
): Promise<{ readonly ctx: DeliveryContext; readonly messages: readonly NewMessage[] }> {
  const settings = { endpoint: server.url, access_token: { secret: 'CRM_TOKEN' } }
  await saveEnvironment(database, { main: aChannel({ type: 'push', provider: 'expo', settings }) })
  const devices = tokens.map((token) => ({ token }))
  await database.query(sql`
    insert into channel_data (environment, collection, recipient, channel, data, updated_at)
    values (${production}, '$users', 'ann', 'main', ${JSON.stringify({ devices })}, ${clock.now()})`)
  const ctx = await aProcess(database, { clock, signal: stop.signal })
  const messages = tokens.map(aPush)
  await deliver(ctx, await insert(database, clock, messages))
  expect(new Set((await statesOf(database, messages)).map(({ status }) => status))).toEqual(
    new Set(['sent']),
  )
  return { ctx, messages }
}

const waiting = (database: Database) =>
  database.query(sql`select reference, attempt, claimed_by from status_polls order by reference`)

async function nextPoll(database: Database): Promise<Date | undefined> {
  const [row] = await database.query<{ due_at: Date }>(sql`select due_at from status_polls`)
  return row?.due_at
}

describe('a service that does not call', () => {
  test('is told how much longer a notification is worth something', async ({ database }) => {
    await using expo = await startExpo(() => ({}))
    const { ctx } = await send(database, expo, ['a'])
    const message = { ...aPush('b'), expiresAt: new Date(clock.now().getTime() + 90_000) }
    const job = await insert(database, clock, [message])
    clock.advance(30_000)
    await deliver(ctx, job)
    expect(expo.requests.map(({ body }) => (JSON.parse(body) as { ttl?: number }).ttl)).toEqual([
      undefined,
      60,
    ])
  })

  test('is asked after its time, about all of a channel together', async ({ database }) => {
    await using expo = await startExpo((ids) =>
      Object.fromEntries(
        ids.flatMap((id) => {
          if (id === 'r-c') return []
          const gone = {
            status: 'error',
            message: 'gone',
            details: { error: 'DeviceNotRegistered' },
          }
          return [[id, id === 'r-b' ? gone : { status: 'ok' }]]
        }),
      ),
    )
    const { ctx, messages } = await send(database, expo, ['a', 'b', 'c'])
    clock.advance(15 * MINUTE - 1)
    expect(await pollStatuses(ctx)).toBe(0)
    clock.advance(1)
    expect(await pollStatuses(ctx)).toBe(3)
    expect(expo.asked).toEqual([['r-a', 'r-b', 'r-c']])
    const states = await statesOf(database, messages)
    expect(states.map(({ status, reason }) => [status, reason])).toEqual([
      ['sent', null],
      ['bounced', 'address_gone'],
      ['sent', null],
    ])
    const [row] = await database.query<{ tokens: string }>(sql`
      select string_agg(d ->> 'token', ',' order by d ->> 'token') as tokens
      from channel_data, jsonb_array_elements(data -> 'devices') d`)
    expect(row?.tokens).toBe('a,c')
    expect(await listDeliveries(database, production, messages[1]!.id)).toMatchObject([
      { request: { method: 'POST' } },
      { service: 'expo', request: { method: 'POLL', body: { message: 'gone' } } },
    ])
    // Of the third it knew nothing yet, and of the others nothing more is asked.
    expect(await pollStatuses(ctx)).toBe(0)
    clock.advance(MINUTE)
    expect(await pollStatuses(ctx)).toBe(1)
    expect(expo.asked.at(-1)).toEqual(['r-c'])
  })

  test('is asked ten times in about eight hours, and no more', async ({ database }) => {
    await using expo = await startExpo((_ids, time) => (time % 3 === 0 ? 503 : {}))
    const { ctx, messages } = await send(database, expo, ['a'])
    const times: number[] = []
    for (let next = await nextPoll(database); next; next = await nextPoll(database)) {
      clock.set(new Date(next.getTime() - 1))
      expect(await pollStatuses(ctx)).toBe(0)
      clock.set(next)
      expect(await pollStatuses(ctx)).toBe(1)
      times.push((next.getTime() - startOfTest.getTime()) / MINUTE)
    }
    expect(times).toEqual([15, 16, 18, 22, 30, 45, 75, 135, 255, 495])
    expect(await waiting(database)).toEqual([])
    expect(await stateOf(database, messages[0]!.id)).toMatchObject({ status: 'sent' })
  })

  test('is asked about three hundred at once', async ({ database }) => {
    await using expo = await startExpo((ids) =>
      Object.fromEntries(ids.map((id) => [id, { status: 'ok' }])),
    )
    const { ctx } = await send(database, expo, ['a'])
    await database.query(sql`
      insert into status_polls (environment, message_id, channel, reference, due_at)
      select ${production}, gen_random_uuid(), 'main', 'x' || n, ${clock.now()}
      from generate_series(1, 650) n`)
    expect(await pollStatuses(ctx)).toBe(650)
    expect(expo.asked.map(({ length }) => length)).toEqual([300, 300, 50])
  })

  test('is asked by one of several processes, and by another where that one dies', async ({
    database,
  }) => {
    const started = Promise.withResolvers<void>()
    const answered = Promise.withResolvers<void>()
    await using expo = await startHttp(async (request, response, index) => {
      if (request.path.endsWith('/send')) {
        response.end(JSON.stringify({ data: { status: 'ok', id: 'r-a' } }))
        return
      }
      if (index > 1) {
        response.end('{"data":{}}')
        return
      }
      started.resolve()
      await answered.promise
      response.end('{"data":{"r-a":{"status":"error","details":{"error":"MessageTooBig"}}}}')
    })
    const { ctx, messages } = await send(database, expo, ['a'])
    const other = await aProcess(database, { clock, signal: stop.signal })
    clock.advance(15 * MINUTE)
    const asking = pollStatuses(ctx)
    await started.promise
    expect(await pollStatuses(other)).toBe(0)
    await endLease(database, ctx.process)
    expect(await pollStatuses(other)).toBe(1)
    const after = await waiting(database)
    expect(after).toEqual([{ reference: 'r-a', attempt: 2, claimed_by: null }])
    // The first one comes too late, and finds that it is another's.
    answered.resolve()
    await asking
    expect(await waiting(database)).toEqual(after)
    expect(await stateOf(database, messages[0]!.id)).toMatchObject({ status: 'sent' })
  })

  test('that answers nonsense, or tells secrets, changes nothing', async ({ database }) => {
    const lines: unknown[] = []
    const answers = [401, null, [], 'x', { 'r-a': null }, { 'r-a': [] }]
    await using expo = await startExpo((_ids, time) => answers[time - 1])
    const { ctx, messages } = await send(database, expo, ['a'])
    const log = { ...ctx.log, warn: (...line: unknown[]) => void lines.push(line) }
    for (let time = 0; time < answers.length; time += 1) {
      clock.advance(4 * 60 * MINUTE)
      await pollStatuses({ ...ctx, log })
    }
    const { status } = await stateOf(database, messages[0]!.id)
    expect(['sent', 'undelivered']).toContain(status)
    expect(lines.length).toBeGreaterThan(0)
    expect(JSON.stringify(lines)).not.toContain('crm-secret-1')
  })

  test('is not asked any more where the channel has another service by now', async ({
    database,
  }) => {
    await using expo = await startExpo(() => ({}))
    const { ctx } = await send(database, expo, ['a'])
    await saveEnvironment(database, { main: aChannel({ type: 'push', provider: 'fcm' }) })
    clock.advance(15 * MINUTE)
    await pollStatuses(ctx)
    expect(expo.asked).toEqual([])
    expect(await waiting(database)).toEqual([])
  })
})
