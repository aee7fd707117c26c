import { afterEach, beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { deliver } from '../../src/messages/deliver.ts'
import { findMessageEvents, listDeliveries } from '../../src/messages/log-store.ts'
import { cancelMessages } from '../../src/messages/store.ts'
import type { NewMessage } from '../../src/messages/store.ts'
import { setSwitch } from '../../src/messages/switches.ts'
import type { TestClock } from '../support/clock.ts'
import { test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import { smtpAnswer, startSmtp } from '../support/smtp.ts'
import {
  aChannel,
  aMessage,
  anEmailContent,
  aWebhookContent,
  production,
  saveEnvironment,
  startOfTest,
} from './builders.ts'
import { aProcess, eventTypes, insert, off, stateOf, statesOf, prepare } from './harness.ts'

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

describe('a hand-over', () => {
  test('is claimed, made, settled and logged', async ({ database }) => {
    await using server = await startHttp()
    const message = aMessage({ content: aWebhookContent(`${server.url}/hook`) })
    const ctx = await aProcess(database, { clock, signal: stop.signal })
    let completed = false
    await deliver(ctx, await insert(database, clock, [message]), async () => {
      completed = true
    })
    expect(completed).toBe(true)
    expect(server.requests[0]?.headers['idempotency-key']).toBe(message.id)
    expect(await stateOf(database, message.id)).toEqual({
      status: 'delivered',
      reason: null,
      attempt: 1,
      due_at: null,
      claimed_by: null,
      reference: null,
    })
    expect(await eventTypes(database, message.id)).toEqual([
      'message.created',
      'message.queued',
      'message.delivered',
    ])
    expect(await listDeliveries(database, production, message.id)).toMatchObject([
      {
        attempt: 1,
        service: 'webhook',
        request: { method: 'POST', path: '/hook' },
        response: { status: 200 },
      },
    ])
  })

  test('is made once, however many jobs name the message', async ({ database }) => {
    await using server = await startHttp()
    const job = await insert(database, clock, [aMessage({ content: aWebhookContent(server.url) })])
    const one = await aProcess(database, { clock, signal: stop.signal })
    const two = await aProcess(database, { clock, signal: stop.signal })
    await Promise.all([deliver(one, job), deliver(two, job), deliver(one, job)])
    await deliver(two, job)
    expect(server.requests).toHaveLength(1)
  })

  test('is not made when the claim is rolled back', async ({ database }) => {
    await using server = await startHttp()
    const message = aMessage({ content: aWebhookContent(server.url) })
    const ctx = await aProcess(database, { clock, signal: stop.signal })
    const delivering = deliver(ctx, await insert(database, clock, [message]), async () => {
      throw new Error('the job is another’s')
    })
    await expect(delivering).rejects.toThrow('another’s')
    expect(server.requests).toHaveLength(0)
    expect(await stateOf(database, message.id)).toMatchObject({
      status: 'queued',
      attempt: 0,
      claimed_by: null,
    })
  })

  test('of one failing message in a set leaves the others alone', async ({ database }) => {
    await using server = await startHttp((request, response) => {
      response.writeHead(request.path === '/3' ? 500 : 200).end()
    })
    const messages = Array.from({ length: 30 }, (_, index) =>
      aMessage({ content: aWebhookContent(`${server.url}/${index}`) }),
    )
    await deliver(
      await aProcess(database, { clock, signal: stop.signal }),
      await insert(database, clock, messages),
    )
    const states = await statesOf(database, messages)
    expect(states.filter(({ status }) => status === 'delivered')).toHaveLength(29)
    expect(states[3]).toMatchObject({
      status: 'delivery_attempted',
      reason: 'delivery_failed',
      attempt: 1,
      due_at: new Date(startOfTest.getTime() + 2_000),
    })
  })

  test('repeats the idempotency key, and ends after eight attempts in about 30 minutes', async ({
    database,
  }) => {
    await using server = await startHttp((_request, response) => {
      response.writeHead(500).end()
    })
    const message = aMessage({ content: aWebhookContent(server.url) })
    const job = await insert(database, clock, [message])
    const ctx = await aProcess(database, { clock, signal: stop.signal })
    for (let attempt = 1; attempt <= 10; attempt += 1) {
      await deliver(ctx, job)
      const { due_at: dueAt } = await stateOf(database, message.id)
      if (dueAt) clock.set(dueAt)
    }
    expect(new Set(server.requests.map(({ headers }) => headers['idempotency-key']))).toEqual(
      new Set([message.id]),
    )
    expect(server.requests).toHaveLength(8)
    expect(await stateOf(database, message.id)).toMatchObject({
      status: 'undelivered',
      reason: 'attempts_exhausted',
    })
    expect(clock.now().getTime() - startOfTest.getTime()).toBe(30 * 60_000)
  })

  test('that is throttled uses up no attempt', async ({ database }) => {
    await using server = await startHttp((_request, response, index) => {
      response.writeHead(index < 12 ? 429 : 200, { 'retry-after': '2' }).end()
    })
    const message = aMessage({ content: aWebhookContent(server.url) })
    const job = await insert(database, clock, [message])
    const ctx = await aProcess(database, { clock, signal: stop.signal })
    for (let round = 0; round < 13; round += 1) {
      await deliver(ctx, job)
      const { due_at: dueAt } = await stateOf(database, message.id)
      if (dueAt) clock.set(dueAt)
    }
    expect(await stateOf(database, message.id)).toMatchObject({ status: 'delivered', attempt: 1 })
    expect(await listDeliveries(database, production, message.id)).toHaveLength(13)
  })

  test('of unknown outcome is not denied when a switch stops the next attempt', async ({
    database,
  }) => {
    await using server = await startHttp((_request, response) => {
      response.destroy()
    })
    const message = aMessage({ content: aWebhookContent(server.url) })
    const job = await insert(database, clock, [message])
    const ctx = await aProcess(database, { clock, signal: stop.signal })
    await deliver(ctx, job)
    const { due_at: dueAt } = await stateOf(database, message.id)
    clock.set(dueAt!)
    await database.transaction((tx) => setSwitch(tx, off))
    await deliver(ctx, job)
    expect(server.requests).toHaveLength(1)
    expect(await stateOf(database, message.id)).toMatchObject({
      status: 'undelivered',
      reason: 'handover_unknown',
      attempt: 1,
      due_at: null,
    })
    const history = await findMessageEvents(database, production, message.id)
    expect(history?.events.at(-1)?.data).toMatchObject({ stopped_by: 'workflow_inactive' })
  })

  test('of unknown outcome is held where the channel says so, and visible', async ({
    database,
  }) => {
    await saveEnvironment(database, {
      main: aChannel({ type: 'webhook', provider: 'webhook', on_ambiguous: 'hold' }),
    })
    await using server = await startHttp((_request, response) => {
      response.destroy()
    })
    const message = aMessage({ content: aWebhookContent(server.url) })
    await deliver(
      await aProcess(database, { clock, signal: stop.signal }),
      await insert(database, clock, [message]),
    )
    expect(await stateOf(database, message.id)).toMatchObject({
      status: 'delivery_attempted',
      reason: 'handover_unknown',
      due_at: null,
    })
    const history = await findMessageEvents(database, production, message.id)
    expect(history?.events.at(-1)).toMatchObject({
      type: 'message.delivery_attempted',
      data: { reason: 'handover_unknown', ambiguous: true, attempt: 1 },
    })
  })

  test('keeps secrets out of everything that is stored', async ({ database }) => {
    await saveEnvironment(
      database,
      { main: aChannel({ type: 'webhook', provider: 'webhook' }) },
      { crm_token: { secret: 'CRM_TOKEN' } },
    )
    await using server = await startHttp((request, response) => {
      response.writeHead(500).end(`you sent ${String(request.headers['x-token'])} and \0 NUL`)
    })
    const content = aWebhookContent(server.url, {
      headers: { 'x-token': '§1§' },
      secrets: { '§1§': 'crm_token' },
    })
    const message = aMessage({ content })
    await deliver(
      await aProcess(database, { clock, signal: stop.signal }),
      await insert(database, clock, [message]),
    )
    expect(server.requests[0]?.headers['x-token']).toBe('crm-secret-1')
    const stored = await database.query(sql`
      select m.events::text, m.content::text as content, d.request::text, d.response::text
      from messages m join deliveries d on d.environment = m.environment and d.message_id = m.id
      where m.environment = ${production}
    `)
    expect(stored).toHaveLength(1)
    expect(JSON.stringify(stored)).not.toContain('crm-secret-1')
    expect(JSON.stringify(stored)).toContain('you sent •••')
  })

  test('with a secret that is not set fails, and says which', async ({ database }) => {
    const settings = { host: '127.0.0.1', from: 'a@example.com', password: { secret: 'NONE' } }
    await saveEnvironment(database, {
      main: aChannel({ type: 'email', provider: 'smtp', settings }),
    })
    const message = aMessage({ content: anEmailContent() })
    await deliver(
      await aProcess(database, { clock, signal: stop.signal }),
      await insert(database, clock, [message]),
    )
    const history = await findMessageEvents(database, production, message.id)
    expect(JSON.stringify(history?.events.at(-1))).toContain(
      'the secret NONE of production is not set',
    )
  })

  test('by mail logs in with the secret, and a bad address is not sent', async ({ database }) => {
    await using server = await startSmtp({
      authOptional: false,
      onAuth({ password }, _session, callback) {
        callback(password === 'correct-horse' ? null : smtpAnswer(535, 'no'), { user: 'belfry' })
      },
    })
    const settings = {
      host: '127.0.0.1',
      port: server.port,
      username: 'belfry',
      password: { secret: 'SMTP_PASSWORD' },
      from: 'Example <hello@example.com>',
    }
    await saveEnvironment(database, {
      main: aChannel({ type: 'email', provider: 'smtp', settings }),
    })
    const good = aMessage({ content: anEmailContent() })
    const bad = aMessage({ content: anEmailContent({ to: 'ann@example.com,eve@example.org' }) })
    await deliver(
      await aProcess(database, { clock, signal: stop.signal }),
      await insert(database, clock, [good, bad]),
    )
    expect(await stateOf(database, good.id)).toMatchObject({
      status: 'sent',
      reference: expect.stringContaining('250'),
    })
    expect(await stateOf(database, bad.id)).toMatchObject({
      status: 'not_sent',
      reason: 'invalid_address',
    })
    expect(server.mails).toHaveLength(1)
  })
})

describe('a message is not sent', () => {
  const cases: readonly [string, (database: Database, message: NewMessage) => Promise<unknown>][] =
    [
      ['workflow_inactive', (database) => database.transaction((tx) => setSwitch(tx, off))],
      [
        'workflow_archived',
        (database) =>
          database.query(
            sql`update workflows set archived_at = ${startOfTest} where environment = ${production}`,
          ),
      ],
      [
        'recipient_deleted',
        (database) => database.query(sql`delete from recipients where environment = ${production}`),
      ],
      ['channel_missing', (database) => saveEnvironment(database, {})],
      [
        'sandbox',
        (database) =>
          saveEnvironment(database, {
            main: aChannel({ type: 'webhook', provider: 'webhook', sandbox: true }),
          }),
      ],
      [
        'cancelled',
        (database, { runId }) =>
          database.transaction((tx) => cancelMessages(tx, production, [runId], startOfTest)),
      ],
      ['expired', async () => clock.advance(60_000)],
    ]
  for (const [reason, arrange] of cases) {
    test(`${reason}: judged when it is handed over`, async ({ database }) => {
      await using server = await startHttp()
      const expiresAt = new Date(startOfTest.getTime() + 60_000)
      const message = aMessage({ content: aWebhookContent(server.url), expiresAt })
      const job = await insert(database, clock, [message])
      await arrange(database, message)
      await deliver(await aProcess(database, { clock, signal: stop.signal }), job)
      expect(server.requests).toHaveLength(0)
      expect(await stateOf(database, message.id)).toMatchObject({
        status: 'not_sent',
        reason,
        attempt: 0,
        due_at: null,
      })
      expect((await eventTypes(database, message.id))?.at(-1)).toBe('message.not_sent')
    })
  }

  test('off and on again before the hand-over loses nothing', async ({ database }) => {
    await using server = await startHttp()
    const job = await insert(database, clock, [aMessage({ content: aWebhookContent(server.url) })])
    await database.transaction((tx) => setSwitch(tx, off))
    await database.transaction((tx) => setSwitch(tx, { ...off, active: true }))
    await deliver(await aProcess(database, { clock, signal: stop.signal }), job)
    expect(server.requests).toHaveLength(1)
  })
})
