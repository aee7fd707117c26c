import { isIP } from 'node:net'
import { ConfigError } from './errors.ts'

/** Who Belfry is to a remote. */
export interface Credentials {
  readonly username: string
  readonly password: string
}

/** A remote over HTTP(S), and who asks it. */
export interface RemoteAddress {
  /** Without credentials and without a slash at its end: fit to be shown. */
  readonly url: string
  readonly credentials: Credentials | null
}

/** Whether this names a remote, and no path. */
export function isRemote(repository: string): boolean {
  return /^https?:\/\//i.test(repository)
}

/** Addresses that Git knows and Belfry does not. */
export function isForeignAddress(repository: string): boolean {
  return (
    /^(?:ssh|git|ftp|ftps|file|git\+ssh):\/\//i.test(repository) ||
    /^[\w.-]+@[\w.-]+:/.test(repository)
  )
}

/** A name for those servers that look at the password alone, as tokens are. */
const ANY_USERNAME = 'git'
const NOBODY: Credentials = { username: '', password: '' }

/**
 * Parts the address of a remote from the credentials in it. Those in the address win over `given`.
 * Throws a `ConfigError`, without any part of the credentials, where the address cannot be used or
 * would send them in the clear.
 */
export function parseRemoteAddress(text: string, given: Partial<Credentials>): RemoteAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new ConfigError('is not an address like https://git.example.com/team/notifications.git')
  }
  const credentials = credentialsOf(url, given)
  url.username = ''
  url.password = ''
  if (url.search !== '' || url.hash !== '') {
    throw new ConfigError('has a query or a fragment, which no repository has')
  }
  if (credentials && !mayCarryCredentials(url)) {
    throw new ConfigError(
      'would send credentials in the clear: use https, or leave the credentials out',
    )
  }
  return { url: url.href.replace(/\/+$/, ''), credentials }
}

function credentialsOf(url: URL, given: Partial<Credentials>): Credentials | null {
  const own = { username: decoded(url.username), password: decoded(url.password) }
  const isOwn = own.username !== '' || own.password !== ''
  const { username, password } = isOwn ? own : { ...NOBODY, ...given }
  if (username === '' && password === '') return null
  return { username: username || ANY_USERNAME, password }
}

/** Whether nobody on the way can read what is sent there. */
export function mayCarryCredentials({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || isLoopback(hostname)
}

function isLoopback(hostname: string): boolean {
  const address = hostname.replace(/^\[|\]$/g, '')
  if (isIP(address) === 4) return address.startsWith('127.')
  return address === '::1' || address === 'localhost'
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    // A bare percent sign is meant as it stands.
    return part
  }
}
