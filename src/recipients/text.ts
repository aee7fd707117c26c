import { RequestError } from '../errors.ts'
import type { Violation } from '../errors.ts'

/** Nesting of a value that a request may bring. */
const DEPTH_MAX = 100
const VIOLATIONS_MAX = 20

/**
 * Refuses what Postgres cannot store, and nesting that no later step could walk: a NUL or a lone
 * surrogate in any text or key of `value`. Throws a 422 `RequestError` with a JSON Pointer to each,
 * starting with `pointer`.
 */
export function checkText(value: unknown, pointer = ''): void {
  const violations: Violation[] = []
  collect(value, { pointer, depth: 0 }, violations)
  if (violations.length === 0) return
  const [first] = violations
  throw new RequestError(
    422,
    'invalid_params',
    `${first?.field === '' ? 'the value' : first?.field} ${first?.message}`,
    violations,
  )
}

/** A step of a JSON Pointer, as RFC 6901 writes it. */
export function pointerStep(key: string | number): string {
  return `/${String(key).toWellFormed().replaceAll('\0', '\uFFFD').replaceAll('~', '~0').replaceAll('/', '~1')}`
}

interface Place {
  readonly pointer: string
  readonly depth: number
}

function collect(value: unknown, place: Place, violations: Violation[]): void {
  if (violations.length >= VIOLATIONS_MAX) return
  if (typeof value === 'string') {
    const message = problemOf(value)
    if (message !== undefined) violations.push({ field: place.pointer, message })
    return
  }
  if (typeof value !== 'object' || value === null) return
  if (place.depth >= DEPTH_MAX) {
    violations.push({ field: place.pointer, message: `is nested deeper than ${DEPTH_MAX}` })
    return
  }
  for (const [key, item] of Object.entries(value)) {
    const inner = { pointer: place.pointer + pointerStep(key), depth: place.depth + 1 }
    const message = problemOf(key)
    if (message !== undefined)
      violations.push({ field: inner.pointer, message: `has a key that ${message}` })
    collect(item, inner, violations)
  }
}

function problemOf(text: string): string | undefined {
  if (text.includes('\0')) return 'holds a NUL character'
  if (!text.isWellFormed()) return 'holds a lone surrogate'
  return undefined
}
