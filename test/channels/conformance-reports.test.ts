import { afterEach, beforeEach, describe, expect } from 'vitest'
import { providers } from '../../src/channels/index.ts'
import type { Fate } from '../../src/channels/report.ts'
import { sql } from '../../src/db/sql.ts'
import type { ChannelKey, MessageId } from '../../src/ids.ts'
import { listDeliveries } from '../../src/messages/log-store.ts'
import { listSuppressions } from '../../src/messages/suppressions.ts'
import type { TestReply } from '../api/server-support.ts'
import { aChannel, production, saveEnvironment } from '../messages/builders.ts'
import { eventTypes, stateOf } from '../messages/harness.ts'
import {
  aSentMessage,
  channelOf,
  path,
  PUBLIC_URL,
  settingsOf,
  test,
  type Scene,
} from './conformance/report-scene.ts'
import { NOW, reportCases, type Signing } from './conformance/reports.ts'

const main = 'main' as ChannelKey

test('each provider that calls us stands in the suite', () => {
  const calling = Object.values(providers).flatMap((one) => ('webhook' in one ? [one.name] : []))
  expect(reportCases.map(({ provider }) => provider).toSorted()).toEqual(calling.toSorted())
})

beforeEach<{ scene: Scene }>(async ({ scene }) => {
  await scene.database.query(sql`delete from suppressions`)
})
afterEach<{ scene: Scene }>(({ scene }) => {
  expect(scene.server.failures).toEqual([])
})

describe.each(reportCases.map((one) => [one.provider, one] as const))('%s', (_name, one) => {
  const ready = async ({ database }: Scene) => {
    await saveEnvironment(database, { main: channelOf(one), other: channelOf(one, 'other') })
  }
  const address = 'to' in one.content ? one.content.to : ''
  const send = async (
    { server }: Scene,
    event: Readonly<Record<string, unknown>> | string,
    id: string,
    options: Partial<Signing> & { readonly change?: (body: string) => string } = {},
  ): Promise<TestReply> => {
    const query = one.query?.(id) ?? ''
    const url = `${PUBLIC_URL}${path}${query}`
    const signing = { at: NOW, secret: 1, url, ...options } as const
    const body = typeof event === 'string' ? event : one.bodyOf(event, signing)
    const headers = one.headersOf(body, signing)
    const sent = options.change?.(body) ?? body
    return await server.call('POST', `${path}${query}`, { headers, body: sent })
  }
  const report = (scene: Scene, fate: Fate, id: string, more: Partial<Signing> = {}) =>
    send(scene, one.events[fate]!(id, address), id, more)
  const fates = Object.keys(one.events) as Fate[]

  test.for(fates.filter((fate) => fate in EXPECTED))(
    'takes what is %s',
    async (fate, { scene }) => {
      await ready(scene)
      const id = await aSentMessage(scene.database, one)
      const reply = await report(scene, fate, id)
      expect(reply).toMatchObject({ status: 200, body: { changed: 1 } })
      const { type, ...state } = EXPECTED[fate]!
      expect(await stateOf(scene.database, id)).toMatchObject({ ...state, due_at: null })
      expect(await eventTypes(scene.database, id)).toContain(type)
      expect(await listDeliveries(scene.database, production, id)).toMatchObject([
        { service: one.provider, request: { method: 'POST', path }, response: { status: 200 } },
      ])
    },
  )

  test.runIf('clicked' in one.events)('takes opens and clicks', async ({ scene }) => {
    await ready(scene)
    const id = await aSentMessage(scene.database, one)
    await report(scene, 'opened', id)
    await report(scene, 'clicked', id)
    expect(await eventTypes(scene.database, id)).toEqual([
      'message.created',
      'message.queued',
      'message.seen',
      'message.read',
      'message.link_clicked',
    ])
    expect(await stateOf(scene.database, id)).toMatchObject({ status: 'sent' })
  })

  test.runIf('complained' in one.events)('takes a complaint once', async ({ scene }) => {
    await ready(scene)
    const id = await aSentMessage(scene.database, one)
    expect(await report(scene, 'complained', id)).toMatchObject({ body: { changed: 1 } })
    const [, , , list] = await kept(scene, id)
    expect(list).toMatchObject([
      { address: 'ann@xn--bcher-kva.example', reason: 'complained', messageId: id },
    ])
    // Somebody clears it, and the call comes again.
    await scene.database.query(sql`delete from suppressions`)
    expect(await report(scene, 'complained', id)).toMatchObject({ body: { changed: 0 } })
    expect((await kept(scene, id))[3]).toEqual([])
  })

  test('passes over what tells nothing of the delivery', async ({ scene }) => {
    await ready(scene)
    const id = await aSentMessage(scene.database, one)
    const before = await kept(scene, id)
    for (const event of one.ignored) {
      expect(await send(scene, event(id, address), id)).toMatchObject({ status: 200 })
    }
    expect(await kept(scene, id)).toEqual(before)
  })

  test.runIf(Object.keys(one.secrets).length > 0)(
    'takes each of two secrets',
    async ({ scene }) => {
      await ready(scene)
      const id = await aSentMessage(scene.database, one)
      const reply = await report(scene, 'delivered', id, { secret: 0 })
      expect(reply).toMatchObject({ status: 200, body: { changed: 1 } })
    },
  )

  test('refuses what it cannot believe, and keeps nothing of it', async ({ scene }) => {
    await ready(scene)
    const id = await aSentMessage(scene.database, one)
    const before = await kept(scene, id)
    const event = (one.events.gone ?? one.events.rejected)!(id, address)
    const signing = { at: NOW, secret: 1, url: `${PUBLIC_URL}${path}` } as const
    const coversTime = !one.uncovered?.includes('time')
    const coversBody = !one.uncovered?.includes('body')
    const refused = [
      await send(scene, event, id, { secret: 2 }),
      await scene.server.call('POST', path, { body: one.bodyOf(event, { ...signing, secret: 2 }) }),
      await scene.server.call('POST', path),
      ...(coversTime
        ? [
            await send(scene, event, id, { at: new Date(NOW.getTime() - 25 * 3_600_000) }),
            await send(scene, event, id, { at: new Date(NOW.getTime() + 6 * 60_000) }),
          ]
        : []),
      ...(coversBody || one.provider === 'mailgun'
        ? [await send(scene, event, id, { change: one.tamper })]
        : []),
    ]
    const statuses = refused.map(({ status }) => status)
    // Without a body there is nothing that could be signed.
    expect(statuses.filter((status) => status !== 401 && status !== 400)).toEqual([])
    expect(statuses.filter((status) => status === 400).length).toBeLessThanOrEqual(1)
    expect(await kept(scene, id)).toEqual(before)
  })

  test('says the same where there is no such channel, and where it has no secret', async ({
    scene,
  }) => {
    const { server, database } = scene
    await saveEnvironment(database, {
      main: { ...channelOf(one), settings: {} },
      hook: aChannel({ provider: 'webhook', type: 'webhook', key: 'hook' as ChannelKey }),
    })
    const body = one.bodyOf(one.events.delivered!('', ''), { at: NOW, secret: 1, url: '' })
    const headers = one.headersOf(body, { at: NOW, secret: 1, url: '' })
    const replies = []
    for (const place of ['production/main', 'production/hook', 'production/none', 'none/main']) {
      replies.push(await server.call('POST', `/hooks/channels/${place}`, { headers, body }))
    }
    expect(replies.map(({ status }) => status)).toEqual([401, 401, 401, 401])
    expect(new Set(replies.map(({ body: said }) => JSON.stringify(said))).size).toBe(1)
  })

  test('believes nothing by a secret that is not there', async ({ scene }) => {
    const missing = JSON.stringify(settingsOf(one)).replace(/"secret":"OLD_/, '"secret":"MISSING_')
    const none = missing.replaceAll(/"secret":"\w+"/g, '"secret":"MISSING"')
    const id = await aSentMessage(scene.database, one)
    for (const [settings, secret] of [
      [missing, 3],
      [none, 3],
      [none, 1],
    ] as const) {
      const read = JSON.parse(settings) as Record<string, unknown>
      const own = one.provider === 'ses' ? { ...read, webhook_topic: '' } : read
      await saveEnvironment(scene.database, { main: { ...channelOf(one), settings: own } })
      expect(await report(scene, 'delivered', id, { secret })).toMatchObject({ status: 401 })
    }
    expect(scene.lines.join('')).toContain('no_secret')
  })

  test.runIf(one.provider === 'mailgun')(
    'takes a token once, whatever comes with it',
    async ({ scene }) => {
      await ready(scene)
      const id = await aSentMessage(scene.database, one)
      const signing = { at: NOW, secret: 1, url: '' } as const
      const first = one.bodyOf(one.events.opened!(id, address), signing)
      expect(await send(scene, first, id)).toMatchObject({ body: { changed: 1 } })
      const forged = { ...JSON.parse(first), 'event-data': one.events.gone!(id, address) } as object
      const reply = await send(scene, JSON.stringify(forged), id)
      expect(reply).toMatchObject({ status: 200, body: { duplicate: true, changed: 0 } })
      expect(await stateOf(scene.database, id)).toMatchObject({ status: 'sent' })
    },
  )

  test('does not read more than a megabyte', async ({ scene }) => {
    await ready(scene)
    const body = `"${'x'.repeat(1024 * 1024)}"`
    expect(await send(scene, body, 'x')).toMatchObject({ status: 413 })
    const unsigned = await scene.server.call('POST', path, { body })
    expect(unsigned.status).toBe(one.provider === 'mailgun' ? 413 : 401)
  })

  test('survives what cannot be read', async ({ scene }) => {
    await ready(scene)
    const long = `[${'['.repeat(20_000)}`
    for (const body of [
      '{',
      '[1, null, "x"]',
      'null',
      '""',
      '\u0000',
      long,
      '{"Type":"__proto__"}',
    ]) {
      const { status } = await send(scene, body, 'x')
      expect([200, 400, 401]).toContain(status)
    }
    expect(await send(scene, '{', 'x')).toMatchObject({
      status: one.provider === 'twilio' ? 200 : 400,
    })
  })

  test('takes a report once', async ({ scene }) => {
    await ready(scene)
    const id = await aSentMessage(scene.database, one)
    const last = one.events.gone ? 'gone' : 'rejected'
    const url = `${PUBLIC_URL}${path}${one.query?.(id) ?? ''}`
    const body = one.bodyOf(one.events[last]!(id, address), { at: NOW, secret: 1, url })
    await send(scene, body, id)
    const after = await kept(scene, id)
    await scene.database.query(sql`delete from suppressions`)
    const again = await send(scene, body, id)
    expect(again).toMatchObject({ status: 200, body: { changed: 0 } })
    expect(await kept(scene, id)).toEqual([...after.slice(0, 3), []])
  })

  test('makes the same of reports in each order', async ({ scene }) => {
    await ready(scene)
    const moving = fates.filter((fate) => fate in EXPECTED)
    const strongest = (['gone', 'returned', 'delivered'] as const).find(
      (fate) => fate in one.events,
    )!
    for (const order of ordersOf(moving.filter((fate) => fate !== 'returned'))) {
      const id = await aSentMessage(scene.database, one)
      for (const fate of order) await report(scene, fate, id)
      const { type: _, ...state } = EXPECTED[strongest]!
      expect(await stateOf(scene.database, id)).toMatchObject(state)
    }
  })

  test('answers well what it does not know', async ({ scene }) => {
    await ready(scene)
    const other = await aSentMessage(scene.database, one, { channel: 'other' as ChannelKey })
    const none = '0190a0b0-0000-7000-8000-0000000000ff'
    for (const id of [other, none, 'no-id', "'; drop table messages; --"]) {
      const reply = await report(scene, 'delivered', id)
      expect(reply).toMatchObject({ status: 200, body: { changed: 0 } })
    }
    expect(await stateOf(scene.database, other)).toMatchObject({ status: 'sent' })
  })

  test.runIf(one.content.type === 'email' && one.events.gone)(
    'leaves a message alone whose copy came back',
    async ({ scene }) => {
      await ready(scene)
      const id = await aSentMessage(scene.database, one)
      const before = await kept(scene, id)
      const event = { ...one.events.gone!(id, 'cy@example.com') }
      expect(await send(scene, event, id)).toMatchObject({ status: 200, body: { changed: 0 } })
      expect(await kept(scene, id)).toEqual(before)
    },
  )

  test('tells no secret, and bounds what it keeps', async ({ scene }) => {
    await ready(scene)
    const id = await aSentMessage(scene.database, one)
    const said = Object.values(one.secrets).join(' ')
    const event = { ...one.events.delivered!(id, address), more: said, long: 'x'.repeat(50_000) }
    const replies = [await send(scene, event, id), await send(scene, event, id, { secret: 2 })]
    expect(replies[0]).toMatchObject({ status: 200, body: { changed: 1 } })
    const all = JSON.stringify([replies, scene.lines, await kept(scene, id)])
    expect(scene.lines.join('')).toContain('bad_signature')
    for (const secret of Object.values(one.secrets)) expect(all).not.toContain(secret)
    expect(all.length).toBeLessThan(20_000)
  })
})

/** All that is kept of a message. */
async function kept({ database }: Scene, id: MessageId) {
  return [
    await stateOf(database, id),
    await eventTypes(database, id),
    await listDeliveries(database, production, id),
    await listSuppressions(database, { environment: production, channel: main }, { limit: 10 }),
  ]
}

/** What each fate makes of a message that was sent. */
const EXPECTED: Readonly<
  Partial<
    Record<Fate, { readonly status: string; readonly reason: string | null; readonly type: string }>
  >
> = {
  delivered: { status: 'delivered', reason: null, type: 'message.delivered' },
  gone: { status: 'bounced', reason: 'address_gone', type: 'message.bounced' },
  returned: { status: 'bounced', reason: 'returned', type: 'message.bounced' },
  rejected: { status: 'undelivered', reason: 'provider_rejected', type: 'message.undelivered' },
}

function ordersOf<Item>(items: readonly Item[]): readonly (readonly Item[])[] {
  if (items.length < 2) return [items]
  return items.flatMap((item, index) =>
    ordersOf(items.toSpliced(index, 1)).map((rest) => [item, ...rest]),
  )
}
