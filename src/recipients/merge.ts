import { isJsonObject } from '../json.ts'
/** What is known about a recipient: a JSON object. */
export type Properties = Readonly<Record<string, unknown>>

/**
 * `patch` laid over `base`: objects are merged key by key at every depth, null clears a key, and
 * everything else, lists included, replaces what was there. The result holds no null but in lists.
 */
export function mergeProperties(base: Properties, patch: Properties): Properties {
  // A map, because a key may be named `__proto__`.
  const merged = new Map(Object.entries(base))
  for (const [key, value] of Object.entries(patch)) {
    if (value === null || value === undefined) merged.delete(key)
    else if (isJsonObject(value)) {
      const under = merged.get(key)
      merged.set(key, mergeProperties(isJsonObject(under) ? under : {}, value))
    } else merged.set(key, value)
  }
  return Object.fromEntries(merged)
}
