import { execFile } from 'node:child_process'
import { rename } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { expect } from 'vitest'
import { findEnvironment } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { figure } from '../support/figures.ts'
import { random as randomFrom } from '../support/random.ts'
import { bareClone, testRepository } from '../support/repository.ts'
import { openFleet } from '../support/served.ts'
import { workflow } from './scene.ts'

const PUSHES = 500
const PAUSE_MS_MAX = 50
/** The poll is two seconds in this test: a second more where the machine has nothing else to do, and two polls where it has. */
const CAUGHT_UP_MS_MAX = figure(3_000, 5_000)

// A process of its own, which stands still now and then, as a machine does that swaps.
test('500 pushes end on the last one, whatever is missed of them', async ({ database }) => {
  const seed = Number(process.env['FAULT_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  const random = randomFrom(seed)
  await using made = await testRepository()
  await made.commit({
    'environments/production.yaml': '{ ref: main }\n',
    'workflows/a1/workflow.yaml': workflow('0'),
  })
  await using bare = await bareClone(made)
  await made.git('remote', 'add', 'origin', bare.path)
  await using fleet = openFleet()
  const served = await fleet.serve({
    repo: bare.path,
    databaseUrl: database.url,
    env: { BELFRY_POLL_SECONDS: '2' },
  })
  const disturb: Readonly<Record<number, () => Promise<unknown>>> = {
    100: () => bare.git('pack-refs', '--all'),
    200: () => bare.git('gc', '--quiet', '--prune=now'),
    300: () => bare.git('repack', '-adfq'),
    400: async () => {
      await promisify(execFile)('cp', ['-R', bare.path, `${bare.path}-new`])
      await rename(bare.path, `${bare.path}-old`)
      await rename(`${bare.path}-new`, bare.path)
    },
  }
  let tip = ''
  for (let push = 1; push <= PUSHES; push += 1) {
    if (random.chance(0.02)) served.freeze()
    tip = await made.commit({ 'workflows/a1/workflow.yaml': workflow(`${push}`) })
    await made.git('push', '--quiet', 'origin', 'main')
    await pause(random.below(PAUSE_MS_MAX))
    if (random.chance(0.1)) served.thaw()
    await disturb[push]?.()
  }
  served.thaw()
  const thawed = performance.now()
  expect(await made.tip('main')).toBe(tip)
  await expect
    .poll(async () => (await findEnvironment(database, 'production'))?.observedRevision, {
      timeout: CAUGHT_UP_MS_MAX,
      message: `FAULT_SEED=${seed}`,
    })
    .toBe(tip)
  console.log(`caught up after ${Math.round(performance.now() - thawed)} ms`)
  expect(served.isRunning()).toBe(true)
})
