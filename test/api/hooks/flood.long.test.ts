import http from 'node:http'
import net from 'node:net'
import { once } from 'node:events'
import { beforeEach, describe, expect, onTestFinished, vi } from 'vitest'
import { gitHook } from '../../../src/api/hooks/git.ts'
import { openDatabase } from '../../../src/db/database.ts'
import { test } from '../../support/database.ts'
import { deliver, github, gitlab, hosts, SECRET } from './deliveries.ts'
import { begin, serveHooks } from './hooks-support.ts'

// Calls that nobody has invited: what they cost, and that they are all they can be.

const MB = 1024 * 1024

beforeEach<{ database: Parameters<typeof begin>[0] }>(({ database }) => begin(database))

/** The most that this process has held while `work` was under way, beyond what it held before, in bytes. */
async function growth(work: () => Promise<void>): Promise<number> {
  const before = process.memoryUsage.rss()
  let most = before
  const timer = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 5)
  try {
    await work()
  } finally {
    clearInterval(timer)
  }
  return Math.max(most, process.memoryUsage.rss()) - before
}

interface Sent {
  readonly status: number
  readonly bytes: number
}

/** Sends a body of this size in chunks, as fast as it is taken, until it is answered or, status 0, hung up on. */
function sendChunks(
  url: string,
  headers: http.OutgoingHttpHeaders,
  bytesMax: number,
): Promise<Sent> {
  const chunk = Buffer.alloc(64 * 1024, 0x20)
  let bytes = 0
  let status = 0
  return new Promise((resolve) => {
    const request = http.request(url, { method: 'POST', headers })
    const write = () => {
      while (bytes < bytesMax) {
        if (status !== 0) break
        bytes += chunk.length
        if (!request.write(chunk)) return
      }
      request.end()
    }
    request.on('response', (response) => {
      status = response.statusCode ?? 0
      response.resume()
    })
    request.on('drain', write)
    // The server hangs up on what it has refused.
    request.on('error', () => {})
    request.on('close', () => resolve({ status, bytes }))
    write()
  })
}

describe('a body of a gigabyte', () => {
  test('is refused early, signed or not, and takes no memory', async ({ database }) => {
    await using api = await serveHooks(database)
    const url = `${api.server.url}/hooks/git/github`
    const signature = { 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` }
    const token = `${api.server.url}/hooks/git/gitlab`
    const grown = await growth(async () => {
      const unsigned = await sendChunks(url, {}, 1024 * MB)
      expect([0, 401]).toContain(unsigned.status)
      const signed = await sendChunks(url, signature, 1024 * MB)
      expect([0, 413]).toContain(signed.status)
      const proven = await sendChunks(token, gitlab.sign('', SECRET), 1024 * MB)
      expect([0, 413]).toContain(proven.status)
      for (const { bytes } of [unsigned, signed, proven]) expect(bytes).toBeLessThan(100 * MB)
    })
    expect(grown / MB).toBeLessThan(100)
    expect(api.hooks.counts()).toMatchObject([
      { outcomes: { unsigned: 1, too_large: 1 } },
      { outcomes: { too_large: 1 } },
    ])
  })

  test('is refused by its length alone', async ({ database }) => {
    await using api = await serveHooks(database)
    const headers = { ...gitlab.sign('', SECRET), 'content-length': String(1024 * MB) }
    const request = http.request(`${api.server.url}/hooks/git/gitlab`, { method: 'POST', headers })
    request.flushHeaders()
    request.on('error', () => {})
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    expect(response.statusCode).toBe(413)
    request.destroy()
  })

  test('is refused where it is small on the wire', async ({ database }) => {
    await using api = await serveHooks(database)
    const { headers, body } = deliver(github, github.push('production'))
    const reply = await api.hook('github', {
      headers: { ...headers, 'content-encoding': 'gzip' },
      body,
    })
    expect(reply.status).toBe(415)
  })
})

test('a slow body is cut off', async ({ database }) => {
  const route = { ...gitHook, bounds: { ...gitHook.bounds, msMax: 150 } }
  await using api = await serveHooks(database, { route })
  const socket = net.connect(api.server.port, '127.0.0.1')
  const text: string[] = []
  socket.setEncoding('utf8').on('data', (part: string) => text.push(part))
  socket.on('error', () => {})
  socket.write(
    `POST /hooks/git/gitlab HTTP/1.1\r\nhost: localhost\r\nx-gitlab-token: ${SECRET}\r\ncontent-length: 1000\r\n\r\n`,
  )
  const drip = setInterval(() => socket.write(' '), 20)
  await once(socket, 'close')
  clearInterval(drip)
  expect(text.join('')).toMatch(/^HTTP\/1.1 408 /)
  expect(text.join('')).toContain('body_too_slow')
  expect(api.hooks.counts()).toMatchObject([{ outcomes: { too_slow: 1 } }])
}, 10_000)

test('a body that breaks off leaves the server as it was, and no line behind', async ({
  database,
}) => {
  const told = vi.spyOn(console, 'error').mockImplementation(() => {})
  onTestFinished(() => told.mockRestore())
  await using api = await serveHooks(database)
  const socket = net.connect(api.server.port, '127.0.0.1')
  socket.write(
    `POST /hooks/git/gitlab HTTP/1.1\r\nhost: localhost\r\nx-gitlab-token: ${SECRET}\r\ncontent-length: 1000\r\n\r\n{`,
  )
  socket.end()
  await expect.poll(() => api.hooks.counts()).toMatchObject([{ outcomes: { unreadable: 1 } }])
  expect((await api.hook('gitlab', deliver(gitlab, gitlab.push('production')))).status).toBe(202)
  expect(told).not.toHaveBeenCalled()
})

/** Sends all of these over a few connections, and counts the statuses. */
async function sendAll(
  url: string,
  deliveries: Iterable<{
    readonly path: string
    readonly headers: http.OutgoingHttpHeaders
    readonly body: Buffer
  }>,
): Promise<Readonly<Record<number, number>>> {
  using agent = {
    pool: new http.Agent({ keepAlive: true, maxSockets: 8 }),
    [Symbol.dispose]() {
      this.pool.destroy()
    },
  }
  const statuses: Record<number, number> = {}
  const left = deliveries[Symbol.iterator]()
  const one = async () => {
    for (let next = left.next(); !next.done; next = left.next()) {
      const { path, headers, body } = next.value
      const request = http.request(`${url}${path}`, { method: 'POST', headers, agent: agent.pool })
      request.end(body)
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      response.resume()
      await once(response, 'end')
      const status = response.statusCode ?? 0
      statuses[status] = (statuses[status] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: 8 }, one))
  return statuses
}

/** Bodies that are no JSON, or JSON of no shape, each proved. */
function* malformed(count: number) {
  for (let index = 0; index < count; index += 1) {
    const host = hosts[index % hosts.length]!
    const whole = JSON.stringify(host.push('topic').body)
    const bodies = [
      whole.slice(0, (index * 7) % whole.length),
      '['.repeat(index % 500 === 1 ? 100_000 : 500),
      `{"ref":${'{"a":'.repeat(100)}`,
      whole.replaceAll('"', '\u0000'),
      index % 100 === 4 ? '{"__proto__":{"ref":"refs/heads/production"}}' : 'null,',
    ]
    const body = Buffer.from(bodies[index % 5]!)
    if (index % 3 === 0) body.fill(0xff, 0, Math.min(1, body.length))
    const { headers } = host.push('topic')
    const signed = host.sign(body, SECRET)
    yield { path: `/hooks/git/${host.provider}`, headers: { ...headers, ...signed }, body }
  }
}

describe('thousands of calls', () => {
  test('with malformed bodies leave memory and server as they were', async ({ database }) => {
    await using api = await serveHooks(database)
    await sendAll(api.server.url, malformed(500))
    let statuses: Readonly<Record<number, number>> = {}
    const grown = await growth(async () => {
      statuses = await sendAll(api.server.url, malformed(10_000))
    })
    expect(
      Object.keys(statuses).every((status) => [200, 202, 400, 401].includes(Number(status))),
    ).toBe(true)
    expect(statuses[400]).toBeGreaterThan(3_000)
    expect(grown / MB).toBeLessThan(100)
    expect((await api.hook('github', deliver(github, github.push('production')))).status).toBe(202)
  }, 60_000)

  test('that prove nothing are answered without Postgres', async () => {
    await using nowhere = openDatabase('postgres://nobody@127.0.0.1:1/none')
    await using api = await serveHooks(nowhere)
    const { headers, body } = deliver(github, github.push('production'), { secret: 'not-this-one' })
    const call = { path: '/hooks/git/github', headers, body: Buffer.from(body) }
    const calls = Array.from({ length: 3_000 }, () => call)
    expect(await sendAll(api.server.url, calls)).toEqual({ 401: 3_000 })
    expect(api.lines).toHaveLength(1)
  }, 60_000)
})

test('as large a body as a host sends is taken, and many of them at a time take no memory', async ({
  database,
}) => {
  await using api = await serveHooks(database)
  const { headers, body: small } = github.push('production')
  const body = Buffer.from(JSON.stringify({ ...(small as object), padding: 'x'.repeat(25e6) }))
  const calls = [github, gitlab].flatMap((host) => {
    const call = { path: `/hooks/git/${host.provider}`, body }
    return Array.from({ length: 6 }, () => {
      return {
        ...call,
        headers: { ...headers, ...host.push('production').headers, ...host.sign(body, SECRET) },
      }
    })
  })
  let statuses: Readonly<Record<number, number>> = {}
  const grown = await growth(async () => {
    statuses = await sendAll(api.server.url, calls)
  })
  expect(statuses).toEqual({ 202: calls.length })
  expect(grown / MB).toBeLessThan(60)
}, 60_000)
