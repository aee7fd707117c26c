/**
 * Whether two values say the same: lists and objects by content, a number or a truth value and
 * its text too (`5` and `"5"`), since data often comes as text.
 */
export function isSame(left: unknown, right: unknown): boolean {
  if (left === right) return true
  if (typeof left === 'string') return isScalar(right) && left === String(right)
  if (typeof right === 'string') return isScalar(left) && right === String(left)
  if (typeof left !== 'object' || typeof right !== 'object') return false
  return left !== null && right !== null && isSameObject(left, right)
}

function isSameObject(left: object, right: object): boolean {
  if (Array.isArray(left) || Array.isArray(right)) return isSameList(left, right)
  const keys = Object.keys(left)
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && isSame(at(left, key), at(right, key)))
  )
}

/**
 * Which of two values is greater: numbers (and texts of numbers beside a number) by value, texts
 * by their characters. Undefined where there is no order between them.
 */
export function compareValues(left: unknown, right: unknown): number | undefined {
  if (typeof left === 'string' && typeof right === 'string') {
    const [a, b] = [numberOf(left), numberOf(right)]
    if (a !== undefined && b !== undefined) return a - b
    if (left === right) return 0
    return left < right ? -1 : 1
  }
  const a = numberOf(left)
  const b = numberOf(right)
  return a === undefined || b === undefined ? undefined : a - b
}

/** A value as text: unset is empty, a list or an object is JSON. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return ''
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? '' : value.toISOString()
  if (typeof value === 'object') return JSON.stringify(value)
  return isScalar(value) ? String(value) : ''
}

/** A value as it is where its JSON has at most `max` characters, else the start of its JSON. */
export function clipped(value: unknown, max: number): unknown {
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value
  if (typeof value === 'string' && value.length <= max / 8) return value
  const parts: string[] = []
  return writeJson(value, parts, max) >= 0 ? value : `${parts.join('').slice(0, max - 1)}…`
}

/** Appends the JSON of a value and stops once it is too long; returns the room that is left. */
function writeJson(value: unknown, parts: string[], room: number): number {
  if (room < 0) return room
  if (typeof value !== 'object' || value === null) return writeScalar(value, parts, room)
  const isList = Array.isArray(value)
  let left = put(isList ? '[' : '{', parts, room)
  let separator = ''
  for (const key of Object.keys(value)) {
    if (left < 0) return left
    left = put(separator, parts, left)
    separator = ','
    if (!isList) left = put(':', parts, writeScalar(key, parts, left))
    left = writeJson(at(value, key), parts, left)
  }
  return put(isList ? ']' : '}', parts, left)
}

function writeScalar(value: unknown, parts: string[], room: number): number {
  if (typeof value !== 'string') return put(String(value), parts, room)
  const isLong = value.length > room + 1
  const left = put(
    JSON.stringify(isLong ? value.slice(0, Math.max(0, room + 1)) : value),
    parts,
    room,
  )
  return isLong ? -1 : left
}

function put(text: string, parts: string[], room: number): number {
  parts.push(text)
  return room - text.length
}

function isSameList(left: object, right: object): boolean {
  if (!Array.isArray(left) || !Array.isArray(right) || left.length !== right.length) return false
  return left.every((item, index) => isSame(item, right[index]))
}

function isScalar(value: unknown): value is number | boolean {
  return typeof value === 'number' || typeof value === 'boolean'
}

const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i

function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  return typeof value === 'string' && NUMBER.test(value) ? Number(value) : undefined
}

function at(value: object, key: string): unknown {
  return (value as Readonly<Record<string, unknown>>)[key]
}
