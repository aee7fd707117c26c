import { createPublicKey, type KeyObject } from 'node:crypto'
import { posix } from 'node:path'
import type { ClientKey } from './environment.ts'
import { errorAt, type Diagnostic, type Problem } from './diagnostic.ts'
import type { ParsedFile } from './parse.ts'

/** A key as an environment's file writes it: its text, or the name of a file beside it. */
export interface ClientKeyEntry {
  readonly pem?: string
  readonly file?: string
}

/** The content of a file by its path from the repository's root; undefined where there is none. */
export type FindFile = (path: string) => Uint8Array | undefined

/** Shorter RSA keys can be broken. */
const MODULUS_BITS_MIN = 2048
/** A key of 16,384 bits has about 3 kB. */
const PEM_BYTES_MAX = 16_384

/** Reads the keys that sign the tokens of an application's users, and says which of them are none. */
export function readClientKeys(
  file: ParsedFile,
  entries: Readonly<Record<string, ClientKeyEntry>>,
  findFile: FindFile,
): {
  readonly keys: Readonly<Record<string, ClientKey>>
  readonly diagnostics: readonly Diagnostic[]
} {
  const keys: Record<string, ClientKey> = {}
  const diagnostics: Diagnostic[] = []
  for (const [name, entry] of Object.entries(entries)) {
    const read = readKey(posix.dirname(file.path), entry, findFile)
    if (!('code' in read)) {
      keys[name] = read
      continue
    }
    const field = entry.file === undefined ? 'pem' : 'file'
    diagnostics.push(errorAt(file.path, file.locate(['client_keys', name, field]), read))
  }
  return { keys, diagnostics }
}

function readKey(
  directory: string,
  { pem, file }: ClientKeyEntry,
  findFile: FindFile,
): ClientKey | Problem {
  if (file === undefined) return normalKey(pem ?? '') ?? invalidKey('this')
  const bytes = findFile(`${directory}/${file}`)
  if (bytes === undefined) {
    const message = `there is no file ${directory}/${file}`
    return { code: 'file_not_found', message, hint: 'Put the key beside this file.' }
  }
  const text = bytes.length > PEM_BYTES_MAX ? '' : Buffer.from(bytes).toString('utf8')
  const read = normalKey(text) ?? invalidKey(`${directory}/${file}`)
  return 'code' in read ? read : { ...read, file: `${directory}/${file}` }
}

/** The key in one form, whatever was written; undefined where it is none. */
function normalKey(text: string): ClientKey | Problem | undefined {
  // Node would make a public key of a private one, too, and nobody would learn where that one has come to.
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) return PRIVATE_KEY
  if (!/-----BEGIN (RSA )?PUBLIC KEY-----/.test(text)) return undefined
  const key = parseKey(text)
  const bits = key?.asymmetricKeyDetails?.modulusLength ?? 0
  if (key?.asymmetricKeyType !== 'rsa' || bits < MODULUS_BITS_MIN) return undefined
  return { pem: key.export({ type: 'spki', format: 'pem' }).toString() }
}

function parseKey(text: string): KeyObject | undefined {
  try {
    return createPublicKey(text)
  } catch {
    return undefined
  }
}

function invalidKey(what: string): Problem {
  return {
    code: 'invalid_public_key',
    message: `${what} is no public RSA key of ${MODULUS_BITS_MIN} bits or more`,
    hint: 'Write the key that "openssl rsa -in key.pem -pubout" prints.',
  }
}

const PRIVATE_KEY: Problem = {
  code: 'private_key',
  message: 'this is a private key, which must not be in Git',
  hint: 'Make a new pair of keys, and write its public key here.',
}
