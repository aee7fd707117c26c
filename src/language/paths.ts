/**
 * The value at a dotted path such as `data.items.0.name`, or undefined where there is none.
 * Only own properties count: a path never reaches what JavaScript itself adds to a value.
 */
export function lookUp(scope: unknown, path: string): unknown {
  let value = scope
  let from = 0
  for (;;) {
    const dot = path.indexOf('.', from)
    const key = dot === -1 ? path.slice(from) : path.slice(from, dot)
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Readonly<Record<string, unknown>>)[key]
    if (dot === -1) return value
    from = dot + 1
  }
}

/** A lookup of dotted paths in `scope`, as conditions want it. */
export function lookupIn(scope: object): (path: string) => unknown {
  return (path) => lookUp(scope, path)
}
