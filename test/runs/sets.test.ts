import { expect } from 'vitest'
import { newId, type EnvironmentName, type ProcessId } from '../../src/ids.ts'
import type { Database, Queryable, Transaction } from '../../src/db/database.ts'
import { executeRuns } from '../../src/runs/execute.ts'
import { expandWorkflowRun } from '../../src/runs/expand.ts'
import { lockQueuedRuns } from '../../src/runs/store.ts'
import { test } from '../support/database.ts'
import { openEngine } from '../support/engine.ts'
import { claimFetches, settleFetches } from '../../src/runs/fetch-store.ts'
import { queued, work } from './fetch-scene.ts'

/** The same database, and how many statements were sent to it. */
function counted(database: Database): { database: Database; count: () => number } {
  let count = 0
  const counting = <Target extends Queryable>(target: Target): Target => ({
    ...target,
    query: (statement) => {
      count += 1
      return target.query(statement)
    },
    execute: (text, values) => {
      count += 1
      return target.execute(text, values)
    },
  })
  const transaction: Database['transaction'] = (run) =>
    database.transaction((tx: Transaction) => run(counting(tx)))
  return { database: { ...counting(database), transaction }, count: () => count }
}

const steps = `name: W
conditions: { all: [{ variable: recipient.n, operator: exists }] }
steps:
  - { ref: calm, type: throttle, window: 1h, limit: 2 }
  - { ref: feed, type: in_app, body: "Hello {{recipient.n}}" }
  - { ref: mail, type: email, subject: s, markdown: "Hello {{actor.id}}" }
  - { ref: trial, type: cohort, cohorts: [{ name: a, percentage: 50, steps: [] }, { name: b, percentage: 50, steps: [] }] }
  - { ref: key, type: throttle, window: 1h, key: recipient.id }
  - { ref: note, type: update_recipient, properties: { count: "{{recipient.n}}" } }
  - { ref: page, type: update_object, collection: pages, id: "{{recipient.id}}", properties: { n: 1 } }
  - { ref: data, type: update_data, properties: { n: "{{recipient.n}}" } }
  - { ref: pause, type: delay, for: 1h }
  - { ref: again, type: in_app, body: x, conditions: { all: [{ variable: refs.feed.delivery_status, operator: equal_to, argument: $message.delivered }] } }
`

test('no statement count grows with the number of recipients', async ({ database }) => {
  const watched = counted(database)
  await using engine = await openEngine(watched.database)
  await engine.commit({ 'workflows/hello/workflow.yaml': steps })
  const statements = async (count: number) => {
    const recipients = Array.from({ length: count }, (_, index) => ({
      id: `${count}-${index}`,
      n: 1,
    }))
    const before = watched.count()
    await engine.trigger('hello', { recipients, actor: recipients[0] })
    await engine.drain()
    engine.clock.advance(3_600_000)
    await engine.drain()
    return watched.count() - before
  }
  // The first one fills the caches of the process.
  await statements(2)
  const few = await statements(3)
  expect(await statements(200)).toBe(few)
  const runs = await engine.runs()
  expect(runs.every((run) => run.outcome === 'completed')).toBe(true)
})

test('nor does it for runs that open a batch, join it and go on from it', async ({ database }) => {
  const watched = counted(database)
  await using engine = await openEngine(watched.database)
  await engine.commit({
    'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: first, type: batch, window: 1h, mode: flush_leading }
  - { ref: digest, type: batch, window: 1h, key: recipient.id, window_type: sliding, extension_limit: 1d }
  - { ref: pause, type: delay, for: 1h }
  - { ref: feed, type: in_app, body: "{{total_activities}} {{#each actors}}{{id}}{{/each}}" }
`,
  })
  const statements = async (count: number) => {
    const recipients = Array.from({ length: count }, (_, index) => ({ id: `${count}-${index}` }))
    const before = watched.count()
    for (let time = 0; time < 3; time++) {
      await engine.trigger('hello', { recipients, actor: recipients[0], cancellation_key: 'k' })
      await engine.drain()
    }
    for (let hour = 0; hour < 4; hour++) {
      engine.clock.advance(3_600_000)
      await engine.drain()
    }
    return watched.count() - before
  }
  await statements(2)
  const few = await statements(3)
  expect(await statements(200)).toBe(few)
  const runs = await engine.runs()
  expect(new Set(runs.map(({ outcome }) => outcome))).toEqual(new Set(['completed', 'batched']))
})

test('nor does it for runs that ask and are answered', async ({ database }) => {
  const watched = counted(database)
  await using engine = await openEngine(watched.database)
  await engine.commit({
    'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: one, type: fetch, url: "https://crm.example.com/{{recipient.id}}" }
  - { ref: two, type: fetch, url: "https://crm.example.com/{{data.m}}", into: two }
  - { ref: feed, type: in_app, body: "{{data.two.m}}" }
`,
  })
  const environment = 'production' as EnvironmentName
  const now = engine.clock.now()
  const exchange = {
    request: { method: 'GET', host: '', path: '', headers: {}, body: null },
    response: null,
  }
  const statements = async (count: number) => {
    const recipients = Array.from({ length: count }, (_, index) => ({ id: `${count}-${index}` }))
    const ids = await queued(engine, recipients)
    const by = { process: newId<ProcessId>(), now }
    const before = watched.count()
    await work(engine, ids)
    // One is put off, so that all that may become of a request is among them.
    for (const kind of ['throttled', 'fetched', 'fetched'] as const) {
      await watched.database.transaction(async (tx) => {
        const claimed = await claimFetches(tx, environment, ids, by)
        const ended = claimed.map((one, index) => ({
          ...one,
          answer:
            index === 0 && kind === 'throttled'
              ? ({ kind, details: 'later', exchange } as const)
              : ({ kind: 'fetched', value: { m: index }, exchange } as const),
          late: null,
        }))
        expect(await settleFetches(tx, ended, now)).toHaveLength(claimed.length)
      })
      await work(engine, ids)
    }
    return watched.count() - before
  }
  await statements(2)
  const few = await statements(3)
  expect(await statements(200)).toBe(few)
  const standing = (await engine.runs()).map((run) => run.outcome ?? run.status)
  expect(standing.filter((one) => one === 'completed')).toHaveLength(202)
  expect(standing.filter((one) => one === 'paused')).toHaveLength(3)
})

test('nor does it for runs that start another workflow', async ({ database }) => {
  const watched = counted(database)
  await using engine = await openEngine(watched.database)
  await engine.commit({
    'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: start, type: trigger_workflow, workflow: other, recipients: [{ id: "{{recipient.id}}", n: 2 }], actor: "{{recipient.id}}" }
  - { ref: feed, type: in_app, body: x }
`,
    'workflows/other/workflow.yaml': 'name: O\nsteps: [{ ref: rest, type: delay, for: 1h }]\n',
  })
  const execute = async (count: number) => {
    const recipients = Array.from({ length: count }, (_, index) => ({ id: `${count}-${index}` }))
    const id = await engine.trigger('hello', { recipients })
    const before = watched.count()
    const environment = 'production' as EnvironmentName
    await watched.database.transaction(async (tx) => {
      const ids = await expandWorkflowRun(tx, environment, id, engine.clock.now())
      const runs = await lockQueuedRuns(tx, environment, ids?.ids ?? [])
      await executeRuns(engine, tx, runs, engine.clock.now())
    })
    return watched.count() - before
  }
  await execute(2)
  const few = await execute(3)
  expect(await execute(200)).toBe(few)
  await engine.drain()
  expect((await engine.runs()).filter(({ workflow }) => workflow === 'other')).toHaveLength(205)
})
