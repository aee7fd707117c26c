import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { expect, test } from 'vitest'
import { cloneBlank, setReachable } from '../support/database.ts'
import { call, flowRepository, names, trigger } from '../support/flow.ts'
import { startHttp } from '../support/http.ts'
import { openFleet, type Served } from '../support/served.ts'

// One data directory with its own Postgres, through the ends that a server can come to.

test('a signal stops all of it in time, and the next start goes on where it was', async () => {
  const hangs = new Set(['/hang'])
  await using hook = await startHttp((request, response) => {
    if ([...hangs].some((prefix) => request.path.startsWith(prefix))) return
    response.writeHead(200).end()
  })
  await using repository = await flowRepository(hook.url, '2s')
  await using fleet = openFleet()
  const dataDir = path.join(fleet.directory, 'data')
  const serve = () => fleet.serve({ repo: repository.path, dataDir })
  const ids: string[] = []
  const begin = async (served: Served, name: string) => {
    ids.push(await trigger(served.url, 'direct', names(`hang-${name}`, 3)))
    ids.push(await trigger(served.url, 'slow', names(name, 100)))
    const isHanging = () => hook.requests.some(({ path: at }) => at.startsWith(`/hang-${name}`))
    await expect.poll(isHanging, { timeout: 10_000 }).toBe(true)
  }

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const served = await serve()
    await begin(served, signal.toLowerCase())
    const end = await served.stop(signal)
    console.log(`${signal}: ended after ${Math.round(end.ms)} ms`)
    expect(end).toMatchObject({ code: 0, signal: null })
    expect(end.ms).toBeLessThan(5_000)
    await expect.poll(() => processesOf(dataDir)).toEqual([])
  }

  const killed = await serve()
  await begin(killed, 'sigkill')
  await killed.kill()
  // Its Postgres is still there, and the next one joins it.
  expect(processesOf(dataDir)).not.toEqual([])
  hangs.clear()
  const last = await serve()
  await expect.poll(() => openRuns(last.url, ids), { timeout: 15_000 }).toEqual([])
  await expect.poll(() => handedOver(hook.requests), { timeout: 15_000 }).toBe(309)
  const keys = Map.groupBy(hook.requests, ({ path: at }) => at)
  for (const [at, requests] of keys) {
    const own = new Set(requests.map(({ headers }) => headers['idempotency-key']))
    expect([at, own.size]).toEqual([at, 1])
  }
  expect(await last.stop('SIGTERM')).toMatchObject({ code: 0 })
  await expect.poll(() => processesOf(dataDir)).toEqual([])
}, 60_000)

test('a signal is obeyed in time when Postgres cannot be reached', async () => {
  const clone = await cloneBlank()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => clone.drop())
  await using hook = await startHttp((_request, response) => {
    setTimeout(() => response.writeHead(200).end(), 200)
  })
  await using repository = await flowRepository(hook.url)
  await using fleet = openFleet()
  const served = await fleet.serve({ repo: repository.path, databaseUrl: clone.database.url })
  await trigger(served.url, 'direct', names('t', 60))
  await expect.poll(() => hook.requests.length, { interval: 5 }).toBeGreaterThan(0)
  await setReachable(clone.database, false)
  const end = await served.stop('SIGTERM')
  console.log(`without Postgres: ended after ${Math.round(end.ms)} ms with ${end.code}`)
  expect(end).toMatchObject({ code: 0, signal: null })
  expect(end.ms).toBeLessThan(4_000)
}, 30_000)

/**
 * The command lines of all processes that name the directory. After a stop they are asked for more than once:
 * Postgres takes its pid file away, which is what a stop waits for, a moment before it ends.
 */
function processesOf(directory: string): string[] {
  const lines = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).split('\n')
  return lines.filter((line) => line.includes(directory))
}

function handedOver(requests: readonly { readonly path: string }[]): number {
  return new Set(requests.map((request) => request.path)).size
}

/** The triggers that still have a run under way. */
async function openRuns(url: string, ids: readonly string[]): Promise<readonly string[]> {
  const open: string[] = []
  for (const id of ids) {
    const query = `workflow_run_id=${id}&page_size=1&status[]=queued&status[]=paused`
    const { body } = await call(url, { path: `/v1/workflow_recipient_runs?${query}` })
    if ((body['items'] as readonly unknown[]).length > 0) open.push(id)
  }
  return open
}
