import { afterEach, beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import type { ChannelKey } from '../../src/ids.ts'
import { silentLog } from '../../src/log.ts'
import { deliver } from '../../src/messages/deliver.ts'
import type { DeliveryContext } from '../../src/messages/deliver.ts'
import { listRefusals, sweepRates } from '../../src/messages/pace-store.ts'
import type { NewMessage } from '../../src/messages/store.ts'
import type { TestClock } from '../support/clock.ts'
import { test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import type { HttpFake, Responder } from '../support/http.ts'
import {
  aChannel,
  aMessage,
  anEmailContent,
  aWebhookContent,
  production,
  saveEnvironment,
  startOfTest,
} from './builders.ts'
import { aProcess, eventTypes, insert, statesOf, prepare } from './harness.ts'

const DAY_MS = 86_400_000
const OTHER = 'other' as ChannelKey

let clock: TestClock
let stop: AbortController
let alerts: string[]

beforeEach<{ database: Database }>(async ({ database }) => {
  ;({ clock, stop } = await prepare(database))
  alerts = []
})
afterEach(() => {
  stop.abort()
})

function process(database: Database): Promise<DeliveryContext> {
  const log = { ...silentLog, error: (text: string) => void alerts.push(text) }
  return aProcess(database, { clock, signal: stop.signal, log })
}

/** A mail service that takes two mails in a second, and one for the channel `other` that takes all. */
async function useMail(database: Database, endpoint: string, other = endpoint): Promise<void> {
  const settings = { api_key: 're_12345678', from: 'hello@example.com' }
  const main = aChannel({
    type: 'email',
    provider: 'resend',
    settings: { ...settings, endpoint },
  })
  const postmark = { server_token: 'token-1234567890', from: 'hello@example.com', endpoint: other }
  await saveEnvironment(database, {
    main,
    other: aChannel({ key: OTHER, type: 'email', provider: 'postmark', settings: postmark }),
  })
}

function mails(count: number, message: Partial<NewMessage> = {}): readonly NewMessage[] {
  return Array.from({ length: count }, () => aMessage({ content: anEmailContent(), ...message }))
}

function keysOf(server: HttpFake): readonly unknown[] {
  return server.requests.map(({ headers }) => headers['idempotency-key'])
}

describe('the rate of a service', () => {
  test('is shared by all processes, and each message has one hand-over', async ({ database }) => {
    await using server = await startHttp()
    await useMail(database, server.url)
    const messages = mails(7)
    const job = await insert(database, clock, messages)
    const halves = [job.messageIds.slice(0, 3), job.messageIds.slice(3)]
    const both = [await process(database), await process(database)]
    const counts: number[] = []
    for (let second = 0; second < 5; second += 1) {
      await Promise.all(
        both.map((ctx, index) => deliver(ctx, { ...job, messageIds: halves[index]! })),
      )
      counts.push(server.requests.length)
      clock.advance(1_000)
    }
    expect(counts).toEqual([2, 4, 6, 7, 7])
    expect(new Set(keysOf(server)).size).toBe(7)
    const states = await statesOf(database, messages)
    expect(states.every(({ status, attempt }) => status === 'sent' && attempt === 1)).toBe(true)
  })

  test('does not add up while nothing is sent, nor when messages come late', async ({
    database,
  }) => {
    await using server = await startHttp()
    await useMail(database, server.url)
    const ctx = await process(database)
    const job = await insert(database, clock, mails(8))
    await deliver(ctx, job)
    clock.advance(60_000)
    await deliver(ctx, job)
    expect(server.requests).toHaveLength(4)
  })

  test('is counted for each place where the service does so', async ({ database }) => {
    await using server = await startHttp((_request, response) => void response.end('ok'))
    await saveEnvironment(database, { main: aChannel({ type: 'chat', provider: 'slack' }) })
    const to = (path: string) =>
      aMessage({
        content: {
          type: 'chat',
          connection: { incoming_webhook: { url: `${server.url}/${path}` } },
          markdown: 'Hello',
          blocks: null,
          summary: null,
        },
      })
    const job = await insert(database, clock, [to('a'), to('b'), to('a'), to('c')])
    const ctx = await process(database)
    await deliver(ctx, job)
    expect(server.requests.map(({ path }) => path).toSorted()).toEqual(['/a', '/b', '/c'])
    clock.advance(1_000)
    await deliver(ctx, job)
    expect(server.requests.map(({ path }) => path).slice(3)).toEqual(['/a'])
  })

  test('holds up no other channel', async ({ database }) => {
    await using server = await startHttp()
    await using other = await startHttp()
    await useMail(database, server.url, other.url)
    const ctx = await process(database)
    await deliver(
      ctx,
      await insert(database, clock, [...mails(9), ...mails(5, { channel: OTHER })]),
    )
    expect(server.requests).toHaveLength(2)
    expect(other.requests).toHaveLength(5)
  })

  test('is forgotten when it lies behind', async ({ database }) => {
    await using server = await startHttp()
    await useMail(database, server.url)
    await deliver(await process(database), await insert(database, clock, mails(4)))
    expect(await sweepRates(database, clock.advance(60_000))).toBe(0)
    expect(await sweepRates(database, clock.advance(3_000))).toBe(1)
  })
})

describe('a channel that its service refuses', () => {
  test('is told once; its messages wait without an attempt while one tries', async ({
    database,
  }) => {
    let answer = 401
    await using server = await startHttp((_request, response) => {
      response.writeHead(answer, { 'content-type': 'application/json' }).end('{"id":"1"}')
    })
    await using other = await startHttp()
    await useMail(database, server.url, other.url)
    await saveEnvironment(database, {
      main: aChannel({
        type: 'email',
        provider: 'postmark',
        settings: { server_token: 'secret-token', from: 'a@example.com', endpoint: server.url },
      }),
    })
    const messages = mails(40)
    const job = await insert(database, clock, messages)
    const both = [await process(database), await process(database)]
    const turn = () => Promise.all(both.map((ctx) => deliver(ctx, job)))
    await turn()
    // Those that were under way already.
    expect(server.requests.length).toBeLessThanOrEqual(10)
    expect(alerts).toHaveLength(1)
    expect(await listRefusals(database, production)).toMatchObject([
      { channel: 'main', openedAt: startOfTest, details: /refused the channel/ as never },
    ])
    const waiting = await statesOf(database, messages)
    expect(
      new Set(waiting.map(({ status, reason, attempt }) => `${status} ${reason} ${attempt}`)),
    ).toEqual(new Set(['queued channel_refused 0']))
    expect(await eventTypes(database, messages[39]!.id)).toEqual([
      'message.created',
      'message.queued',
      'message.delivery_attempted',
    ])

    const before = server.requests.length
    clock.advance(14_000)
    await turn()
    expect(server.requests).toHaveLength(before)
    clock.advance(31_000)
    await turn()
    expect(server.requests).toHaveLength(before + 1)
    // Twice the time now.
    clock.advance(29_000)
    await turn()
    expect(server.requests).toHaveLength(before + 1)

    answer = 200
    clock.advance(31_000)
    await turn()
    expect(server.requests).toHaveLength(before + 2)
    expect(await listRefusals(database, production)).toEqual([])
    clock.advance(61_000)
    await turn()
    const states = await statesOf(database, messages)
    expect(states.every(({ status, attempt }) => status === 'sent' && attempt === 1)).toBe(true)
    expect(server.requests).toHaveLength(before + 1 + 40)
    expect(alerts).toHaveLength(1)
  })

  test('is given up a day after its messages were due', async ({ database }) => {
    await using server = await startHttp((_request, response) => {
      response.writeHead(401).end()
    })
    await useMail(database, server.url, server.url)
    const messages = mails(3, { channel: OTHER })
    const job = await insert(database, clock, messages)
    const ctx = await process(database)
    await deliver(ctx, job)
    clock.advance(DAY_MS - 1)
    await deliver(ctx, job)
    expect((await statesOf(database, messages)).map(({ status }) => status)).toEqual(
      Array(3).fill('queued'),
    )
    clock.advance(1)
    await deliver(ctx, job)
    expect((await statesOf(database, messages)).map(({ reason }) => reason)).toEqual(
      Array(3).fill('expired'),
    )
  })

  test('is not judged by a mail with a sender of its own', async ({ database }) => {
    await using server = await startHttp((_request, response) => {
      response.writeHead(401).end()
    })
    await useMail(database, server.url)
    const content = anEmailContent({ from: 'other@example.com' })
    const messages = mails(2, { content, channel: OTHER })
    await deliver(await process(database), await insert(database, clock, messages))
    const failed = { status: 'delivery_attempted', reason: 'delivery_failed', attempt: 1 }
    expect(await statesOf(database, messages)).toMatchObject([failed, failed])
    expect(alerts).toEqual([])
  })

  test('includes one that lacks a secret', async ({ database }) => {
    const settings = { host: '127.0.0.1', from: 'a@example.com', password: { secret: 'NONE' } }
    await saveEnvironment(database, {
      main: aChannel({ type: 'email', provider: 'smtp', settings }),
    })
    const messages = mails(1)
    await deliver(await process(database), await insert(database, clock, messages))
    expect(await statesOf(database, messages)).toMatchObject([{ reason: 'channel_refused' }])
    expect(await listRefusals(database, production)).toMatchObject([
      { details: 'the secret NONE of production is not set' },
    ])
  })
})

/** Works at each time that something is due, up to `untilMs` after the start. */
async function work(database: Database, messages: readonly NewMessage[], untilMs: number) {
  const ctx = await process(database)
  const job = await insert(database, clock, messages)
  const triedAt: number[] = []
  for (;;) {
    triedAt.push(clock.now().getTime() - startOfTest.getTime())
    await deliver(ctx, job)
    const due = (await statesOf(database, messages)).flatMap(({ due_at }) => due_at ?? [])
    const next = due.toSorted((one, other) => one.getTime() - other.getTime())[0]
    if (next === undefined || next.getTime() - startOfTest.getTime() > untilMs) return triedAt
    clock.set(next)
  }
}

async function useEndpoint(database: Database): Promise<void> {
  const channel = { type: 'webhook', provider: 'webhook' } as const
  await saveEnvironment(database, {
    main: aChannel(channel),
    other: aChannel({ ...channel, key: OTHER }),
  })
}

async function startAnswering(...statuses: readonly (number | 'none')[]): Promise<HttpFake> {
  const respond: Responder = (_request, response, index) => {
    const status = statuses[Math.min(index, statuses.length - 1)]!
    if (status === 'none') response.destroy()
    else if (status === 429) response.writeHead(429, { 'retry-after': '90' }).end()
    else response.writeHead(status).end()
  }
  return await startHttp(respond)
}

describe('with a service in trouble', () => {
  test('that flaps, attempts come at the promised times until one is taken', async ({
    database,
  }) => {
    await useEndpoint(database)
    await using server = await startAnswering(500, 'none', 503, 200)
    const message = aMessage({ content: aWebhookContent(server.url) })
    expect(await work(database, [message], DAY_MS)).toEqual([0, 2_000, 8_000, 28_000])
    expect(await statesOf(database, [message])).toMatchObject([{ status: 'delivered', attempt: 4 }])
    expect(new Set(keysOf(server))).toEqual(new Set([message.id]))
  })

  test('that limits the rate, it is asked when it says so and no attempt is used up', async ({
    database,
  }) => {
    await useEndpoint(database)
    await using server = await startAnswering(429, 429, 200)
    const message = aMessage({ content: aWebhookContent(server.url) })
    expect(await work(database, [message], DAY_MS)).toEqual([0, 90_000, 180_000])
    expect(await statesOf(database, [message])).toMatchObject([{ status: 'delivered', attempt: 1 }])
  })

  test('that hangs, others are handed over meanwhile, and its own not twice at a time', async ({
    database,
  }) => {
    await useEndpoint(database)
    const { promise: open, resolve: release } = Promise.withResolvers<void>()
    await using server = await startHttp(async (_request, response, index) => {
      if (index < 20) await open
      if (index < 20) response.destroy()
      else response.end()
    })
    await using quick = await startHttp()
    const slow = Array.from({ length: 20 }, () =>
      aMessage({ content: aWebhookContent(server.url) }),
    )
    const fast = Array.from({ length: 5 }, () =>
      aMessage({ content: aWebhookContent(quick.url), channel: OTHER }),
    )
    const ctx = await process(database)
    const job = await insert(database, clock, [...slow, ...fast])
    const working = deliver(ctx, job)
    await expect.poll(() => quick.requests.length, { timeout: 20_000 }).toBe(5)
    await expect.poll(() => server.requests.length, { timeout: 20_000 }).toBe(10)
    await deliver(await process(database), job)
    expect(server.requests).toHaveLength(10)
    release()
    await working
    const states = await statesOf(database, slow)
    expect(states.every(({ reason }) => reason === 'handover_unknown')).toBe(true)
    clock.advance(2_000)
    await deliver(ctx, job)
    const done = await statesOf(database, slow)
    expect(done.every(({ status, attempt }) => status === 'delivered' && attempt === 2)).toBe(true)
    expect(server.requests).toHaveLength(40)
  })
})
