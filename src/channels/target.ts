import { lookup as dnsLookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'

/** Which addresses outgoing connections may reach beside the public ones. */
export interface TargetPolicy {
  /** CIDRs, such as `10.1.0.0/16` or `fd00::/8`; a bare address stands for itself. */
  readonly allow: readonly string[]
  /** Whether 127.0.0.0/8 and ::1 may be reached. */
  readonly loopback: boolean
}

export interface ResolvedAddress {
  readonly address: string
  readonly family: 4 | 6
}

/** Looks up all addresses of a name. */
export type Lookup = (host: string) => Promise<readonly ResolvedAddress[]>

/** What became of an outgoing connection that failed. */
export type DoorCode =
  /** Not an http(s) URL, or a host that cannot be one. */
  | 'invalid_target'
  /** An address that the policy keeps closed. */
  | 'forbidden_target'
  /** The name has no address. */
  | 'unresolved'
  /** No connection came about. */
  | 'unreachable'
  /** The certificate was refused, or the TLS handshake failed. */
  | 'tls'
  /** The time was over. */
  | 'timeout'
  /** The caller gave up. */
  | 'aborted'
  /** The connection broke. */
  | 'broken'

/** An outgoing connection that was refused or failed. `sent`: the other side may have the request. */
export class DoorError extends Error {
  override readonly name = 'DoorError'
  readonly code: DoorCode
  readonly sent: boolean

  constructor(code: DoorCode, message: string, sent = false) {
    super(message)
    this.code = code
    this.sent = sent
  }
}

/** Bounds the list of addresses that one name may bring. */
const ADDRESSES_MAX = 16
const HOST_LENGTH_MAX = 253

/** Everything that is not one host on the public internet, from the registries of special addresses. */
const CLOSED_V4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  // The metadata services of the large clouds live here, and at the single address of Azure below.
  '169.254.0.0/16',
  '168.63.129.16/32',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
]

/** Only 2000::/3 is public, and these parts of it are not one host: tunnels carry a hidden IPv4 address. */
const PUBLIC_V6 = '2000::/3'
const CLOSED_V6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']

const closed = blockList([...CLOSED_V4, ...CLOSED_V6])
const publicV6 = blockList([PUBLIC_V6])
const loopback = blockList(['127.0.0.0/8', '::1/128'])

/** Whether `text` is a CIDR or a bare address, as `TargetPolicy.allow` takes it. */
export function isCidr(text: string): boolean {
  const [address, prefix, ...rest] = text.split('/')
  const family = isIP(address ?? '')
  if (family === 0 || rest.length > 0) return false
  if (prefix === undefined) return true
  return /^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128)
}

/** Whether `address` (an IP address, in any spelling) may be connected to. */
export function isOpenAddress(address: string, policy: TargetPolicy): boolean {
  const plain = unmapped(address)
  const family = isIP(plain)
  if (family === 0) return false
  const type = family === 4 ? 'ipv4' : 'ipv6'
  if (policy.loopback && loopback.check(plain, type)) return true
  if (blockList(policy.allow).check(plain, type)) return true
  if (family === 6 && !publicV6.check(plain, type)) return false
  return !closed.check(plain, type)
}

/** Whether the address is the machine's own. */
export function isLoopback(address: string): boolean {
  const plain = unmapped(address)
  const family = isIP(plain)
  return family !== 0 && loopback.check(plain, family === 4 ? 'ipv4' : 'ipv6')
}

/**
 * The addresses of `host`, each checked against the policy. One closed address closes the name:
 * a name that mixes public and private addresses is an attack or a mistake.
 * Throws a `DoorError`: `invalid_target`, `unresolved` or `forbidden_target`.
 */
export async function resolveTarget(
  host: string,
  policy: TargetPolicy,
  lookup: Lookup = systemLookup,
): Promise<readonly ResolvedAddress[]> {
  const name = canonicalHost(host)
  const family = isIP(name)
  const addresses = family === 0 ? await lookUp(name, lookup) : [{ address: name, family }]
  for (const { address } of addresses) {
    if (isOpenAddress(address, policy)) continue
    throw new DoorError(
      'forbidden_target',
      `${host} leads to ${address}, which is not a public address; BELFRY_ALLOWED_TARGETS can open it`,
    )
  }
  return addresses as readonly ResolvedAddress[]
}

async function lookUp(name: string, lookup: Lookup): Promise<readonly ResolvedAddress[]> {
  let addresses: readonly ResolvedAddress[]
  try {
    addresses = await lookup(name)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'no answer'
    throw new DoorError('unresolved', `the name ${name} cannot be resolved (${code})`)
  }
  if (addresses.length === 0) throw new DoorError('unresolved', `the name ${name} has no address`)
  return addresses.slice(0, ADDRESSES_MAX)
}

async function systemLookup(host: string): Promise<readonly ResolvedAddress[]> {
  const addresses = await dnsLookup(host, { all: true })
  return addresses.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }))
}

/** The host as the URL standard reads it, so that `2130706433` and `0x7f.1` are seen as addresses. */
function canonicalHost(host: string): string {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
  if (isIP(bare) === 4) return bare
  if (isIP(bare) === 6 && !bare.includes('%')) return bare
  // What the URL parser would drop or take for another part of a URL is no host.
  const part = /[\s/?#@:\\[\]%]|\p{Cc}/u.test(bare)
  const url = !part && URL.canParse(`http://${bare}/`) ? new URL(`http://${bare}/`) : undefined
  if (
    url === undefined ||
    !/^[a-z0-9._-]+$/.test(url.hostname) ||
    url.hostname.length > HOST_LENGTH_MAX
  ) {
    throw new DoorError('invalid_target', `${JSON.stringify(host)} is not a host name`)
  }
  return url.hostname
}

/** `::ffff:127.0.0.1` and `::ffff:7f00:1` are 127.0.0.1; all else stays as it is. */
function unmapped(address: string): string {
  if (isIP(address) !== 6) return address
  if (address.includes('%')) return ''
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1)
  const match = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical)
  if (match === null) return canonical
  const [high, low] = [Number.parseInt(match[1]!, 16), Number.parseInt(match[2]!, 16)]
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

function blockList(cidrs: readonly string[]): BlockList {
  const list = new BlockList()
  for (const cidr of cidrs) {
    const [address = '', prefix] = cidr.split('/')
    const family = isIP(address)
    if (family === 0) continue
    const bits = prefix === undefined ? (family === 4 ? 32 : 128) : Number(prefix)
    list.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6')
  }
  return list
}
