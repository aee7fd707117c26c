import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { openDoor } from '../../src/channels/door.ts'
import type { Door } from '../../src/channels/door.ts'
import type { Lookup, TargetPolicy } from '../../src/channels/target.ts'
import { startHttp } from '../support/http.ts'

const local = { allow: [], loopback: true }
const get = { method: 'GET', headers: {} }

const mixed: Lookup = async () => [
  { address: '127.0.0.1', family: 4 },
  { address: '10.0.0.1', family: 4 },
]

const doors: Door[] = []
afterEach(() => {
  for (const door of doors.splice(0)) door.close()
})

function aDoor(policy: TargetPolicy = local, lookup?: Lookup): Door {
  const door = openDoor(policy, lookup ? { lookup } : {})
  doors.push(door)
  return door
}

test('a request reaches an open address and brings the answer', async () => {
  await using server = await startHttp()
  const reply = await aDoor().request(`${server.url}/a?b=1`, {
    method: 'POST',
    headers: { 'x-one': '1' },
    body: 'hello',
  })
  expect(reply.status).toBe(200)
  expect(reply.body.toString()).toBe('{}')
  expect(server.requests).toMatchObject([
    { method: 'POST', path: '/a?b=1', body: 'hello', headers: { 'x-one': '1' } },
  ])
})

test('a closed address is refused before anything is connected', async () => {
  await using server = await startHttp()
  const strict = aDoor({ allow: [], loopback: false })
  for (const host of ['127.0.0.1', '2130706433', '0x7f000001', '[::ffff:127.0.0.1]', 'localhost']) {
    const request = strict.request(`http://${host}:${server.port}/`, get)
    await expect(request).rejects.toMatchObject({ code: 'forbidden_target', sent: false })
  }
  expect(server.requests).toHaveLength(0)
})

test('a name that changes between check and connection leads to the checked address', async () => {
  await using server = await startHttp()
  let asked = 0
  // The first answer is open; a second one, asked when connecting, would be a private address.
  const rebinding: Lookup = async () => {
    asked += 1
    return [{ address: asked === 1 ? '127.0.0.1' : '10.0.0.1', family: 4 }]
  }
  const reply = await aDoor(local, rebinding).request(
    `http://name.example.com:${server.port}/`,
    get,
  )
  expect(reply.status).toBe(200)
  expect(asked).toBe(1)
  expect(server.requests[0]?.headers.host).toBe(`name.example.com:${server.port}`)
})

test('a redirect is an answer and is not followed', async () => {
  await using server = await startHttp((_request, response) => {
    response.writeHead(302, { location: 'http://169.254.169.254/' }).end()
  })
  const reply = await aDoor().request(server.url, get)
  expect(reply.status).toBe(302)
  expect(server.requests).toHaveLength(1)
})

test('a body is read up to its bound', async () => {
  await using server = await startHttp((_request, response) => {
    response.write('x'.repeat(300_000))
    response.end()
  })
  const reply = await aDoor().request(server.url, { ...get, bytesMax: 1_000 })
  expect(reply.truncated).toBe(true)
  expect(reply.body).toHaveLength(1_000)
})

test('no answer in time is a timeout of a request that was sent', async () => {
  await using server = await startHttp(() => {})
  const total = aDoor().request(server.url, { ...get, totalMs: 60 })
  await expect(total).rejects.toMatchObject({ code: 'timeout', sent: true })
  const idle = aDoor().request(server.url, { ...get, idleMs: 60 })
  await expect(idle).rejects.toMatchObject({ code: 'timeout', sent: true })
})

test('an answer that drips is cut off by the total time', async () => {
  await using server = await startHttp((_request, response) => {
    const timer = setInterval(() => response.write('x'), 20)
    response.once('close', () => clearInterval(timer))
  })
  const request = aDoor().request(server.url, { ...get, totalMs: 150, idleMs: 100 })
  await expect(request).rejects.toMatchObject({ code: 'timeout', sent: true })
})

test('a refused connection was not sent, a dropped one was', async () => {
  const dead = await startHttp()
  await dead[Symbol.asyncDispose]()
  await expect(aDoor().request(dead.url, get)).rejects.toMatchObject({
    code: 'unreachable',
    sent: false,
  })
  await using server = await startHttp((_request, response) => {
    response.destroy()
  })
  await expect(aDoor().request(server.url, get)).rejects.toMatchObject({
    code: 'broken',
    sent: true,
  })
})

test.each(['ftp://example.com/', 'file:///etc/passwd', 'nonsense', 'http://a:b@example.com/'])(
  '%s is not a target',
  async (url) => {
    await expect(aDoor().request(url, get)).rejects.toMatchObject({ code: 'invalid_target' })
  },
)

test('connect refuses closed addresses and checks every address of a name', async () => {
  const { signal } = new AbortController()
  const connecting = aDoor(local, mixed).connect('mail.example.com', 25, { signal, connectMs: 500 })
  await expect(connecting).rejects.toMatchObject({ code: 'forbidden_target' })
})

test('requests one after the other go over one connection, until it has been idle for a while', async () => {
  let connections = 0
  const server = http.createServer((_request, response) => void response.end('{}'))
  server.on('connection', () => (connections += 1))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const door = aDoor()
  for (let index = 0; index < 5; index += 1) {
    await door.request(`http://127.0.0.1:${port}/`, { ...get, method: 'POST', body: 'x' })
  }
  expect(connections).toBe(1)
  await Promise.all([1, 2, 3].map(() => door.request(`http://127.0.0.1:${port}/`, get)))
  expect(connections).toBe(3)
  door.close()
  server.closeAllConnections()
  server.close()
})
