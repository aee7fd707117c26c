import { expect } from 'vitest'
import { newId, type EnvironmentName, type ProcessId } from '../../src/ids.ts'
import { executeRuns } from '../../src/runs/execute.ts'
import { expandWorkflowRun } from '../../src/runs/expand.ts'
import { claimFetches, settleFetches } from '../../src/runs/fetch-store.ts'
import { lockQueuedRuns } from '../../src/runs/lock.ts'
import { counted } from '../support/counted.ts'
import { test } from '../support/database.ts'
import { openEngine } from '../support/engine.ts'
import { queued, work } from './fetch-scene.ts'

test('no statement count grows with the runs that ask and are answered', async ({ database }) => {
  const watched = counted(database)
  await using engine = await openEngine(watched.database)
  await engine.commit({
    'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: one, type: fetch, url: "https://crm.example.com/{{recipient.id}}" }
  - { ref: two, type: fetch, url: "https://crm.example.com/{{data.m}}", into: two }
  - { ref: feed, type: in_app, body: "{{data.two.m}}" }
`,
  })
  const environment = 'production' as EnvironmentName
  const now = engine.clock.now()
  const exchange = {
    request: { method: 'GET', host: '', path: '', headers: {}, body: null },
    response: null,
  }
  const statements = async (count: number) => {
    const recipients = Array.from({ length: count }, (_, index) => ({ id: `${count}-${index}` }))
    const ids = await queued(engine, recipients)
    const by = { process: newId<ProcessId>(), now }
    const before = watched.count()
    await work(engine, ids)
    // One is put off, so that all that may become of a request is among them.
    for (const kind of ['throttled', 'fetched', 'fetched'] as const) {
      await watched.database.transaction(async (tx) => {
        const claimed = await claimFetches(tx, environment, ids, by)
        const ended = claimed.map((one, index) => ({
          ...one,
          answer:
            index === 0 && kind === 'throttled'
              ? ({ kind, details: 'later', exchange } as const)
              : ({ kind: 'fetched', value: { m: index }, exchange } as const),
          late: null,
        }))
        expect(await settleFetches(tx, ended, now)).toHaveLength(claimed.length)
      })
      await work(engine, ids)
    }
    return watched.count() - before
  }
  await statements(2)
  const few = await statements(3)
  expect(await statements(200)).toBe(few)
  const standing = (await engine.runs()).map((run) => run.outcome ?? run.status)
  expect(standing.filter((one) => one === 'completed')).toHaveLength(202)
  expect(standing.filter((one) => one === 'paused')).toHaveLength(3)
})

test('nor with those that start another workflow', async ({ database }) => {
  const watched = counted(database)
  await using engine = await openEngine(watched.database)
  await engine.commit({
    'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: start, type: trigger_workflow, workflow: other, recipients: [{ id: "{{recipient.id}}", n: 2 }], actor: "{{recipient.id}}" }
  - { ref: feed, type: in_app, body: x }
`,
    'workflows/other/workflow.yaml': 'name: O\nsteps: [{ ref: rest, type: delay, for: 1h }]\n',
  })
  const execute = async (count: number) => {
    const recipients = Array.from({ length: count }, (_, index) => ({ id: `${count}-${index}` }))
    const id = await engine.trigger('hello', { recipients })
    const before = watched.count()
    const environment = 'production' as EnvironmentName
    await watched.database.transaction(async (tx) => {
      const ids = await expandWorkflowRun(tx, environment, id, engine.clock.now())
      const runs = (await lockQueuedRuns(tx, environment, ids?.ids ?? [])).runs
      await executeRuns(engine, tx, runs, engine.clock.now())
    })
    return watched.count() - before
  }
  await execute(2)
  const few = await execute(3)
  expect(await execute(200)).toBe(few)
  await engine.drain()
  expect((await engine.runs()).filter(({ workflow }) => workflow === 'other')).toHaveLength(205)
})
