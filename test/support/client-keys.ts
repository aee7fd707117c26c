import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto'

/** What an application has to sign for its users. */
export interface TestKeys {
  readonly privateKey: KeyObject
  /** The public half, as PEM. */
  readonly pem: string
}

export function makeKeys(): TestKeys {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return { privateKey, pem: publicKey.export({ type: 'spki', format: 'pem' }).toString() }
}

/** A JSON Web Token of these parts; `sign` makes its third one. */
export function writeToken(
  header: object,
  claims: object,
  sign: (text: string) => Buffer | string,
): string {
  const text = [header, claims].map((part) => encode(JSON.stringify(part))).join('.')
  return `${text}.${encode(sign(text))}`
}

function encode(part: Buffer | string): string {
  return Buffer.from(part).toString('base64url')
}

/** A token as the SDKs sign it: for a user, an hour from `now` on. */
export function signToken({ privateKey }: TestKeys, now: Date, claims: object): string {
  const iat = Math.floor(now.getTime() / 1000)
  return writeToken({ alg: 'RS256', typ: 'JWT' }, { iat, exp: iat + 3600, ...claims }, (text) =>
    createSign('RSA-SHA256').update(text).sign(privateKey),
  )
}
