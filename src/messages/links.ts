import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { assert } from '../errors.ts'

/** What links to us are made with. */
export interface Links {
  /** Where people reach us, without a slash at its end. */
  readonly publicUrl: string
  readonly key: Buffer
}

/** What a link is for: one kind never opens what another was made for. */
export type LinkKind = 'unsubscribe' | 'click' | 'open'

const CIPHER = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16
const TOKEN_LENGTH_MAX = 8_192

/** The key with which links are sealed: the same in all processes on this Postgres. */
export async function loadLinkKey(db: Queryable): Promise<Buffer> {
  const [row] = await db.query<{ secret: Buffer }>(sql`
    select secret
    from link_keys
    where id = 1
  `)
  assert(row, 'the key of links is there since its migration')
  return row.secret
}

/** A token that holds `parts` for whoever has the key, and tells others nothing; it does not expire. */
export function sealLink(key: Buffer, kind: LinkKind, parts: readonly string[]): string {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(kind))
  const sealed = cipher.update(JSON.stringify(parts), 'utf8')
  return Buffer.concat([nonce, sealed, cipher.final(), cipher.getAuthTag()]).toString('base64url')
}

/** What a token of this kind holds; undefined where the key has not made it. */
export function openLink(
  key: Buffer,
  kind: LinkKind,
  token: string,
): readonly string[] | undefined {
  if (token.length > TOKEN_LENGTH_MAX || !/^[\w-]+$/.test(token)) return undefined
  const bytes = Buffer.from(token, 'base64url')
  if (bytes.length <= NONCE_BYTES + TAG_BYTES) return undefined
  const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_BYTES))
    .setAAD(Buffer.from(kind))
    .setAuthTag(bytes.subarray(-TAG_BYTES))
  try {
    const opened = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES))
    const text = Buffer.concat([opened, decipher.final()]).toString()
    return JSON.parse(text) as readonly string[]
  } catch {
    return undefined
  }
}
