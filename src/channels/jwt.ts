import { createHmac, createPrivateKey, sign, type KeyObject } from 'node:crypto'
import { isJsonObject } from '../json.ts'
import { isAny, isSame } from '../proof.ts'

/** The key in a PEM text; undefined where there is none. */
export function readPrivateKey(pem: string): KeyObject | undefined {
  try {
    // A secret that came by a variable has its line ends written out.
    return createPrivateKey(pem.replaceAll('\\n', '\n'))
  } catch {
    return undefined
  }
}

export interface Jwt {
  readonly algorithm: 'ES256' | 'RS256'
  readonly keyId?: string
  readonly claims: Readonly<Record<string, unknown>>
}

/** A signed JSON Web Token. Throws where the key is of another kind than the algorithm. */
export function signJwt({ algorithm, keyId, claims }: Jwt, key: KeyObject): string {
  const header = { alg: algorithm, typ: 'JWT', ...(keyId !== undefined && { kid: keyId }) }
  const text = [header, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' })
  return `${text}.${signature.toString('base64url')}`
}

/** What a token says that one of the secrets has signed by HMAC-SHA256; undefined where none has. */
export function readSignedClaims(
  token: string,
  secrets: readonly string[],
): Readonly<Record<string, unknown>> | undefined {
  const [header = '', claims = '', signature = ''] = token.split('.', 4)
  const given = Buffer.from(signature, 'base64url')
  const isSigned = isAny(secrets, (secret) =>
    isSame(createHmac('sha256', secret).update(`${header}.${claims}`).digest(), given),
  )
  if (!isSigned || readPart(header)?.['alg'] !== 'HS256') return undefined
  return readPart(claims)
}

function readPart(part: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value = JSON.parse(Buffer.from(part, 'base64url').toString()) as unknown
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
