import { createHmac } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { unreachable } from '../../errors.ts'
import type { SignatureFormat, Source } from '../../workflow/sources.ts'
import {
  headerOf,
  isAny,
  isRecent,
  isSame,
  problemBeforeBody,
  provesBody,
  standardIn,
  withStandardNames,
  type Proof,
} from '../../proof.ts'

/** An HMAC over the body, or over `<at>.<body>`. */
interface Signed {
  readonly kind: 'signed'
  readonly algorithm: 'sha1' | 'sha256' | 'sha512'
  readonly digests: readonly Buffer[]
  /** Seconds, as they were sent; null where the time is not signed. */
  readonly at: string | null
}

/** What a source shows to prove that it has sent something. */
export type SourceProof = Proof | Signed

/** A sender lists one per key while it changes keys. */
const SIGNATURES_MAX = 10
const HEX = /^(?:[0-9a-f]{2})+$/i
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

/** What the headers prove a delivery with; undefined where they prove nothing. */
export function proofOf(source: Source, headers: IncomingHttpHeaders): SourceProof | undefined {
  switch (source.type) {
    case 'segment':
    case 'rudderstack':
      return writeKeyIn(headers)
    case 'standard_webhooks':
      return standardIn(withStandardNames(headers))
    case 'cloudevents':
      return standardIn(withStandardNames(headers)) ?? bearerIn(headers)
    case 'stripe':
      return stripeIn(headers)
    case 'hmac':
      return signedIn(headers, source.signature ?? {})
    default:
      return unreachable(source.type)
  }
}

/** Whether a proof may still hold once the body is there. */
export function mayHold(proof: SourceProof, secrets: readonly string[], now: Date): boolean {
  if (proof.kind !== 'signed') return problemBeforeBody(proof, secrets, now) === undefined
  return proof.digests.length > 0 && (proof.at === null || isRecent(proof.at, now))
}

/** Whether one of the secrets has signed this body. */
export function holds(proof: SourceProof, secrets: readonly string[], body: Buffer): boolean {
  if (proof.kind !== 'signed') return provesBody(proof, secrets, body)
  const { algorithm, digests, at } = proof
  return isAny(secrets, (secret) => {
    const made = createHmac(algorithm, secret)
    if (at !== null) made.update(`${at}.`)
    const digest = made.update(body).digest()
    return isAny(digests, (given) => isSame(digest, given))
  })
}

/** The user name of basic authentication, which is where these clients put the write key. */
function writeKeyIn(headers: IncomingHttpHeaders): SourceProof | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(headers.authorization ?? '')?.[1]
  if (encoded === undefined) return undefined
  const [token = ''] = Buffer.from(encoded, 'base64').toString('utf8').split(':', 1)
  return token === '' ? undefined : { kind: 'token', token }
}

function bearerIn(headers: IncomingHttpHeaders): SourceProof | undefined {
  const token = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1]
  return token === undefined ? undefined : { kind: 'token', token }
}

/** `t=<seconds>,v1=<hex>`, the last one more than once while keys change. */
function stripeIn(headers: IncomingHttpHeaders): SourceProof | undefined {
  const value = headerOf(headers, 'stripe-signature')
  if (value === undefined) return undefined
  const parts = value.split(',', SIGNATURES_MAX + 1).map((part) => part.trim().split('=', 2))
  const at = parts.find(([name]) => name === 't')?.[1] ?? ''
  const digests = parts.flatMap(([name, digest = '']) =>
    name === 'v1' && HEX.test(digest) ? [Buffer.from(digest, 'hex')] : [],
  )
  return { kind: 'signed', algorithm: 'sha256', digests, at }
}

function signedIn(
  headers: IncomingHttpHeaders,
  {
    header = 'x-signature',
    algorithm = 'sha256',
    encoding = 'hex',
    prefix = '',
    timestamp_header: timestamp,
  }: SignatureFormat,
): SourceProof | undefined {
  const value = headerOf(headers, header.toLowerCase())
  if (value === undefined) return undefined
  const digest = value.startsWith(prefix) ? value.slice(prefix.length) : ''
  const isDigest = (encoding === 'hex' ? HEX : BASE64).test(digest)
  const digests = isDigest ? [Buffer.from(digest, encoding)] : []
  const at = timestamp === undefined ? null : (headerOf(headers, timestamp.toLowerCase()) ?? '')
  return { kind: 'signed', algorithm, digests, at }
}
