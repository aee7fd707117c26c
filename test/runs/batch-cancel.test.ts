import { describe, expect } from 'vitest'
import { sweepBatches } from '../../src/runs/batch-store.ts'
import {
  MINUTE_MS,
  cancel,
  cancelOne,
  files,
  later,
  send,
  standing,
  test,
  texts,
} from './batch-scene.ts'

describe('a cancel', () => {
  test('takes an activity out of an open batch', async ({ engine }) => {
    await engine.commit(files('window: 10m'))
    await send(engine, { n: 1, key: 'a' })
    await send(engine, { n: 2, key: 'b', actor: 'bob' })
    await send(engine, { n: 3, key: 'c' })
    expect(await cancel(engine, 'b')).toEqual({ runs: 1, messages: 0 })
    expect(await cancel(engine, 'b')).toEqual({ runs: 0, messages: 0 })
    await later(engine, 10)
    expect(await texts(engine)).toEqual(['2/0/2 11 33 | | 3   '])
    const runs = await engine.runs()
    expect(await engine.timeline(runs[1]!.id)).toContain('activity_cancelled')
  })

  test('of the opening one leaves its run to the others', async ({ engine }) => {
    await engine.commit(files('window: 10m'))
    await send(engine, { n: 1, key: 'a', actor: 'bob', data: { only: 1 } })
    await send(engine, { n: 2, key: 'b', actor: 'cy' })
    expect(await cancel(engine, 'a')).toEqual({ runs: 1, messages: 0 })
    await later(engine, 10)
    expect(await texts(engine)).toEqual(['1/1/1 22CY | CY | 2   CY'])
    expect(await standing(engine)).toEqual(['completed', 'batched'])
  })

  test('of the last one ends the run, and the next one opens a batch', async ({ engine }) => {
    await engine.commit(files('window: 10m'))
    for (const order of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      await send(engine, { n: 1, key: 'a' })
      await send(engine, { n: 2, key: 'b' })
      for (const key of order) expect(await cancel(engine, key)).toEqual({ runs: 1, messages: 0 })
      await engine.drain()
      expect((await standing(engine)).slice(-2)).toEqual(['cancelled', 'batched'])
    }
    await send(engine, { n: 3 })
    await later(engine, 10)
    expect(await texts(engine)).toEqual(['1/0/1 33 | | 3   '])
  })

  test('of all with one key ends the batch at once', async ({ engine }) => {
    await engine.commit(files('window: 10m'))
    await send(engine, { key: 'k' })
    await send(engine, { key: 'k' })
    expect(await cancel(engine, 'k')).toEqual({ runs: 2, messages: 0 })
    expect(await standing(engine)).toEqual(['cancelled', 'batched'])
  })

  test('by run does the same, and after the close only the opening run is ended', async ({
    engine,
  }) => {
    await engine.commit({
      'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: digest, type: batch, window: 10m }
  - { ref: pause, type: delay, for: 10m }
  - { ref: feed, type: in_app, body: "{{total_activities}}" }
`,
    })
    for (const n of [1, 2, 3, 4]) await send(engine, { n })
    const runs = await engine.runs()
    await cancelOne(engine, runs[1]!.id)
    await later(engine, 10)
    await cancelOne(engine, runs[2]!.id)
    await later(engine, 10)
    expect(await texts(engine)).toEqual(['3'])
    for (const n of [5, 6]) await send(engine, { n })
    await later(engine, 10)
    await cancelOne(engine, (await engine.runs())[4]!.id)
    await later(engine, 10)
    expect((await standing(engine)).slice(4)).toEqual(['cancelled', 'batched'])
  })
})

describe('the workflow of an open batch', () => {
  const v2 = files('window: 20m', 'new {{total_activities}}')

  test('that has a newer version goes on with that', async ({ engine }) => {
    await engine.commit(files('window: 10m', 'old {{total_activities}}'))
    await send(engine)
    await engine.commit(v2)
    await send(engine)
    await later(engine, 10)
    expect(await texts(engine)).toEqual(['new 2'])
    const [opener, second] = await engine.runs()
    expect(opener!.version_id).toBe(second!.version_id)
  })

  test('goes on with the newest version that has the step, wherever it stands', async ({
    engine,
  }) => {
    await engine.commit(files('window: 10m', 'one'))
    await send(engine)
    await engine.commit({
      'workflows/hello/workflow.yaml': `name: W
steps:
  - ref: split
    type: branch
    branches:
      - name: only
        steps:
          - { ref: digest, type: batch, window: 10m }
          - { ref: inner, type: in_app, body: two }
  - { ref: outer, type: in_app, body: behind }
`,
    })
    await engine.commit({
      'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: digest, type: delay, for: 1m }
  - { ref: feed, type: in_app, body: three }
`,
    })
    await later(engine, 10)
    expect(await texts(engine)).toEqual(['two', 'behind'])
  })

  test('that is pinned batches each version apart', async ({ engine }) => {
    await engine.commit(files('window: 10m, version: pinned', 'old {{total_activities}}'))
    await send(engine)
    await send(engine)
    await engine.commit(files('window: 10m, version: pinned', 'new {{total_activities}}'))
    await send(engine)
    await later(engine, 10)
    expect((await texts(engine)).toSorted()).toEqual(['new 1', 'old 2'])
  })

  test('may be switched off and on while the batch is open, also where its window slides', async ({
    engine,
  }) => {
    await engine.commit(files('window: 10m, window_type: sliding, extension_limit: 1h'))
    await send(engine)
    await later(engine, 6)
    await send(engine)
    await engine.switchTo(false, 'hello')
    // The first end of the window is over, and the batch is open still.
    await later(engine, 6)
    expect(await standing(engine)).toEqual(['paused:batch', 'batched'])
    await engine.switchTo(true, 'hello')
    await later(engine, 4)
    expect(await standing(engine)).toEqual(['completed', 'batched'])
  })

  test('ends the run where it is off, or gone, when the batch closes', async ({ engine }) => {
    await engine.commit(files('window: 10m'))
    await send(engine)
    await engine.switchTo(false, 'hello')
    await later(engine, 10)
    await engine.switchTo(true, 'hello')
    await send(engine)
    await later(engine, 5)
    await send(engine)
    await engine.repository.git('rm', '-rq', 'workflows')
    await engine.commit({
      'workflows/other/workflow.yaml': files('window: 1m')['workflows/hello/workflow.yaml'],
    })
    await later(engine, 10)
    const runs = await engine.runs()
    expect(runs.map((run) => run.reason)).toEqual(['workflow_inactive', 'workflow_archived', null])
  })
})

/** Trigger data with one attachment of this name. */
const file = (name: string) => ({
  files: [{ name, content_type: 'text/plain', content: 'aGk=' }],
})

test('attachments come from the opening activity, and from nobody else', async ({ engine }) => {
  await engine.commit({
    'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: digest, type: batch, window: 10m }
  - { ref: mail, type: email, subject: s, markdown: m, attachments: data.files }
`,
  })
  const recipients = [{ id: 'ada', email: 'ada@example.com' }]
  await send(engine, { recipients, data: file('first'), key: 'a' })
  await send(engine, { recipients, data: file('second') })
  await later(engine, 10)
  await send(engine, { recipients, data: file('third'), key: 'b' })
  await send(engine, { recipients, data: file('fourth') })
  await cancel(engine, 'b')
  await later(engine, 10)
  const names = (await engine.messages()).map(({ content }) =>
    (content['attachments'] as readonly { name: string }[]).map(({ name }) => name),
  )
  expect(names).toEqual([['first'], []])
})

test('a window that nobody joined is swept, and no other', async ({ engine }) => {
  await engine.commit(files('window: 10m, mode: flush_leading'))
  await send(engine, { recipients: [{ id: 'ada' }, { id: 'bob' }] })
  await send(engine, { recipients: [{ id: 'bob' }] })
  const sweep = () => sweepBatches(engine.database, engine.clock.now())
  engine.clock.advance(14 * MINUTE_MS)
  expect(await sweep()).toBe(0)
  engine.clock.advance(2 * MINUTE_MS)
  expect(await sweep()).toBe(1)
  await engine.drain()
  expect(await texts(engine)).toHaveLength(3)
})

test('a run that fails as its batch closes has it at its next attempt', async ({ engine }) => {
  await engine.commit(files('window: 10m', '{{total_activities}}'))
  for (const n of [1, 2]) await send(engine, { n })
  const { database, clock, queue } = engine
  await database.execute(`alter table messages add constraint no_message check (status = 'none')`)
  clock.advance(10 * MINUTE_MS)
  await engine.drain().catch(() => {})
  await queue.drain({ retries: true })
  await database.execute('alter table messages drop constraint no_message')
  expect(await standing(engine)).toEqual(['paused:batch', 'batched'])
  clock.advance(5_000)
  await engine.drain()
  expect(await texts(engine)).toEqual(['2'])
})
