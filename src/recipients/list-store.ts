import type { Queryable } from '../db/database.ts'
import { inOrder, lowestFirst, type Place } from '../db/pages.ts'
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

/** The recipients of one collection, in the order of their ids. */
export async function listRecipients(
  tx: Queryable,
  environment: EnvironmentName,
  { collection, id, name }: RecipientFilter,
  place: Place,
): Promise<Recipient[]> {
  const rows = await tx.query<Recipient>(sql`
    select collection, id, properties, created_at as "createdAt", updated_at as "updatedAt"
    from recipients
    where environment = ${environment}
      and collection = ${collection}
      and (${id}::text is null or id = ${id})
      and (${name}::text is null or properties ->> 'name' = ${name})
      ${lowestFirst(sql`id`, place)}
  `)
  return inOrder(rows, place)
}
