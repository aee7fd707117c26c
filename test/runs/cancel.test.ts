import { expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, RunId, WorkflowKey } from '../../src/ids.ts'
import { cancelByKey, cancelRun } from '../../src/runs/cancel.ts'
import type { RecipientRef } from '../../src/recipients/recipient.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const environment = 'production' as EnvironmentName
const mailed = `
timezone: UTC
channels:
  feed: { type: in_app, provider: in_app }
  mail: { type: email, provider: smtp, settings: { host: 127.0.0.1, port: 1, from: a@example.com } }
`
const steps = `name: W
steps:
  - { ref: feed, type: in_app, body: one }
  - { ref: pause, type: delay, for: 1h }
  - { ref: later, type: in_app, body: two }
`
const mail = `name: W
steps:
  - { ref: mail, type: email, subject: s, markdown: m }
`
const mailThenBatch = `${mail}  - { ref: digest, type: batch, window: 10m }
  - { ref: feed, type: in_app, body: "{{total_activities}} {{data.n}}" }
`
const people = [
  { id: 'ada', email: 'ada@example.com' },
  { id: 'bob', email: 'bob@example.com' },
]

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database, {
      environments: { production: `ref: main\n${mailed}` },
    })
    await engine.commit({
      'workflows/hello/workflow.yaml': steps,
      'workflows/mail/workflow.yaml': mail,
      'workflows/digest/workflow.yaml': mailThenBatch,
    })
    await use(engine)
  },
})

function cancel(
  { database, queue, clock }: Engine,
  cancellationKey: string,
  options: { readonly workflow?: string; readonly recipients?: readonly RecipientRef[] } = {},
) {
  return database.transaction((tx) =>
    cancelByKey(tx, queue, {
      environment,
      workflow: (options.workflow ?? 'hello') as WorkflowKey,
      cancellationKey,
      recipients: options.recipients ?? null,
      requestedBy: 'somebody',
      now: clock.now(),
    }),
  )
}

async function outcomes(engine: Engine): Promise<readonly string[]> {
  const runs = await engine.runs()
  return runs.map((run) =>
    `${run.recipient} ${run.outcome ?? run.status} ${run.reason ?? ''}`.trim(),
  )
}

const body = { recipients: people, cancellation_key: 'k' }

test('a cancel ends sleeping runs for good, and says how many', async ({ engine }) => {
  await engine.trigger('hello', body)
  await engine.drain()
  expect(await cancel(engine, 'k')).toEqual({ runs: 2, messages: 0 })
  engine.clock.advance(3_600_000)
  await engine.drain()
  expect(await outcomes(engine)).toEqual(['ada cancelled cancelled', 'bob cancelled cancelled'])
  expect(await engine.messages()).toHaveLength(2)
  const audit = await engine.database.query(sql`
    select cancellation_key, runs_matched, messages_matched, actor from cancellations
    where environment = ${environment}`)
  expect(audit).toEqual([
    { cancellation_key: 'k', runs_matched: 2, messages_matched: 0, actor: 'somebody' },
  ])
})

test('a cancel that comes before the fan-out still finds its runs', async ({ engine }) => {
  await engine.trigger('hello', body)
  await cancel(engine, 'k')
  await engine.drain()
  expect(await outcomes(engine)).toEqual(['ada cancelled cancelled', 'bob cancelled cancelled'])
  expect(await engine.messages()).toEqual([])
})

test('a cancel for one recipient leaves the others, before the fan-out and after it', async ({
  engine,
}) => {
  const ada = [{ collection: '$users', id: 'ada' }]
  await engine.trigger('hello', body)
  await cancel(engine, 'k', { recipients: ada })
  await engine.trigger('hello', { ...body, cancellation_key: 'l' })
  await engine.drain()
  expect(await cancel(engine, 'l', { recipients: ada })).toEqual({ runs: 1, messages: 0 })
  engine.clock.advance(3_600_000)
  await engine.drain()
  expect((await outcomes(engine)).toSorted()).toEqual([
    'ada cancelled cancelled',
    'ada cancelled cancelled',
    'bob completed',
    'bob completed',
  ])
})

test('a cancel never touches a later trigger, another key or another workflow', async ({
  engine,
}) => {
  await engine.trigger('hello', { ...body, cancellation_key: 'other' })
  await engine.trigger('mail', body)
  await cancel(engine, 'k')
  await engine.trigger('hello', body)
  await engine.drain()
  engine.clock.advance(3_600_000)
  await engine.drain()
  expect((await engine.runs()).map((run) => run.outcome)).toEqual(Array(6).fill('completed'))
})

test('a cancel holds back a message that waits for its next attempt', async ({ engine }) => {
  await engine.trigger('mail', body)
  await engine.drain()
  const waiting = await engine.messages()
  expect(waiting.map((message) => message.status)).toEqual([
    'delivery_attempted',
    'delivery_attempted',
  ])
  expect(await cancel(engine, 'k', { workflow: 'mail' })).toEqual({ runs: 0, messages: 2 })
  const held = await engine.messages()
  expect(held.map(({ status, reason }) => `${status} ${reason}`)).toEqual([
    'not_sent cancelled',
    'not_sent cancelled',
  ])
})

test('a cancel ends the message of a run that goes on for what others put into its batch', async ({
  engine,
}) => {
  const recipients = [people[0]]
  for (const [n, cancellation_key] of ['k1', 'k2'].entries()) {
    await engine.trigger('digest', { recipients, cancellation_key, data: { n } })
    await engine.drain()
  }
  expect(await cancel(engine, 'k1', { workflow: 'digest' })).toEqual({ runs: 1, messages: 1 })
  engine.clock.advance(600_000)
  await engine.drain()
  const sent = (await engine.messages()).map(
    ({ step_ref, status, reason, content }) =>
      `${step_ref} ${status} ${step_ref === 'feed' ? (content['body'] as { content: string }).content : reason}`,
  )
  expect(sent).toEqual([
    'mail not_sent cancelled',
    'mail delivery_attempted delivery_failed',
    'feed delivered 1 1',
  ])
})

test('one run is cancelled by its id, and one that has ended stays as it is', async ({
  engine,
}) => {
  await engine.trigger('hello', body)
  await engine.drain()
  const [first] = await engine.runs()
  const one = (id: RunId) =>
    engine.database.transaction((tx) =>
      cancelRun(tx, engine.queue, {
        environment,
        id,
        requestedBy: 'somebody',
        now: engine.clock.now(),
      }),
    )
  expect(await one(first!.id)).toEqual({ runs: 1, messages: 0 })
  expect(await one(first!.id)).toEqual({ runs: 0, messages: 0 })
  expect(await outcomes(engine)).toEqual(['ada cancelled cancelled', 'bob paused'])
  await expect(one('00000000-0000-7000-8000-000000000000' as RunId)).rejects.toMatchObject({
    status: 404,
    code: 'resource_missing',
  })
})
