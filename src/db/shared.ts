/**
 * Values that many rows of one statement have in common. Each is sent once, and a row names it by its place, which
 * is that of `with ordinality`: sending and reading the same text a thousand times costs more than the rows.
 */
export class Shared {
  readonly #places = new Map<string, number>()

  /** The place of a value, or of one that reads the same. */
  place(value: object): number {
    const text = JSON.stringify(value)
    const known = this.#places.get(text)
    if (known !== undefined) return known
    const place = this.#places.size + 1
    this.#places.set(text, place)
    return place
  }

  /** A JSON array of all of them. */
  json(): string {
    return `[${[...this.#places.keys()].join(',')}]`
  }
}

/** Ids or numbers as Postgres reads a list of them: nothing in these needs quotes, so that nothing is looked for that would. */
export function plainList(values: readonly (string | number)[]): string {
  return `{${values.join(',')}}`
}
