import { expect } from 'vitest'
import type { EnvironmentName } from '../../src/ids.ts'
import { loadTimeline } from '../../src/runs/read.ts'
import { test } from '../support/database.ts'
import { openEngine } from '../support/engine.ts'

test('a zone of a recipient that is none is noted once with each step', async ({ database }) => {
  await using engine = await openEngine(database)
  await engine.commit({
    'workflows/hello/workflow.yaml': `name: Hello
steps:
  - { ref: rest, type: delay, for: 1d }
  - { ref: feed, type: in_app, body: "{{timezone}}" }
`,
  })
  const people = [
    { id: 'ada', timezone: 'Mars/Base' },
    { id: 'bob', timezone: 'Asia/Tokyo' },
    { id: 'eve' },
  ]
  const id = await engine.trigger('hello', { recipients: people })
  await engine.drain()
  engine.clock.advance(86_400_000)
  await engine.drain()
  const production = 'production' as EnvironmentName
  const noted = []
  for (const run of await engine.runs(id))
    for (const { event, step_ref: ref, data } of await loadTimeline(database, production, run))
      if (event === 'timezone_unknown') noted.push([run.recipient, ref, data])
  const data = { timezone: 'Mars/Base', used: 'Europe/Berlin' }
  expect(noted).toEqual([
    ['ada', 'rest', data],
    ['ada', 'feed', data],
  ])
})
