import { expect } from 'vitest'
import type { EnvironmentName } from '../../src/ids.ts'
import { setSwitch } from '../../src/messages/switches.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const steps = `name: W
steps:
  - { ref: feed, type: in_app, body: one }
  - { ref: pause, type: delay, for: 1h }
  - { ref: later, type: in_app, body: two }
`
const ada = { recipients: [{ id: 'ada', name: 'Ada' }] }
const HOUR_MS = 3_600_000

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await engine.commit({ 'workflows/hello/workflow.yaml': steps })
    await use(engine)
  },
})

async function statuses(engine: Engine): Promise<readonly string[]> {
  const messages = await engine.messages()
  return messages.map((message) =>
    `${message.step_ref} ${message.status} ${message.reason ?? ''}`.trim(),
  )
}

test('a workflow that is off takes no trigger, and ends a run that wakes', async ({ engine }) => {
  await engine.trigger('hello', ada)
  await engine.drain()
  await engine.switchTo(false, 'hello')
  await expect(engine.trigger('hello', ada)).rejects.toMatchObject({
    status: 422,
    code: 'workflow_inactive',
  })
  engine.clock.advance(HOUR_MS)
  await engine.drain()
  const [run] = await engine.runs()
  expect(run).toMatchObject({ status: 'cancelled', reason: 'workflow_inactive' })
  expect(await engine.timeline(run!.id)).toContain('switch_checked:incident')
})

test('a run that sleeps through it goes on as if nothing had happened', async ({ engine }) => {
  await engine.trigger('hello', ada)
  await engine.drain()
  await engine.switchTo(false, 'hello')
  await engine.switchTo(true, 'hello')
  engine.clock.advance(HOUR_MS)
  await engine.drain()
  expect(await statuses(engine)).toEqual(['feed delivered', 'later delivered'])
})

test('a switch ends by itself when its time is over', async ({ engine }) => {
  const { database, clock } = engine
  await database.transaction((tx) =>
    setSwitch(tx, {
      environment: 'production' as EnvironmentName,
      workflow: 'hello',
      channel: '',
      active: false,
      reason: null,
      actor: 'operator',
      expiresAt: new Date(clock.now().getTime() + 60_000),
      now: clock.now(),
    }),
  )
  await expect(engine.trigger('hello', ada)).rejects.toMatchObject({ code: 'workflow_inactive' })
  clock.advance(60_000)
  await engine.trigger('hello', ada)
  await engine.drain()
  expect(await statuses(engine)).toEqual(['feed delivered'])
})

test('a channel that is off, and all sending, hold back messages and end no run', async ({
  engine,
}) => {
  await engine.switchTo(false, 'hello', 'feed')
  await engine.trigger('hello', ada)
  await engine.drain()
  await engine.switchTo(true, 'hello', 'feed')
  await engine.switchTo(false, '')
  await engine.trigger('hello', ada)
  await engine.drain()
  await engine.switchTo(true, '')
  engine.clock.advance(HOUR_MS)
  await engine.drain()
  expect((await statuses(engine)).toSorted()).toEqual([
    'feed not_sent workflow_inactive',
    'feed not_sent workflow_inactive',
    'later delivered',
    'later delivered',
  ])
  expect((await engine.runs()).map((run) => run.outcome)).toEqual(['completed', 'completed'])
})

test('the switch outlives a merge, and an archive with its return', async ({ engine }) => {
  await engine.switchTo(false, 'hello')
  await engine.commit({
    'workflows/hello/workflow.yaml': steps.replace('one', 'new'),
    'workflows/other/workflow.yaml': steps,
  })
  await engine.commit({ 'workflows/hello': null })
  await engine.commit({ 'workflows/hello/workflow.yaml': steps })
  await expect(engine.trigger('hello', ada)).rejects.toMatchObject({ code: 'workflow_inactive' })
})
