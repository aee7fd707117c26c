import { execFileSync } from 'node:child_process'
import net from 'node:net'
import { once } from 'node:events'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { expectOneKeyEach, type MessageState } from './crash-scene.ts'
import { cloneBlank } from '../support/database.ts'
import { call, flowFiles, flowRepository, names, trigger } from '../support/flow.ts'
import { startHttp } from '../support/http.ts'
import { openFleet } from '../support/served.ts'

test('two processes on one database share the work, and one of them reconciles', async () => {
  const clone = await cloneBlank()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => clone.drop())
  const { database } = clone
  await using hook = await startHttp((_request, response) => {
    setTimeout(() => response.writeHead(200).end(), 30)
  })
  await using repository = await flowRepository(hook.url)
  await using fleet = openFleet()
  const options = { repo: repository.path, databaseUrl: database.url }
  // At once, on an empty database.
  const [first, second] = await Promise.all([fleet.serve(options), fleet.serve(options)])
  const workers = new Set<string>()
  for (let index = 0; index < 10; index += 1) {
    const url = index % 2 === 0 ? first.url : second.url
    await trigger(url, index < 5 ? 'slow' : 'direct', names(`t${index}`, 60))
  }
  const listCalls = () =>
    database.query<MessageState & { claimed_by: string | null }>(sql`
      select id, run_id, step_ref, recipient, status, claimed_by
      from messages where environment = 'production' and step_ref = 'call'`)
  const delivered = async () => {
    const calls = await listCalls()
    for (const { claimed_by: by } of calls) if (by !== null) workers.add(by)
    return calls.filter(({ status }) => status === 'delivered').length
  }
  await expect.poll(delivered, { timeout: 20_000, interval: 20 }).toBe(600)
  expect(expectOneKeyEach(hook, await listCalls())).toBe(0)
  expect(workers.size).toBe(2)

  const revision = await repository.commit(flowFiles(hook.url, '2s'))
  for (const { url } of [first, second]) {
    await expect
      .poll(() => call(url, { path: '/v1/workflows/slow' }), { timeout: 5_000 })
      .toMatchObject({ body: { revision } })
  }
  expect(applied(first.log()) + applied(second.log())).toBe(2)
  expect(applied(first.log()) * applied(second.log())).toBe(0)

  // Whichever of them leads, the other one does so when it leaves.
  const leads = applied(first.log()) > 0 ? first : second
  const other = leads === first ? second : first
  expect(await leads.stop('SIGTERM')).toMatchObject({ code: 0 })
  const next = await repository.commit(flowFiles(hook.url, '1s'))
  await expect
    .poll(() => call(other.url, { path: '/v1/workflows/slow' }), { timeout: 5_000 })
    .toMatchObject({ body: { revision: next } })
}, 60_000)

describe('a data directory', () => {
  test('is shared by those that run on it and by nobody else', async () => {
    await using hook = await startHttp()
    await using repository = await flowRepository(hook.url)
    await using fleet = openFleet()
    const one = path.join(fleet.directory, 'one')
    const two = path.join(fleet.directory, 'two')
    const repo = repository.path
    const [first, elsewhere] = await Promise.all([
      fleet.serve({ repo, dataDir: one, port: null }),
      fleet.serve({ repo, dataDir: two, port: null }),
    ])
    // A child that was forked a moment ago still bears its server's name.
    await expect.poll(() => servers([one, two])).toBe(2)
    const second = await fleet.serve({ repo, dataDir: one, port: null })
    await expect.poll(() => servers([one, two])).toBe(2)
    const urls = [first.url, elsewhere.url, second.url]
    expect(new Set(urls).size).toBe(3)
    expect(urls.every((url) => Number(new URL(url).port) >= 4747)).toBe(true)

    await trigger(first.url, 'direct', ['ada'])
    await expect.poll(() => hook.requests.length, { timeout: 5_000 }).toBe(1)
    expect(await Promise.all(urls.map((url) => countMessages(url)))).toEqual([1, 0, 1])

    // The one that started the server leaves; the server stays for the other one.
    expect(await first.stop('SIGTERM')).toMatchObject({ code: 0 })
    await trigger(second.url, 'direct', ['bea'])
    await expect.poll(() => hook.requests.length, { timeout: 5_000 }).toBe(2)
    expect(await second.stop('SIGINT')).toMatchObject({ code: 0 })
    await expect.poll(() => servers([one])).toBe(0)
    expect(await countMessages(elsewhere.url)).toBe(0)
    expect(await elsewhere.stop('SIGTERM')).toMatchObject({ code: 0 })
    await expect.poll(() => servers([one, two])).toBe(0)
  }, 60_000)

  test('is left as it was by a start that finds its port taken, and served from the next when it was not asked for', async () => {
    await using hook = await startHttp()
    await using repository = await flowRepository(hook.url)
    await using fleet = openFleet()
    // Unless something else has the default one already, which is as good.
    await using stack = new AsyncDisposableStack()
    stack.use(await takePort(4747).catch(() => undefined))
    const taken = stack.use(await takePort(0))
    const options = { repo: repository.path, dataDir: path.join(fleet.directory, 'data') }
    const end = await fleet.refuse({ ...options, port: taken.port })
    expect(end.code).toBe(2)
    expect(end.log).toContain(`port ${taken.port} on 127.0.0.1 is taken`)
    await expect.poll(() => servers([options.dataDir])).toBe(0)

    const { url, ...served } = await fleet.serve({ ...options, port: null })
    expect(Number(new URL(url).port)).toBeGreaterThan(4747)
    expect((await call(url, { path: '/healthz' })).status).toBe(200)
    expect(await served.stop('SIGTERM')).toMatchObject({ code: 0 })
  }, 30_000)
})

/** How often the log says that a revision went live. */
function applied(log: string): number {
  return log.match(/revision applied/g)?.length ?? 0
}

async function countMessages(url: string): Promise<number> {
  const { body } = await call(url, { path: '/v1/messages' })
  return (body['items'] as readonly unknown[]).length
}

/** How many Postgres servers run in these directories. */
function servers(directories: readonly string[]): number {
  const lines = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).split('\n')
  return lines.filter((line) =>
    directories.some((directory) => line.includes(`bin/postgres -D ${directory}/`)),
  ).length
}

async function takePort(port: number) {
  const server = net.createServer()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  }
}
