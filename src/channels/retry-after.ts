export const RETRY_AFTER_MS_MAX = 3_600_000

/** How long a `Retry-After` asks to wait, in milliseconds: seconds or an HTTP date; an hour at most. */
export function parseRetryAfter(value: string | undefined, now: Date): number | undefined {
  const text = value?.trim() ?? ''
  if (text === '') return undefined
  if (/^\d+(\.\d+)?$/.test(text))
    return Math.min(Math.ceil(Number(text) * 1000), RETRY_AFTER_MS_MAX)
  const at = Date.parse(text)
  if (Number.isNaN(at)) return undefined
  return Math.min(Math.max(at - now.getTime(), 0), RETRY_AFTER_MS_MAX)
}
