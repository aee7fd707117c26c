import { RequestError } from '../errors.ts'

/** Deeper than any real payload; `JSON.stringify` and Postgres both recurse. */
export const NESTING_MAX = 100

interface Place {
  readonly value: unknown
  readonly parent: Place | undefined
  readonly name: string | number
  readonly depth: number
}

/**
 * Refuses what Postgres cannot store or code would trip over, anywhere in a JSON value: NUL, lone surrogates,
 * numbers beyond all bounds, a property named `__proto__`, and nesting beyond the bound. Throws a 422 with a pointer that starts at `root`.
 */
export function refuseBadText(root: string, value: unknown): void {
  const open: Place[] = [{ value, parent: undefined, name: root, depth: 0 }]
  for (let place = open.pop(); place; place = open.pop()) {
    const problem = problemOf(place)
    if (problem) {
      const field = pointerTo(place)
      throw new RequestError(422, 'invalid_params', `${field} ${problem}`, [
        { field, message: problem },
      ])
    }
    const { value: held, depth } = place
    if (typeof held !== 'object' || held === null) continue
    const children = Array.isArray(held) ? held.entries() : Object.entries(held)
    for (const [name, child] of children)
      open.push({ value: child, parent: place, name, depth: depth + 1 })
  }
}

function problemOf({ value, name, depth }: Place): string | undefined {
  if (depth > NESTING_MAX) return `is nested more than ${NESTING_MAX} deep`
  if (name === '__proto__') return 'is a name that no property can have'
  const inName = typeof name === 'string' ? problemOfText(name) : undefined
  if (inName) return `has a name that ${inName}`
  // JSON has no bound; what is beyond a double would be kept as null.
  if (typeof value === 'number' && !Number.isFinite(value)) return 'is a number that is too large'
  return typeof value === 'string' ? problemOfText(value) : undefined
}

/** What keeps a text from being stored, or undefined. */
export function problemOfText(text: string): string | undefined {
  if (text.includes('\0')) return 'holds a NUL character'
  if (!text.isWellFormed()) return 'holds half of a surrogate pair'
  return undefined
}

/** A JSON Pointer; what cannot be written in it stands there as U+FFFD. */
function pointerTo(place: Place): string {
  const names: string[] = []
  let at: Place = place
  while (at.parent) {
    names.unshift(String(at.name).replaceAll('~', '~0').replaceAll('/', '~1'))
    at = at.parent
  }
  const pointer = [at.name, ...names].join('/')
  return (pointer || '/').toWellFormed().replaceAll('\0', '\uFFFD')
}
