import { describe, expect, vi } from 'vitest'
import type { Transaction } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, RunId } from '../../src/ids.ts'
import { executeRuns } from '../../src/runs/execute.ts'
import { expandWorkflowRun } from '../../src/runs/expand.ts'
import { sweepThrottleWindows } from '../../src/runs/gates.ts'
import { lockQueuedRuns } from '../../src/runs/lock.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await use(engine)
  },
})

const production = 'production' as EnvironmentName
const ada = { id: 'ada', name: 'Ada' }
const HOUR_MS = 3_600_000

const files = (throttle: string) => ({
  'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: calm, type: throttle, ${throttle} }
  - { ref: feed, type: in_app, body: x }
`,
})

/** Triggers and gives the recipients their runs, which then wait. */
async function queued(engine: Engine, body: object): Promise<readonly RunId[]> {
  const id = await engine.trigger('hello', body)
  const now = engine.clock.now()
  const runs = await engine.database.transaction((tx) => expandWorkflowRun(tx, production, id, now))
  return runs?.ids ?? []
}

async function execute(engine: Engine, tx: Transaction, ids: readonly RunId[]): Promise<void> {
  const runs = (await lockQueuedRuns(tx, production, ids)).runs
  await executeRuns(engine, tx, runs, engine.clock.now())
}

const outcomes = async (engine: Engine) => (await engine.runs()).map((run) => run.outcome)

async function waitingForLocks(engine: Engine): Promise<void> {
  await vi.waitFor(async () => {
    const rows = await engine.database.query(sql`
      select pid from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`)
    expect(rows).toHaveLength(1)
  })
}

describe('a throttle', () => {
  test('ends what comes beyond its limit, until its window closes', async ({ engine }) => {
    await engine.commit(files('window: 1h, limit: 2'))
    const trigger = async () => {
      await engine.trigger('hello', { recipients: [ada] })
      await engine.drain()
    }
    await trigger()
    engine.clock.advance(HOUR_MS / 2)
    await trigger()
    await trigger()
    expect(await outcomes(engine)).toEqual(['completed', 'completed', 'throttled'])
    engine.clock.advance(HOUR_MS / 2 - 1)
    await trigger()
    engine.clock.advance(1)
    await trigger()
    expect((await outcomes(engine)).slice(3)).toEqual(['throttled', 'completed'])
    const runs = await engine.runs()
    expect(runs[2]).toMatchObject({ status: 'completed', reason: 'throttle_limit', error_count: 0 })
    expect(await engine.timeline(runs[2]!.id)).toEqual([
      'triggered',
      'calm throttle_closed',
      'run_throttled:throttle_limit',
    ])
    expect(await engine.timeline(runs[0]!.id)).toContain('calm throttle_passed')
    expect(await engine.messages()).toHaveLength(3)
  })

  test('counts recipients, keys, steps and workflows apart', async ({ engine }) => {
    const text = files('window: 1h, key: data.page')['workflows/hello/workflow.yaml']
    const second = text.replace('ref: calm', 'ref: other').replace('name: W\nsteps:\n', '')
    await engine.commit({
      'workflows/hello/workflow.yaml': text.replace(
        '  - { ref: feed, type: in_app, body: x }\n',
        second,
      ),
      'workflows/other/workflow.yaml': text,
    })
    for (const [workflow, recipients, page] of [
      ['hello', [ada], 1],
      ['hello', [{ id: 'bob', name: 'Bob' }], 1],
      ['hello', [ada], 2],
      ['other', [ada], 1],
      ['hello', [ada], '1'],
    ] as const) {
      await engine.trigger(workflow, { recipients, data: { page } })
      await engine.drain()
    }
    expect(await outcomes(engine)).toEqual([...Array<string>(4).fill('completed'), 'throttled'])
  })

  test('is not moved by a later window, and lets through what names none', async ({ engine }) => {
    await engine.commit(files('window: data.window'))
    for (const window of ['1h', '1s', undefined]) {
      await engine.trigger('hello', { recipients: [ada], data: { window } })
      await engine.drain()
    }
    engine.clock.advance(HOUR_MS - 1)
    await engine.trigger('hello', { recipients: [ada], data: { window: '1s' } })
    await engine.drain()
    expect(await outcomes(engine)).toEqual(['completed', 'throttled', 'completed', 'throttled'])
    const runs = await engine.runs()
    expect(await engine.timeline(runs[2]!.id)).toContain('calm step_skipped:invalid_window')
  })

  test('counts the runs of one recipient inside a chunk', async ({ engine }) => {
    await engine.commit(files('window: 1h, limit: 3'))
    const ids: RunId[] = []
    for (let index = 0; index < 5; index++)
      ids.push(...(await queued(engine, { recipients: [ada, { id: 'bob', name: 'Bob' }] })))
    await engine.database.transaction((tx) => execute(engine, tx, ids))
    const runs = await engine.runs()
    for (const who of ['ada', 'bob']) {
      const own = runs.filter((run) => run.recipient === who).map((run) => run.outcome)
      expect(own).toEqual(['completed', 'completed', 'completed', 'throttled', 'throttled'])
    }
  })

  test('counts runs of a chunk that come to it one after the other', async ({ engine }) => {
    const detour =
      'conditions: { all: [{ variable: data.detour, operator: equal_to, argument: true }] }'
    await engine.commit({
      'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: first, type: throttle, window: 1h, ${detour} }
  - { ref: calm, type: throttle, window: 1h }
`,
    })
    const late = await queued(engine, { recipients: [ada], data: { detour: true } })
    const early = await queued(engine, { recipients: [ada], data: { detour: false } })
    await engine.database.transaction((tx) => execute(engine, tx, [...late, ...early]))
    expect(await outcomes(engine)).toEqual(['throttled', 'completed'])
  })

  test('counts no run of a sandbox', async ({ engine }) => {
    await engine.commit(files('window: 1h'))
    for (const sandbox of [true, true, false, true]) {
      await engine.trigger('hello', { recipients: [ada], settings: { sandbox_mode: sandbox } })
      await engine.drain()
    }
    expect(await outcomes(engine)).toEqual(Array(4).fill('completed'))
  })
})

describe('two workers at one gate', () => {
  for (const isKnown of [false, true]) {
    const which = isKnown ? 'that has closed' : 'that was never open'
    test(`let one run pass in a window ${which}`, async ({ engine }) => {
      await engine.commit(files('window: 1h'))
      if (isKnown) {
        await engine.trigger('hello', { recipients: [ada] })
        await engine.drain()
        engine.clock.advance(HOUR_MS)
      }
      const first = await queued(engine, { recipients: [ada] })
      const second = await queued(engine, { recipients: [ada] })
      const waiting = await engine.database.transaction(async (tx) => {
        await execute(engine, tx, first)
        const other = engine.database.transaction((tx2) => execute(engine, tx2, second))
        await waitingForLocks(engine)
        return { other }
      })
      await waiting.other
      expect((await outcomes(engine)).slice(-2)).toEqual(['completed', 'throttled'])
    })
  }

  test('count nothing of one that comes to nothing', async ({ engine }) => {
    await engine.commit(files('window: 1h'))
    const first = await queued(engine, { recipients: [ada] })
    const second = await queued(engine, { recipients: [ada] })
    let other: Promise<void> | undefined
    const failed = engine.database.transaction(async (tx) => {
      await execute(engine, tx, first)
      other = engine.database.transaction((tx2) => execute(engine, tx2, second))
      await waitingForLocks(engine)
      throw new Error('the process dies')
    })
    await expect(failed).rejects.toThrow('the process dies')
    await other
    expect(await outcomes(engine)).toEqual([null, 'completed'])
  })
})

test('windows that have closed are swept, and open ones are kept', async ({ engine }) => {
  await engine.commit(files('window: data.window'))
  const recipients = [ada, { id: 'bob', name: 'Bob', $trigger_data: { window: '2h' } }]
  await engine.trigger('hello', { recipients, data: { window: '1h' } })
  await engine.drain()
  const sweep = () => sweepThrottleWindows(engine.database, engine.clock.now())
  engine.clock.advance(HOUR_MS + 60_000)
  expect(await sweep()).toBe(0)
  engine.clock.advance(HOUR_MS / 2)
  expect(await sweep()).toBe(1)
  const rows = await engine.database.query(sql`
    select recipient, passes from throttle_windows where environment = ${production}`)
  expect(rows).toEqual([{ recipient: 'bob', passes: 1 }])
})
