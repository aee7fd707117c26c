import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, RunId } from '../../src/ids.ts'
import { replayRun, wakeRun } from '../../src/runs/operate.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await use(engine)
  },
})

const ada = { id: 'ada', name: 'Ada' }

const file = (text: string) => ({
  'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: data, type: update_data, properties: { word: changed } }
  - { ref: note, type: update_recipient, properties: { note: x } }
  - { ref: pause, type: delay, for: 1h }
  - { ref: feed, type: in_app, body: "${text} {{data.own}} {{data.word}} {{recipient.name}}" }
`,
})

/** A run that waits, and how to work on it. */
async function asleep(engine: Engine) {
  await engine.commit(file('old'))
  await engine.trigger('hello', {
    recipients: [{ ...ada, $trigger_data: { own: 'mine' } }],
    data: { own: 'shared', word: 'first' },
    tenant: 'acme',
    cancellation_key: 'k',
  })
  await engine.drain()
  const [run] = await engine.runs()
  const call = (id: RunId) => ({
    environment: 'production' as EnvironmentName,
    id,
    requestedBy: 'operator',
    now: engine.clock.now(),
  })
  return {
    id: run!.id,
    wake: (id = run!.id) =>
      engine.database.transaction((tx) => wakeRun(tx, engine.queue, call(id))),
    replay: (sandbox: boolean, id = run!.id) =>
      engine.database.transaction((tx) => replayRun(tx, engine.queue, { ...call(id), sandbox })),
  }
}

const actions = (engine: Engine) =>
  engine.database.query(sql`
    select run_id, action, details, actor from run_actions where environment = 'production'`)

describe('a run that is woken', () => {
  test('goes on at once, and says who woke it', async ({ engine }) => {
    const { id, wake } = await asleep(engine)
    await wake()
    await engine.drain()
    expect(await engine.timeline(id)).toEqual([
      'triggered',
      'data data_updated',
      'note properties_updated',
      'pause waiting:delay',
      'woken',
      'feed message_enqueued',
      'feed message_created',
      'feed message_delivered',
      'run_completed',
    ])
    expect(await actions(engine)).toEqual([
      { run_id: id, action: 'wake', details: null, actor: 'operator' },
    ])
    engine.clock.advance(3_600_000)
    await engine.drain()
    expect(await engine.messages()).toHaveLength(1)
  })

  test('must be waiting, and be there', async ({ engine }) => {
    const { wake } = await asleep(engine)
    await wake()
    await expect(wake()).rejects.toMatchObject({ status: 422, code: 'run_not_waiting' })
    const nobody = '01900000-0000-7000-8000-000000000000' as RunId
    await expect(wake(nobody)).rejects.toMatchObject({ status: 404, code: 'resource_missing' })
    expect(await actions(engine)).toHaveLength(1)
  })
})

describe('a run that is replayed', () => {
  test('has the data of then and the version of now, and sends nothing', async ({ engine }) => {
    const { id, replay } = await asleep(engine)
    await engine.commit(file('new'))
    await engine.database.query(sql`
      update recipients set properties = '{"name":"Ada L."}' where environment = 'production' and id = 'ada'`)
    const workflowRunId = await replay(true)
    await engine.drain()
    engine.clock.advance(3_600_000)
    await engine.drain()
    const [again] = await engine.runs(workflowRunId)
    expect(again).toMatchObject({
      recipient: 'ada',
      tenant: 'acme',
      outcome: 'completed',
      trigger_source: { type: 'replay', run: id, cancellation_key: 'k' },
    })
    const messages = await engine.messages()
    expect(messages.find((message) => message.run_id === again!.id)).toMatchObject({
      status: 'not_sent',
      reason: 'sandbox',
      content: { body: { content: 'new mine changed Ada L.' } },
    })
    expect(await engine.timeline(again!.id)).toContain('note step_skipped:sandbox')
    expect(await actions(engine)).toEqual([
      {
        run_id: id,
        action: 'replay',
        details: { workflow_run_id: workflowRunId, sandbox: true },
        actor: 'operator',
      },
    ])
  })

  test('sends where it is told to', async ({ engine }) => {
    const { replay } = await asleep(engine)
    const workflowRunId = await replay(false)
    await engine.drain()
    engine.clock.advance(3_600_000)
    await engine.drain()
    const [again] = await engine.runs(workflowRunId)
    const message = (await engine.messages()).find((one) => one.run_id === again!.id)
    expect(message).toMatchObject({ status: 'delivered' })
  })

  test('is refused where nothing could come of it', async ({ engine }) => {
    const { replay } = await asleep(engine)
    await engine.switchTo(false, 'hello')
    await expect(replay(true)).rejects.toMatchObject({ code: 'workflow_inactive' })
    await engine.switchTo(true, 'hello')
    await engine.database.query(
      sql`delete from recipients where environment = 'production' and id = 'ada'`,
    )
    await expect(replay(true)).rejects.toMatchObject({ status: 422, code: 'recipient_missing' })
    const nobody = '01900000-0000-7000-8000-000000000000' as RunId
    await expect(replay(true, nobody)).rejects.toMatchObject({ code: 'resource_missing' })
    expect(await actions(engine)).toEqual([])
  })
})
