import { afterEach, describe, expect, test } from 'vitest'
import { openDoor, type Door } from '../../src/channels/door.ts'
import { fetchJson } from '../../src/channels/fetch.ts'
import type { Lookup, TargetPolicy } from '../../src/channels/target.ts'
import { webhook } from '../../src/channels/webhook.ts'
import type { EnvironmentName, MessageId } from '../../src/ids.ts'
import type { RequestContent } from '../../src/steps/step.ts'
import { startHttp } from '../support/http.ts'

// What a webhook and a fetch may reach: one door, and nothing of the house behind it.

const now = new Date('2030-01-02T03:04:05Z')
const strict = { allow: [], loopback: false }

const doors: Door[] = []
afterEach(() => {
  for (const door of doors.splice(0)) door.close()
})

function aDoor(policy: TargetPolicy, lookup?: Lookup): Door {
  const door = openDoor(policy, lookup ? { lookup } : {})
  doors.push(door)
  return door
}

/** The request of each kind of step, through this door. */
const kinds = {
  async webhook(door: Door, url: string) {
    const content = { type: 'webhook', ...request(url) } as const
    const message = {
      id: 'm' as MessageId,
      environment: 'e' as EnvironmentName,
      attempt: 1,
      content,
    }
    const signal = AbortSignal.timeout(5_000)
    const answer = await webhook.send(message, { settings: {}, signal, now, door, secret: String })
    if (answer.kind === 'accepted') return 'accepted'
    return answer.kind === 'rejected' ? answer.reason : answer.kind
  },
  async fetch(door: Door, url: string) {
    const options = { id: 'f', signingSecret: undefined, now, door, secret: String }
    const signal = AbortSignal.timeout(5_000)
    const content = { ...request(url), signWith: null }
    const answer = await fetchJson(content, { ...options, signal })
    if (answer.kind === 'fetched') return 'accepted'
    if (answer.kind !== 'refused') return answer.kind
    if (answer.details.includes('BELFRY_ALLOWED_TARGETS')) return 'forbidden_target'
    if (answer.details.includes('led to a closed address')) return 'forbidden_target'
    return answer.details.includes('redirects') ? 'redirected' : 'invalid_request'
  },
} as const

const mixed: Lookup = async () => [
  { address: '93.184.216.34', family: 4 },
  { address: '10.0.0.7', family: 4 },
]

function request(url: string): RequestContent {
  return { method: 'POST', url, headers: {}, query: {}, body: { a: 1 }, secrets: {} }
}

describe.each(Object.entries(kinds))('a %s', (_kind, call) => {
  test.each([
    ['http://127.0.0.1:PORT/', 'loopback'],
    ['http://[::1]:PORT/', 'loopback'],
    ['http://localhost:PORT/', 'a name of the loopback'],
    ['http://2130706433:PORT/', 'decimal'],
    ['http://0x7f000001:PORT/', 'hex'],
    ['http://0177.0.0.1:PORT/', 'octal'],
    ['http://127.1:PORT/', 'short'],
    ['http://[::ffff:127.0.0.1]:PORT/', 'mapped to IPv6'],
    ['http://[::ffff:7f00:1]:PORT/', 'mapped to IPv6 in hex'],
    ['http://[64:ff9b::7f00:1]:PORT/', 'behind NAT64'],
    ['http://[2002:7f00:1::]:PORT/', 'behind 6to4'],
    ['http://0.0.0.0:PORT/', 'this host'],
    ['http://10.1.2.3/', 'private'],
    ['http://172.16.0.1/', 'private'],
    ['http://192.168.0.1/', 'private'],
    ['http://[fc00::1]/', 'unique local'],
    ['http://169.254.1.1/', 'link-local'],
    ['http://[fe80::1]/', 'link-local'],
    ['http://169.254.169.254/latest/', 'metadata'],
    ['http://2852039166/latest/', 'metadata in decimal'],
    ['http://[::ffff:a9fe:a9fe]/', 'metadata mapped to IPv6'],
    ['http://168.63.129.16/', 'metadata'],
  ])('to %s is refused (%s)', async (template) => {
    await using server = await startHttp()
    const url = template.replace('PORT', String(server.port))
    expect(await call(aDoor(strict), url)).toBe('forbidden_target')
    expect(server.requests).toEqual([])
  })

  test.each(['127.0.0.1/32', '127.0.0.0/8'])('reaches what %s opens, and no more', async (cidr) => {
    await using server = await startHttp()
    const door = aDoor({ allow: [cidr], loopback: false })
    expect(await call(door, `http://2130706433:${server.port}/`)).toBe('accepted')
    expect(await call(door, `http://[::1]:${server.port}/`)).toBe('forbidden_target')
    expect(await call(door, 'http://10.1.2.3/')).toBe('forbidden_target')
  })

  test('does not go where it is redirected to', async () => {
    await using inner = await startHttp()
    const places = [inner.url, 'http://169.254.169.254/', '/again', '//[::1]/']
    await using server = await startHttp((_request, response, index) => {
      const status = [301, 302, 307, 308][index]!
      response.writeHead(status, { location: places[index]! }).end()
    })
    const door = aDoor({ allow: [], loopback: true })
    for (const _ of places) expect(await call(door, server.url)).toBe('redirected')
    expect(inner.requests).toEqual([])
    expect(server.requests).toHaveLength(places.length)
  })

  test('is refused by one closed address among those of a name', async () => {
    expect(await call(aDoor(strict, mixed), 'http://mixed.example.com/')).toBe('forbidden_target')
  })

  test('goes to the address that was checked, whatever its name says at the connection', async () => {
    await using server = await startHttp()
    let asked = 0
    const lookup: Lookup = async () => {
      asked += 1
      return [{ address: asked === 1 ? '127.0.0.1' : '10.0.0.1', family: 4 }]
    }
    const door = aDoor({ allow: ['127.0.0.1'], loopback: false }, lookup)
    const url = `http://name.example.com:${server.port}/`
    expect(await call(door, url)).toBe('accepted')
    expect(asked).toBe(1)
    expect(server.requests).toHaveLength(1)
    // The next request looks again, and is refused by what the name says by then.
    expect(await call(door, url)).toBe('forbidden_target')
    expect(server.requests).toHaveLength(1)
  })

  test('is refused when the name of a public address turns to the machine itself', async () => {
    await using server = await startHttp()
    let address = '93.184.216.34'
    const lookup: Lookup = async () => {
      const found = address
      address = '127.0.0.1'
      return [{ address: found, family: 4 }]
    }
    const door = aDoor(strict, lookup)
    const url = `http://name.example.com:${server.port}/`
    // Nothing of the machine answers in the name of that address, whatever the network here says.
    const first = call(door, url)
    expect(await call(door, url)).toBe('forbidden_target')
    door.close()
    expect(await first).not.toBe('accepted')
    expect(server.requests).toEqual([])
  })

  test.each([
    'ftp://example.com/',
    'file:///etc/passwd',
    'gopher://127.0.0.1/',
    'http://a:b@example.com/',
    'http://example.com@127.0.0.1/',
    '//127.0.0.1/',
    '',
  ])('has no target in %j', async (url) => {
    expect(await call(aDoor(strict), url)).toBe('invalid_request')
  })
})
