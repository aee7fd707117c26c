import { createHash, createPublicKey, verify } from 'node:crypto'
import type { JsonWebKey, KeyObject } from 'node:crypto'
import { bad } from './signature-verdict.ts'
import type { Verdict } from './signature-verdict.ts'
import type { AllowedKey } from './signature-signers.ts'

/** What Git signs under; other programs sign other things with the same keys. */
const NAMESPACE = 'git'
const MAGIC = 'SSHSIG'
const RSA_BITS_MIN = 2048

interface Curve {
  readonly jwk: string
  readonly hash: string
  /** Bytes of a coordinate. */
  readonly size: number
}

const CURVES: Readonly<Record<string, Curve>> = {
  'ecdsa-sha2-nistp256': { jwk: 'P-256', hash: 'sha256', size: 32 },
  'ecdsa-sha2-nistp384': { jwk: 'P-384', hash: 'sha384', size: 48 },
  'ecdsa-sha2-nistp521': { jwk: 'P-521', hash: 'sha512', size: 66 },
}

/** By the name of the signature; `ssh-rsa` would be SHA-1. */
const RSA_HASHES: Readonly<Record<string, string>> = {
  'rsa-sha2-256': 'sha256',
  'rsa-sha2-512': 'sha512',
}

/** What was signed, and what is to be checked. */
export interface SshSigned {
  readonly payload: Buffer
  /** In armor. */
  readonly signature: string
  /** When a key has to be valid, in seconds since 1970. */
  readonly at: number
}

interface SshSignature {
  readonly key: Buffer
  readonly namespace: string
  readonly reserved: Buffer
  readonly hash: string
  readonly format: string
  readonly value: Buffer
}

/** Checks a signature in the form SSHSIG, as `ssh-keygen -Y verify` does for Git. */
export function verifySsh(
  { payload, signature, at }: SshSigned,
  allowed: readonly AllowedKey[],
): Verdict {
  let parsed: SshSignature
  try {
    parsed = parseSignature(signature)
  } catch {
    return bad('malformed', 'its SSH signature is broken')
  }
  const { key, namespace, hash } = parsed
  const known = allowed.filter((one) => one.key.equals(key))
  if (known.length === 0) {
    return bad('unknown_key', `the key ${fingerprint(key)} is none of the allowed signers`)
  }
  if (namespace !== NAMESPACE) {
    return bad('wrong_namespace', `it was signed for "${printable(namespace)}" and not for "git"`)
  }
  if (hash !== 'sha256' && hash !== 'sha512') {
    return bad('unsupported', `its signature uses the hash "${printable(hash)}"`)
  }
  const message = wrapped(parsed, createHash(hash).update(payload).digest())
  const verdict = verifyRaw(parsed, message)
  return verdict ?? judgeKey(known, at)
}

/** Of several lines with this key, one that is valid is enough. */
function judgeKey(known: readonly AllowedKey[], at: number): Verdict {
  const named = known.filter(({ namespaces }) => namespaces === null || matches(namespaces))
  if (named.length === 0) {
    return bad('wrong_namespace', `its key is not allowed for the namespace "${NAMESPACE}"`)
  }
  const valid = named.find(
    ({ validAfter, validBefore }) =>
      (validAfter === null || at >= validAfter) && (validBefore === null || at <= validBefore),
  )
  if (valid) return { kind: 'good', signer: valid.principals }
  const who = named[0]?.principals ?? ''
  const when = new Date(at * 1000).toISOString()
  return bad('expired_key', `the key of ${who} was not valid at ${when}`)
}

/** OpenSSH's lists of patterns: a negated one that matches decides. */
function matches(patterns: readonly string[]): boolean {
  const isDenied = patterns.some((one) => one.startsWith('!') && isMatch(one.slice(1)))
  return !isDenied && patterns.some((one) => !one.startsWith('!') && isMatch(one))
}

function isMatch(pattern: string): boolean {
  const escaped = pattern.replaceAll(/[\\^$.+()[\]{}|]/g, String.raw`\$&`)
  const source = escaped.replaceAll('*', '.*').replaceAll('?', '.')
  return new RegExp(`^${source}$`).test(NAMESPACE)
}

function parseSignature(armored: string): SshSignature {
  const [, body = ''] =
    /^-----BEGIN SSH SIGNATURE-----\r?\n([\w+/=\s]+)-----END SSH SIGNATURE-----\s*$/.exec(
      armored,
    ) ?? []
  const fields = new Fields(Buffer.from(body, 'base64'))
  if (fields.bytes(MAGIC.length).toString('latin1') !== MAGIC || fields.number() !== 1) {
    throw new RangeError('not a signature of version 1')
  }
  const key = fields.string()
  const namespace = fields.string().toString('utf8')
  const reserved = fields.string()
  const hash = fields.string().toString('latin1')
  const inner = new Fields(fields.string())
  fields.end()
  const format = inner.string().toString('latin1')
  const value = inner.string()
  inner.end()
  return { key, namespace, reserved, hash, format, value }
}

/** What was really signed: the hash, and beside it what it is for. */
function wrapped({ namespace, reserved, hash }: SshSignature, digest: Buffer): Buffer {
  const parts = [Buffer.from(namespace), reserved, Buffer.from(hash), digest]
  return Buffer.concat([Buffer.from(MAGIC), ...parts.map(lengthFirst)])
}

/** Undefined where the signature is that of its key. */
function verifyRaw(signature: SshSignature, message: Buffer): Verdict | undefined {
  try {
    const isRight = isSigned(signature, message)
    if (isRight === undefined) {
      const name = printable(signature.format)
      const says = `its key or its signature, "${name}", is of a kind that is not supported`
      return bad('unsupported', says)
    }
    return isRight ? undefined : bad('tampered', 'its signature is not over what the commit says')
  } catch {
    return bad('malformed', 'its key or its signature is broken')
  }
}

function isSigned({ key, format, value }: SshSignature, message: Buffer): boolean | undefined {
  const fields = new Fields(key)
  const type = fields.string().toString('latin1')
  const curve = CURVES[type]
  if (curve) {
    if (format !== type) return undefined
    return verify(
      curve.hash,
      message,
      { key: pointKey(fields, curve), dsaEncoding: 'ieee-p1363' },
      pair(value, curve),
    )
  }
  if (type === 'ssh-ed25519') {
    if (format !== type) return undefined
    const x = fields.string().toString('base64url')
    fields.end()
    return verify(null, message, publicKey({ kty: 'OKP', crv: 'Ed25519', x }), value)
  }
  const hash = RSA_HASHES[format]
  if (type !== 'ssh-rsa' || hash === undefined) return undefined
  const e = unsigned(fields.string())
  const n = unsigned(fields.string())
  fields.end()
  if (n.length * 8 < RSA_BITS_MIN) return undefined
  const rsa = publicKey({ kty: 'RSA', n: n.toString('base64url'), e: e.toString('base64url') })
  return verify(hash, message, rsa, leftPadded(value, n.length))
}

function pointKey(fields: Fields, { jwk, size }: Curve): KeyObject {
  fields.string()
  const point = fields.string()
  fields.end()
  if (point[0] !== 4 || point.length !== 1 + 2 * size) throw new RangeError('not a plain point')
  const x = point.subarray(1, 1 + size).toString('base64url')
  const y = point.subarray(1 + size).toString('base64url')
  return publicKey({ kty: 'EC', crv: jwk, x, y })
}

/** The two numbers of an ECDSA signature, each of full length. */
function pair(value: Buffer, { size }: Curve): Buffer {
  const fields = new Fields(value)
  const [r, s] = [unsigned(fields.string()), unsigned(fields.string())]
  fields.end()
  return Buffer.concat([leftPadded(r, size), leftPadded(s, size)])
}

function publicKey(jwk: JsonWebKey): KeyObject {
  return createPublicKey({ key: jwk, format: 'jwk' })
}

/** A key as OpenSSH prints it. */
function fingerprint(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replaceAll('=', '')}`
}

/** A number without the leading zeros that keep it from being a negative one. */
function unsigned(bytes: Buffer): Buffer {
  let from = 0
  while (from < bytes.length - 1 && bytes[from] === 0) from += 1
  return bytes.subarray(from)
}

function leftPadded(bytes: Buffer, length: number): Buffer {
  if (bytes.length > length) throw new RangeError('too long')
  return Buffer.concat([Buffer.alloc(length - bytes.length), bytes])
}

function lengthFirst(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 100)
}

/** Reads SSH's binary form from its start. Throws a `RangeError` where it is cut short. */
class Fields {
  readonly #buffer: Buffer
  #at = 0

  constructor(buffer: Buffer) {
    this.#buffer = buffer
  }

  bytes(length: number): Buffer {
    const end = this.#at + length
    if (end > this.#buffer.length) throw new RangeError('cut short')
    const bytes = this.#buffer.subarray(this.#at, end)
    this.#at = end
    return bytes
  }

  number(): number {
    return this.bytes(4).readUInt32BE()
  }

  string(): Buffer {
    return this.bytes(this.number())
  }

  end(): void {
    if (this.#at !== this.#buffer.length) throw new RangeError('too long')
  }
}
