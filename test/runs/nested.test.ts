import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { findRecipient } from '../../src/recipients/store.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await use(engine)
  },
})

const ada = { id: 'ada', name: 'Ada' }
const bob = { id: 'bob', name: 'Bob' }
const child = `name: Child
trigger: { data_schema: { type: object, properties: { n: { type: integer } } } }
steps:
  - { ref: feed, type: in_app, body: "{{recipient.id}} {{actor.id}} {{tenant.id}} {{data.n}}" }
`

const commit = (engine: Engine, fields: string, other = child) =>
  engine.commit({
    'workflows/parent/workflow.yaml': `name: Parent
steps:
  - { ref: start, type: trigger_workflow, workflow: child${fields} }
  - { ref: mail, type: email, subject: s, markdown: x }
`,
    'workflows/child/workflow.yaml': other,
  })
const texts = async (engine: Engine) =>
  (await engine.messages())
    .filter(({ step_ref }) => step_ref === 'feed')
    .map(({ content }) => (content['body'] as { content: string }).content)

interface Started {
  readonly workflow: string
  readonly depth: number
  readonly cancellation_key: string | null
  readonly trigger_source: Readonly<Record<string, unknown>>
  readonly settings: object
  readonly version_id: string
}

const started = (engine: Engine) =>
  engine.database.query<Started>(sql`
    select workflow, depth, cancellation_key, trigger_source, settings, version_id
    from workflow_runs where environment = 'production' and depth > 0 order by id
  `)

describe('a step that triggers a workflow', () => {
  test('hands on what its run has', async ({ engine }) => {
    await commit(engine, '')
    await engine.trigger('parent', {
      recipients: [ada, { id: 'core', collection: 'teams', name: 'Core' }],
      actor: bob,
      tenant: 'acme',
      data: { n: 7 },
      cancellation_key: 'key',
      settings: { skip_delay: true },
    })
    await engine.drain()
    expect(await texts(engine)).toEqual(['ada bob acme 7', 'core bob acme 7'])
    const [first] = await engine.runs()
    expect(await engine.timeline(first!.id)).toContain('start workflow_triggered')
    expect((await started(engine))[0]).toMatchObject({
      workflow: 'child',
      depth: 1,
      cancellation_key: 'key',
      settings: { skip_delay: true },
      trigger_source: {
        type: 'workflow_step',
        run: first!.id,
        step: 'start',
        workflow: 'parent',
        cancellation_key: 'key',
      },
    })
  })

  test('takes ids, references and inline recipients, once each, and passes over unknown ones', async ({
    engine,
  }) => {
    await commit(
      engine,
      `, recipients: [bob, "{{data.who}}", { id: cyd, name: "{{data.name}}" }, nobody, bob], actor: "{{recipient.id}}", tenant: "{{data.none}}", data: { n: "{{data.n}}" }, cancellation_key: "{{data.n}}"`,
    )
    await engine.trigger('parent', {
      recipients: [ada],
      actor: bob,
      tenant: 'acme',
      data: { n: 3, name: 'Cyd', who: { id: 'ada' } },
    })
    await engine.drain()
    const [parent] = await engine.runs()
    expect(await engine.timeline(parent!.id)).toContain('start workflow_triggered')
    expect((await texts(engine)).toSorted()).toEqual(['ada ada  3', 'bob ada  3', 'cyd ada  3'])
    const cyd = { collection: '$users', id: 'cyd' }
    const known = await findRecipient(engine.database, 'production' as EnvironmentName, cyd)
    expect(known?.properties).toEqual({ name: 'Cyd' })
    expect((await started(engine))[0]?.cancellation_key).toBe('3')
  })

  test('reads a list that one expression names, and a single recipient', async ({ engine }) => {
    await commit(engine, `, recipients: "{{data.who}}"`)
    await engine.trigger('parent', { recipients: [ada, bob], data: { who: ['ada', 'bob'] } })
    await engine.trigger('parent', { recipients: [ada], data: { who: 'bob' } })
    await engine.drain()
    expect((await texts(engine)).toSorted()).toEqual([
      'ada   ',
      'ada   ',
      'bob   ',
      'bob   ',
      'bob   ',
    ])
  })

  test.for([
    ['that does not exist', 'workflow_missing', (engine: Engine) => commit(engine, '-x')],
    [
      'that is archived',
      'workflow_archived',
      async (engine: Engine) => {
        await commit(engine, '')
        await engine.commit({ 'workflows/child/workflow.yaml': null })
      },
    ],
    [
      'that is switched off',
      'workflow_inactive',
      async (engine: Engine) => {
        await commit(engine, '')
        await engine.switchTo(false, 'child')
      },
    ],
  ] as const)('skips a workflow %s', async ([, reason, prepare], { engine }) => {
    await prepare(engine)
    await engine.trigger('parent', { recipients: [{ ...ada, email: 'ada@example.com' }] })
    await engine.drain()
    const [run] = await engine.runs()
    expect(await engine.timeline(run!.id)).toContain(`start step_skipped:${reason}`)
    expect(run!.outcome).toBe('completed')
    expect(await started(engine)).toEqual([])
  })

  test.for([
    ['data that does not fit', ', data: { n: x }', '/data/n'],
    ['no recipients', ', recipients: "{{data.none}}"', 'missing or empty'],
    ['a recipient that cannot be one', ', recipients: [{ collection: "$x", id: a }]', 'collection'],
    ['an actor that nobody knows', ', actor: nobody', 'is not known'],
  ] as const)('fails its own run only, with %s', async ([, fields, message], { engine }) => {
    await commit(
      engine,
      `, conditions: { all: [{ variable: recipient.id, operator: equal_to, argument: ada }] }${fields}`,
    )
    await engine.trigger('parent', { recipients: [ada, bob] })
    await engine.drain()
    const runs = await engine.runs()
    expect(runs.map(({ outcome }) => outcome)).toEqual(['failed', 'completed'])
    const events = await engine.database.query<{ events: unknown }>(sql`
      select events from run_steps where environment = 'production' and run_id = ${runs[0]!.id}`)
    expect(JSON.stringify(events)).toContain(message)
    expect(await started(engine)).toEqual([])
  })

  test('stays in the sandbox, and stores nobody from there', async ({ engine }) => {
    await commit(engine, ', recipients: [ada, { id: cyd, name: Cyd }]')
    await engine.trigger('parent', { recipients: [ada], settings: { sandbox_mode: true } })
    await engine.drain()
    const messages = await engine.messages()
    expect(messages.map(({ step_ref }) => step_ref)).toContain('feed')
    expect(messages.filter(({ reason }) => reason !== 'sandbox')).toEqual([])
    const cyd = { collection: '$users', id: 'cyd' }
    expect(
      await findRecipient(engine.database, 'production' as EnvironmentName, cyd),
    ).toBeUndefined()
  })

  test('uses the version that is live when it comes to it', async ({ engine }) => {
    await commit(engine, ', conditions: { all: [{ variable: data.n, operator: exists }] }')
    await engine.trigger('parent', { recipients: [ada], data: { n: 1 } })
    await engine.commit({
      'workflows/child/workflow.yaml': child.replace('{{data.n}}', 'newer'),
    })
    await engine.drain()
    expect(await texts(engine)).toEqual(['ada   newer'])
  })

  test('ends a circle at its depth, with a reason', async ({ engine }) => {
    await engine.commit({
      'workflows/circle/workflow.yaml': `name: Circle
steps: [{ ref: again, type: trigger_workflow, workflow: circle }]
`,
    })
    await engine.trigger('circle', { recipients: [ada] })
    await engine.drain()
    const runs = await engine.runs()
    expect(runs.map(({ outcome }) => outcome)).toEqual([
      ...Array.from({ length: 10 }, () => 'completed'),
      'failed',
    ])
    expect(Math.max(...(await started(engine)).map(({ depth }) => depth))).toBe(10)
    expect(await engine.timeline(runs.at(-1)!.id)).toContain('again step_failed')
  })

  test('triggers once, even where its step is done again', async ({ engine }) => {
    await commit(engine, '')
    await engine.trigger('parent', { recipients: [ada] })
    await engine.drain()
    await engine.database.query(sql`
      update runs set status = 'queued', outcome = null, reason = null, position = '[0]',
        finished_at = null, wakes_at = null, steps = 100
      where environment = 'production' and workflow = 'parent'`)
    const [run] = await engine.runs()
    await engine.database.transaction((tx) =>
      engine.queue.enqueue(tx, 'run', [
        { kind: 'runs', environment: 'production', runIds: [run!.id] },
      ]),
    )
    await engine.drain()
    expect(await started(engine)).toHaveLength(1)
    expect(await texts(engine)).toHaveLength(1)
  })
})
