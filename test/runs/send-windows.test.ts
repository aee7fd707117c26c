import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import {
  channelId,
  type ChannelKey,
  type EnvironmentName,
  type WorkflowKey,
} from '../../src/ids.ts'
import { deleteRecipient, upsertRecipients } from '../../src/recipients/store.ts'
import { cancelByKey } from '../../src/runs/cancel.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'
import { startHttp } from '../support/http.ts'
import { startSmtp, type SmtpFake } from '../support/smtp.ts'

const production = 'production' as EnvironmentName
const ANN = { id: 'ann', email: 'ann@example.com' }

interface Scene {
  readonly engine: Engine
  readonly smtp: SmtpFake
}

const test = base.extend<{ scene: Scene }>({
  scene: async ({ database }, use) => {
    await using smtp = await startSmtp()
    const environment = `ref: main
timezone: Europe/Berlin
channels:
  mail: { type: email, provider: smtp, settings: { host: 127.0.0.1, port: ${smtp.port}, from: a@example.com } }
  feed: { type: in_app, provider: in_app }
`
    await using engine = await openEngine(database, { environments: { production: environment } })
    await use({ engine, smtp })
  },
})

const hello = {
  'workflows/hello/workflow.yaml': `name: Hello
categories: [news]
steps:
  - ref: mail
    type: email
    subject: Hello
    markdown: Hello
    send_windows: [{ days: weekdays, from: "09:00", until: "17:00" }]
  - { ref: feed, type: in_app, body: Hello }
`,
}

interface Held {
  readonly status: string
  readonly reason: string | null
  readonly scheduled: string | null
}

async function mailOf(engine: Engine): Promise<Held> {
  const [held] = await engine.database.query<{
    status: string
    reason: string | null
    at: Date | null
  }>(
    sql`select status, reason, scheduled_at as at from messages
        where environment = ${production} and step_ref = 'mail'`,
  )
  const { status, reason, at } = held!
  return { status, reason, scheduled: at && at.toISOString() }
}

/** Triggers at seven in the evening in Berlin; the window opens at eight, UTC, on the next day. */
async function hold(engine: Engine, recipient: object = ANN): Promise<void> {
  await engine.commit(hello)
  engine.clock.set('2027-03-01T18:00:00Z')
  await engine.trigger('hello', { recipients: [recipient], cancellation_key: 'key-1' })
  await engine.drain()
}

describe('a message outside its windows', () => {
  test('waits for the next, and the run goes on', async ({ scene: { engine, smtp } }) => {
    await hold(engine)
    expect(await mailOf(engine)).toEqual({
      status: 'queued',
      reason: null,
      scheduled: '2027-03-02T08:00:00.000Z',
    })
    const [run] = await engine.runs()
    expect(run).toMatchObject({ status: 'completed' })
    expect((await engine.messages()).map(({ step_ref }) => step_ref).toSorted()).toEqual([
      'feed',
      'mail',
    ])
    engine.clock.set('2027-03-02T07:59:59Z')
    await engine.drain()
    expect(smtp.mails).toHaveLength(0)
    engine.clock.set('2027-03-02T08:00:00Z')
    await engine.drain()
    expect(smtp.mails).toHaveLength(1)
    expect(await mailOf(engine)).toMatchObject({ status: 'sent' })
  })

  test("waits by the clock of the recipient's zone", async ({ scene: { engine } }) => {
    await hold(engine, { ...ANN, timezone: 'America/New_York' })
    expect(await mailOf(engine)).toEqual({ status: 'sent', reason: null, scheduled: null })
  })

  const changes: readonly (readonly [string, (engine: Engine) => Promise<unknown>])[] = [
    ['workflow_inactive', (engine) => engine.switchTo(false, 'hello')],
    [
      'workflow_archived',
      (engine) => engine.commit({ 'workflows/hello/workflow.yaml': null, 'README.md': 'empty' }),
    ],
    [
      'cancelled',
      (engine) =>
        engine.database.transaction((tx) =>
          cancelByKey(tx, engine.queue, {
            environment: production,
            workflow: 'hello' as WorkflowKey,
            cancellationKey: 'key-1',
            recipients: null,
            requestedBy: 'test',
            now: engine.clock.now(),
          }),
        ),
    ],
    [
      'recipient_deleted',
      (engine) =>
        engine.database.transaction((tx) =>
          deleteRecipient(tx, production, { collection: '$users', id: 'ann' }),
        ),
    ],
    [
      'preferences',
      (engine) =>
        engine.database.transaction((tx) =>
          upsertRecipients(
            tx,
            production,
            [
              {
                collection: '$users',
                id: 'ann',
                properties: {},
                preferences: [
                  {
                    set: 'default',
                    settings: { categories: { news: false } },
                    mode: 'replace',
                  },
                ],
              },
            ],
            engine.clock.now(),
          ),
        ),
    ],
  ]
  test.for(changes)('is judged again when it opens: %s', async ([reason, change], { scene }) => {
    const { engine, smtp } = scene
    await hold(engine)
    await change(engine)
    engine.clock.set('2027-03-02T08:00:00Z')
    await engine.drain()
    expect(await mailOf(engine)).toMatchObject({ status: 'not_sent', reason })
    expect(smtp.mails).toHaveLength(0)
  })

  test('expires while it waits, where it is worth less', async ({ scene: { engine } }) => {
    const short = hello['workflows/hello/workflow.yaml'].replace(
      'type: email\n',
      'type: email\n    expires_after: 1h\n',
    )
    await engine.commit({ 'workflows/hello/workflow.yaml': short })
    engine.clock.set('2027-03-01T18:00:00Z')
    await engine.trigger('hello', { recipients: [ANN] })
    await engine.drain()
    engine.clock.set('2027-03-02T08:00:00Z')
    await engine.drain()
    expect(await mailOf(engine)).toMatchObject({ status: 'not_sent', reason: 'expired' })
  })
})

test("each device's own zone counts", async ({ database }) => {
  await using server = await startHttp()
  const environment = `ref: main
timezone: Europe/Berlin
channels:
  push: { type: push, provider: expo, settings: { endpoint: "${server.url}" } }
`
  await using engine = await openEngine(database, { environments: { production: environment } })
  await engine.commit({
    'workflows/hello/workflow.yaml': `name: Hello
steps:
  - ref: push
    type: push
    title: Hello
    body: Hello
    send_windows: [{ days: weekdays, from: "09:00", until: "17:00" }]
`,
  })
  engine.clock.set('2027-03-01T18:00:00Z')
  const devices = [
    { token: 'one', timezone: 'America/New_York' },
    { token: 'two', timezone: null },
    { token: 'three', timezone: 'Asia/Tokyo' },
  ]
  const channel_data = { [channelId('push' as ChannelKey)]: { devices } }
  await engine.trigger('hello', { recipients: [{ id: 'ann', channel_data }] })
  await engine.drain()
  const rows = await engine.database.query<{ token: string; at: Date | null }>(sql`
    select content ->> 'token' as token, scheduled_at as at from messages
    where environment = ${production} order by part
  `)
  expect(rows.map(({ token, at }) => [token, at && at.toISOString()])).toEqual([
    ['one', null],
    ['two', '2027-03-02T08:00:00.000Z'],
    ['three', '2027-03-02T00:00:00.000Z'],
  ])
})
