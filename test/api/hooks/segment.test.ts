import { gzipSync } from 'node:zlib'
import RudderAnalytics from '@rudderstack/rudder-sdk-node'
import { Analytics } from '@segment/analytics-node'
import { describe, expect } from 'vitest'
import { sql } from '../../../src/db/sql.ts'
import { test as base } from '../../support/database.ts'
import { basic, openScene, WRITE_KEY, type SourceScene } from './source-scene.ts'

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

const authorization = basic(WRITE_KEY)

async function post(scene: SourceScene, body: unknown, path = '/v1/batch') {
  return scene.send(path, { body, headers: { authorization } })
}

const comment = (messageId: string, followers: unknown = ['ada'], more: object = {}) => ({
  type: 'track',
  event: 'Comment Created',
  messageId,
  properties: { follower_ids: followers, page: 'start' },
  ...more,
})

const known = (scene: SourceScene, ...ids: readonly string[]) =>
  post(scene, {
    batch: ids.map((id) => ({ type: 'identify', userId: id, messageId: `known-${id}` })),
  })

interface Client {
  identify(message: { userId: string; traits: object }): unknown
  group(message: { userId: string; groupId: string; traits: object }): unknown
  track(message: { userId: string; event: string; properties: object }): unknown
  alias(message: { userId: string; previousId: string }): unknown
  page(message: { userId: string; name: string }): unknown
}

async function drive(client: Client, flush: () => Promise<unknown>): Promise<void> {
  client.identify({ userId: 'ada', traits: { firstName: 'Ada', phone: '+431', plan: 'pro' } })
  client.identify({ userId: 'bob', traits: { email: 'bob@example.com' } })
  client.group({ userId: 'ada', groupId: 'core', traits: { title: 'Core' } })
  client.page({ userId: 'ada', name: 'Home' })
  client.track({
    userId: 'bob',
    event: 'Comment Created',
    properties: { follower_ids: ['ada', 'bob'], page: 'start', team: 'acme' },
  })
  await flush()
}

async function expectDriven(scene: SourceScene): Promise<void> {
  const { engine } = scene
  expect((await scene.call('GET', '/v1/users/ada')).body).toMatchObject({
    name: 'Ada',
    phone_number: '+431',
    plan: 'pro',
  })
  expect((await scene.call('GET', '/v1/objects/teams/core')).body).toMatchObject({
    properties: { title: 'Core' },
  })
  const subscribed = await scene.call('GET', '/v1/users/ada/subscriptions')
  expect(subscribed.body).toMatchObject({ entries: [{ object: { id: 'core' } }] })
  await engine.drain()
  const messages = await engine.messages()
  expect(messages.map(({ recipient }) => recipient).toSorted()).toEqual(['ada', 'bob'])
  const logged = await scene.events('segment')
  const shown = logged.map(({ kind, event, user_id: user, status }) => [kind, event, user, status])
  expect(shown.toSorted((a, b) => String(a).localeCompare(String(b)))).toEqual([
    ['group', null, 'ada', 'done'],
    ['identify', null, 'ada', 'done'],
    ['identify', null, 'bob', 'done'],
    ['page', null, 'ada', 'ignored'],
    ['track', 'Comment Created', 'bob', 'done'],
  ])
}

describe('the real client', () => {
  test('of Segment keeps users and groups, and starts workflows', async ({ scene }) => {
    const errors: unknown[] = []
    const analytics = new Analytics({ writeKey: WRITE_KEY, host: scene.url })
    analytics.on('error', (error) => errors.push(error))
    await drive(analytics, () => analytics.closeAndFlush())
    expect(errors).toEqual([])
    await expectDriven(scene)
  })

  test('of RudderStack does the same, gzipped', async ({ scene }) => {
    const errors: unknown[] = []
    const analytics = new RudderAnalytics(WRITE_KEY, {
      dataPlaneUrl: scene.url,
      errorHandler: (error: unknown) => void errors.push(error),
    })
    await drive(analytics as unknown as Client, () => analytics.flush())
    // Its first message goes alone, the others with the flush.
    await expect
      .poll(async () => (await scene.events('segment')).length, { timeout: 20_000 })
      .toBe(5)
    expect(errors).toEqual([])
    await expectDriven(scene)
  })
})

describe('a batch', () => {
  test('is taken once for each message id, also within itself', async ({ scene }) => {
    await known(scene, 'ada')
    const batch = [comment('m1'), comment('m2'), comment('m1')]
    const first = await post(scene, { batch })
    expect([first.status, first.body]).toEqual([200, { success: true }])
    await Promise.all([post(scene, { batch }), post(scene, { batch: batch.toReversed() })])
    expect((await scene.events('segment', '&event=Comment%20Created')).length).toBe(2)
    await scene.engine.drain()
    expect(await scene.engine.messages()).toHaveLength(2)
  })

  test('loses nothing to what is wrong in it, and says of each why', async ({ scene }) => {
    const batch = [
      { type: 'identify', userId: 'ada', messageId: 'a' },
      5,
      { type: 'nothing', messageId: 'b' },
      { type: 'track', messageId: 'c' },
      { type: 'identify', userId: 'a/b', messageId: 'd' },
      { type: 'identify', userId: 'eve', messageId: 'e', traits: { email: 5 } },
      { type: 'identify', userId: 'big', messageId: 'f', traits: { text: 'x'.repeat(300_000) } },
      { type: 'track', event: 'A\0', messageId: 'g' },
      comment('h', []),
      comment('i', ['a/b']),
      comment('j', ['ada'], { userId: 'nobody' }),
      comment('k', ['ada'], { properties: { follower_ids: ['ada'], page: 5 } }),
      { type: 'identify', userId: 'bob', messageId: 'l' },
      comment('m'),
    ]
    const reply = await post(scene, { batch })
    expect([reply.status, reply.body]).toEqual([200, { success: true }])
    const logged = await scene.events('segment')
    const outcome = (id: string) => {
      const found = logged.find((one) => one.message_id === id)
      return [found?.status, found?.results[0]?.error?.code]
    }
    expect(Object.fromEntries('abcdefhijklm'.split('').map((id) => [id, outcome(id)]))).toEqual({
      a: ['done', undefined],
      b: ['failed', 'invalid_event'],
      c: ['failed', 'invalid_event'],
      d: ['failed', 'invalid_params'],
      e: ['failed', 'invalid_params'],
      f: ['failed', 'invalid_event'],
      h: ['failed', 'invalid_params'],
      i: ['failed', 'invalid_params'],
      j: ['failed', 'actor_missing'],
      k: ['failed', 'invalid_data'],
      l: ['done', undefined],
      m: ['done', undefined],
    })
    // The number, and the text that Postgres cannot store.
    const unknown = logged.filter((one) => one.message_id === null)
    expect(unknown.map(({ status, body }) => [status, body])).toEqual([
      ['failed', null],
      ['failed', null],
    ])
    const users = (await scene.call('GET', '/v1/users')).body as { entries: { id: string }[] }
    expect(users.entries.map(({ id }) => id)).toEqual(['ada', 'bob'])
  })

  test.for([
    ['no JSON', '{"batch":', 400],
    ['no batch', { sentAt: 'now' }, 400],
    ['a batch that is no list', { batch: {} }, 400],
    ['more events than there may be', { batch: Array.from({ length: 10_001 }, () => 1) }, 400],
    ['more bytes than there may be', `"${'x'.repeat(5 * 1024 * 1024)}"`, 413],
  ] as const)('of %s is refused whole', async ([, body, status], { scene }) => {
    expect((await post(scene, body)).status).toBe(status)
    expect(await scene.events('segment')).toEqual([])
  })

  test('that inflates beyond the bound is refused', async ({ scene }) => {
    const body = gzipSync(Buffer.alloc(50 * 1024 * 1024, 32))
    const headers = { authorization, 'content-encoding': 'gzip' }
    expect((await scene.send('/v1/batch', { body, headers })).status).toBe(413)
  })
})

describe('a single message', () => {
  test.for([
    ['track', { event: 'Comment Created', userId: 'ada' }, 'failed'],
    ['identify', { userId: 'ada', traits: { name: 'Ada' } }, 'done'],
    ['identify', { anonymousId: 'x' }, 'ignored'],
    ['group', { userId: 'ada', groupId: 'core' }, 'done'],
    ['alias', { userId: 'ada', previousId: 'old' }, 'done'],
    ['page', { userId: 'ada', name: 'Home' }, 'ignored'],
    ['screen', { userId: 'ada', name: 'Home' }, 'ignored'],
  ] as const)('to /v1/%s of %j is %s', async ([type, body, status], { scene }) => {
    expect((await post(scene, body, `/v1/${type}`)).status).toBe(200)
    const logged = await scene.events('segment')
    expect(logged.map((one) => [one.kind, one.status])).toEqual([[type, status]])
  })

  test('alias merges the old user into the new one', async ({ scene }) => {
    await known(scene, 'old')
    await post(scene, { userId: 'old', traits: { plan: 'pro' } }, '/v1/identify')
    await post(scene, { userId: 'ada', previousId: 'old' }, '/v1/alias')
    expect((await scene.call('GET', '/v1/users/ada')).body).toMatchObject({ plan: 'pro' })
    expect((await scene.call('GET', '/v1/users/old')).status).toBe(404)
  })
})

describe('a write key', () => {
  test.for([
    ['none', {}],
    ['another one', { authorization: basic('wk_other') }],
    ['an empty one', { authorization: basic('') }],
    ['a bearer', { authorization: `Bearer ${WRITE_KEY}` }],
    [
      'what is signed with elsewhere',
      { authorization: basic('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw') },
    ],
  ] as const)('that is %s is refused before the body is read', async ([, headers], { scene }) => {
    const reply = await scene.send('/v1/batch', { body: '{{{', headers })
    expect([reply.status, (reply.body as { code: string }).code]).toEqual([
      401,
      'webhook_signature',
    ])
  })

  test('belongs to one environment, and says which', async ({ scene }) => {
    await post(scene, { batch: [{ type: 'identify', userId: 'ada', messageId: 'a' }] })
    const headers = { authorization: basic('wk_of_staging') }
    await scene.send('/v1/batch', { body: { batch: [comment('m1')] }, headers })
    const rows = await scene.engine.database.query(sql`
      select environment, status from source_events where environment is not null order by environment
    `)
    expect(rows).toEqual([
      { environment: 'production', status: 'done' },
      { environment: 'staging', status: 'done' },
    ])
  })
})

describe('times', () => {
  test('are set right by how far the clock of the sender is off', async ({ scene }) => {
    const batch = [{ ...comment('m1'), timestamp: '2020-01-01T00:00:00Z' }]
    await post(scene, { batch, sentAt: '2020-01-01T00:01:00Z' })
    const [event] = await scene.events('segment')
    expect(event?.happened_at).toBe('2027-03-01T08:59:00.000Z')
  })
})

describe('a large batch', () => {
  test('of ten thousand is taken in parts, with a bounded number of statements', async ({
    scene,
  }) => {
    await known(scene, 'ada')
    const batch = Array.from({ length: 10_000 }, (_, at) => comment(`m${at}`))
    const before = performance.now()
    const reply = await post(scene, { batch })
    expect(reply.status).toBe(200)
    // It takes about two seconds of an idle machine.
    expect(performance.now() - before).toBeLessThan(55_000)
    const [row] = await scene.engine.database.query<{ events: string; runs: string }>(sql`
      select (select count(*) from source_events where environment = 'production' and status = 'done'
          and kind = 'track') as events,
        (select count(*) from workflow_runs where environment = 'production') as runs
    `)
    expect(row).toEqual({ events: '10000', runs: '10000' })
  }, 120_000)
})
