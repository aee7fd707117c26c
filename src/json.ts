/** A JSON object as it comes from outside: any keys, any values. */
export type JsonObject = Readonly<Record<string, unknown>>

/** About how much memory a JSON value takes, in bytes of its text. */
export function weightOf(value: unknown): number {
  if (typeof value === 'string') return value.length
  if (typeof value !== 'object' || value === null) return 8
  let weight = 2
  for (const key of Object.keys(value)) weight += key.length + weightOf((value as JsonObject)[key])
  return weight
}

/** Whether a value is an object, and neither null nor a list. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
