import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import {
  channelId,
  type ChannelKey,
  type EnvironmentName,
  type WorkflowKey,
} from '../../src/ids.ts'
import { upsertRecipients } from '../../src/recipients/store.ts'
import type { PreferenceWrite } from '../../src/recipients/preference-store.ts'
import { dryRunWorkflow } from '../../src/runs/dry-run.ts'
import { findRun, loadTimeline, type TimelineEntry } from '../../src/runs/read.ts'
import { test as base } from '../support/database.ts'
import { openEngine, plainEnvironment, type Engine } from '../support/engine.ts'

const production = 'production' as EnvironmentName
const environment = `ref: main
${plainEnvironment}
preferences:
  categories: { marketing: false }
  channel_types: { email: { conditions: [{ variable: recipient.plan, operator: not_equal_to, argument: quiet }] } }
`

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database, { environments: { production: environment } })
    await use(engine)
  },
})

const workflow = (more = '', first = '') => `name: Hello
${more}
steps:
${first}
  - { ref: feed, type: in_app, body: "Hello {{recipient.name}}" }
  - { ref: mail, type: email, subject: Hello, markdown: "Hello {{recipient.name}}" }
`

const hello = { 'workflows/hello/workflow.yaml': workflow('categories: [news]') }

async function say(engine: Engine, id: string, settings: object, set = 'default'): Promise<void> {
  const write: PreferenceWrite = { set, settings: settings as never, mode: 'replace' }
  await engine.database.transaction((tx) =>
    upsertRecipients(
      tx,
      production,
      [{ collection: '$users', id, properties: {}, preferences: [write] }],
      engine.clock.now(),
    ),
  )
}

/** Triggers for one user; what each step came to. */
async function run(engine: Engine, body: object, key = 'hello'): Promise<readonly string[]> {
  const recipients = [{ id: 'ann', email: 'ann@example.com' }]
  const id = await engine.trigger(key, { recipients, ...body })
  await engine.drain()
  const [one] = await engine.runs(id)
  return (await engine.timeline(one!.id)).filter((event) =>
    /enqueued|skipped|preferences/.test(event),
  )
}

async function decisions(engine: Engine): Promise<readonly TimelineEntry[]> {
  const one = (await engine.runs()).at(-1)!
  const found = await findRun(engine.database, production, one.id)
  const entries = await loadTimeline(engine.database, production, found!)
  return entries.filter(({ event }) => event === 'preferences_evaluated')
}

const tenant = (settings: object) => ({ tenant: { id: 'acme', settings } })

describe('a step that sends', () => {
  test('sends where nothing is said, and is skipped where the recipient does not want it', async ({
    engine,
  }) => {
    await engine.commit(hello)
    expect(await run(engine, {})).toEqual([
      'feed message_enqueued',
      'mail preferences_evaluated',
      'mail message_enqueued:sandbox',
    ])
    await say(engine, 'ann', { workflows: { hello: { channel_types: { in_app_feed: false } } } })
    expect(await run(engine, {})).toEqual([
      'feed preferences_evaluated',
      'feed step_skipped:preferences',
      'mail preferences_evaluated',
      'mail message_enqueued:sandbox',
    ])
    await say(engine, 'ann', { workflows: { hello: false } })
    expect(await run(engine, {})).toEqual([
      'feed preferences_evaluated',
      'feed step_skipped:preferences',
      'mail preferences_evaluated',
      'mail step_skipped:preferences',
    ])
    const [one] = (await engine.runs()).slice(-1)
    expect(one).toMatchObject({ status: 'completed', outcome: 'completed' })
  })

  test('says in the timeline which setting of which set decided', async ({ engine }) => {
    await engine.commit(hello)
    await say(engine, 'ann', { channel_types: { in_app_feed: true }, categories: { news: false } })
    await run(engine, { recipients: [{ id: 'ann', plan: 'quiet' }] })
    const revision = await engine.repository.git('rev-parse', 'main')
    const news = { setting: 'categories.news', set: 'recipient', id: 'default', result: false }
    const [feed, mail] = await decisions(engine)
    expect(feed).toMatchObject({
      step_ref: 'feed',
      data: {
        result: false,
        channel: 'feed',
        environment_revision: revision.trim(),
        decided_by: news,
        settings: [
          news,
          { setting: 'channel_types.in_app_feed', set: 'recipient', id: 'default', result: true },
        ],
      },
    })
    expect(mail?.data?.['settings']).toEqual([
      news,
      {
        setting: 'channel_types.email',
        set: 'environment',
        id: null,
        result: false,
        conditions: [
          {
            variable: 'recipient.plan',
            operator: 'not_equal_to',
            argument: 'quiet',
            resolved_variable: 'quiet',
            resolved_argument: 'quiet',
            result: false,
          },
        ],
      },
    ])
  })

  test('asks the sets of its tenant', async ({ engine }) => {
    await engine.commit(hello)
    await say(engine, 'ann', { categories: { news: false } })
    // Neither says anything of the tenant: as without one.
    expect(await run(engine, { tenant: 'acme' })).toContain('feed step_skipped:preferences')
    expect((await decisions(engine))[0]?.data).toMatchObject({ tenant_without_preferences: true })
    expect(await run(engine, tenant({ preference_set: {} }))).toContain('feed message_enqueued')
    const set = { categories: { news: { channel_types: { email: false } } } }
    expect(await run(engine, tenant({ preference_set: set }))).toEqual([
      'feed message_enqueued',
      'mail preferences_evaluated',
      'mail step_skipped:preferences',
    ])
    expect((await decisions(engine))[0]?.data?.['decided_by']).toMatchObject({
      setting: 'categories.news.channel_types.email',
      set: 'tenant',
      id: 'acme',
    })
    await say(engine, 'ann', { categories: { news: { channel_types: { email: true } } } }, 'acme')
    expect(await run(engine, { tenant: 'acme' })).toContain('mail message_enqueued:sandbox')
    // What stands for another tenant has no say.
    expect(await run(engine, { tenant: 'other' })).toContain('feed step_skipped:preferences')
  })

  test('counts preferences that come with the trigger', async ({ engine }) => {
    await engine.commit(hello)
    const preferences = { default: { channels: { feed: false } } }
    const recipients = [{ id: 'ann', preferences }]
    expect(await run(engine, { recipients })).toContain('feed step_skipped:preferences')
    const [stored] = await engine.database.query<{ settings: object }>(sql`
      select settings from preference_sets where environment = ${production} and recipient = 'ann'
    `)
    // Channels are kept by their ids, as those of all environments.
    expect(Object.values(stored!.settings)).toEqual([{ [channelId('feed' as ChannelKey)]: false }])
  })

  test('asks the defaults of the revision that is applied when it runs', async ({ engine }) => {
    await engine.commit({
      ...hello,
      'workflows/hello/workflow.yaml': workflow(
        'categories: [news]',
        '  - { ref: rest, type: delay, for: 1h }',
      ),
    })
    const id = await engine.trigger('hello', { recipients: [{ id: 'ann' }] })
    await engine.drain()
    await engine.commit({
      'environments/production.yaml': `ref: main\n${plainEnvironment}\npreferences: { categories: { news: false } }\n`,
    })
    engine.clock.advance(3_600_000)
    await engine.drain()
    const [one] = await engine.runs(id)
    expect(await engine.timeline(one!.id)).toContain('feed step_skipped:preferences')
  })
})

describe('a workflow', () => {
  test('that overrides preferences sends whatever they say', async ({ engine }) => {
    await engine.commit({
      'workflows/hello/workflow.yaml': workflow('override_preferences: true\ncommercial: true'),
    })
    await say(engine, 'ann', { workflows: { hello: false }, commercial_subscribed: false })
    expect(await run(engine, {})).toContain('feed message_enqueued')
    expect((await decisions(engine))[0]?.data).toMatchObject({ result: true, overridden: true })
  })

  test('that is commercial is sent to nobody who has unsubscribed', async ({ engine }) => {
    await engine.commit({ 'workflows/hello/workflow.yaml': workflow('commercial: true') })
    expect(await run(engine, {})).toContain('feed message_enqueued')
    await say(engine, 'ann', { commercial_subscribed: false })
    expect(await run(engine, {})).toContain('feed step_skipped:preferences')
    const settings = { preference_set: { commercial_subscribed: true } }
    expect(await run(engine, tenant(settings))).toContain('feed step_skipped:preferences')
  })

  test('of a category that the environment switches off needs the word of its recipient', async ({
    engine,
  }) => {
    await engine.commit({ 'workflows/hello/workflow.yaml': workflow('categories: [marketing]') })
    expect(await run(engine, {})).toContain('feed step_skipped:preferences')
    await say(engine, 'ann', { categories: { marketing: true } })
    expect(await run(engine, {})).toContain('feed message_enqueued')
  })
})

test('a dry run shows what preferences decide, and stores none', async ({ engine }) => {
  await engine.commit(hello)
  const recipients = [{ id: 'ann', preferences: { default: { workflows: { hello: false } } } }]
  const { runs } = await engine.database.transaction((tx) =>
    dryRunWorkflow(tx, engine.queue, {
      environment: production,
      workflow: 'hello' as WorkflowKey,
      body: { recipients },
      now: engine.clock.now(),
    }),
  )
  const events = runs[0]!.timeline.map(({ event }) => event)
  expect(events.filter((event) => event === 'preferences_evaluated')).toHaveLength(2)
  expect(runs[0]!.messages).toEqual([])
  const stored = await engine.database.query(sql`
    select id from preference_sets where environment = ${production}
  `)
  expect(stored).toEqual([])
})

const stateOf = async (engine: Engine) => {
  const [message] = await engine.database.query(sql`
    select status, reason, attempt, events -> -1 -> 'data' as data from messages
    where environment = ${production}
  `)
  return message
}
describe('a message that waited over a minute', () => {
  // Nobody listens there, so that each attempt fails.
  const mail = `{ type: email, provider: smtp, settings: { host: 127.0.0.1, port: 1, from: hello@example.com } }`
  const queued = {
    'environments/production.yaml': `ref: main\nchannels: { mail: ${mail} }\n`,
    'workflows/hello/workflow.yaml': `name: Hello
categories: [news]
steps:
  - { ref: gather, type: batch, window: 10m }
  - { ref: mail, type: email, subject: Hello, markdown: Hello }
`,
  }
  /** Makes a message whose first attempt fails, and lets so much time pass. */
  const hold = async (engine: Engine, ms: number, settings: object) => {
    await engine.commit(queued)
    const trigger = { recipients: [{ id: 'ann', email: 'ann@example.com' }], data: { page: 'p1' } }
    await engine.trigger('hello', trigger)
    await engine.trigger('hello', { ...trigger, data: { page: 'p2' } })
    await engine.drain()
    engine.clock.advance(600_000)
    await engine.drain()
    expect(await stateOf(engine)).toMatchObject({ status: 'delivery_attempted', attempt: 1 })
    await say(engine, 'ann', settings)
    engine.clock.advance(ms)
    await engine.drain()
    return await stateOf(engine)
  }
  const no = { workflows: { hello: false } }

  test('is not sent to who does not want it any more', async ({ engine }) => {
    expect(await hold(engine, 61_000, no)).toMatchObject({
      status: 'not_sent',
      reason: 'preferences',
      attempt: 1,
      data: {
        reason: 'preferences',
        result: false,
        decided_by: { setting: 'workflows.hello', set: 'recipient', id: 'default', result: false },
      },
    })
  })

  test('is tried again where it waited less', async ({ engine }) => {
    expect(await hold(engine, 59_000, no)).toMatchObject({
      status: 'delivery_attempted',
      attempt: 2,
    })
  })

  test.for([
    ['data.page', 'p2', 2],
    ['run.total_activities', 2, 2],
    ['recipient.email', 'ann@example.com', 2],
    ['workflow.name', 'Hello', 2],
    ['data.page', 'p1', 1],
    ['run.total_activities', 1, 1],
  ] as const)('is judged in the scope of its run: %j', async (scoped, { engine }) => {
    const [variable, argument, attempt] = scoped
    const conditions = [{ variable, operator: 'equal_to', argument }]
    const state = await hold(engine, 61_000, { categories: { news: { conditions } } })
    expect(state).toMatchObject({ attempt })
  })
})
