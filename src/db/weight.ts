import { sql, type Sql } from './sql.ts'

/**
 * About how long JSON values are as text, together, in bytes: a list such as sql`(m.content), (m.data)`. What is
 * neither small nor large as it is stored may be compressed well, and is counted as text.
 */
export function storedWeight(values: Sql): Sql {
  return sql`(
    select coalesce(sum(
      case when size between 8192 and 1048576 then octet_length(value::text) else size end), 0)::integer
    from (values ${values}) as v (value)
    cross join lateral pg_column_size(value) as size
  )`
}
