import { expect, test } from 'vitest'
import { cloneBlank } from '../support/database.ts'
import { faultSeed } from './crash-scene.ts'
import { disturb } from './faults-scene.ts'

const seed = faultSeed()

test(`ten thousand recipients of three workers that die, lose Postgres and are kept from the queue (seed ${seed})`, async () => {
  const clone = await cloneBlank()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => clone.drop())
  const report = await disturb(clone.database, {
    seed,
    recipients: 10_000,
    group: 1_000,
    times: 3,
    kills: 6,
    cuts: 3,
    lockMs: 10_000,
    pauseMsMax: 3_000,
    recoveryMsMax: 240_000,
  })
  expect(report.calls).toBe(10_000)
  expect(report.mails).toBe(250)
}, 600_000)
