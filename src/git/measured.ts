import type { Metrics } from '../metrics.ts'

/** Takes a pack, and counts how long that lasts and what is received. */
export async function measured(
  metrics: Metrics,
  pack: AsyncIterable<Uint8Array>,
  take: (pack: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<void> {
  const elapsed = metrics.stopwatch()
  let bytes = 0
  const counted = async function* () {
    for await (const chunk of pack) {
      bytes += chunk.length
      yield chunk
    }
  }
  let result = 'failed'
  try {
    await take(counted())
    result = 'ok'
  } finally {
    metrics.observe('fetch_seconds', { result }, elapsed())
    metrics.observe('fetch_bytes', {}, bytes)
  }
}
