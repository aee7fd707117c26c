import http from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { cloneBlank } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { KEY, openFleet } from '../support/served.ts'

// More triggers than one process can take: it answers each that it takes, and holds no more for it.
// `LOAD_SECONDS=60 vitest run --mode long test/e2e/load.long.test.ts` does so for a minute.

const SECONDS = Number(process.env['LOAD_SECONDS'] ?? 10)
const OFFERED_PER_SECOND = 2_000
/** Of the clients together; who finds none free gives way, as behind a balancer. */
const CONNECTIONS = 100
const TICK_MS = 10
const MB = 1024 * 1024

const body = JSON.stringify({ recipients: ['ann'], data: { text: 'x'.repeat(200) } })

interface Load {
  readonly statuses: Readonly<Record<string, number>>
  /** Of those that were sent, in milliseconds, sorted. */
  readonly took: readonly number[]
  readonly offered: number
}

/** Offers triggers at an even rate, whatever comes back. */
async function offer(url: string): Promise<Load> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const statuses: Record<string, number> = {}
  const took: number[] = []
  const pending = new Set<Promise<void>>()
  const send = async () => {
    const from = performance.now()
    const what = await trigger(url, agent)
    statuses[what] = (statuses[what] ?? 0) + 1
    took.push(performance.now() - from)
  }
  const start = () => {
    const sent = send().finally(() => pending.delete(sent))
    pending.add(sent)
  }
  let offered = 0
  const began = performance.now()
  for (let at = 0; at < SECONDS * 1000; at = performance.now() - began) {
    const due = Math.floor((at * OFFERED_PER_SECOND) / 1000)
    for (; offered < due; offered += 1) if (pending.size < CONNECTIONS) start()
    await pause(TICK_MS)
  }
  await Promise.all(pending)
  agent.destroy()
  return { statuses, took: took.toSorted((one, other) => one - other), offered }
}

/** Answers the status, or what went wrong. */
function trigger(url: string, agent: http.Agent): Promise<string> {
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' }
  return new Promise((resolve) => {
    const options = { method: 'POST', agent, headers }
    const request = http.request(`${url}/v1/workflows/hello/trigger`, options, (response) => {
      response.resume()
      response.on('end', () => resolve(String(response.statusCode)))
    })
    request.on('error', (error) => resolve(error.message))
    request.end(body)
  })
}

/** What the process holds, once a second, as it says itself. */
function watchMemory(url: string) {
  const held: number[] = []
  const over = new AbortController()
  const watching = (async () => {
    while (!over.signal.aborted) {
      const text = await (await fetch(`${url}/metrics`)).text()
      held.push(Number(/^belfry_resident_memory_bytes(?:\{.*\})? (\S+)$/m.exec(text)?.[1]) / MB)
      await pause(1_000)
    }
  })()
  return async () => {
    over.abort()
    await watching
    return held
  }
}

const median = (values: readonly number[]) =>
  values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0

test(`2,000 triggers a second are offered for ${SECONDS} s, and each that is taken is answered`, async () => {
  await using stack = new AsyncDisposableStack()
  const clone = await cloneBlank()
  stack.defer(() => clone.drop())
  const repository = stack.use(await testRepository())
  await repository.commit({
    'environments/production.yaml':
      'ref: main\nchannels: { feed: { type: in_app, provider: in_app } }\n',
    'workflows/hello/workflow.yaml':
      'name: Hello\nsteps:\n  - { ref: feed, type: in_app, body: "Hello {{data.text}}" }\n',
  })
  const fleet = stack.use(openFleet())
  const served = await fleet.serve({ repo: repository.path, databaseUrl: clone.database.url })
  const { url } = served
  await fetch(`${url}/v1/users/ann`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
    body: '{}',
  })
  const stop = watchMemory(url)
  const { statuses, took, offered } = await offer(url)
  const held = await stop()
  const [stored] = (await clone.database.execute('select count(*)::integer from workflow_runs'))
    .rows
  const answered = statuses['200'] ?? 0
  const at = (share: number) => Math.round(took[Math.floor(took.length * share)] ?? 0)
  const figures = `${offered} offered, ${answered} answered (${Math.round(answered / SECONDS)}/s), p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, memory ${held.map(Math.round).join(' ')} MB`
  console.log(figures)
  expect({ statuses, log: served.log().includes('"level":"error"') }).toEqual({
    statuses: { 200: answered },
    log: false,
  })
  expect(stored).toEqual({ count: answered })
  expect(answered / SECONDS).toBeGreaterThan(10)
  // It grows while it warms up, for some twenty seconds, and then no more.
  const quarter = Math.floor(held.length / 4)
  const grown = median(held.slice(-quarter)) - median(held.slice(quarter, 2 * quarter))
  expect(grown).toBeLessThan(SECONDS < 30 ? 120 : 30)
  expect(Math.max(...held)).toBeLessThan(450)
}, 300_000)
