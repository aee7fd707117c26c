import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, MessageId } from '../ids.ts'

/** A link in a text message, which is too short to hold where it leads. */
export interface ShortLink {
  readonly environment: EnvironmentName
  /** What stands in the link. */
  readonly code: string
  readonly message: MessageId
  readonly url: string
}

const RANDOM_BYTES = 8
const SIGNATURE_BYTES = 4
const CODE = /^[\w-]{16}$/
/** How long a short link leads on. */
const DAYS_KEPT = 365
const DAY_MS = 86_400_000
const SWEEP_ROWS_MAX = 1_000

/** A code of 16 characters that nobody guesses: by chance, and signed, so that guesses do not reach Postgres. */
export function newShortCode(key: Buffer): string {
  const chance = randomBytes(RANDOM_BYTES)
  return Buffer.concat([chance, signatureOf(key, chance)]).toString('base64url')
}

export async function insertShortLinks(
  tx: Transaction,
  links: readonly ShortLink[],
  now: Date,
): Promise<void> {
  if (links.length === 0) return
  await tx.query(sql`
    insert into short_links (environment, code, message_id, url, inserted_at)
    select environment, code, message, url, ${now}
    from json_to_recordset(${JSON.stringify(links)}::json) as l (
      environment text, code text, message uuid, url text
    )
  `)
}

/** The link with this code; undefined where the key has not made it, or it is over. */
export async function findShortLink(
  db: Queryable,
  key: Buffer,
  code: string,
): Promise<ShortLink | undefined> {
  if (!isSigned(key, code)) return undefined
  // The code says nothing of its environment; there are few of them, and each has the code as its key.
  const [row] = await db.query<ShortLink>(sql`
    select l.environment, l.code, l.message_id as message, l.url
    from environments e
    join short_links l on l.environment = e.name and l.code = ${code}
  `)
  return row
}

/** Deletes some of the links that are older than a year, of all environments. Answers how many. */
export async function sweepShortLinks(db: Queryable, now: Date): Promise<number> {
  const rows = await db.query(sql`
    delete from short_links
    where (environment, code) in (
      select environment, code from short_links
      where inserted_at < ${new Date(now.getTime() - DAYS_KEPT * DAY_MS)}
      order by inserted_at
      limit ${SWEEP_ROWS_MAX}
      for update skip locked
    )
    returning environment
  `)
  return rows.length
}

function isSigned(key: Buffer, code: string): boolean {
  if (!CODE.test(code)) return false
  const bytes = Buffer.from(code, 'base64url')
  const chance = bytes.subarray(0, RANDOM_BYTES)
  return timingSafeEqual(bytes.subarray(RANDOM_BYTES), signatureOf(key, chance))
}

function signatureOf(key: Buffer, chance: Buffer): Buffer {
  const hash = createHmac('sha256', key).update('short').update(chance).digest()
  return hash.subarray(0, SIGNATURE_BYTES)
}
