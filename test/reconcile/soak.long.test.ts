import { readdir, readlink } from 'node:fs/promises'
import { setImmediate as turn } from 'node:timers/promises'
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'vitest'
import { findEnvironment } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { figure } from '../support/figures.ts'
import { bareClone, testRepository } from '../support/repository.ts'
import { importHistory } from '../git/object-support.ts'
import { scene, workflow } from './scene.ts'

const WORKFLOWS = 1_000
const PUSHES = figure(5_000, 2_000)
const MEASURED_EVERY = 200
/** Between the first fifth and the end, caches that fill up included; a tree kept for each push would be twice that. */
const GROWTH_BYTES_MAX = 32 * 1024 * 1024

/** Measures that are left out of the slope. */
const WARM_UP = 3
/** Of one push, in the line that fits the measures best: half of a tree that was kept for each. Repacking lets them swing. */
const SLOPE_BYTES_MAX = 16 * 1024

test(`memory and open files stay as they are over ${PUSHES} pushes`, async ({ database }) => {
  await using made = await testRepository()
  const workflows = Array.from({ length: WORKFLOWS }, (_, at) => [
    `workflows/w${at}/workflow.yaml`,
    workflow(`${at}`),
  ])
  await importHistory(made.gitDir, [
    {
      files: {
        'environments/production.yaml': '{ ref: main }\n',
        ...Object.fromEntries(workflows),
      },
    },
  ])
  await importHistory(
    made.gitDir,
    Array.from({ length: PUSHES }, (_, at) => ({
      files: { [`workflows/w${at % WORKFLOWS}/workflow.yaml`]: workflow(`Push ${at}`) },
    })),
  )
  await using bare = await bareClone(made)
  const commits = (await bare.git('rev-list', '--reverse', 'main')).split('\n')
  // Without a name, a repack would drop what is to come.
  await bare.git('branch', 'kept', 'main')
  await bare.git('update-ref', 'refs/heads/main', commits[0] ?? '')
  const { reconciler } = await scene(database, bare.path)
  await using running = reconciler
  await running.pass()
  const used: number[] = []
  for (const [at, commit] of commits.slice(1).entries()) {
    await bare.git('update-ref', 'refs/heads/main', commit)
    if (at % 50 === 0) await bare.git('repack', '-dq')
    if (at % 500 === 0) await bare.git('repack', '-adfq')
    await running.pass()
    if ((at + 1) % MEASURED_EVERY === 0) used.push(await usedBytes())
  }
  expect((await findEnvironment(database, 'production'))?.observedRevision).toBe(commits.at(-1))
  const [, early = 0] = used
  const growth = (used.at(-1) ?? 0) - early
  console.log(`in use: ${used.map((bytes) => (bytes / 1e6).toFixed(1)).join(' ')} MB`)
  expect(growth).toBeLessThan(GROWTH_BYTES_MAX)
  // The first measures still fill caches; what the rest of them rise by from push to push is what leaks.
  expect(slopeOf(used.slice(WARM_UP)) / MEASURED_EVERY).toBeLessThan(SLOPE_BYTES_MAX)
  await turn()
  expect(await openFiles(bare.path)).toEqual([])
}, 1_200_000)

/** What is in use after all that is not was collected, buffers beside the heap included. */
async function usedBytes(): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  await turn()
  collect()
  return getHeapStatistics().used_heap_size + process.memoryUsage().external
}

async function openFiles(under: string): Promise<readonly string[]> {
  const descriptors = await readdir('/proc/self/fd').catch(() => [])
  const paths = await Promise.all(
    descriptors.map((descriptor) => readlink(`/proc/self/fd/${descriptor}`).catch(() => '')),
  )
  return paths.filter((path) => path.startsWith(under))
}

/** By how much the line through these that fits best rises from one to the next. */
function slopeOf(values: readonly number[]): number {
  const middle = (values.length - 1) / 2
  const over = values.map((value, at) => (at - middle) * value)
  const under = values.map((_, at) => (at - middle) ** 2)
  return sum(over) / sum(under)
}

function sum(values: readonly number[]): number {
  return values.reduce((total, one) => total + one, 0)
}
