import { expect } from 'vitest'
import { RetryableFailure } from '../../src/errors.ts'
import { openSources } from '../../src/git/open.ts'
import type { CommitSource } from '../../src/git/source.ts'
import { test } from '../support/database.ts'
import { recorder } from '../support/metrics.ts'
import { testRepository } from '../support/repository.ts'
import { clear, environment, scene, workflow } from './scene.ts'

test('a look that fails is repeated with growing pauses, and begins anew with short ones after a good one', async ({
  database,
}) => {
  await clear(database)
  await using made = await testRepository()
  await made.commit({
    'environments/production.yaml': 'ref: main\n',
    'workflows/a1/workflow.yaml': workflow('One'),
  })
  const { repository } = await openSources(made.path, { development: false })
  let isAway = false
  let notice: (() => void) | undefined
  /** When refs were asked for, in seconds. */
  const asked: number[] = []
  const source: CommitSource = {
    kind: 'repository',
    location: repository.location,
    async refs() {
      if (!isAway) return repository.refs()
      asked.push(process.uptime())
      throw new RetryableFailure('it is away')
    },
    commit: (id) => repository.commit(id),
    tree: (revision) => repository.tree(revision),
    watch({ onChange }) {
      notice = () => onChange(null)
      return { start: () => Promise.resolve(), close: () => Promise.resolve() }
    },
  }
  const metrics = recorder()
  const { reconciler } = await scene(database, made.path, { repository: source, metrics })
  await using running = reconciler
  await running.start()
  const state = async () => (await environment(database, 'production')).state
  await expect.poll(() => state().catch(() => ''), { timeout: 10_000 }).toBe('ready')

  /** The pauses between the first looks that fail, in milliseconds. */
  const failing = async (looks: number) => {
    asked.length = 0
    isAway = true
    notice?.()
    await expect.poll(() => asked.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(looks)
    isAway = false
    const first = asked.slice(0, looks)
    return first.slice(1).map((at, before) => (at - first[before]!) * 1_000)
  }
  for (const [at, pause] of (await failing(4)).entries()) {
    expect(pause).toBeGreaterThanOrEqual(250 * 2 ** at)
  }
  await expect.poll(state, { timeout: 20_000 }).toBe('ready')
  expect(
    metrics.counted('poll_total', { trigger: 'retry', result: 'failed' }),
  ).toBeGreaterThanOrEqual(3)
  // The next one of that row would have been two seconds, at the least.
  const [again] = await failing(2)
  expect(again).toBeLessThan(2_000)
}, 60_000)
