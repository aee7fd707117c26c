import { expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { openEngine } from '../support/engine.ts'

test('a run that Postgres refuses fails alone, after three attempts', async ({ database }) => {
  await using engine = await openEngine(database)
  const steps = 'name: W\nsteps:\n  - { ref: feed, type: in_app, body: "{{recipient.name}}" }\n'
  await engine.commit({ 'workflows/hello/workflow.yaml': steps })
  await database.execute(
    `alter table messages add constraint no_poison check (recipient <> 'poison')`,
  )
  await using stack = new AsyncDisposableStack()
  stack.defer(
    async () => void (await database.execute('alter table messages drop constraint no_poison')),
  )
  const recipients = Array.from({ length: 50 }, (_, index) => ({
    id: `user-${index}`,
    name: 'Ada',
  }))
  await engine.trigger('hello', { recipients: [...recipients, { id: 'poison', name: 'P' }] })
  await engine.queue.drain()
  await engine.queue.drain({ retries: true })
  expect(await engine.messages()).toHaveLength(50)
  for (const ms of [5_000, 30_000]) {
    engine.clock.advance(ms)
    await engine.drain().catch(() => {})
    await engine.queue.drain({ retries: true })
  }
  const [poisoned] = await database.query(sql`
    select status, outcome, reason, error_count from runs
    where environment = 'production' and recipient = 'poison'
  `)
  expect(poisoned).toEqual({
    status: 'completed',
    outcome: 'failed',
    reason: 'step_failed',
    error_count: 3,
  })
  const runs = await engine.runs()
  expect(runs.filter((run) => run.outcome === 'completed')).toHaveLength(50)
})
