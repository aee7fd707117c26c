import { expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { clear, environment, scene, workflow } from './scene.ts'

const WORKFLOWS = 10_000
const CHECKS = 20
const BODY = 'lorem ipsum '.repeat(100)

// Measured on two cores: a check 30 ms, the first one of a process 180 ms, one row repaired 140 ms, all of them 5 s.
test('a check of 10,000 workflows costs some milliseconds, and all of them can be repaired', async ({
  database,
}) => {
  await using made = await testRepository()
  const files: Record<string, string> = {
    'environments/production.yaml': `ref: main\nchannels: { feed: { type: in_app, provider: in_app } }\n`,
  }
  for (let index = 0; index < WORKFLOWS; index += 1) {
    files[`workflows/w${index}/workflow.yaml`] =
      `name: W ${index}\nsteps:\n  - ref: feed\n    type: in_app\n    body: ${BODY}\n`
  }
  await made.commit(files)
  const { reconciler } = await scene(database, made.path)
  await reconciler.pass()
  const timed = async (isFound: boolean) => {
    const from = performance.now()
    expect(await reconciler.mend()).toBe(isFound)
    return performance.now() - from
  }
  const first = await timed(false)
  const checks: number[] = []
  for (let count = 0; count < CHECKS; count += 1) checks.push(await timed(false))
  const median = checks.toSorted((one, other) => one - other)[CHECKS / 2]!
  await database.query(
    sql`update workflows set tree = 'x' where environment = 'production' and key = 'w77'`,
  )
  const one = await timed(true)
  await database.query(sql`update workflows set tree = 'x' where environment = 'production'`)
  const all = await timed(true)
  console.log(
    `drift of ${WORKFLOWS} workflows: first check ${first.toFixed()} ms, check ${median.toFixed()} ms, one repaired ${one.toFixed()} ms, all repaired ${all.toFixed()} ms`,
  )
  expect(median).toBeLessThan(200)
  expect(await timed(false)).toBeGreaterThan(0)
  await reconciler.close()
})

test('a process that only runs finds drift within the minute that is promised', async ({
  database,
}) => {
  await clear(database)
  await using made = await testRepository()
  await made.commit({
    'environments/production.yaml': 'ref: main\n',
    'workflows/a1/workflow.yaml': workflow('One'),
  })
  const { reconciler } = await scene(database, made.path)
  await using running = reconciler
  await running.start()
  const state = () => environment(database, 'production').catch(() => undefined)
  await expect.poll(state, { timeout: 10_000 }).toMatchObject({ state: 'ready' })
  await database.query(sql`update workflows set tree = 'x' where environment = 'production'`)
  const drift = { outcome: 'repaired' }
  await expect.poll(state, { timeout: 60_000, interval: 200 }).toMatchObject({ drift })
}, 90_000)
