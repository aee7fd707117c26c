import { expect } from 'vitest'
import type { Database, Queryable, Transaction } from '../../src/db/database.ts'
import { test } from '../support/database.ts'
import { openEngine } from '../support/engine.ts'

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
  const transaction: Database['transaction'] = (work) =>
    database.transaction((tx: Transaction) => work(counting(tx)))
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
