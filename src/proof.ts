import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** What a delivery shows to prove who sent it. */
export type Proof =
  /** The secret itself. */
  | { readonly kind: 'token'; readonly token: string }
  /** An HMAC-SHA256 of the body. */
  | { readonly kind: 'hmac'; readonly digest: Buffer }
  /** HMAC-SHA256 of the id, the time and the body, as the Standard Webhooks specification has it. */
  | {
      readonly kind: 'standard'
      readonly id: string
      readonly at: string
      readonly digests: readonly Buffer[]
    }

/** Why a proof does not hold. */
export type ProofProblem = 'bad_signature' | 'bad_timestamp'

/** How far the clock of the sender may be off, and how long a delivery may have been on its way. */
const SKEW_MS_MAX = 5 * 60 * 1000
const SIGNING_PREFIX = 'whsec_'
/** A sender lists one per key while it changes keys. */
const SIGNATURES_MAX = 10
const HEX_DIGEST = /^[0-9a-f]{64}$/i
const BASE64_DIGEST = /^[A-Za-z0-9+/]{43}=$/

/** The HMAC that a header holds in hex, behind `prefix`; undefined where it holds none. */
export function hmacIn(
  headers: IncomingHttpHeaders,
  name: string,
  prefix: string,
): Proof | undefined {
  const value = headerOf(headers, name)
  if (value === undefined) return undefined
  const hex = value.startsWith(prefix) ? value.slice(prefix.length) : ''
  // A header that is there is what counts, also where it cannot be right.
  return { kind: 'hmac', digest: HEX_DIGEST.test(hex) ? Buffer.from(hex, 'hex') : NO_DIGEST }
}

/** The secret that a header holds; undefined where it holds none. */
export function tokenIn(headers: IncomingHttpHeaders, name: string): Proof | undefined {
  const token = headerOf(headers, name)
  return token === undefined ? undefined : { kind: 'token', token }
}

/** The signatures of Standard Webhooks; undefined where there is none. */
export function standardIn(headers: IncomingHttpHeaders): Proof | undefined {
  const signatures = headerOf(headers, 'webhook-signature')
  if (signatures === undefined) return undefined
  const digests = signatures
    .split(' ', SIGNATURES_MAX)
    .map((one) => one.split(','))
    .filter(([version, digest = '']) => version === 'v1' && BASE64_DIGEST.test(digest))
    .map(([, digest = '']) => Buffer.from(digest, 'base64'))
  const id = headerOf(headers, 'webhook-id') ?? ''
  return { kind: 'standard', id, at: headerOf(headers, 'webhook-timestamp') ?? '', digests }
}

/** Svix, from which Standard Webhooks comes, has names of its own for the same headers. */
export function withStandardNames(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  if (headers['webhook-signature'] !== undefined) return headers
  const renamed = ['id', 'timestamp', 'signature'].map((name) => [
    `webhook-${name}`,
    headers[`svix-${name}`],
  ])
  return { ...headers, ...(Object.fromEntries(renamed) as IncomingHttpHeaders) }
}

/** The value of a header; undefined where it is missing or empty. */
export function headerOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** What is wrong with a proof that shows without its body: a token, and the time that one was signed at. */
export function problemBeforeBody(
  proof: Proof,
  secrets: readonly string[],
  now: Date,
): ProofProblem | undefined {
  if (proof.kind === 'token') return isAnyToken(proof.token, secrets) ? undefined : 'bad_signature'
  if (proof.kind === 'hmac') return proof.digest === NO_DIGEST ? 'bad_signature' : undefined
  if (proof.digests.length === 0 || proof.id === '') return 'bad_signature'
  return isRecent(proof.at, now) ? undefined : 'bad_timestamp'
}

/**
 * Whether something was signed within five minutes of now, or, where whoever repeats a call does not sign it
 * anew, up to `ageMsMax` before; `at` is in seconds.
 */
export function isRecent(at: string, now: Date, ageMsMax: number = SKEW_MS_MAX): boolean {
  const time = /^\d{1,12}$/.test(at) ? Number(at) * 1000 : Number.NaN
  return now.getTime() - time <= ageMsMax && time - now.getTime() <= SKEW_MS_MAX
}

/** A body that is proved while it comes, so that nothing of it has to be kept. */
export interface BodyProof {
  take(chunk: Buffer): void
  /** Whether one of the secrets has signed what was taken; a token proves what comes with it. Once, at the end. */
  holds(): boolean
}

export function openBodyProof(proof: Proof, secrets: readonly string[]): BodyProof {
  if (proof.kind === 'token') return { take() {}, holds: () => isAnyToken(proof.token, secrets) }
  const given = proof.kind === 'hmac' ? [proof.digest] : proof.digests
  const digests = keysOf(proof, secrets).map((key) => createHmac('sha256', key))
  if (proof.kind === 'standard') {
    for (const digest of digests) digest.update(`${proof.id}.${proof.at}.`)
  }
  return {
    take(chunk) {
      for (const digest of digests) digest.update(chunk)
    },
    holds: () =>
      isAny(digests, (digest) => {
        const made = digest.digest()
        return isAny(given, (one) => isSame(made, one))
      }),
  }
}

function keysOf({ kind }: Proof, secrets: readonly string[]): readonly (string | Buffer)[] {
  if (kind !== 'standard') return secrets
  return secrets
    .filter((secret) => secret.startsWith(SIGNING_PREFIX))
    .map((secret) => Buffer.from(secret.slice(SIGNING_PREFIX.length), 'base64'))
}

/** Whether one of the secrets has signed this body; a token proves what comes with it. */
export function provesBody(proof: Proof, secrets: readonly string[], body: Buffer): boolean {
  const opened = openBodyProof(proof, secrets)
  opened.take(body)
  return opened.holds()
}

const NO_DIGEST = Buffer.alloc(32)

/** Whether a token is one of the secrets. */
export function isAnyToken(token: string, secrets: readonly string[]): boolean {
  // Of digests, since texts of different lengths cannot be compared in constant time.
  const given = sha256(token)
  return isAny(secrets, (secret) => isSame(sha256(secret), given))
}

/** Asks about each of them, so that the time taken does not tell which one it was. */
export function isAny<Item>(items: readonly Item[], holds: (item: Item) => boolean): boolean {
  return items.filter(holds).length > 0
}

/** Whether two digests are the same, in a time that does not tell where they differ. */
export function isSame(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
