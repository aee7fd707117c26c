import { isJsonObject } from '../json.ts'
import type { Scope } from '../steps/step.ts'

/** How large the data of one run may grow, as large as what a trigger may bring. */
export const DATA_BYTES_MAX = 10 * 1024 * 1024

type Data = Scope['data']

/** The bytes of a value as JSON. */
export function sizeOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value))
}

/**
 * The keys at the top of `data` that change when `value` is put at `place`, with what they hold then; without a
 * place, the keys of `value` itself, and undefined where it is no object. What stands in the way is replaced.
 */
export function putInto(
  data: Data,
  place: readonly string[] | null,
  value: unknown,
): Data | undefined {
  if (place === null) return isJsonObject(value) ? value : undefined
  const [top = '', ...rest] = place
  const held = Object.hasOwn(data, top) ? data[top] : undefined
  return { [top]: put(held, rest, value) }
}

function put(held: unknown, [key, ...rest]: readonly string[], value: unknown): unknown {
  if (key === undefined) return value
  const known = isJsonObject(held) ? held : {}
  const inner = Object.hasOwn(known, key) ? known[key] : undefined
  return { ...known, [key]: put(inner, rest, value) }
}
