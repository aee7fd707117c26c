import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName } from '../ids.ts'
import type { Recipient } from './recipient.ts'

/** What a list of recipients is narrowed to; all that is given must hold. */
export interface RecipientFilter {
  readonly collection: string
  readonly id?: string
  /** The property `name`, whole. */
  readonly name?: string
}

/** A place in the list. */
export interface RecipientPage {
  /** Only ids behind this one. */
  readonly after?: string
  /** Only ids before this one, and of them the last. */
  readonly before?: string
  readonly limit: number
}

/** The recipients of one collection, in the order of their ids. */
export async function listRecipients(
  tx: Queryable,
  environment: EnvironmentName,
  filter: RecipientFilter,
  page: RecipientPage,
): Promise<Recipient[]> {
  if (page.before === undefined) return await queryAfter(tx, environment, filter, page)
  return (await queryBefore(tx, environment, filter, page)).toReversed()
}

/** Two statements, one for each direction, so that each walks the key and stops at the page's end. */
async function queryAfter(
  tx: Queryable,
  environment: EnvironmentName,
  { collection, id, name }: RecipientFilter,
  { after = '', limit }: RecipientPage,
): Promise<Recipient[]> {
  return await tx.query<Recipient>(sql`
    select collection, id, properties, created_at as "createdAt", updated_at as "updatedAt"
    from recipients
    where environment = ${environment}
      and collection = ${collection}
      and id > ${after}
      and (${id ?? null}::text is null or id = ${id ?? null})
      and (${name ?? null}::text is null or properties ->> 'name' = ${name ?? null})
    order by id
    limit ${limit}
  `)
}

async function queryBefore(
  tx: Queryable,
  environment: EnvironmentName,
  { collection, id, name }: RecipientFilter,
  { before = '', limit }: RecipientPage,
): Promise<Recipient[]> {
  return await tx.query<Recipient>(sql`
    select collection, id, properties, created_at as "createdAt", updated_at as "updatedAt"
    from recipients
    where environment = ${environment}
      and collection = ${collection}
      and id < ${before}
      and (${id ?? null}::text is null or id = ${id ?? null})
      and (${name ?? null}::text is null or properties ->> 'name' = ${name ?? null})
    order by id desc
    limit ${limit}
  `)
}
