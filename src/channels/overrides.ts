import { isJsonObject, type JsonObject } from '../json.ts'

/**
 * The body of a request with what a step lays over it, as a JSON Merge Patch (RFC 7396): maps are merged, null takes a
 * field away, and all else takes the place of what was there.
 */
export function withOverrides(body: object, overrides: JsonObject = {}): JsonObject {
  const merged = new Map<string, unknown>(Object.entries(body))
  for (const [key, value] of Object.entries(overrides)) {
    const old = merged.get(key)
    if (value === null) merged.delete(key)
    else if (isJsonObject(value))
      merged.set(key, withOverrides(isJsonObject(old) ? old : {}, value))
    else merged.set(key, value)
  }
  return Object.fromEntries(merged)
}

/**
 * Where `overrides` touch what a provider sets itself, else undefined. `kept` names fields such as `message.token`; a
 * star at the end stands for anything. A map that holds such a field may be added to, not replaced; `isOpen` tells values
 * of which nobody knows yet what they become.
 */
export function keptField(
  overrides: JsonObject,
  kept: readonly string[],
  isOpen: (value: unknown) => boolean = () => false,
): readonly string[] | undefined {
  for (const path of kept) {
    const found = touched(overrides, path.split('.'), isOpen)
    if (found) return found
  }
  return undefined
}

function touched(
  tree: JsonObject,
  [name = '', ...rest]: readonly string[],
  isOpen: (value: unknown) => boolean,
): readonly string[] | undefined {
  for (const [key, value] of Object.entries(tree)) {
    if (!isSame(key, name)) continue
    if (rest.length === 0) return [key]
    if (isOpen(value)) continue
    if (!isJsonObject(value)) return [key]
    const inside = touched(value, rest, isOpen)
    if (inside) return [key, ...inside]
  }
  return undefined
}

/** Services differ in how exactly they look at names: `replyTo` may be `reply_to` to one of them. */
function isSame(key: string, name: string): boolean {
  const [one, other] = [plain(key), plain(name)]
  return other.endsWith('*') ? one.startsWith(other.slice(0, -1)) : one === other
}

function plain(name: string): string {
  return name
    .normalize('NFKC')
    .toLowerCase()
    .replaceAll(/[\s_-]/g, '')
}

/** Fields as a form has them: lists repeat a field, and maps are written as JSON. */
export function formFields(
  fields: JsonObject,
): readonly (readonly [name: string, value: string])[] {
  return Object.entries(fields).flatMap(([name, value]) =>
    (Array.isArray(value) ? (value as readonly unknown[]) : [value]).map(
      (one) => [name, textOf(one)] as const,
    ),
  )
}

/** The same as one text, as forms without files are sent. */
export function formText(fields: JsonObject): string {
  const form = new URLSearchParams()
  for (const [name, value] of formFields(fields)) form.append(name, value)
  return form.toString()
}

function textOf(value: unknown): string {
  return (typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).toWellFormed()
}
