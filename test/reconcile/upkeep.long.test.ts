import { expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { locateRepository } from '../../src/git/location.ts'
import { readRefs } from '../../src/git/refs.ts'
import { importHistory } from '../git/object-support.ts'
import { test } from '../support/database.ts'
import { figure } from '../support/figures.ts'
import { recorder } from '../support/metrics.ts'
import { bareClone, testRepository } from '../support/repository.ts'
import { scene, workflow } from './scene.ts'

const SECONDS = figure(60, 5)
const COMMITS = 10_000

test(`no ref is seen, and none applied, that was there before, in ${SECONDS} s of moving and packing`, async ({
  database,
}) => {
  await using made = await testRepository()
  const first = {
    'environments/production.yaml': 'ref: moving\n',
    'workflows/a1/workflow.yaml': workflow('First'),
  }
  await importHistory(made.gitDir, [{ files: first }])
  const texts = Array.from({ length: COMMITS }, (_, at) => workflow(`${at}`))
  await importHistory(
    made.gitDir,
    texts.map((text) => ({ files: { 'workflows/a1/workflow.yaml': text } })),
  )
  await using bare = await bareClone(made)
  const commits = (await bare.git('rev-list', '--reverse', 'main')).split('\n')
  const places = new Map(commits.map((commit, at) => [commit, at]))
  await bare.git('update-ref', 'refs/heads/moving', commits[0] ?? '')
  const metrics = recorder()
  const { reconciler } = await scene(database, bare.path, { metrics })
  await using running = reconciler
  const progress = { moved: 0, isOver: false }
  const until = performance.now() + SECONDS * 1_000
  const moving = (async () => {
    while (performance.now() < until && progress.moved < COMMITS) {
      progress.moved += 1
      await bare.git('update-ref', 'refs/heads/moving', commits[progress.moved] ?? '')
      await bare.git('pack-refs', '--all')
    }
  })().finally(() => (progress.isOver = true))
  const passing = (async () => {
    while (!progress.isOver) await running.pass()
  })()
  const location = await locateRepository(bare.path)
  let [reads, newest] = [0, 0]
  while (!progress.isOver) {
    const at = places.get((await (await readRefs(location)).tip('moving')) ?? '') ?? -1
    expect(at).toBeGreaterThanOrEqual(newest)
    newest = at
    reads += 1
  }
  await Promise.all([moving, passing])
  await running.pass()
  const rows = await database.query<{ revision: string }>(
    sql`select revision from revisions where environment = 'production' order by sequence`,
  )
  const applied = rows.map(({ revision }) => places.get(revision) ?? -1)
  console.log(`${progress.moved} moves, ${reads} reads, ${applied.length} applied`)
  expect(applied.length).toBeGreaterThan(2)
  expect(applied).toEqual([...new Set(applied)].toSorted((one, other) => one - other))
  expect(applied.at(-1)).toBe(progress.moved)
  const regressions = () => metrics.counted('ref_regressions_total', { env: 'production' })
  expect(regressions()).toBe(0)
  // And it counts what does go back.
  await bare.git('update-ref', 'refs/heads/moving', commits[1] ?? '')
  await running.pass()
  expect(regressions()).toBe(1)
})
