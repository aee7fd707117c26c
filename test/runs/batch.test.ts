import { describe, expect } from 'vitest'
import type { RunId } from '../../src/ids.ts'
import { executeRuns } from '../../src/runs/execute.ts'
import { expandWorkflowRun } from '../../src/runs/expand.ts'
import { wakeRun } from '../../src/runs/operate.ts'
import { lockQueuedRuns } from '../../src/runs/lock.ts'
import {
  MINUTE_MS,
  ada,
  environment,
  files,
  cancel,
  later,
  send,
  standing,
  test,
  texts,
} from './batch-scene.ts'

describe('a batch', () => {
  test('goes on once with all that came while its window was open', async ({ engine }) => {
    await engine.commit(files('window: 10m'))
    await send(engine, { n: 1, actor: 'bob', data: { only: 'x', list: [1] } })
    await later(engine, 9)
    await send(engine, { n: 2, actor: 'cy' })
    await send(engine, { n: 3, actor: 'cy' })
    expect(await standing(engine)).toEqual(['paused:batch', 'batched', 'batched'])
    expect(await texts(engine)).toEqual([])
    await later(engine, 1)
    expect(await standing(engine)).toEqual(['completed', 'batched', 'batched'])
    expect(await texts(engine)).toEqual(['3/2/3 11BOB 22CY 33CY | BOB CY | 3 x  BOB'])
    const [opener, second] = await engine.runs()
    expect(second).toMatchObject({ status: 'completed', reason: null, error_count: 0 })
    expect(await engine.timeline(opener!.id)).toEqual([
      'triggered',
      'digest batch_opened',
      'digest waiting:batch',
      'digest batch_closed',
      'feed message_enqueued',
      'feed message_created',
      'feed message_delivered',
      'run_completed',
    ])
    expect(await engine.timeline(second!.id)).toEqual([
      'triggered',
      'digest batch_joined',
      'run_batched',
    ])
  })

  test('opens anew once its window is over, even before its run has woken', async ({ engine }) => {
    await engine.commit(files('window: 10m'))
    await send(engine, { n: 1 })
    engine.clock.advance(10 * MINUTE_MS)
    await engine.trigger('hello', { recipients: [ada], data: { n: 2 } })
    await engine.queue.drain()
    expect(await standing(engine)).toEqual(['paused:batch', 'paused:batch'])
    await engine.drain()
    await later(engine, 10)
    expect(await texts(engine)).toEqual(['1/0/1 11 | | 1   ', '1/0/1 22 | | 2   '])
  })

  test('is one for each recipient, key, tenant and kind of trigger', async ({ engine }) => {
    await engine.commit(files('window: 10m, key: page'))
    const bob = { id: 'bob', name: 'Bob' }
    await send(engine, { data: { page: 1 }, recipients: [ada, bob] })
    await send(engine, { data: { page: '1' } })
    await send(engine, { data: { page: 2 } })
    await send(engine, { data: { page: 1 }, tenant: 'acme' })
    await send(engine, { data: { page: 1 }, settings: { sandbox_mode: true } })
    await send(engine, { data: {} })
    await send(engine, { data: { page: [1] } })
    expect(await standing(engine)).toEqual([
      'paused:batch',
      'paused:batch',
      'batched',
      'paused:batch',
      'paused:batch',
      'paused:batch',
      'paused:batch',
      'batched',
    ])
    const runs = await engine.runs()
    expect(await engine.timeline(runs[6]!.id)).toContain('digest key_missing')
  })

  test('takes a rendered key of any length', async ({ engine }) => {
    await engine.commit(files('window: 10m, key: "{{data.a}}-{{data.b}}"'))
    for (const b of ['x', 'x'.repeat(300), 'x'.repeat(301), 'x'.repeat(300)])
      await send(engine, { data: { a: 1, b } })
    expect(await standing(engine)).toEqual([
      'paused:batch',
      'paused:batch',
      'paused:batch',
      'batched',
    ])
  })

  test('lets through what names no window', async ({ engine }) => {
    await engine.commit(files('window: data.until'))
    await send(engine, { data: { until: 'soon' } })
    await send(engine, { data: { until: '2027-03-01T08:00:00Z' } })
    await send(engine, { data: { until: { frequency: 'daily', hours: 18 } } })
    expect(await standing(engine)).toEqual(['completed', 'completed', 'paused:batch'])
    expect((await engine.runs())[2]!.wakes_at?.toISOString()).toBe('2027-03-01T17:00:00.000Z')
  })

  test('shows the oldest or the newest, oldest first, and counts all', async ({ engine }) => {
    const body =
      '{{#each activities}}{{n}} {{/each}}| {{#each actors}}{{name}}{{/each}} | {{data.only}}'
    await engine.commit({
      ...files('window: 10m, render_limit: 2', `${body} {{total_activities}} {{total_actors}}`),
    })
    const fill = async () => {
      await send(engine, { n: 1, actor: 'bob', data: { only: 1 } })
      for (const [n, actor] of [
        [2, 'cy'],
        [3, 'di'],
        [4, 'bob'],
      ] as const)
        await send(engine, { n, actor })
      await later(engine, 10)
    }
    await fill()
    await engine.commit(files('window: 10m, render_limit: 2, order: desc', body))
    await fill()
    expect(await texts(engine)).toEqual(['1 2 | BOBCY | 1 4 3', '3 4 | DIBOB | 1'])
  })

  test('holds what was said for its recipient alone, and keeps it for later steps', async ({
    engine,
  }) => {
    await engine.commit({
      'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: more, type: update_data, properties: { more: "{{data.n}}x" } }
  - { ref: digest, type: batch, window: 10m }
  - { ref: change, type: update_data, properties: { n: changed } }
  - { ref: pause, type: delay, for: 5m }
  - { ref: feed, type: in_app, body: "{{data.n}} {{data.more}} {{#each activities}}{{n}}{{more}}{{own}} {{/each}}{{total_activities}}" }
`,
    })
    await send(engine, { n: 1, recipients: [{ ...ada, $trigger_data: { own: 'a' } }] })
    await send(engine, { n: 2 })
    await later(engine, 10)
    await later(engine, 5)
    expect(await texts(engine)).toEqual(['changed 2x 11xa 22x 2'])
  })

  test('behind another one holds what that one made of its own', async ({ engine }) => {
    await engine.commit({
      'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: digest, type: batch, window: 10m }
  - { ref: second, type: batch, window: 10m }
  - { ref: feed, type: in_app, body: "{{total_activities}} {{#each activities}}{{n}}{{only}}{{json list}}{{/each}}" }
`,
    })
    await send(engine, { n: 1, data: { only: 'x', list: [1] } })
    await send(engine, { n: 2 })
    await later(engine, 10)
    await later(engine, 10)
    expect(await texts(engine)).toEqual(['1 2xnull'])
  })

  test('takes what a chunk brings to it one after the other', async ({ engine }) => {
    const detour =
      'conditions: { all: [{ variable: data.n, operator: greater_than, argument: 2 }] }'
    await engine.commit({
      'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: first, type: throttle, window: 1h, limit: 100, ${detour} }
  - { ref: digest, type: batch, window: 10m, max_items: 2 }
  - { ref: feed, type: in_app, body: "{{total_activities}}" }
`,
    })
    const ids: RunId[] = []
    const now = engine.clock.now()
    for (const n of [1, 2, 3, 4, 5]) {
      const id = await engine.trigger('hello', { recipients: [ada], data: { n } })
      ids.push(
        ...((await engine.database.transaction((tx) => expandWorkflowRun(tx, environment, id, now)))
          ?.ids ?? []),
      )
    }
    await engine.database.transaction(async (tx) => {
      await executeRuns(engine, tx, (await lockQueuedRuns(tx, environment, ids)).runs, now)
    })
    await engine.drain()
    expect(await standing(engine)).toEqual([
      'completed',
      'batched',
      'completed',
      'batched',
      'paused:batch',
    ])
    expect(await texts(engine)).toEqual(['2', '2'])
  })
})

describe('the window of a batch', () => {
  test('that is fixed is not moved by a later one', async ({ engine }) => {
    await engine.commit(files('window: data.window'))
    await send(engine, { data: { window: '10m' } })
    await send(engine, { data: { window: '1m' } })
    await send(engine, { data: { window: '1h' } })
    await later(engine, 9)
    expect(await texts(engine)).toEqual([])
    await later(engine, 1)
    expect(await texts(engine)).toHaveLength(1)
  })

  test('that slides closes a window behind the last one, and not after its limit', async ({
    engine,
  }) => {
    await engine.commit(files('window: 10m, window_type: sliding, extension_limit: 25m'))
    await send(engine)
    await later(engine, 8)
    await send(engine)
    await later(engine, 8)
    await send(engine)
    await later(engine, 8)
    expect(await texts(engine)).toEqual([])
    await send(engine)
    await later(engine, 1)
    expect((await texts(engine))[0]).toMatch(/^4\//)
  })

  test('that slides can close earlier, and at once where its limit is over', async ({ engine }) => {
    await engine.commit(files('window: data.window, window_type: sliding, extension_limit: 30m'))
    await send(engine, { data: { window: '1h' } })
    await send(engine, { data: { window: '5m' } })
    await later(engine, 5)
    expect((await texts(engine))[0]).toMatch(/^2\//)
    await send(engine, { data: { window: '1h' } })
    await later(engine, 40)
    await send(engine, { data: { window: '1h' } })
    expect((await texts(engine))[1]).toMatch(/^2\//)
  })

  test('closes when as many have come as it may hold', async ({ engine }) => {
    await engine.commit(files('window: 10m, max_items: 3'))
    for (let n = 0; n < 7; n++) await send(engine, { n })
    expect(await texts(engine)).toHaveLength(2)
    expect(await standing(engine)).toEqual([
      'completed',
      'batched',
      'batched',
      'completed',
      'batched',
      'batched',
      'paused:batch',
    ])
  })

  test('is ended by an operator', async ({ engine }) => {
    await engine.commit(files('window: 10m'))
    await send(engine, { n: 1 })
    await send(engine, { n: 2 })
    const [opener] = await engine.runs()
    const call = { environment, id: opener!.id, requestedBy: 'me', now: engine.clock.now() }
    await engine.database.transaction((tx) => wakeRun(tx, engine.queue, call))
    await send(engine, { n: 3 })
    expect((await texts(engine))[0]).toMatch(/^2\//)
    expect(await standing(engine)).toEqual(['completed', 'batched', 'paused:batch'])
  })
})

describe('a batch that lets its first one through', () => {
  const step = 'window: 10m, mode: flush_leading'

  test('batches what follows, in the window that the first one opened', async ({ engine }) => {
    await engine.commit(files(step))
    await send(engine, { n: 1, actor: 'bob' })
    expect(await texts(engine)).toEqual(['1/1/1 11BOB | BOB | 1   BOB'])
    await later(engine, 5)
    await send(engine, { n: 2 })
    await send(engine, { n: 3 })
    await later(engine, 5)
    expect(await texts(engine)).toHaveLength(2)
    expect((await texts(engine))[1]).toMatch(/^2\/0\/2 22 33 /)
    const [first] = await engine.runs()
    expect(await engine.timeline(first!.id)).toContain('digest batch_passed')
  })

  test('lets the next one through where nothing followed', async ({ engine }) => {
    await engine.commit(files(step))
    await send(engine, { n: 1 })
    await later(engine, 10)
    await send(engine, { n: 2 })
    expect(await texts(engine)).toHaveLength(2)
    await send(engine, { n: 3, key: 'k' })
    expect(await standing(engine)).toEqual(['completed', 'completed', 'paused:batch'])
    // The window stays open: the next one waits again.
    await cancel(engine, 'k')
    await send(engine, { n: 4 })
    expect((await standing(engine)).slice(2)).toEqual(['cancelled', 'paused:batch'])
    await later(engine, 10)
    expect((await texts(engine))[2]).toMatch(/^1\/0\/1 44 /)
  })
})
