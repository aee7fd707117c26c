import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { WorkflowKey } from '../../src/ids.ts'
import { sweepBatches } from '../../src/runs/batch-store.ts'
import { cancelByKey } from '../../src/runs/cancel.ts'
import { openRetention } from '../../src/runs/retention.ts'
import type { Engine } from '../support/engine.ts'
import {
  MINUTE_MS,
  ada,
  environment,
  files,
  later,
  send,
  standing,
  test,
  texts,
} from './batch-scene.ts'

const DAY_MINUTES = 24 * 60
const DAY_MS = DAY_MINUTES * MINUTE_MS

/** Goes through all that is kept, once. */
async function sweep(engine: Engine, days = 30): Promise<void> {
  const retention = openRetention(engine.database, days)
  // Each table of the environment takes some turns, and those that are left over find it at rest.
  for (let turn = 0; turn < 20; turn += 1) await retention.turn(engine.clock.now())
}

/** How many rows each table holds of what ends. */
async function rows(engine: Engine) {
  const [counts] = await engine.database.query<Record<string, number>>(sql`
    select (select count(*)::integer from workflow_runs where environment = ${environment}) as triggers,
      (select count(*)::integer from runs where environment = ${environment}) as runs,
      (select count(*)::integer from run_steps where environment = ${environment}) as steps,
      (select count(*)::integer from messages where environment = ${environment}) as messages,
      (select count(*)::integer from deliveries where environment = ${environment}) as deliveries,
      (select count(*)::integer from batches where environment = ${environment}) as batches,
      (select count(*)::integer from batch_activities where environment = ${environment}) as activities
  `)
  return counts
}

const NOTHING = {
  triggers: 0,
  runs: 0,
  steps: 0,
  messages: 0,
  deliveries: 0,
  batches: 0,
  activities: 0,
}

const plain = (steps: string, more = '') => ({
  'workflows/hello/workflow.yaml': `name: W\n${more}steps:\n${steps}`,
})
const mail = '  - { ref: mail, type: email, to: ada@example.com, subject: s, markdown: x }\n'
const feed = '  - { ref: feed, type: in_app, body: x }\n'

const many = (count: number) => Array.from({ length: count }, (_, index) => ({ id: `u${index}` }))

describe('a run that has ended', () => {
  test('is kept for its days, and then goes with its trigger, timeline and messages', async ({
    engine,
  }) => {
    await engine.commit(plain(mail))
    await send(engine)
    await engine.database.query(sql`
      insert into deliveries (environment, message_id, attempt, id, service, request, inserted_at)
      select environment, id, 1, id, 'smtp', '{}', inserted_at from messages`)
    const before = await rows(engine)
    expect(before).toMatchObject({ triggers: 1, runs: 1, messages: 1, deliveries: 1 })
    await later(engine, 30 * DAY_MINUTES)
    await sweep(engine)
    expect(await rows(engine)).toEqual(before)
    engine.clock.advance(1)
    await sweep(engine)
    expect(await rows(engine)).toEqual(NOTHING)
  })

  test('goes sooner where the setting says so', async ({ engine }) => {
    await engine.commit(plain(mail))
    await send(engine)
    await later(engine, 2 * DAY_MINUTES)
    await sweep(engine)
    expect(await rows(engine)).toMatchObject({ runs: 1 })
    await sweep(engine, 1)
    expect(await rows(engine)).toEqual(NOTHING)
  })

  test('leaves behind what is in a feed, and not what never came to one', async ({ engine }) => {
    await engine.commit(plain(feed + mail))
    await send(engine)
    await send(engine, { settings: { sandbox_mode: true } })
    expect(await rows(engine)).toMatchObject({ messages: 4 })
    await later(engine, 31 * DAY_MINUTES)
    await sweep(engine)
    // Its trigger stays with it: it has the data that the item shows.
    expect(await rows(engine)).toEqual({ ...NOTHING, messages: 1, triggers: 1 })
    expect(await engine.messages()).toMatchObject([{ step_ref: 'feed', status: 'delivered' }])
  })

  test('waits until its messages are handed over', async ({ engine }) => {
    await engine.commit(plain(mail))
    await send(engine)
    await engine.database.query(sql`
      update messages set status = 'queued', due_at = ${engine.clock.now()}
      where environment = ${environment}`)
    engine.clock.advance(31 * DAY_MS)
    await sweep(engine)
    expect(await rows(engine)).toMatchObject({ triggers: 1, runs: 1, messages: 1 })
    await engine.database.query(sql`
      update messages
      set due_at = null, claimed_by = ${crypto.randomUUID()}, claimed_at = ${engine.clock.now()}
      where environment = ${environment}`)
    await sweep(engine)
    expect(await rows(engine)).toMatchObject({ triggers: 1, runs: 1, messages: 1 })
    await engine.database.query(sql`
      update messages set status = 'sent', claimed_by = null, claimed_at = null
      where environment = ${environment}`)
    await sweep(engine)
    expect(await rows(engine)).toEqual(NOTHING)
  })

  test('is not made up for with a recipient who has had it', async ({ engine }) => {
    await engine.commit(plain(mail, 'trigger: { frequency: once_per_recipient }\n'))
    await send(engine)
    await later(engine, 31 * DAY_MINUTES)
    await sweep(engine)
    expect(await engine.runs()).toEqual([])
    await send(engine)
    expect(await engine.runs()).toMatchObject([{ outcome: 'halted', reason: 'frequency_met' }])
  })

  test('goes without another one of its trigger that has not, which keeps the trigger', async ({
    engine,
  }) => {
    const rests =
      '{ ref: rest, type: delay, for: 100d, conditions: { all: [{ variable: recipient.id, operator: equal_to, argument: bob }] } }'
    await engine.commit(plain(`  - ${rests}\n${mail}`))
    await send(engine, { recipients: [ada, { id: 'bob' }] })
    await later(engine, 60 * DAY_MINUTES)
    await sweep(engine)
    expect(await rows(engine)).toMatchObject({ triggers: 1, runs: 1, messages: 0 })
    await later(engine, 41 * DAY_MINUTES)
    expect(await standing(engine)).toEqual(['completed'])
    await sweep(engine)
    expect(await rows(engine)).toMatchObject({ triggers: 1, runs: 1, messages: 1 })
    await later(engine, 31 * DAY_MINUTES)
    await sweep(engine)
    expect(await rows(engine)).toEqual(NOTHING)
  })
})

describe('a pass', () => {
  test('takes triggers that found nobody, and leaves those whose fan-out is to come', async ({
    engine,
  }) => {
    await engine.commit(plain(mail))
    await engine.trigger('hello', { recipients: ['nobody'] })
    await engine.drain()
    await engine.trigger('hello', { recipients: [ada] })
    engine.clock.advance(31 * DAY_MS)
    await sweep(engine)
    expect(await rows(engine)).toEqual({ ...NOTHING, triggers: 1 })
    await engine.drain()
    expect(await standing(engine)).toEqual(['completed'])
  })

  test('goes through any number of runs, past those that have not ended', async ({ engine }) => {
    await engine.commit(plain('  - { ref: rest, type: delay, for: 365d }\n'))
    for (const key of ['asleep', 'ended', 'asleep too'])
      await engine.trigger('hello', { recipients: many(650), cancellation_key: key })
    await engine.drain()
    await engine.database.transaction((tx) =>
      cancelByKey(tx, engine.queue, {
        environment,
        workflow: 'hello' as WorkflowKey,
        cancellationKey: 'ended',
        recipients: null,
        requestedBy: 'test',
        now: engine.clock.now(),
      }),
    )
    engine.clock.advance(31 * DAY_MS)
    await sweep(engine)
    expect(await rows(engine)).toMatchObject({ triggers: 2, runs: 1_300 })
  })

  test('goes on beside those of other processes', async ({ engine }) => {
    await engine.commit(plain(mail))
    await engine.trigger('hello', { recipients: many(700) })
    await engine.drain()
    engine.clock.advance(31 * DAY_MS)
    await Promise.all([sweep(engine), sweep(engine), sweep(engine)])
    // A trigger may have been looked at before another process had deleted the last of its runs.
    await sweep(engine)
    expect(await rows(engine)).toEqual(NOTHING)
  })

  test('begins again an hour after the end of the last one', async ({ engine }) => {
    await engine.commit(plain(mail))
    const retention = openRetention(engine.database, 30)
    const turns = async () => {
      for (let turn = 0; turn < 20; turn += 1) await retention.turn(engine.clock.now())
    }
    await send(engine)
    engine.clock.advance(30 * DAY_MS)
    await turns()
    engine.clock.advance(59 * MINUTE_MS)
    await turns()
    expect(await rows(engine)).toMatchObject({ runs: 1 })
    engine.clock.advance(MINUTE_MS)
    await turns()
    expect(await rows(engine)).toMatchObject({ runs: 0 })
  })
})

describe('a batch', () => {
  test('is kept with all its runs while it is open, however long', async ({ engine }) => {
    await engine.commit(files('window: 60d'))
    await send(engine, { n: 1, actor: 'bob' })
    await send(engine, { n: 2, actor: 'cy' })
    await later(engine, 50 * DAY_MINUTES)
    await sweep(engine)
    expect(await rows(engine)).toMatchObject({ triggers: 2, runs: 2, batches: 1, activities: 2 })
    await later(engine, 10 * DAY_MINUTES)
    expect(await texts(engine)).toEqual(['2/2/2 11BOB 22CY | BOB CY | 2   BOB'])
  })

  test('is kept while the run that went on with it may show it, and goes with it', async ({
    engine,
  }) => {
    await engine.commit(
      plain(`  - { ref: digest, type: batch, window: 10m }
  - { ref: rest, type: delay, for: 60d }
  - { ref: feed, type: in_app, body: "{{total_activities}} {{#each activities}}{{n}}{{/each}}" }
`),
    )
    await send(engine, { n: 1 })
    await send(engine, { n: 2 })
    await later(engine, 10)
    await later(engine, 50 * DAY_MINUTES)
    await sweep(engine)
    expect(await rows(engine)).toMatchObject({ triggers: 2, runs: 2, batches: 1, activities: 2 })
    await later(engine, 10 * DAY_MINUTES)
    expect(await texts(engine)).toEqual(['2 12'])
    await later(engine, 31 * DAY_MINUTES)
    await sweep(engine)
    expect(await rows(engine)).toEqual({ ...NOTHING, messages: 1 })
  })

  test('is not kept for ever where its run went on to another one', async ({ engine }) => {
    await engine.commit(
      plain(`  - { ref: first, type: batch, window: 10m, key: data.n }
  - { ref: second, type: batch, window: 1h }
`),
    )
    for (const n of [1, 1, 2, 2]) await send(engine, { n })
    await later(engine, 10)
    await later(engine, 60)
    expect(await standing(engine)).toEqual(['completed', 'batched', 'batched', 'batched'])
    expect(await rows(engine)).toMatchObject({ batches: 3 })
    await later(engine, 31 * DAY_MINUTES)
    await sweep(engine)
    expect(await rows(engine)).toEqual(NOTHING)
  })

  test('that was emptied goes with its cancelled runs', async ({ engine }) => {
    await engine.commit(files('window: 10m'))
    await send(engine, { key: 'k' })
    await send(engine, { key: 'k' })
    await engine.database.transaction((tx) =>
      cancelByKey(tx, engine.queue, {
        environment,
        workflow: 'hello' as WorkflowKey,
        cancellationKey: 'k',
        recipients: null,
        requestedBy: 'test',
        now: engine.clock.now(),
      }),
    )
    await later(engine, 31 * DAY_MINUTES)
    await sweep(engine)
    expect(await rows(engine)).toEqual(NOTHING)
  })

  test('that nobody joined is left to the sweep of windows', async ({ engine }) => {
    await engine.commit(files('window: 10m, mode: flush_leading', 'x'))
    await send(engine)
    await later(engine, 31 * DAY_MINUTES)
    await sweep(engine)
    expect(await rows(engine)).toEqual({ ...NOTHING, messages: 1, triggers: 1, batches: 1 })
    await sweepBatches(engine.database, engine.clock.now())
    expect(await rows(engine)).toMatchObject({ batches: 0 })
  })
})
