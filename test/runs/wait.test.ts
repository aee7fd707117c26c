import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, RunId, WorkflowKey } from '../../src/ids.ts'
import type { Mark } from '../../src/messages/engagement.ts'
import { markMessages } from '../../src/messages/engagement-store.ts'
import { cancelRun } from '../../src/runs/cancel.ts'
import { dryRunWorkflow } from '../../src/runs/dry-run.ts'
import { wakeRun } from '../../src/runs/operate.ts'
import { sweepEvents, tellWaitingRuns } from '../../src/runs/wait-store.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await use(engine)
  },
})

const environment = 'production' as EnvironmentName
const ada = { id: 'ada', name: 'Ada' }
const own =
  '{ all: [{ variable: event.run_id, operator: equal_to, argument: run.id }, { variable: event.step_ref, operator: equal_to, argument: feed }] }'

const commit = (engine: Engine, wait: string) =>
  engine.commit({
    'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: feed, type: in_app, body: "Hello {{recipient.name}}" }
  - { ref: wait, type: wait_for_event, ${wait} }
  - { ref: after, type: in_app, body: "{{refs.wait.matched}} {{refs.wait.signal_variables.step_ref}} {{event.step_ref}}" }
`,
  })
const texts = async (engine: Engine, step = 'after') =>
  (await engine.messages())
    .filter(({ step_ref }) => step_ref === step)
    .map(({ content }) => (content['body'] as { content: string }).content)

/** Marks the messages of a step, as a recipient does, and lets the engine work. */
async function mark(engine: Engine, as: Mark, step = 'feed'): Promise<void> {
  const rows = await engine.database.query<{ id: string }>(sql`
    select id from messages where environment = ${environment} and step_ref = ${step}`)
  const ids = rows.map(({ id }) => id)
  const options = { now: engine.clock.now(), data: null }
  await engine.database.transaction((tx) => markMessages(tx, { environment, ids }, as, options))
  await engine.drain()
}

async function start(engine: Engine, wait: string): Promise<RunId> {
  await commit(engine, wait)
  await engine.trigger('hello', { recipients: [ada] })
  await engine.drain()
  const [run] = await engine.runs()
  expect(run).toMatchObject({ status: 'paused', waits_for: 'event' })
  return run!.id
}

const standing = async (engine: Engine) => {
  const [run] = await engine.runs()
  return [run!.status, run!.outcome, run!.reason]
}

const openWaits = (engine: Engine) =>
  engine.database.query(sql`
    select run_id from event_waits where environment = ${environment} and matched is null`)

describe('a run that waits for an event', () => {
  test('goes on with the first that matches, and shows it to later steps', async ({ engine }) => {
    const id = await start(engine, `event: message.read, match: ${own}, expires_after: 1d`)
    await mark(engine, 'seen')
    expect(await texts(engine)).toEqual([])
    await mark(engine, 'read')
    await mark(engine, 'unread')
    await mark(engine, 'read')
    expect(await texts(engine)).toEqual(['true feed feed'])
    expect(await standing(engine)).toEqual(['completed', 'completed', null])
    const timeline = await engine.timeline(id)
    expect(timeline).toContain('wait waiting:event')
    expect(timeline).toContain('wait wait_conditions_evaluated')
    expect(timeline.filter((event) => event === 'wait event_matched')).toHaveLength(1)
    expect(await openWaits(engine)).toEqual([])
  })

  test('sleeps on where an event does not match, and looks at each once', async ({ engine }) => {
    const other = own.replace('argument: feed', 'argument: other')
    const id = await start(engine, `event: message.read, match: ${other}, expires_after: 1d`)
    await mark(engine, 'read')
    await mark(engine, 'unread')
    await mark(engine, 'read')
    expect(await standing(engine)).toEqual(['paused', null, null])
    const timeline = await engine.timeline(id)
    const looks = timeline.filter((event) => event === 'wait wait_conditions_evaluated')
    expect(looks).toHaveLength(2)
    expect(await texts(engine)).toEqual([])
  })

  test('ends when its time is over, unless it is to go on', async ({ engine }) => {
    await start(engine, `event: message.read, match: ${own}, expires_after: 1d`)
    engine.clock.advance(24 * 3_600_000 - 1)
    await engine.drain()
    expect(await standing(engine)).toEqual(['paused', null, null])
    engine.clock.advance(1)
    await engine.drain()
    expect(await standing(engine)).toEqual(['cancelled', 'cancelled', 'wait_expired'])
    await mark(engine, 'read')
    expect(await texts(engine)).toEqual([])
    expect(await openWaits(engine)).toEqual([])
  })

  test('takes the last of many that came in time, and lists the first of those that do not match', async ({
    engine,
  }) => {
    const id = await start(engine, `event: message.read, match: ${own}`)
    await engine.database.query(sql`
      insert into recipient_events (environment, id, event, collection, recipient, data, inserted_at)
      select 'production', gen_random_uuid(), 'message.read', '$users', 'ada',
        jsonb_build_object('run_id', ${id}::text, 'step_ref', case n when 220 then 'feed' else 'other' end),
        ${engine.clock.now()}::timestamptz + n * interval '1 second'
      from generate_series(1, 220) as n`)
    engine.clock.advance(3_600_000)
    await engine.drain()
    expect(await texts(engine)).toEqual(['true feed feed'])
    const timeline = await engine.timeline(id)
    const looks = timeline.filter((event) => event === 'wait wait_conditions_evaluated')
    expect(looks).toHaveLength(21)
    const [matched] = await engine.database.query(sql`
      select e -> 'data' ->> 'looked_at' as looked_at
      from run_steps s cross join lateral jsonb_array_elements(s.events) e
      where s.environment = ${environment} and e ->> 'event' = 'event_matched'`)
    expect(matched).toEqual({ looked_at: '220' })
  })

  test('goes on behind an expired wait with nothing as event', async ({ engine }) => {
    await start(engine, `event: message.read, match: ${own}, on_timeout: continue`)
    engine.clock.advance(15 * 60_000)
    await engine.drain()
    expect(await texts(engine)).toEqual(['false  '])
  })

  test('ends with the event where it is told to', async ({ engine }) => {
    await start(engine, `event: message.interacted, match: ${own}, on_match: halt`)
    await mark(engine, 'interacted')
    expect(await standing(engine)).toEqual(['cancelled', 'cancelled', 'event_matched'])
  })

  test('also takes what came in time and was not told before it was over', async ({ engine }) => {
    const id = await start(engine, `event: message.read, match: ${own}`)
    const rows = await engine.messages()
    expect(rows).toHaveLength(1)
    const [message] = await engine.database.query<{ id: string }>(sql`
      select id from messages where environment = ${environment} and run_id = ${id}`)
    const options = { now: engine.clock.now(), data: null }
    await engine.database.transaction((tx) =>
      markMessages(tx, { environment, ids: [message!.id] }, 'read', options),
    )
    engine.clock.advance(3_600_000)
    await engine.drain()
    expect(await texts(engine)).toEqual(['true feed feed'])
  })

  test('takes what happened to its message in the same piece of work', async ({ engine }) => {
    await commit(engine, `event: message.delivered, match: ${own}`)
    await engine.trigger('hello', { recipients: [ada] })
    await engine.drain()
    expect(await texts(engine)).toEqual(['true feed feed'])
  })

  test('waits for what a provider says of a message, and for a cancel of it', async ({
    engine,
  }) => {
    await engine.commit({
      'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: wait, type: wait_for_event, event: message.not_sent, match: { all: [{ variable: event.data.reason, operator: equal_to, argument: workflow_inactive }] } }
  - { ref: after, type: in_app, body: "{{event.workflow}}" }
`,
      'workflows/other/workflow.yaml': 'name: O\nsteps: [{ ref: feed, type: in_app, body: x }]\n',
    })
    await engine.trigger('hello', { recipients: [ada] })
    await engine.drain()
    await engine.switchTo(false, 'other', 'feed')
    await engine.trigger('other', { recipients: ['ada'] })
    await engine.drain()
    expect(await texts(engine)).toEqual(['other'])
  })

  test.for(['workflow.started', 'workflow.completed'])(
    'waits for other runs of its recipient: %s',
    async (event, { engine }) => {
      await engine.commit({
        'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: wait, type: wait_for_event, event: ${event}, match: { any: [{ variable: event.workflow, operator: equal_to, argument: other }, { variable: event.run_id, operator: equal_to, argument: run.id }] } }
  - { ref: after, type: in_app, body: "{{event.workflow}}" }
`,
        'workflows/other/workflow.yaml': 'name: O\nsteps: [{ ref: feed, type: in_app, body: x }]\n',
      })
      await engine.trigger('hello', { recipients: [ada, { id: 'bob', name: 'Bob' }] })
      await engine.drain()
      await engine.trigger('other', { recipients: ['ada'], settings: { sandbox_mode: true } })
      await engine.drain()
      expect(await texts(engine)).toEqual([])
      await engine.trigger('other', { recipients: ['ada'] })
      await engine.drain()
      expect(await texts(engine)).toEqual(['other'])
      expect((await engine.runs()).filter(({ status }) => status === 'paused')).toHaveLength(1)
    },
  )

  test('is ended by a cancel, and hears nothing after it', async ({ engine }) => {
    const id = await start(engine, `event: message.read, match: ${own}`)
    const call = { environment, id, requestedBy: 'test', now: engine.clock.now() }
    await engine.database.transaction((tx) => cancelRun(tx, engine.queue, call))
    await mark(engine, 'read')
    expect(await standing(engine)).toEqual(['cancelled', 'cancelled', 'cancelled'])
    expect(await openWaits(engine)).toEqual([])
  })

  test('goes on as if its time were over when somebody wakes it', async ({ engine }) => {
    const id = await start(engine, `event: message.read, match: ${own}, on_timeout: continue`)
    const call = { environment, id, requestedBy: 'test', now: engine.clock.now() }
    await engine.database.transaction((tx) => wakeRun(tx, engine.queue, call))
    await engine.drain()
    expect(await texts(engine)).toEqual(['false  '])
  })

  test('sleeps on while its workflow is switched off, and ends so when what it waits for comes', async ({
    engine,
  }) => {
    await start(engine, `event: message.read, match: ${own.replace('feed', 'other')}`)
    await engine.switchTo(false, 'hello')
    await mark(engine, 'read')
    expect(await standing(engine)).toEqual(['paused', null, null])
    await engine.switchTo(true, 'hello')
    engine.clock.advance(3_600_000)
    await engine.switchTo(false, 'hello')
    await engine.drain()
    expect(await standing(engine)).toEqual(['cancelled', 'cancelled', 'workflow_inactive'])
    expect(await openWaits(engine)).toEqual([])
  })

  test('ends when the event comes while its workflow is switched off', async ({ engine }) => {
    await start(engine, `event: message.read, match: ${own}`)
    await engine.switchTo(false, 'hello')
    await mark(engine, 'read')
    expect(await standing(engine)).toEqual(['cancelled', 'cancelled', 'workflow_inactive'])
    expect(await openWaits(engine)).toEqual([])
  })

  test('ends when its workflow is archived', async ({ engine }) => {
    await start(engine, `event: message.seen, match: ${own}`)
    await engine.commit({ 'workflows/hello/workflow.yaml': null })
    await mark(engine, 'seen')
    expect(await standing(engine)).toEqual(['cancelled', 'cancelled', 'workflow_archived'])
  })

  test('is shown to expire in a dry run, which leaves no trace', async ({ engine }) => {
    await commit(engine, `event: message.read, match: ${own}, on_timeout: continue`)
    const dry = await engine.database.transaction((tx) =>
      dryRunWorkflow(tx, engine.queue, {
        environment,
        workflow: 'hello' as WorkflowKey,
        body: { recipients: [ada] },
        now: engine.clock.now(),
      }),
    )
    const events = dry.runs[0]!.timeline.map(({ event }) => event)
    expect(events).toContain('wait_expired')
    expect(dry.runs[0]!.messages).toHaveLength(2)
    await engine.drain()
    const left = await engine.database.query(sql`
      select id from recipient_events where environment = ${environment}`)
    expect([left, await openWaits(engine)]).toEqual([[], []])
  })

  test('looks at more than it can at once, one part after the other', async ({ engine }) => {
    const match =
      '{ all: [{ variable: event.data.metadata.n, operator: equal_to, argument: 249 }] }'
    await start(engine, `event: message.interacted, match: ${match}`)
    const [message] = await engine.database.query<{ id: string }>(sql`
      select id from messages where environment = ${environment}`)
    for (let n = 0; n < 250; n += 1) {
      const options = { now: engine.clock.now(), data: { metadata: { n } } }
      await engine.database.transaction((tx) =>
        markMessages(tx, { environment, ids: [message!.id] }, 'interacted', options),
      )
    }
    await engine.drain()
    expect(await texts(engine)).toEqual(['true feed feed'])
  })
})

describe('what happens', () => {
  test('is kept only where a workflow waits for it, and for a day', async ({ engine }) => {
    const kept = () =>
      engine.database.query(sql`
        select id from recipient_events where environment = ${environment}`)
    await engine.commit({
      'workflows/plain/workflow.yaml': 'name: P\nsteps: [{ ref: feed, type: in_app, body: x }]\n',
    })
    await engine.trigger('plain', { recipients: [ada] })
    await engine.drain()
    await mark(engine, 'read')
    expect(await kept()).toEqual([])
    await start(engine, `event: message.seen, match: ${own}`).catch(() => {})
    await mark(engine, 'seen')
    await mark(engine, 'unseen')
    await mark(engine, 'seen')
    expect((await kept()).length).toBeGreaterThan(0)
    const now = engine.clock.now()
    expect(await sweepEvents(engine.database, now)).toBe(0)
    expect(
      await sweepEvents(engine.database, new Date(now.getTime() + 86_400_001)),
    ).toBeGreaterThan(0)
    expect(await kept()).toEqual([])
    expect(await tellWaitingRuns(engine)).toBe(0)
  })
})
