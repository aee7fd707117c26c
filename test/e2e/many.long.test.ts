import { expect, test } from 'vitest'
import { cloneBlank } from '../support/database.ts'
import { figure } from '../support/figures.ts'
import { startHttp } from '../support/http.ts'
import { testRepository } from '../support/repository.ts'
import { openFleet } from '../support/served.ts'
import { faultSeed } from './crash-scene.ts'
import {
  disturbMany,
  expectAppliedOnce,
  pushMarked,
  startReader,
  startThree,
  waitForRevision,
  type Marks,
} from './many-scene.ts'

const seed = faultSeed()

test(`leaders die and stand still for minutes of pushes (seed ${seed})`, async () => {
  const clone = await cloneBlank()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => clone.drop())
  const report = await disturbMany(clone.database, {
    seed,
    rounds: 15,
    secondsMin: figure(300, 0),
    triggers: Array.from({ length: figure(200, 20) }, () => 100),
    freezeMsMax: 10_000,
    pauseMsMax: 2_000,
  })
  expect(report.applied).toBeGreaterThan(7)
}, 1_200_000)

test('a reader sees whole revisions only while a hundred are applied', async () => {
  const clone = await cloneBlank()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => clone.drop())
  const { database } = clone
  await using hook = await startHttp()
  await using repository = await testRepository()
  await using fleet = openFleet()
  const marks: Marks = new Map()
  await pushMarked(repository, hook.url, marks)
  await startThree(fleet, database, repository)
  const reader = startReader(database, marks)
  for (let count = 0; count < 100; count += 1) {
    await waitForRevision(database, await pushMarked(repository, hook.url, marks))
  }
  const { reads, revisions } = await reader.end()
  console.log(`${reads} reads saw ${revisions} revisions`)
  expect(revisions).toBeGreaterThan(80)
  expect(await expectAppliedOnce(database)).toBe(101)
}, 300_000)
