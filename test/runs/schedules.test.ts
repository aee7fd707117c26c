import { describe, expect } from 'vitest'
import { openQueue } from '../../src/db/queue.ts'
import { sql } from '../../src/db/sql.ts'
import { silentLog } from '../../src/log.ts'
import { deleteRecipient, mergeUsers, upsertRecipients } from '../../src/recipients/store.ts'
import { upsertSubscriptions } from '../../src/recipients/subscription-store.ts'
import { startDueSchedules } from '../../src/runs/schedules.ts'
import { openDatabase } from '../../src/db/database.ts'
import { test as base } from '../support/database.ts'
import { openEngine, plainEnvironment, type Engine } from '../support/engine.ts'
import {
  digest,
  next,
  pass,
  production,
  schedule,
  schedules,
  texts,
  triggers,
} from './schedule-scene.ts'

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await engine.commit(digest)
    await use(engine)
  },
})

/** Ada moves to another zone. */
function zoned(engine: Engine, timezone: string | null) {
  const ada = { ...user('ada'), properties: { timezone } }
  return engine.database.transaction((tx) =>
    upsertRecipients(tx, production, [ada], engine.clock.now()),
  )
}

const daily = { frequency: 'daily', hours: 9 }
const user = (id: string) => ({ collection: '$users', id })

describe('a schedule', () => {
  test('without rules starts its workflow once, at its time', async ({ engine }) => {
    await schedule(engine, { scheduledAt: '2027-03-02T10:00:00Z', data: { n: 1 } })
    await pass(engine, '2027-03-02T09:59:59Z')
    expect(await texts(engine)).toEqual([])
    await pass(engine, '2027-03-02T10:00:00Z', '2027-03-09T10:00:00Z')
    expect(await texts(engine)).toEqual(['ada at 2027-03-02T10:00:00.000Z 1'])
    expect(await schedules(engine)).toMatchObject([
      { lastOccurrenceAt: new Date('2027-03-02T10:00:00Z'), nextOccurrenceAt: null },
    ])
  })

  test('repeats in the zone of its recipient, else in that of the environment', async ({
    engine,
  }) => {
    await schedule(engine, { recipient: 'ada', repeats: [daily] })
    const zone = { timezone: 'America/New_York' }
    await schedule(engine, { recipient: 'bob', properties: zone, repeats: [daily] })
    await schedule(engine, {
      recipient: 'cid',
      properties: { timezone: 'Mars/North' },
      repeats: [daily],
    })
    await pass(engine, '2027-03-01T14:00:00Z', '2027-03-02T08:00:00Z')
    const zones = (await triggers(engine)).map(({ trigger_source: source }) => [
      source['timezone'],
      source['unknown_timezone'],
    ])
    expect(zones).toEqual([
      ['America/New_York', undefined],
      ['Europe/Berlin', undefined],
      ['Europe/Berlin', 'Mars/North'],
    ])
    expect(await texts(engine)).toEqual([
      'bob at 2027-03-01T14:00:00.000Z ',
      'ada at 2027-03-02T08:00:00.000Z ',
      'cid at 2027-03-02T08:00:00.000Z ',
    ])
  })

  test('with several rules runs at each of their times, once where they meet', async ({
    engine,
  }) => {
    await schedule(engine, {
      repeats: [daily, { ...daily, days: ['wed'] }, { frequency: 'hourly' }],
    })
    const times = ['2027-03-03T07:00:00Z', '2027-03-03T08:00:00Z', '2027-03-03T09:00:00Z']
    await pass(engine, ...times)
    expect(await texts(engine)).toHaveLength(3)
  })

  test('begins with scheduled_at and ends with ending_at, both included', async ({ engine }) => {
    await schedule(engine, {
      repeats: [daily],
      scheduledAt: '2027-03-10T08:00:00Z',
      endingAt: '2027-03-12T08:00:00Z',
    })
    expect(await next(engine)).toBe('2027-03-10T08:00:00.000Z')
    await pass(engine, '2027-03-09T08:00:00Z', '2027-03-10T08:00:00Z', '2027-03-11T08:00:00Z')
    await pass(engine, '2027-03-12T08:00:00Z', '2027-03-13T08:00:00Z', '2027-04-13T08:00:00Z')
    expect(await texts(engine)).toEqual(
      ['10', '11', '12'].map((day) => `ada at 2027-03-${day}T08:00:00.000Z `),
    )
    expect(await next(engine)).toBeNull()
  })

  test('says what triggered the run', async ({ engine }) => {
    const id = await schedule(engine, { repeats: [daily] })
    await pass(engine, '2027-03-02T08:00:00Z')
    const source = {
      type: 'schedule',
      cancellation_key: null,
      schedule_id: id,
      occurrence_at: '2027-03-02T08:00:00.000Z',
      timezone: 'Europe/Berlin',
    }
    const [run] = await engine.runs()
    expect(run).toMatchObject({ trigger_source: source, status: 'completed' })
    expect(await engine.timeline(run!.id)).toEqual([
      'triggered',
      'feed message_enqueued',
      'feed message_created',
      'feed message_delivered',
      'run_completed',
    ])
  })

  test('whose actor is gone runs with nobody in its place', async ({ engine }) => {
    await engine.commit({
      'workflows/digest/workflow.yaml':
        'name: Digest\nsteps: [{ ref: feed, type: in_app, body: "by {{actor.id}}" }]\n',
    })
    const actor = user('eve')
    await schedule(engine, { repeats: [daily], actor })
    const { database, clock } = engine
    const eve = { ...actor, properties: {} }
    await database.transaction((tx) => upsertRecipients(tx, production, [eve], clock.now()))
    await pass(engine, '2027-03-02T08:00:00Z')
    await deleteRecipient(database, production, actor)
    await pass(engine, '2027-03-03T08:00:00Z')
    expect(await texts(engine)).toEqual(['by eve', 'by '])
  })

  test('runs on behalf of its tenant', async ({ engine }) => {
    await schedule(engine, { repeats: [daily], tenant: 'acme' })
    await pass(engine, '2027-03-02T08:00:00Z')
    expect(await engine.runs()).toMatchObject([{ tenant: 'acme' }])
  })

  test('runs the version that is live when its time has come', async ({ engine }) => {
    await schedule(engine, { repeats: [daily] })
    await engine.commit({
      'workflows/digest/workflow.yaml':
        'name: Digest\nsteps: [{ ref: feed, type: in_app, body: "new" }]\n',
    })
    await pass(engine, '2027-03-02T08:00:00Z')
    expect(await texts(engine)).toEqual(['new'])
  })

  test('of an object is for the object alone, also where the workflow runs once for each', async ({
    engine,
  }) => {
    await engine.commit({
      'workflows/once/workflow.yaml': `
name: Once
trigger: { frequency: once_per_recipient }
steps: [{ ref: feed, type: in_app, body: "once {{recipient.id}}" }]
`,
    })
    const core = { collection: 'teams', id: 'core' }
    await schedule(engine, { recipient: core, repeats: [daily] })
    await schedule(engine, { recipient: core, workflow: 'once', repeats: [daily] })
    await engine.database.transaction(async (tx) => {
      const now = engine.clock.now()
      await upsertRecipients(tx, production, [{ ...user('ada'), properties: {} }], now)
      const asked = { object: core, subscriber: user('ada'), properties: {} }
      await upsertSubscriptions(tx, production, [asked], now)
    })
    await pass(engine, '2027-03-02T08:00:00Z', '2027-03-03T08:00:00Z')
    expect((await texts(engine)).toSorted()).toEqual([
      'core at 2027-03-02T08:00:00.000Z ',
      'core at 2027-03-03T08:00:00.000Z ',
      'once core',
    ])
    const outcomes = (await engine.runs()).map(({ outcome, reason }) => reason ?? outcome)
    expect(outcomes.filter((one) => one !== 'completed')).toEqual(['frequency_met'])
    expect(outcomes).toHaveLength(4)
  })
})

describe('an occurrence', () => {
  test('that could start nothing is noted, and the next one is not kept from running', async ({
    engine,
  }) => {
    await engine.commit({
      'workflows/strict/workflow.yaml': `
name: Strict
trigger: { data_schema: { type: object, required: [n] } }
steps: [{ ref: feed, type: in_app, body: "strict {{data.n}}" }]
`,
      'workflows/off/workflow.yaml':
        'name: Off\nsteps: [{ ref: feed, type: in_app, body: "off" }]\n',
    })
    for (const workflow of ['gone', 'strict', 'off', 'digest'])
      await schedule(engine, { workflow, repeats: [daily], recipient: workflow })
    await schedule(engine, { repeats: [daily], recipient: 'deleted' })
    await engine.database.query(sql`
      delete from recipients where environment = 'production' and id = 'deleted'
    `)
    await engine.switchTo(false, 'off')
    await pass(engine, '2027-03-02T08:00:00Z')
    const problems = (await schedules(engine)).map(({ lastProblem }) => lastProblem?.code ?? null)
    expect(problems).toEqual([
      'workflow_missing',
      'invalid_data',
      'workflow_inactive',
      null,
      'recipient_missing',
    ])
    expect(await texts(engine)).toEqual(['digest at 2027-03-02T08:00:00.000Z '])

    await engine.switchTo(true, 'off')
    await pass(engine, '2027-03-03T08:00:00Z')
    const [, , off] = await schedules(engine)
    expect(off).toMatchObject({
      lastProblem: null,
      lastOccurrenceAt: new Date('2027-03-03T08:00:00Z'),
    })
  })

  test('of a schedule that the engine cannot read fails alone, and is tried again', async ({
    engine,
  }) => {
    const ids: string[] = []
    for (const recipient of ['a1', 'b2', 'c3', 'd4', 'e5'])
      ids.push(await schedule(engine, { recipient, repeats: [daily] }))
    await engine.database.query(sql`
      update schedules set repeats = '[{"frequency": "never"}]'
      where environment = 'production' and id = ${ids[2]}
    `)
    await pass(engine, '2027-03-02T08:00:00Z')
    const named = (await texts(engine)).map((text) => text.slice(0, 2))
    expect(named.toSorted()).toEqual(['a1', 'b2', 'd4', 'e5'])
    const [, , broken] = await schedules(engine)
    expect(broken).toMatchObject({
      lastProblem: { code: 'internal_error', occurrence_at: '2027-03-02T08:00:00.000Z' },
      nextOccurrenceAt: new Date('2027-03-02T08:01:00Z'),
    })
  })
})

describe('no occurrence is lost or doubled', () => {
  test('by two processes that find it due at once', async ({ engine }) => {
    const { database, clock, queue } = engine
    for (let index = 0; index < 50; index += 1)
      await schedule(engine, { recipient: `user-${index}`, repeats: [daily] })
    clock.set('2027-03-02T08:00:00Z')
    await using other = openDatabase(database.url, { connectionsMax: 2 })
    await using otherQueue = await openQueue(other, { log: silentLog })
    const now = clock.now()
    const started = await Promise.all([
      startDueSchedules({ database, queue, log: silentLog }, now),
      startDueSchedules({ database: other, queue: otherQueue, log: silentLog }, now),
      startDueSchedules({ database, queue, log: silentLog }, now),
    ])
    expect(started.reduce((sum, count) => sum + count, 0)).toBe(50)
    await engine.drain()
    const recipients = (await engine.messages()).map(({ recipient }) => recipient)
    expect(recipients).toHaveLength(50)
    expect(new Set(recipients).size).toBe(50)
  })

  test('by a process that ends before its commit, or right behind it', async ({ engine }) => {
    const { database, clock } = engine
    await schedule(engine, { repeats: [daily] })
    clock.set('2027-03-02T08:00:00Z')
    const { queue } = engine
    const cut = {
      ...database,
      transaction: <T>(work: Parameters<typeof database.transaction<T>>[0]) =>
        database.transaction(async (tx) => {
          await work(tx)
          throw new Error('the connection is gone')
        }),
    } as typeof database
    const now = clock.now()
    const dying = startDueSchedules({ database: cut, queue, log: silentLog }, now)
    await expect(dying).rejects.toThrow('the connection is gone')
    expect(await triggers(engine)).toEqual([])
    // Another process takes over, ends behind its commit, and a third one finds the job.
    expect(await startDueSchedules({ database, queue, log: silentLog }, now)).toBe(1)
    await engine.drain()
    expect(await texts(engine)).toEqual(['ada at 2027-03-02T08:00:00.000Z '])
  })

  test('by a standstill: what was missed runs once, late', async ({ engine }) => {
    await schedule(engine, { repeats: [daily] })
    await schedule(engine, { recipient: 'bob', scheduledAt: '2027-03-03T12:00:00Z' })
    const ending = { repeats: [daily], endingAt: '2027-03-04T12:00:00Z' }
    await schedule(engine, { recipient: 'cid', ...ending })
    await pass(engine, '2027-03-05T10:30:00Z', '2027-03-06T08:00:00Z')
    expect(await texts(engine)).toEqual([
      'ada at 2027-03-02T08:00:00.000Z ',
      'cid at 2027-03-02T08:00:00.000Z ',
      'bob at 2027-03-03T12:00:00.000Z ',
      'ada at 2027-03-06T08:00:00.000Z ',
    ])
  })

  test('by a clock that is set back', async ({ engine }) => {
    await schedule(engine, { repeats: [{ frequency: 'hourly' }] })
    await pass(engine, '2027-03-02T08:00:00Z', '2027-03-02T09:00:00Z')
    await pass(engine, '2027-03-02T08:00:00Z', '2027-03-02T08:59:00Z', '2027-03-02T09:00:00Z')
    expect(await texts(engine)).toHaveLength(2)
    await pass(engine, '2027-03-02T10:00:00Z')
    expect(await texts(engine)).toHaveLength(3)
  })

  test('by a clock that is set forward, and back again', async ({ engine }) => {
    await schedule(engine, { repeats: [daily] })
    await pass(engine, '2027-03-04T12:00:00Z')
    expect(await texts(engine)).toHaveLength(1)
    await pass(engine, '2027-03-02T12:00:00Z', '2027-03-03T08:00:00Z', '2027-03-04T08:00:00Z')
    // They were made up for by the one that ran when the clock said that they had passed.
    expect(await texts(engine)).toHaveLength(1)
    await pass(engine, '2027-03-05T08:00:00Z')
    expect(await texts(engine)).toHaveLength(2)
  })
})

describe('a recipient', () => {
  test('who moves to another zone has the next occurrence there', async ({ engine }) => {
    await schedule(engine, { repeats: [daily] })
    expect(await next(engine)).toBe('2027-03-02T08:00:00.000Z')
    await zoned(engine, 'America/New_York')
    await engine.drain()
    expect(await next(engine)).toBe('2027-03-01T14:00:00.000Z')
    await zoned(engine, 'Asia/Tokyo')
    await engine.drain()
    expect(await next(engine)).toBe('2027-03-02T00:00:00.000Z')
    expect(await texts(engine)).toEqual([])
    await pass(engine, '2027-03-02T00:00:00Z')
    await zoned(engine, null)
    await engine.drain()
    expect(await next(engine)).toBe('2027-03-02T08:00:00.000Z')
    expect(await texts(engine)).toEqual(['ada at 2027-03-02T00:00:00.000Z '])
  })

  test('who moves while an occurrence is due still has it', async ({ engine }) => {
    await schedule(engine, { repeats: [daily] })
    engine.clock.set('2027-03-02T08:00:00Z')
    await zoned(engine, 'America/New_York')
    await engine.drain()
    expect(await texts(engine)).toEqual(['ada at 2027-03-02T08:00:00.000Z '])
    expect(await next(engine)).toBe('2027-03-02T14:00:00.000Z')
  })

  test('without a zone goes by the one that the environment has now', async ({ engine }) => {
    await schedule(engine, { repeats: [daily] })
    const moved = plainEnvironment.replace('Europe/Berlin', 'Asia/Tokyo')
    await engine.commit({ 'environments/production.yaml': `ref: main\n${moved}` })
    await engine.drain()
    expect(await next(engine)).toBe('2027-03-02T00:00:00.000Z')
  })

  test('that is deleted has no schedules any more', async ({ engine }) => {
    await schedule(engine, { repeats: [daily] })
    await schedule(engine, { recipient: 'bob', repeats: [daily] })
    await deleteRecipient(engine.database, production, user('ada'))
    expect((await schedules(engine)).map(({ recipient }) => recipient.id)).toEqual(['bob'])
  })

  test('that is merged into another one brings its schedules, into the zone of that one', async ({
    engine,
  }) => {
    const zone = { timezone: 'America/New_York' }
    await schedule(engine, { repeats: [daily] })
    await engine.database.transaction(async (tx) => {
      const now = engine.clock.now()
      await upsertRecipients(tx, production, [{ ...user('bob'), properties: zone }], now)
      await mergeUsers(tx, production, { from: 'ada', into: 'bob' }, now)
    })
    await pass(engine, '2027-03-01T14:00:00Z')
    expect(await texts(engine)).toEqual(['bob at 2027-03-01T14:00:00.000Z '])
  })
})

test('a schedule of an archived workflow waits for its return', async ({ engine }) => {
  await engine.commit({
    'workflows/other/workflow.yaml': 'name: Other\nsteps: [{ ref: a, type: in_app, body: "x" }]\n',
  })
  await schedule(engine, { workflow: 'other', repeats: [daily] })
  await engine.commit({ 'workflows/other/workflow.yaml': null })
  await pass(engine, '2027-03-02T08:00:00Z')
  expect(await schedules(engine)).toMatchObject([{ lastProblem: { code: 'workflow_missing' } }])
  await engine.repository.revert()
  await engine.reconcile()
  await pass(engine, '2027-03-03T08:00:00Z')
  expect(await texts(engine)).toEqual(['x'])
})
