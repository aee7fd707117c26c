import { describe, expect, test } from 'vitest'
import { isCidr, isOpenAddress, resolveTarget } from '../../src/channels/target.ts'
import type { Lookup } from '../../src/channels/target.ts'

const strict = { allow: [], loopback: false }

/** Stands in for the resolver of the operating system, which also reads `127.1` and the like. */
const lookup: Lookup = async (host) => {
  if (host === 'mixed.example.com') {
    return [
      { address: '93.184.216.34', family: 4 },
      { address: '10.0.0.7', family: 4 },
    ]
  }
  if (host === 'private.example.com') return [{ address: '192.168.1.1', family: 4 }]
  if (host === 'mapped.example.com') return [{ address: '::ffff:10.0.0.1', family: 6 }]
  if (host === 'public.example.com') return [{ address: '93.184.216.34', family: 4 }]
  throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
}

describe('an address', () => {
  test.each([
    ['127.0.0.1', 'loopback'],
    ['127.255.0.3', 'loopback'],
    ['::1', 'loopback'],
    ['0:0:0:0:0:0:0:1', 'loopback spelled out'],
    ['0.0.0.0', 'this host'],
    ['::', 'this host'],
    ['10.2.3.4', 'private'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['192.168.0.1', 'private'],
    ['100.64.0.1', 'carrier NAT'],
    ['169.254.169.254', 'metadata'],
    ['100.100.100.200', 'metadata'],
    ['168.63.129.16', 'metadata'],
    ['fd00:ec2::254', 'metadata'],
    ['fe80::1', 'link-local'],
    ['fe80::1%lo', 'link-local with a zone'],
    ['fc00::1', 'unique local'],
    ['::ffff:127.0.0.1', 'mapped loopback'],
    ['::ffff:7f00:1', 'mapped loopback in hex'],
    ['::ffff:a9fe:a9fe', 'mapped metadata'],
    ['::127.0.0.1', 'compatible loopback'],
    ['64:ff9b::7f00:1', 'NAT64 of loopback'],
    ['2002:7f00:1::', '6to4 of loopback'],
    ['2001:0:0:0:0:0:80ff:fffe', 'Teredo'],
    ['224.0.0.1', 'multicast'],
    ['ff02::1', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    ['192.0.2.1', 'documentation'],
    ['198.18.0.1', 'benchmarks'],
    ['', 'nothing'],
    ['example.com', 'not an address'],
  ])('%s is closed (%s)', (address) => {
    expect(isOpenAddress(address, strict)).toBe(false)
  })

  test.each([
    '93.184.216.34',
    '172.32.0.1',
    '100.128.0.1',
    '2606:4700::1111',
    '::ffff:93.184.216.34',
  ])('%s is open', (address) => {
    expect(isOpenAddress(address, strict)).toBe(true)
  })

  test('is opened by the list, and by nothing beside it', () => {
    const policy = { allow: ['10.1.0.0/16', 'fd12::/16', '192.168.7.7'], loopback: false }
    expect(isOpenAddress('10.1.2.3', policy)).toBe(true)
    expect(isOpenAddress('::ffff:10.1.2.3', policy)).toBe(true)
    expect(isOpenAddress('fd12::5', policy)).toBe(true)
    expect(isOpenAddress('192.168.7.7', policy)).toBe(true)
    expect(isOpenAddress('10.2.2.3', policy)).toBe(false)
    expect(isOpenAddress('192.168.7.8', policy)).toBe(false)
    expect(isOpenAddress('127.0.0.1', policy)).toBe(false)
  })

  test('of the machine itself is opened by loopback, and no other', () => {
    const policy = { allow: [], loopback: true }
    expect(isOpenAddress('127.0.0.1', policy)).toBe(true)
    expect(isOpenAddress('::1', policy)).toBe(true)
    expect(isOpenAddress('::ffff:127.0.0.1', policy)).toBe(true)
    expect(isOpenAddress('0.0.0.0', policy)).toBe(false)
    expect(isOpenAddress('10.0.0.1', policy)).toBe(false)
  })
})

describe('a host', () => {
  test.each([
    ['2130706433', 'decimal'],
    ['0x7f.1', 'hex'],
    ['0177.0.0.1', 'octal'],
    ['127.1', 'short'],
    ['[::1]', 'in brackets'],
    ['[::ffff:127.0.0.1]', 'mapped'],
    ['１２７.0.0.1', 'full-width digits'],
    ['private.example.com', 'a name of a private address'],
    ['mapped.example.com', 'a name of a mapped address'],
    ['mixed.example.com', 'a name with one private address among public ones'],
  ])('%s is closed (%s)', async (host) => {
    await expect(resolveTarget(host, strict, lookup)).rejects.toMatchObject({
      code: 'forbidden_target',
    })
  })

  test.each(['', 'a b', 'user@example.com', 'example.com:25', 'example.com/x', 'a\nb'])(
    '%j is not a host',
    async (host) => {
      await expect(resolveTarget(host, strict, lookup)).rejects.toMatchObject({
        code: 'invalid_target',
      })
    },
  )

  test('without an address is unresolved', async () => {
    await expect(resolveTarget('none.example.com', strict, lookup)).rejects.toMatchObject({
      code: 'unresolved',
    })
  })

  test('with public addresses only is open', async () => {
    await expect(resolveTarget('public.example.com', strict, lookup)).resolves.toHaveLength(1)
  })
})

test('a CIDR is an address with a prefix that fits its family', () => {
  expect(['10.0.0.0/8', '10.0.0.1', 'fd00::/8', '::1/128'].every(isCidr)).toBe(true)
  expect(['10.0.0.0/33', 'fd00::/129', 'example.com', '10.0.0.0/8/8', ''].some(isCidr)).toBe(false)
})
