/** A statement and its values, ready for `pg`. Named statements are prepared once per connection. */
export interface Sql {
  readonly text: string
  readonly values: readonly unknown[]
  readonly name?: string
}

/** What the tag makes. Only that is ever taken for a piece of another statement, whatever a value looks like. */
class Statement implements Sql {
  readonly text: string
  readonly name: string
  readonly values: readonly unknown[]
  /** What stands around the values. */
  readonly #texts: readonly string[]

  constructor({ text, name }: Prepared, texts: readonly string[], values: readonly unknown[]) {
    this.text = text
    this.name = name
    this.values = values
    this.#texts = texts
  }

  static textsOf(value: unknown): readonly string[] | undefined {
    return typeof value === 'object' && value !== null && #texts in value ? value.#texts : undefined
  }
}

interface Prepared {
  readonly text: string
  readonly name: string
}

const prepared = new WeakMap<TemplateStringsArray, Prepared>()
/** By their texts, which come from code alone: there are few. */
const composed = new Map<string, Prepared>()
let statements = 0

/**
 * Writes a statement with its values in place: sql`select 1 where id = ${id}`.
 * Only values can be put in, and pieces that were written with the tag: sql`select ${columns} from t where id = ${id}`.
 */
export function sql(parts: TemplateStringsArray, ...values: readonly unknown[]): Sql {
  if (values.some((value) => Statement.textsOf(value))) return compose(parts, values)
  let statement = prepared.get(parts)
  if (!statement) prepared.set(parts, (statement = prepare(textOf(parts))))
  return new Statement(statement, parts, values)
}

/** Puts pieces in their places; their values are numbered anew. */
function compose(parts: TemplateStringsArray, given: readonly unknown[]): Sql {
  const texts = [parts[0] ?? '']
  const values: unknown[] = []
  for (const [index, value] of given.entries()) {
    const [first, ...rest] = Statement.textsOf(value) ?? []
    if (first === undefined) {
      values.push(value)
      texts.push('')
    } else {
      texts[texts.length - 1] += first
      texts.push(...rest)
      values.push(...(value as Sql).values)
    }
    texts[texts.length - 1] += parts[index + 1] ?? ''
  }
  const text = textOf(texts)
  let statement = composed.get(text)
  if (!statement) composed.set(text, (statement = prepare(text)))
  return new Statement(statement, texts, values)
}

function textOf(texts: readonly string[]): string {
  return texts.reduce((all, part, index) => `${all}$${index}${part}`)
}

function prepare(text: string): Prepared {
  return { text, name: `q${(statements += 1)}` }
}

/**
 * The statement, planned anew each time for the values that it has. For lists that many filters may narrow: one
 * plan for all of them would serve none.
 */
export function planned({ text, values }: Sql): Sql {
  return { text, values }
}
