/** How long the key of a bucket or a gate may be, in characters. */
export const KEY_LENGTH_MAX = 255

/** The text of a key that data names: undefined where it names none, or a value that is no text, number or boolean. */
export function keyText(value: unknown): string | undefined {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (typeof value !== 'string' || value === '' || value.length > KEY_LENGTH_MAX) return undefined
  return value
}
