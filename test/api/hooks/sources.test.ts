import { describe, expect } from 'vitest'
import { takeEvents } from '../../../src/runs/source-take.ts'
import { sweepSourceEvents } from '../../../src/runs/source-store.ts'
import type { EnvironmentName } from '../../../src/ids.ts'
import { counted } from '../../support/counted.ts'
import { test as base } from '../../support/database.ts'
import {
  basic,
  mac,
  openScene,
  SIGNING,
  WRITE_KEY,
  type LoggedEvent,
  type SourceScene,
} from './source-scene.ts'

const test = base.extend<{ scene: SourceScene }>({
  scene: [
    async ({ database }, use) => {
      await using scene = await openScene(database)
      await use(scene)
      expect(scene.failures).toEqual([])
    },
    { scope: 'file' },
  ],
})

// The first one opens the scene.
test.beforeEach(({ scene }) => scene.reset(), 120_000)

/** The engine's clock, in seconds. */
const seconds = (scene: SourceScene) => String(scene.engine.clock.now().getTime() / 1000)
const key = Buffer.from(SIGNING.slice('whsec_'.length), 'base64')

interface Signing {
  readonly at?: string
  readonly secret?: string | Buffer
  /** What is signed in the place of the body. */
  readonly signed?: string
}

const standard = (
  scene: SourceScene,
  body: string,
  { at, secret = key, signed = body }: Signing,
) => {
  const time = at ?? seconds(scene)
  const digest = mac(secret, `msg_1.${time}.${signed}`, { encoding: 'base64' })
  const other = mac('other', body, { encoding: 'base64' })
  return {
    'webhook-id': 'msg_1',
    'webhook-timestamp': time,
    'webhook-signature': `v1,${other} v1,${digest}`,
  }
}
const stripe = (
  scene: SourceScene,
  body: string,
  { at, secret = SIGNING, signed = body }: Signing,
) => {
  const time = at ?? seconds(scene)
  return {
    'stripe-signature': `t=${time},v1=${mac('x', body)},v1=${mac(secret, `${time}.${signed}`)}`,
  }
}
const shop = (
  scene: SourceScene,
  body: string,
  { at, secret = SIGNING, signed = body }: Signing,
) => {
  const time = at ?? seconds(scene)
  const digest = mac(secret, `${time}.${signed}`, { algorithm: 'sha1', encoding: 'base64' })
  return { 'x-shop-time': time, 'x-shop-signature': `sha1=${digest}` }
}

const kinds = [
  ['standard', standard, { type: 'invoice.paid', recipients: ['ada'], data: { user_id: 'ada' } }],
  [
    'billing',
    stripe,
    {
      id: 'evt_1',
      type: 'invoice.paid',
      recipients: ['ada'],
      data: { object: { customer: 'ada' } },
    },
  ],
  ['shop', shop, { topic: 'orders/create', delivery: { id: 'd1' }, recipients: 'ada' }],
] as const

const identify = (scene: SourceScene) =>
  scene.send('/v1/identify', {
    body: { userId: 'ada', messageId: 'known' },
    headers: { authorization: basic(WRITE_KEY) },
  })

describe.for(kinds)('a webhook of the source %s', ([source, sign, event]) => {
  const path = `/v1/sources/${source}`

  test('starts workflows, once', async ({ scene }) => {
    await identify(scene)
    const body = JSON.stringify(event, null, 2)
    const headers = sign(scene, body, {})
    const first = await scene.send(path, { body, headers })
    expect([first.status, first.body]).toEqual([
      200,
      { events: [expect.objectContaining({ status: 'done' })] },
    ])
    expect((await scene.send(path, { body, headers })).body).toEqual({
      events: [{ duplicate: true }],
    })
    await scene.engine.drain()
    expect((await scene.engine.messages()).map(({ recipient }) => recipient)).toEqual(['ada'])
  })

  const forged: readonly (readonly [string, Signing])[] = [
    ['another secret', { secret: 'whsec_b3RoZXI=' }],
    ['another body', { signed: '{}' }],
    ['a time long past', { at: '1000000000' }],
    ['a time that is none', { at: 'now' }],
    ['a time of no digits', { at: '' }],
  ]
  test.for(forged)('is refused with %s, before it is parsed', async ([, signing], { scene }) => {
    const body = '{"type":'
    const reply = await scene.send(path, { body, headers: sign(scene, body, signing) })
    expect([reply.status, (reply.body as { code: string }).code]).toEqual([
      401,
      'webhook_signature',
    ])
    expect(await scene.events(source)).toEqual([])
  })

  test('is refused unsigned, with an API key, and where it is none', async ({ scene }) => {
    const body = JSON.stringify(event)
    expect((await scene.send(path, { body })).status).toBe(401)
    expect((await scene.call('POST', path, event)).status).toBe(401)
    const headers = sign(scene, body, {})
    expect((await scene.send('/v1/sources/nothing', { body, headers })).status).toBe(401)
    expect((await scene.send(`${path}?environment=staging`, { body, headers })).status).toBe(401)
    const mangled = '{"a":'
    const signed = sign(scene, mangled, {})
    expect((await scene.send(path, { body: mangled, headers: signed })).status).toBe(400)
    const large = JSON.stringify({ ...event, more: 'x'.repeat(1024 * 1024) })
    const big = { body: large, headers: sign(scene, large, {}) }
    expect((await scene.send(path, big)).status).toBe(413)
  })
})

const cloudEvent = (id: string) => ({
  specversion: '1.0',
  id,
  source: '/orders',
  type: 'com.example.made',
  data: { recipients: ['ada'], user: 'ada' },
})

describe('CloudEvents', () => {
  const path = '/v1/sources/cloud'
  const authorization = `Bearer ${SIGNING}`
  test('are taken structured, in batches and in headers, once for origin and id', async ({
    scene,
  }) => {
    await identify(scene)
    const structured = { authorization, 'content-type': 'application/cloudevents+json' }
    await scene.send(path, { body: cloudEvent('1'), headers: structured })
    const batched = { authorization, 'content-type': 'application/cloudevents-batch+json' }
    const body = [cloudEvent('1'), cloudEvent('2'), { ...cloudEvent('1'), source: '/other' }]
    const reply = await scene.send(path, { body, headers: batched })
    expect(
      (reply.body as { events: { duplicate?: true }[] }).events.map((one) => one.duplicate),
    ).toEqual([true, undefined, undefined])
    const binary = {
      authorization,
      'ce-id': '3',
      'ce-source': '/orders',
      'ce-type': 'com.example.made',
      'ce-subject': 'f%C3%BCr',
    }
    await scene.send(path, { body: cloudEvent('3').data, headers: binary })
    const logged = await scene.events('cloud')
    expect(logged.map((one) => [one.message_id, one.status, one.user_id])).toEqual([
      ['/orders#3', 'done', 'ada'],
      ['/other#1', 'done', 'ada'],
      ['/orders#2', 'done', 'ada'],
      ['/orders#1', 'done', 'ada'],
    ])
    expect(logged[0]?.body).toMatchObject({ subject: 'für', data: { user: 'ada' } })
  })

  test('are taken with a signature, and refused with another secret', async ({ scene }) => {
    const body = JSON.stringify(cloudEvent('1'))
    const type = { 'content-type': 'application/cloudevents+json' }
    const signed = { ...type, ...standard(scene, body, {}) }
    expect((await scene.send(path, { body, headers: signed })).status).toBe(200)
    const wrong = { ...type, authorization: 'Bearer other' }
    expect((await scene.send(path, { body, headers: wrong })).status).toBe(401)
  })
})

const names = (events: readonly LoggedEvent[]) => events.map((one) => one.message_id)

describe('the log of a source', () => {
  test('is paged and filtered, and there for a known source alone', async ({ scene }) => {
    const batch = Array.from({ length: 5 }, (_, at) => ({
      type: at % 2 === 0 ? 'page' : 'track',
      userId: 'ada',
      messageId: `m${at}`,
    }))
    const headers = { authorization: basic(WRITE_KEY) }
    await scene.send('/v1/batch', { body: { batch }, headers })
    const all = await scene.events('segment')
    expect(names(all)).toEqual(['m4', 'm3', 'm2', 'm1', 'm0'])
    expect(names(await scene.events('segment', '&status=failed'))).toEqual(['m3', 'm1'])
    expect(names(await scene.events('segment', '&message_id=m2'))).toEqual(['m2'])
    const after = `&after=${all[2]?.id}`
    expect(names(await scene.events('segment', after))).toEqual(['m1', 'm0'])
    expect(names(await scene.events('segment', `&before=${all[2]?.id}`))).toEqual(['m4', 'm3'])
    expect((await scene.call('GET', '/v1/sources/billing/events')).status).toBe(200)
    expect((await scene.call('GET', '/v1/sources/nothing/events')).status).toBe(404)
  })

  test('is emptied of what is old', async ({ scene }) => {
    const { database, clock } = scene.engine
    await identify(scene)
    const later = (days: number) => new Date(clock.now().getTime() + days * 86_400_000)
    expect(await sweepSourceEvents(database, later(29), 30)).toBe(0)
    expect(await sweepSourceEvents(database, later(31), 30)).toBe(1)
    expect(await scene.events('segment')).toEqual([])
  })
})

describe('a replay', () => {
  test('does again what an event says, and is logged beside it', async ({ scene }) => {
    const body = {
      type: 'track',
      event: 'Comment Created',
      messageId: 'm1',
      properties: { follower_ids: ['ada'], page: 'start' },
      userId: 'ada',
    }
    const headers = { authorization: basic(WRITE_KEY) }
    await scene.send('/v1/batch', { body: { batch: [body] }, headers })
    const [failed] = await scene.events('segment')
    expect(failed?.results[0]?.error?.code).toBe('actor_missing')
    await identify(scene)
    const reply = await scene.call('POST', `/v1/sources/segment/events/${failed?.id}/replay`)
    expect(reply.body).toMatchObject({
      status: 'done',
      message_id: null,
      replay_of: failed?.id,
      results: [{ workflow: 'comment' }],
    })
    await scene.engine.drain()
    expect(await scene.engine.messages()).toHaveLength(1)
    const unknown = '/v1/sources/segment/events/00000000-0000-0000-0000-000000000000/replay'
    expect((await scene.call('POST', unknown)).status).toBe(404)
    const elsewhere = `/v1/sources/billing/events/${failed?.id}/replay`
    expect((await scene.call('POST', elsewhere)).status).toBe(404)
  })
})

test('a run waits for an event of a source that is about its recipient', async ({ scene }) => {
  const { engine } = scene
  await engine.commit({
    'workflows/wait/workflow.yaml': `
name: Wait
steps:
  - ref: paid
    type: wait_for_event
    source: billing
    event: invoice.paid
    match: { all: [{ variable: event.number, operator: equal_to, argument: data.number }] }
  - { ref: feed, type: in_app, body: "Paid {{event.amount}} {{event.data.object.customer}}" }
`,
  })
  await engine.trigger('wait', { recipients: [{ id: 'ada' }, { id: 'bob' }], data: { number: 7 } })
  await engine.drain()
  const pay = async (id: string, number: number, customer: string) => {
    const event = { id, type: 'invoice.paid', number, amount: 12, data: { object: { customer } } }
    const body = JSON.stringify(event)
    await scene.send('/v1/sources/billing', { body, headers: stripe(scene, body, {}) })
    await engine.drain()
  }
  await pay('e1', 6, 'ada')
  await pay('e2', 7, 'cyd')
  expect(await engine.messages()).toEqual([])
  await pay('e3', 7, 'ada')
  const [message, ...others] = await engine.messages()
  expect(message?.recipient).toBe('ada')
  expect(JSON.stringify(message?.content)).toContain('Paid 12 ada')
  expect(others).toEqual([])
})

test('events are dealt with in sets: five hundred take as many statements as two', async ({
  scene,
}) => {
  const { database, queue, clock } = scene.engine
  const environment = 'production' as EnvironmentName
  const source = { type: 'segment', secret: { secret: 'WRITE_KEY' } } as const
  const proven = { environment, key: 'segment', source }
  const take = async (name: string, count: number) => {
    const watched = counted(database)
    const events = Array.from({ length: count }, (_, at) => {
      const messageId = `${name}-${at}`
      const isTrack = at % 2 === 0
      const userId = `${name}-${Math.floor(at / 2)}`
      const body = { messageId, userId, properties: { follower_ids: ['ada'], page: 'start' } }
      return {
        kind: isTrack ? ('track' as const) : ('identify' as const),
        event: isTrack ? 'Comment Created' : null,
        userId,
        messageId,
        happenedAt: null,
        body,
      }
    })
    const ground = { database: watched.database, queue, now: clock.now() }
    const taken = await takeEvents(ground, proven, events)
    expect(new Set(taken.map((one) => one?.status))).toEqual(new Set(['done']))
    return watched.count()
  }
  // Versions are read once.
  await take('first', 2)
  expect(await take('many', 500)).toBe(await take('few', 2))
})
