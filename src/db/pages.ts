import { sql, type Sql } from './sql.ts'

/** A place in a list that goes by an id. */
export interface Place {
  /** Behind this in the list: older, where the newest come first. */
  readonly after?: string | undefined
  /** In front of this, and of those the nearest. */
  readonly before?: string | undefined
  readonly limit: number
}

/**
 * The end of a statement that lists newest first: what follows on its last condition. Each direction is a statement
 * of its own, so that it walks its index and stops at the page's end.
 */
export function newestFirst(id: Sql, { after, before, limit }: Place): Sql {
  if (before !== undefined) return sql`and ${id} > ${before} order by ${id} limit ${limit}`
  const behind = after === undefined ? sql`` : sql`and ${id} < ${after}`
  return sql`${behind} order by ${id} desc limit ${limit}`
}

/** The same for a list that begins with the lowest. */
export function lowestFirst(id: Sql, { after, before, limit }: Place): Sql {
  if (before !== undefined) return sql`and ${id} < ${before} order by ${id} desc limit ${limit}`
  const behind = after === undefined ? sql`` : sql`and ${id} > ${after}`
  return sql`${behind} order by ${id} limit ${limit}`
}

/** Rows in the order of the list, which those in front of a cursor are not read in. */
export function inOrder<Row>(rows: Row[], { before }: Place): Row[] {
  return before === undefined ? rows : rows.toReversed()
}
