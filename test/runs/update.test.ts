import { describe, expect } from 'vitest'
import { channelId, type ChannelKey, type EnvironmentName } from '../../src/ids.ts'
import { findRecipient } from '../../src/recipients/store.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await use(engine)
  },
})

const production = 'production' as EnvironmentName
const ada = { id: 'ada', name: 'Ada' }

const commit = (engine: Engine, steps: string) =>
  engine.commit({ 'workflows/hello/workflow.yaml': `name: W\nsteps:\n${steps}` })
const stored = async (engine: Engine, collection: string, id: string) =>
  (await findRecipient(engine.database, production, { collection, id }))?.properties
const texts = async (engine: Engine) =>
  (await engine.messages()).map(({ content }) => (content['body'] as { content: string }).content)

describe('a step that updates', () => {
  test('the recipient merges deeply, clears with null, and shows it to later steps', async ({
    engine,
  }) => {
    await commit(
      engine,
      `  - ref: note
    type: update_recipient
    properties: { plan: "{{data.plan}}", trial: null, seen: { count: "{{data.count}}" }, tags: [a] }
  - { ref: feed, type: in_app, body: "{{recipient.plan}} {{recipient.seen.count}} {{recipient.trial}}." }
  - { ref: only, type: in_app, body: x, conditions: { all: [{ variable: recipient.trial, operator: exists }] } }
`,
    )
    const before = { plan: 'free', trial: true, seen: { first: 1 }, tags: ['b', 'c'] }
    await engine.trigger('hello', {
      recipients: [{ ...ada, ...before }],
      data: { plan: 'gold', count: 7 },
    })
    await engine.drain()
    expect(await texts(engine)).toEqual(['gold 7 .'])
    expect(await stored(engine, '$users', 'ada')).toEqual({
      name: 'Ada',
      plan: 'gold',
      seen: { first: 1, count: 7 },
      tags: ['a'],
    })
    const [run] = await engine.runs()
    expect(await engine.timeline(run!.id)).toContain('note properties_updated')
  })

  test('the preferences of a tenant decides what its later steps send', async ({ engine }) => {
    await commit(
      engine,
      `  - ref: own
    type: update_tenant
    properties: { settings: { preference_set: { channels: { feed: false }, categories: "{{data.all}}" } } }
  - { ref: feed, type: in_app, body: x }
`,
    )
    const trigger = { recipients: [ada], tenant: 'acme' }
    const timeline = async (data: object) => {
      const id = await engine.trigger('hello', { ...trigger, data })
      await engine.drain()
      return await engine.timeline((await engine.runs(id))[0]!.id)
    }
    expect(await timeline({ all: {} })).toContain('feed step_skipped:preferences')
    expect(await stored(engine, '$tenants', 'acme')).toEqual({
      settings: {
        preference_set: { channels: { [channelId('feed' as ChannelKey)]: false }, categories: {} },
      },
    })
    // What is no preference set is not stored.
    expect(await timeline({ all: 'news' })).toContain('own step_failed')
  })

  test('tenants and objects makes those that are not there', async ({ engine }) => {
    await commit(
      engine,
      `  - { ref: own, type: update_tenant, properties: { last: "{{recipient.id}}" } }
  - { ref: other, type: update_tenant, id: globex, properties: { last: x } }
  - { ref: page, type: update_object, collection: pages, id: "{{data.page}}", properties: { by: "{{tenant.last}}" } }
  - { ref: user, type: update_recipient, id: bob, properties: { by: "{{recipient.id}}" } }
`,
    )
    await engine.trigger('hello', { recipients: [ada], tenant: 'acme', data: { page: 12 } })
    await engine.drain()
    expect(await stored(engine, '$tenants', 'acme')).toEqual({ last: 'ada' })
    expect(await stored(engine, '$tenants', 'globex')).toEqual({ last: 'x' })
    expect(await stored(engine, 'pages', '12')).toEqual({ by: 'ada' })
    expect(await stored(engine, '$users', 'bob')).toEqual({ by: 'ada' })
  })

  test('the data of its run leaves that of the others alone, also after a wait', async ({
    engine,
  }) => {
    await commit(
      engine,
      `  - { ref: note, type: update_data, conditions: { all: [{ variable: recipient.id, operator: equal_to, argument: ada }] }, properties: { a: { y: "{{recipient.name}}" }, b: null } }
  - { ref: feed, type: in_app, body: "{{recipient.id}} {{data.a.x}} {{data.a.y}} {{data.b}}." }
  - { ref: pause, type: delay, for: 1h }
  - { ref: later, type: in_app, body: "{{recipient.id}} {{data.a.x}} {{data.a.y}} {{data.b}}." }
`,
    )
    await engine.trigger('hello', {
      recipients: [ada, { id: 'bob', name: 'Bob' }],
      data: { a: { x: 1 }, b: 2 },
    })
    await engine.drain()
    expect(await texts(engine)).toEqual(['ada 1 Ada .', 'bob 1  2.'])
    engine.clock.advance(3_600_000)
    await engine.drain()
    expect((await texts(engine)).slice(2)).toEqual(['ada 1 Ada .', 'bob 1  2.'])
  })

  test('one object from many runs loses nothing', async ({ engine }) => {
    await commit(
      engine,
      `  - { ref: page, type: update_object, collection: pages, id: one, properties: { data: "{{data.own}}" } }\n`,
    )
    const recipients = Array.from({ length: 300 }, (_, index) => ({
      id: `user-${index}`,
      n: 1,
      $trigger_data: { own: { [`key${index}`]: index } },
    }))
    await engine.trigger('hello', { recipients })
    await engine.drain()
    const properties = await stored(engine, 'pages', 'one')
    expect(Object.keys(properties?.['data'] as object)).toHaveLength(300)
  })

  test('skips what is not there, and changes nobody in a sandbox', async ({ engine }) => {
    await commit(
      engine,
      `  - { ref: own, type: update_tenant, properties: { a: b } }
  - { ref: user, type: update_recipient, properties: { a: b } }
  - { ref: data, type: update_data, properties: { a: b } }
  - { ref: mail, type: email, subject: "{{data.a}}", markdown: x }
`,
    )
    await engine.trigger('hello', {
      recipients: [{ ...ada, email: 'ada@example.com' }],
      settings: { sandbox_mode: true },
    })
    await engine.drain()
    expect(await stored(engine, '$users', 'ada')).not.toHaveProperty('a')
    expect((await engine.messages())[0]?.content).toMatchObject({ subject: 'b' })
    const [run] = await engine.runs()
    const timeline = await engine.timeline(run!.id)
    expect(timeline).toContain('own step_skipped:target_missing')
    expect(timeline).toContain('user step_skipped:sandbox')
    expect(timeline).toContain('data data_updated')
  })

  test.for([
    ['an id that cannot be one', { id: 'a/b', text: '' }],
    ['a collection of ours', { id: 'a', collection: '$objects', text: '' }],
    ['more than can be kept', { id: 'a', text: 'x'.repeat(256 * 1024) }],
  ] as const)('fails its own run only, with %s', async ([, wrong], { engine }) => {
    await commit(
      engine,
      `  - { ref: page, type: update_object, collection: "{{data.collection}}", id: "{{data.id}}", properties: { text: "{{data.text}}" } }\n`,
    )
    const fine = { id: 'b', collection: 'pages', text: 'y' }
    await engine.trigger('hello', {
      recipients: [
        { ...ada, $trigger_data: wrong },
        { id: 'bob', name: 'Bob' },
      ],
      data: fine,
    })
    await engine.drain()
    const runs = await engine.runs()
    expect(runs.map((run) => run.outcome)).toEqual(['failed', 'completed'])
    expect(runs[0]).toMatchObject({ reason: 'step_failed', error_count: 1 })
    expect(await stored(engine, 'pages', 'b')).toEqual({ text: 'y' })
    expect(await stored(engine, 'pages', 'a')).toBeUndefined()
  })
})
