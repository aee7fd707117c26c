/** A statement and its values, ready for `pg`. Named statements are prepared once per connection. */
export interface Sql {
  readonly text: string
  readonly values: readonly unknown[]
  readonly name?: string
}

interface Prepared {
  readonly text: string
  readonly name: string
}

const prepared = new WeakMap<TemplateStringsArray, Prepared>()
let statements = 0

/**
 * Writes a statement with its values in place: sql`select 1 where id = ${id}`.
 * Only values can be put in, never names: a variant of a query is a second query.
 */
export function sql(parts: TemplateStringsArray, ...values: readonly unknown[]): Sql {
  let statement = prepared.get(parts)
  if (!statement) {
    const text = parts.reduce((all, part, index) => `${all}$${index}${part}`)
    statement = { text, name: `q${(statements += 1)}` }
    prepared.set(parts, statement)
  }
  return { ...statement, values }
}

/**
 * The statement, planned anew each time for the values that it has. For lists that many filters may narrow: one
 * plan for all of them would serve none.
 */
export function planned({ text, values }: Sql): Sql {
  return { text, values }
}
