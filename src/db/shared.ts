/**
 * Values that many rows of one statement have in common. Each is sent once, and a row names it by its place, which
 * is that of `with ordinality`: sending and reading the same text a thousand times costs more than the rows.
 */
export class Shared {
  readonly #known = new Map<unknown, number>()
  readonly #texts: string[] = []

  /** The place of a value: of the same object, or of one that reads the same. */
  place(value: object): number {
    const known = this.#known.get(value)
    if (known !== undefined) return known
    const text = JSON.stringify(value)
    const place = this.#known.get(text) ?? this.#texts.push(text)
    this.#known.set(text, place)
    this.#known.set(value, place)
    return place
  }

  /** A JSON array of all of them. */
  json(): string {
    return `[${this.#texts.join(',')}]`
  }
}
