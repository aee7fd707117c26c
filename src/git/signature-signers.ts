import { ConfigError } from '../errors.ts'

/** Who may sign commits. */
export interface Signers {
  readonly ssh: readonly AllowedKey[]
  /** Public keys in armor, one or several in each. */
  readonly openPgp: readonly string[]
}

/** A line of an allowed_signers file. */
export interface AllowedKey {
  readonly principals: string
  /** The key in SSH's own form, which begins with its type. */
  readonly key: Buffer
  /** Patterns; null: for whatever is signed. */
  readonly namespaces: readonly string[] | null
  /** Seconds since 1970; null: since ever. */
  readonly validAfter: number | null
  readonly validBefore: number | null
}

const ARMOR = '-----BEGIN PGP PUBLIC KEY BLOCK-----'
const KEY_TYPES = /^(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521))$/
const ANY_KEY_TYPE = /^(?:ssh|ecdsa|sk)-[\w@.-]+$/

/** Reads a file of signers: armored OpenPGP keys, or lines in the form of OpenSSH. Throws a `ConfigError` with the place. */
export function parseSigners(path: string, text: string): Signers {
  if (text.includes(ARMOR)) return { ssh: [], openPgp: [text] }
  const ssh = text.split('\n').flatMap((raw, index) => {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) return []
    return [parseLine(line, `${path}:${index + 1}`)]
  })
  return { ssh, openPgp: [] }
}

function parseLine(line: string, place: string): AllowedKey {
  const [principals, rest] = word(line)
  const [second, behind] = word(rest)
  const hasOptions = !ANY_KEY_TYPE.test(second)
  const [type, tail] = hasOptions ? word(behind) : [second, behind]
  const [encoded] = word(tail)
  if (!ANY_KEY_TYPE.test(type) || encoded === '') {
    throw new ConfigError(`${place} is not "<who> [options] <type of key> <key>"`)
  }
  const options = hasOptions ? parseOptions(second, place) : NO_OPTIONS
  if (!KEY_TYPES.test(type))
    throw new ConfigError(`${place} keys of the type ${type} are not supported`)
  const key = Buffer.from(encoded, 'base64')
  const said = key.subarray(4, 4 + type.length).toString('latin1')
  if (said !== type || key.toString('base64') !== padded(encoded)) {
    throw new ConfigError(`${place} has a key that is broken`)
  }
  return { principals: unquoted(principals), key, ...options }
}

type Options = Pick<AllowedKey, 'namespaces' | 'validAfter' | 'validBefore'>

const NO_OPTIONS: Options = { namespaces: null, validAfter: null, validBefore: null }

function parseOptions(text: string, place: string): Options {
  let options = NO_OPTIONS
  for (const option of splitOutside(text, ',')) {
    const [, name = '', value = ''] = /^([A-Za-z-]+)(?:="([^"]*)")?$/.exec(option) ?? []
    switch (name.toLowerCase()) {
      case 'namespaces':
        options = { ...options, namespaces: value.split(',') }
        break
      case 'valid-after':
        options = { ...options, validAfter: parseTime(value, place) }
        break
      case 'valid-before':
        options = { ...options, validBefore: parseTime(value, place) }
        break
      case 'cert-authority':
        throw new ConfigError(`${place} cert-authority is not supported: list the keys themselves`)
      default:
        throw new ConfigError(`${place} has an unknown option ${JSON.stringify(option)}`)
    }
  }
  return options
}

/** `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, with `Z` for UTC, else by this machine's zone; in seconds since 1970. */
function parseTime(text: string, place: string): number {
  const digits = /^(\d{8}|\d{12}|\d{14})(Z?)$/i.exec(text)
  if (digits === null) throw new ConfigError(`${place} ${wrongTime(text)}`)
  const [, day = '', zone = ''] = digits
  const [date, time] = [day.slice(0, 8), day.slice(8).padEnd(6, '0')]
  const iso = `${date.replace(/(....)(..)(..)/, '$1-$2-$3')}T${time.replace(/(..)(..)(..)/, '$1:$2:$3')}`
  // Without a zone, a date with a time is taken for this machine's.
  const ms = Date.parse(`${iso}${zone.toUpperCase()}`)
  if (Number.isNaN(ms)) throw new ConfigError(`${place} ${wrongTime(text)}`)
  return ms / 1000
}

function wrongTime(text: string): string {
  return `has a time ${JSON.stringify(text)}, expected YYYYMMDD[HHMM[SS]][Z]`
}

/** The first word, in which blanks may be quoted, and what follows it. */
function word(text: string): [string, string] {
  const [, first = '', rest = ''] = /^((?:"[^"]*"|[^\s"])*)\s*([^]*)$/.exec(text.trimStart()) ?? []
  return [first, rest]
}

function splitOutside(text: string, mark: string): readonly string[] {
  return text.match(new RegExp(`(?:"[^"]*"|[^"${mark}])+`, 'g')) ?? []
}

function unquoted(text: string): string {
  return text.replaceAll('"', '')
}

function padded(encoded: string): string {
  return encoded.padEnd(Math.ceil(encoded.length / 4) * 4, '=')
}
