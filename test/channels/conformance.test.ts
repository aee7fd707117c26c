import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openDoor } from '../../src/channels/door.ts'
import type { Door } from '../../src/channels/door.ts'
import { scrubExchange } from '../../src/channels/exchange.ts'
import { providers } from '../../src/channels/index.ts'
import type { JsonObject } from '../../src/json.ts'
import type { Answer } from '../../src/channels/provider.ts'
import { startHttp, type HttpFake, type Responder } from '../support/http.ts'
import { handOver, type Case, type FakeAnswer } from './conformance/case.ts'
import { chatCases } from './conformance/chat.ts'
import { mailCases } from './conformance/mail.ts'
import { pushCases } from './conformance/push.ts'
import { smsCases } from './conformance/sms.ts'

const cases: readonly Case[] = [...mailCases, ...smsCases, ...chatCases, ...pushCases]
/** These have their own tests: the first stays in Postgres, the second speaks no HTTP, the third is any endpoint. */
const others = ['in_app', 'smtp', 'webhook']

let door: Door
beforeEach(() => {
  door = openDoor({ allow: [], loopback: true })
})
afterEach(() => door.close())

test('each provider stands in the suite', () => {
  const names = cases.flatMap((one) => (one.variant === undefined ? [one.provider.name] : []))
  expect([...names, ...others].toSorted()).toEqual(Object.keys(providers).toSorted())
})

const titled = cases.map((one) => [[one.provider.name, one.variant].join(' ').trim(), one] as const)

describe.each(titled)('%s', (_title, one) => {
  const start = (respond: Responder) => (one.start ?? startHttp)(withBefore(one, respond))
  const answering = (answer: FakeAnswer) => start((_request, response) => write(response, answer))
  const send = (server: HttpFake, signal?: AbortSignal) =>
    handOver(one, server.url, signal === undefined ? { door } : { door, signal })
  const messagesOf = (server: HttpFake) =>
    server.requests.filter((request) => one.before?.(request) === undefined)

  test('sends the right request and keeps the reference', async () => {
    await using server = await answering(one.accepted)
    const answer = await send(server)
    expect(answer).toMatchObject({
      kind: 'accepted',
      status: one.status ?? 'sent',
      reference: one.reference,
      exchange: { response: { status: one.accepted.status } },
    })
    const [request, ...more] = messagesOf(server)
    expect(more).toEqual([])
    expect({ ...request, body: (await one.body?.(request!)) ?? request?.body }).toMatchObject(
      one.request,
    )
  })

  test.runIf(one.variant === undefined)('says whether it can be repeated', () => {
    expect(one.key !== undefined).toBe(one.provider.service.idempotency !== null)
  })

  test('sends the same key again, or says that there is none', async () => {
    await using server = await answering(one.accepted)
    await send(server)
    await send(server)
    if (one.key === undefined) return
    const [first, second] = messagesOf(server).map(one.key)
    expect(first).toMatch(/\S/)
    expect(second).toBe(first)
  })

  test('has an answer of the suite for each permanent one that it declares', () => {
    if (one.variant !== undefined) return
    expect(Object.keys(one.permanent).toSorted()).toEqual(one.provider.service.permanent.toSorted())
  })

  test.each(Object.entries(one.permanent))('takes %s for good', async (_name, permanent) => {
    await using server = await answering(permanent)
    const answer = await send(server)
    expect(answer).toMatchObject({ kind: 'rejected', reason: 'provider_rejected' })
    expect(answer.exchange?.response?.status).toBe(permanent.status)
  })

  test.each(one.unsafe ?? [])('does not send %j', async (content) => {
    await using server = await answering(one.accepted)
    const answer = await handOver({ ...one, content: () => content }, server.url, { door })
    expect(answer).toMatchObject({ kind: 'rejected', reason: /^invalid_/ as never, exchange: null })
    expect(server.requests).toEqual([])
  })

  test.each(one.bounced ?? [])('takes %j for a dead address', async (bounced) => {
    await using server = await answering(bounced)
    expect(await send(server)).toMatchObject({ kind: 'bounced' })
  })

  test.each(one.unusable ?? [])('takes %j for the fault of the channel', async (wrong) => {
    await using server = await answering(one.accepted)
    const settings = (url: string) => ({ ...one.settings(url), ...wrong })
    const answer = await handOver({ ...one, settings }, server.url, { door })
    expect(answer).toMatchObject({ kind: 'failed', channel: true, exchange: null })
    expect(server.requests).toEqual([])
  })

  test('tries again where the channel is refused, and says so', async () => {
    if (one.channel === undefined) return
    await using server = await answering(one.channel)
    expect(await send(server)).toMatchObject({
      kind: 'failed',
      details: expect.stringContaining('refused the channel'),
    })
  })

  test('lays over its request what a step says, last', async () => {
    await using server = await answering(one.accepted)
    const { given, body } = one.overrides!
    const answer = await handOver(one, server.url, { door, overrides: given })
    expect(answer.kind).toBe('accepted')
    const request = messagesOf(server)[0]!
    // What is encrypted on its way is compared as the log has it.
    expect((await one.body?.(request)) ?? answer.exchange?.request.body).toMatchObject(body)
    const { body: _, ...rest } = one.request as { readonly body?: unknown }
    expect(request).toMatchObject(rest)
  })

  test.each(one.provider.overrides ?? [])('lets nothing be laid over %s', async (field) => {
    await using server = await answering(one.accepted)
    for (const overrides of touching(field)) {
      expect(await handOver(one, server.url, { door, overrides })).toMatchObject({
        kind: 'rejected',
        reason: 'invalid_overrides',
        exchange: null,
      })
    }
    expect(server.requests).toEqual([])
  })

  test.each([429, 503])('waits as long as Retry-After of a %i says', async (status) => {
    await using server = await answering({ status, headers: { 'retry-after': '7' }, body: {} })
    expect(await send(server)).toMatchObject({ kind: 'throttled', retryAfterMs: 7_000 })
  })

  test.each(one.throttled ?? [])('takes %j for a rate', async (throttled) => {
    await using server = await answering(throttled)
    expect(await send(server)).toMatchObject({ kind: 'throttled' })
  })

  test.each([500, 502, 503])('tries again after a %i', async (status) => {
    await using server = await answering({ status, body: {} })
    expect(await send(server)).toMatchObject({ kind: 'failed', exchange: { response: { status } } })
  })

  test('takes a page of HTML for something in front of the service', async () => {
    const headers = { 'content-type': 'text/html; charset=utf-8' }
    await using server = await answering({ status: 403, headers, body: '<h1>Forbidden</h1>' })
    expect(await send(server)).toMatchObject({ kind: 'failed', details: /HTML/ as never })
  })

  test('follows no redirect', async () => {
    await using server = await answering({ status: 302, headers: { location: '/elsewhere' } })
    expect(await send(server)).toMatchObject({ kind: 'rejected', reason: 'redirected' })
    expect(messagesOf(server)).toHaveLength(1)
  })

  test('does not know what became of a request without an answer', async () => {
    await using server = await start((_request, response) => void response.destroy())
    const answer = await send(server)
    expect(answer).toMatchObject({ kind: 'unknown', exchange: { response: null } })
  })

  test('gives up when its time is over, and does not know what became of it', async () => {
    await using server = await start(async () => await sleep(60_000, undefined, { ref: false }))
    const answer = await send(server, AbortSignal.timeout(300))
    expect(answer.kind).toBe('unknown')
  })

  test('knows that nothing went out where nobody listens', async () => {
    const server = await answering(one.accepted)
    await server[Symbol.asyncDispose]()
    expect(await send(server)).toMatchObject({ kind: 'failed' })
  })

  test('does not go to a closed address', async () => {
    await using server = await answering(one.accepted)
    using closed = closing(openDoor({ allow: [], loopback: false }))
    const answer = await handOver(one, server.url, { door: closed.door })
    expect(answer).toMatchObject({ kind: 'rejected', reason: 'forbidden_target', exchange: null })
    expect(server.requests).toEqual([])
  })

  test('keeps a bounded part of what comes back', async () => {
    await using server = await answering({ status: 500, body: 'x'.repeat(300_000) })
    const answer = await send(server)
    expect(answer.kind).toBe('failed')
    expect(JSON.stringify(answer).length).toBeLessThan(100_000)
  })

  test('tells no secret', async () => {
    const told = { status: 400, body: { error: `the key ${one.secrets.join(' ')} is wrong` } }
    for (const reply of [one.accepted, told, { status: 500, body: one.secrets.join(' ') }]) {
      await using server = await answering(reply)
      const log = logOf(await send(server), one.secrets)
      for (const secret of one.secrets) expect(log).not.toContain(secret)
    }
  })
})

/** Ways to set `field`: as it is written, written otherwise, taken away, and with all that holds it. */
function touching(field: string): readonly JsonObject[] {
  const path = field.replace('*', 'x').split('.')
  const setTo = (value: unknown, names: readonly string[] = path) =>
    names.reduceRight<unknown>((inner, name) => ({ [name]: inner }), value) as JsonObject
  const otherwise = path.map((name) => name.toUpperCase().replaceAll('S', 'ſ'))
  const holder =
    path.length === 1 ? [] : [setTo('mallory', path.slice(0, 1)), setTo([], path.slice(0, -1))]
  return [setTo('mallory'), setTo(null), setTo({ a: 1 }), setTo('mallory', otherwise), ...holder]
}

/** What the log keeps of the exchange. */
function logOf(answer: Answer, secrets: readonly string[]): string {
  expect(answer.exchange).not.toBeNull()
  return JSON.stringify(scrubExchange(answer.exchange!, secrets))
}

function withBefore(one: Case, respond: Responder): Responder {
  return async (request, response, index) => {
    const before = one.before?.(request)
    if (before) write(response, before)
    else await respond(request, response, index)
  }
}

function write(response: Parameters<Responder>[1], { status, headers, body }: FakeAnswer): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body ?? '')
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(body === undefined ? '' : text)
}

function closing(one: Door): { readonly door: Door } & Disposable {
  return { door: one, [Symbol.dispose]: () => one.close() }
}
