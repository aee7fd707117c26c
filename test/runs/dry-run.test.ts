import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, WorkflowKey } from '../../src/ids.ts'
import { dryRunWorkflow, type DryRun } from '../../src/runs/dry-run.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await use(engine)
  },
})

const files = {
  'workflows/hello/workflow.yaml': `name: Hello
trigger: { frequency: once_per_recipient }
steps:
  - ref: choose
    type: branch
    branches:
      - name: paying
        conditions: { all: [{ variable: recipient.plan, operator: equal_to, argument: pro }] }
        steps:
          - { ref: thanks, type: in_app, body: "Thanks, {{recipient.name}}" }
      - name: others
        steps:
          - { ref: rest, type: delay, for: 2d }
          - { ref: offer, type: in_app, body: "Hello {{recipient.name}}, it is {{data.day}}" }
  - { ref: calm, type: throttle, window: 1h }
  - { ref: save, type: update_recipient, properties: { greeted: true } }
`,
}

const dryRun = (engine: Engine, body: object): Promise<DryRun> =>
  engine.database.transaction((tx) =>
    dryRunWorkflow(tx, engine.queue, {
      environment: 'production' as EnvironmentName,
      workflow: 'hello' as WorkflowKey,
      body,
      now: engine.clock.now(),
    }),
  )

/** Every row of every table that a trigger could have written to. */
async function counts(engine: Engine): Promise<unknown> {
  return engine.database.query(sql`
    select (select count(*) from workflow_runs) as triggers, (select count(*) from runs) as runs,
      (select count(*) from run_steps) as steps, (select count(*) from messages) as messages,
      (select json_agg(r order by r.id) from recipients r) as recipients,
      (select count(*) from frequency_ledger) as ledger,
      (select count(*) from throttle_windows) as throttles,
      (select count(*) from belfry_queue.job) as jobs`)
}

describe('a dry run', () => {
  test('shows which way each recipient would go, when, and what they would get', async ({
    engine,
  }) => {
    await engine.commit(files)
    const { runs, workflowRun } = await dryRun(engine, {
      recipients: [{ id: 'ada', name: 'Ada', plan: 'pro' }, { id: 'bob', name: 'Bob' }, 'nobody'],
      data: { day: 'Monday' },
    })
    const shown = runs.map(({ run, timeline, messages }) => ({
      recipient: run.recipient,
      outcome: run.outcome,
      events: timeline.map(({ event, step_ref: ref }) => [ref, event].filter(Boolean).join(' ')),
      messages: messages.map(({ message, content }) => [message.stepRef, message.status, content]),
    }))
    expect(shown).toMatchObject([
      {
        recipient: 'ada',
        outcome: 'completed',
        events: expect.arrayContaining(['choose branch_chosen', 'save properties_updated']),
        messages: [['thanks', 'delivered', { content: { body: { content: 'Thanks, Ada' } } }]],
      },
      {
        recipient: 'bob',
        outcome: 'completed',
        events: expect.arrayContaining(['rest waiting', 'calm throttle_passed']),
        messages: [
          ['offer', 'delivered', { content: { body: { content: 'Hello Bob, it is Monday' } } }],
        ],
      },
    ])
    const [, bob] = runs
    const days = (Number(bob?.run.finished_at) - engine.clock.now().getTime()) / 86_400_000
    expect(days).toBe(2)
    expect(workflowRun.missing).toEqual([{ collection: '$users', id: 'nobody' }])
  })

  test('leaves nothing behind, and meets what is there', async ({ engine }) => {
    await engine.commit(files)
    await engine.trigger('hello', { recipients: [{ id: 'ada', name: 'Ada' }] })
    await engine.drain()
    const before = await counts(engine)
    const body = { recipients: [{ id: 'ada', name: 'Other' }, { id: 'new' }], data: {} }
    const outcomes = (await dryRun(engine, body)).runs.map(({ run }) => [run.recipient, run.reason])
    expect(outcomes).toEqual([
      ['ada', 'frequency_met'],
      ['new', null],
    ])
    expect(await counts(engine)).toEqual(before)
    await engine.drain()
    expect(await counts(engine)).toEqual(before)
  })

  test('is refused as the trigger would be, and for more recipients than it shows', async ({
    engine,
  }) => {
    await engine.commit(files)
    await expect(dryRun(engine, { recipients: [] })).rejects.toMatchObject({ status: 422 })
    const many = Array.from({ length: 26 }, (_, index) => ({ id: `user-${index}` }))
    await expect(dryRun(engine, { recipients: many })).rejects.toThrow(
      'a dry run shows at most 25 recipients, and this trigger has 26',
    )
    await engine.switchTo(false, 'hello')
    await expect(dryRun(engine, { recipients: ['ada'] })).rejects.toMatchObject({
      code: 'workflow_inactive',
    })
  })

  test('shows messages of up to 32 MB, however many portions they are made in', async ({
    engine,
  }) => {
    const steps = [1, 2, 3, 4].map((n) => ({
      ref: `feed_${n}`,
      type: 'in_app',
      body: '{{data.text}}',
    }))
    const large = JSON.stringify({ name: 'Large', steps })
    await engine.commit({ 'workflows/hello/workflow.json': large })
    const recipients = Array.from({ length: 24 }, (_, index) => ({ id: `user-${index}` }))
    const data = { text: 'x'.repeat(150_000) }
    const { runs } = await dryRun(engine, { recipients, data })
    expect(runs.map(({ run, messages }) => [run.outcome, messages.length])).toEqual(
      runs.map(() => ['completed', 4]),
    )
    const more = { text: 'x'.repeat(200_000) }
    await expect(dryRun(engine, { recipients, data: more })).rejects.toThrow(
      'a dry run shows at most 32 MB, and this trigger makes more',
    )
  })
})
