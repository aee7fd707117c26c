import { isJsonObject } from '../json.ts'
import { verify, type KeyObject } from 'node:crypto'
import { RequestError } from '../errors.ts'

/** What a user token says, once it is known who signed it. */
export interface UserToken {
  /** The id of the user. */
  readonly user: string
  readonly expiresAt: Date
  /** Path of an entity, such as `/v1/users/ann` → what may be done with it. */
  readonly grants: ReadonlyMap<string, ReadonlySet<string>>
}

const TOKEN_LENGTH_MAX = 8_192
const GRANTS_MAX = 100
/** How far the signer's clock may be ahead of ours. */
const SKEW_MS = 60_000

/**
 * Reads a token that one of these RSA keys has signed. Only RS256 is taken: what a token says of itself does not
 * choose how it is checked. Throws a 401 `invalid_user_token` for any other token, and for one that is not valid now.
 */
export function readUserToken(token: string, keys: readonly KeyObject[], now: Date): UserToken {
  const parts = token.split('.')
  const [header = '', payload = '', signature = ''] = parts
  if (token.length > TOKEN_LENGTH_MAX || parts.length !== 3) throw invalid('is no signed token')
  const { alg, crit } = parseJson(header)
  if (alg !== 'RS256' || crit !== undefined) throw invalid('is not signed with RS256')
  const text = Buffer.from(`${header}.${payload}`)
  const bytes = decode(signature)
  if (!keys.some((key) => verify('RSA-SHA256', text, key, bytes)))
    throw invalid('is signed by no key of the environment')
  return readClaims(parseJson(payload), now)
}

type Claims = Readonly<Record<string, unknown>>

function readClaims(claims: Claims, now: Date): UserToken {
  const { sub, exp, iat, nbf, grants } = claims
  if (typeof sub !== 'string' || sub === '') throw invalid('names no user: "sub" is missing')
  if (typeof exp !== 'number') throw invalid('never expires: "exp" is missing')
  const expiresAt = new Date(exp * 1000)
  if (!(expiresAt > now)) throw invalid('has expired')
  for (const from of [iat, nbf]) {
    if (from === undefined) continue
    if (typeof from !== 'number') throw invalid('has a time that is no number')
    if (!(from * 1000 <= now.getTime() + SKEW_MS)) throw invalid('is not valid yet')
  }
  return { user: sub, expiresAt, grants: readGrants(grants) }
}

/** Entities are written with the host of whoever made the token, which says nothing here. */
function readGrants(grants: unknown): UserToken['grants'] {
  if (!isJsonObject(grants)) return new Map()
  const entries = Object.entries(grants).slice(0, GRANTS_MAX)
  return new Map(
    entries.map(([entity, actions]) => [
      entity.replace(/^https?:\/\/[^/]*/, ''),
      new Set(isJsonObject(actions) ? Object.keys(actions) : []),
    ]),
  )
}

function parseJson(part: string): Claims {
  try {
    const value: unknown = JSON.parse(decode(part).toString('utf8'))
    if (isJsonObject(value)) return value
  } catch {
    // What cannot be read is refused as what is no object.
  }
  throw invalid('is no signed token')
}

/** Buffer passes over what is not base64; a token has one way to be written. */
function decode(part: string): Buffer {
  const bytes = Buffer.from(part, 'base64url')
  if (bytes.toString('base64url') === part) return bytes
  throw invalid('is no signed token')
}

function invalid(what: string): RequestError {
  return new RequestError(401, 'invalid_user_token', `the user token ${what}`)
}
