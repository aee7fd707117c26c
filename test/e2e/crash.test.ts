import { afterEach, beforeEach, expect, test } from 'vitest'
import { cloneBlank, type TestDatabase } from '../support/database.ts'
import { crashAndRecover, faultSeed } from './crash-scene.ts'

// Real processes on one Postgres, ended by SIGKILL in the middle of their work.

let clone: TestDatabase

beforeEach(async () => {
  clone = await cloneBlank()
})
afterEach(() => clone.drop())

const seed = faultSeed()

test(`nothing is lost or doubled by a crash (seed ${seed})`, async () => {
  const report = await crashAndRecover(clone.database, {
    seed,
    kills: 1,
    triggers: [120, 50, 30],
    pauseMsMax: 300,
    lifeMsMax: 1_500,
    recoveryMsMax: 15_000,
  })
  expect(report.recipients).toBe(200)
}, 40_000)
