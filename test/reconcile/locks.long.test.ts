import { expect } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { pin } from '../../src/reconcile/brakes.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { holdLock } from './locks-support.ts'
import { environment, scene, workflow } from './scene.ts'

const PRODUCTION = 'production' as EnvironmentName
/** Nobody may take longer than that because of what somebody else holds. */
const OTHERS_MS_MAX = 10_000

test('a lock on the row of one environment, pinned or not, costs another one some seconds, and itself no person', async ({
  database,
}) => {
  await using made = await testRepository()
  const file = 'workflows/a1/workflow.yaml'
  const first = await made.commit({
    'environments/production.yaml': 'ref: main\n',
    'environments/staging.yaml': 'ref: main\n',
    [file]: workflow('One'),
  })
  const { reconciler } = await scene(database, made.path, { clock: systemClock })
  await using running = reconciler
  await running.start()
  const observed = async (name: string) => {
    const found = await environment(database, name).catch(() => undefined)
    return found?.observedRevision
  }
  const reaches = (name: string, revision: string) =>
    expect.poll(() => observed(name), { timeout: OTHERS_MS_MAX }).toBe(revision)
  await reaches('production', first)
  await reaches('staging', first)
  const lockRow = () =>
    holdLock(database, `select from environments where name = 'production' for update`)

  await using plain = await lockRow()
  const second = await made.commit({ [file]: workflow('Two') })
  await reaches('staging', second)
  expect(await observed('production')).toBe(first)
  await plain.release()
  await reaches('production', second)

  const now = systemClock.now()
  const expiresAt = new Date(now.getTime() + 3_000)
  const pinning = { environment: PRODUCTION, actor: 'ada', reason: 'Bad', now, expiresAt }
  await database.transaction(async (tx) =>
    pin(tx, await environment(tx, PRODUCTION), { ...pinning, named: first }),
  )
  running.wake()
  await reaches('production', first)
  await using pinned = await lockRow()
  await expect.poll(() => systemClock.now() > expiresAt, { timeout: 5_000 }).toBe(true)
  const third = await made.commit({ [file]: workflow('Three') })
  await reaches('staging', third)
  expect(await environment(database, PRODUCTION)).toMatchObject({
    reason: 'pinned',
    observedRevision: first,
  })
  await pinned.release()
  await reaches('production', third)
}, 60_000)
