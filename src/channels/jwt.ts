import { createPrivateKey, sign, type KeyObject } from 'node:crypto'

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
