import { describe, expect } from 'vitest'
import type { EnvironmentName, RunId, WorkflowKey } from '../../src/ids.ts'
import { cancelByKey, cancelRun } from '../../src/runs/cancel.ts'
import { wakeRun } from '../../src/runs/operate.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await use(engine)
  },
})

const environment = 'production' as EnvironmentName
const MINUTE_MS = 60_000
const ada = { id: 'ada', name: 'Ada' }

const TEXT =
  '{{total_activities}}/{{total_actors}}/{{run.total_activities}} {{#each activities}}{{n}}{{data.n}}{{#if actor}}{{actor.name}}{{/if}} {{/each}}| {{#each actors}}{{name}} {{/each}}| {{data.n}} {{data.only}} {{data.list}} {{actor.name}}'

const files = (batch: string, body = TEXT) => ({
  'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: digest, type: batch, ${batch} }
  - { ref: feed, type: in_app, body: ${JSON.stringify(body)} }
`,
})

interface Sent {
  readonly n?: number | string
  readonly key?: string
  readonly actor?: string
  readonly settings?: object
  readonly tenant?: string
  readonly data?: object
  readonly recipients?: readonly object[]
}

async function send(engine: Engine, { n = 0, key, actor, data, ...rest }: Sent = {}) {
  const id = await engine.trigger('hello', {
    recipients: [ada],
    data: { n, ...data },
    ...(key !== undefined && { cancellation_key: key }),
    ...(actor !== undefined && { actor: { id: actor, name: actor.toUpperCase() } }),
    ...rest,
  })
  await engine.drain()
  return id
}

async function later(engine: Engine, minutes: number): Promise<void> {
  engine.clock.advance(minutes * MINUTE_MS)
  await engine.drain()
}

/** The texts that were sent, in order. */
async function texts(engine: Engine): Promise<readonly string[]> {
  const messages = await engine.messages()
  return messages.map(({ content }) => (content['body'] as { content: string }).content)
}

const standing = async (engine: Engine) =>
  (await engine.runs()).map((run) => run.outcome ?? `${run.status}:${run.waits_for}`)

const cancel = (engine: Engine, cancellationKey: string) =>
  engine.database.transaction((tx) =>
    cancelByKey(tx, engine.queue, {
      environment,
      workflow: 'hello' as WorkflowKey,
      cancellationKey,
      recipients: null,
      requestedBy: 'somebody',
      now: engine.clock.now(),
    }),
  )

const cancelOne = (engine: Engine, id: RunId) =>
  engine.database.transaction((tx) =>
    cancelRun(tx, engine.queue, { environment, id, requestedBy: 'me', now: engine.clock.now() }),
  )

describe('a batch', () => {
  test('goes on once with all that came while its window was open', async ({ engine }) => {
    await engine.commit(files('window: 10m'))
    await send(engine, { n: 1, actor: 'bob', data: { only: 'x', list: [1] } })
    await later(engine, 9)
    await send(engine, { n: 2, actor: 'cy' })
    await send(engine, { n: 3, actor: 'bob' })
    expect(await standing(engine)).toEqual(['paused:batch', 'batched', 'batched'])
    expect(await texts(engine)).toEqual([])
    await later(engine, 1)
    expect(await standing(engine)).toEqual(['completed', 'batched', 'batched'])
    expect(await texts(engine)).toEqual(['3/2/3 11BOB 22CY 33BOB | BOB CY | 3 x  BOB'])
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
