import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { beforeEach, describe, expect } from 'vitest'
import { openTopics } from '../../src/db/topics.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { silentLog } from '../../src/log.ts'
import { findEnvironment, requestReconcile } from '../../src/reconcile/read.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'

beforeEach<{ database: Parameters<typeof clear>[0] }>(({ database }) => clear(database))

/** Waits for what somebody else does; the test's own time-out ends it. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve))
}

/** Moves a branch through all of these commits, each in a transaction of its own. */
async function updateRefs(path: string, branch: string, commits: readonly string[]): Promise<void> {
  const git = spawn('git', ['update-ref', '--stdin'], {
    cwd: path,
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  for (const commit of commits)
    git.stdin.write(`start\nupdate refs/heads/${branch} ${commit}\ncommit\n`)
  git.stdin.end()
  const [code] = (await once(git, 'exit')) as [number]
  expect(code).toBe(0)
}

describe('a running reconciler', () => {
  test('ends on the last of 500 quick updates', async ({ database }) => {
    await using made = await testRepository()
    const first = await made.commit({
      'environments/production.yaml': '{ ref: main }\n',
      'workflows/a1/workflow.yaml': workflow('0'),
    })
    const commits: string[] = []
    for (let index = 0; index < 20; index += 1) {
      commits.push(await made.commit({ 'workflows/a1/workflow.yaml': workflow(`${index}`) }))
    }
    const last = commits.at(-1) ?? ''
    await made.git('update-ref', 'refs/heads/main', first)
    const { reconciler } = await scene(database, made.path)
    await using running = reconciler
    await running.start()
    const observed = async () => (await findEnvironment(database, 'production'))?.observedRevision
    await until(async () => (await observed()) === first)
    const updates = Array.from({ length: 499 }, (_, index) => commits[index % 19] ?? '')
    await updateRefs(made.path, 'main', [...updates, last])
    await until(async () => (await observed()) === last)
    await running.pass()
    expect(await environment(database, 'production')).toMatchObject({
      state: 'ready',
      observedRevision: last,
    })
  })

  test('makes a save in the working tree live', async ({ database }) => {
    await using made = await testRepository()
    await made.write({ 'workflows/a1/workflow.yaml': workflow('One') })
    const { reconciler } = await scene(database, made.path, { development: true })
    await using running = reconciler
    await running.start()
    await running.pass()
    const before = await live(database, 'development')
    await made.write({ 'workflows/a1/workflow.yaml': workflow('Two') })
    await until(async () => (await live(database, 'development'))['a1'] !== before['a1'])
    expect((await environment(database, 'development')).state).toBe('ready')
  })

  test('looks when another process asks, and echoes the request', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ 'environments/production.yaml': 'ref: main\n' })
    await using topics = openTopics(database.url, { log: silentLog })
    const { reconciler } = await scene(database, made.path, { topics })
    await using running = reconciler
    await running.start()
    await running.pass()
    const id = await database.transaction((tx) =>
      requestReconcile(tx, 'production' as EnvironmentName, new Date('2026-03-01')),
    )
    await until(async () => (await environment(database, 'production')).lastHandledRequest === id)
    expect((await environment(database, 'production')).state).toBe('ready')
  })

  test('is done with its work when it is closed', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({ 'environments/production.yaml': 'ref: main\n' })
    const { reconciler } = await scene(database, made.path)
    await reconciler.start()
    await reconciler.close()
    await reconciler.close()
    const other = await scene(database, made.path)
    expect((await other.reconciler.pass()).kind).toBe('leading')
  })
})
