import { readFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { openMetrics } from '../../src/app/metrics.ts'
import { openQueue } from '../../src/db/queue.ts'
import { silentLog } from '../../src/log.ts'
import { METRICS, type MetricShape } from '../../src/metrics.ts'
import { testClock } from '../support/clock.ts'
import { cloneBlank, setReachable, test } from '../support/database.ts'

const PAGE = new URL('../../docs/spec/metrics.md', import.meta.url)
const START = '2026-03-01T12:00:00Z'

/** The value of a sample without labels. */
function valueOf(text: string, name: string): number | undefined {
  const found = new RegExp(`^belfry_${name} (.+)$`, 'm').exec(text)
  return found ? Number(found[1]) : undefined
}

describe('metrics', () => {
  test('are listed in docs/spec/metrics.md, each as it is, and no other', () => {
    const rows = readFileSync(PAGE, 'utf8').matchAll(
      /^\| `belfry_(\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$/gm,
    )
    const listed = [...rows].map(([, name, kind, labels = '', help]) => {
      const words = [...labels.matchAll(/`(\w+)`/g)].map(([, word]) => word)
      return [name, { kind, labels: words, help }] as const
    })
    const known = Object.entries<MetricShape>(METRICS).map(
      ([name, { kind, labels, help }]) => [name, { kind, labels: [...labels], help }] as const,
    )
    expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(known))
  })

  test('of two apps in one process are apart', async ({ database }) => {
    await using queue = await openQueue(database, { log: silentLog })
    const options = { database, queue, clock: testClock(START), log: silentLog }
    const [one, other] = [openMetrics(options), openMetrics(options)]
    one.count('watch_events_total', {}, 3)
    expect(valueOf(await one.expose(), 'watch_events_total')).toBe(3)
    expect(valueOf(await other.expose(), 'watch_events_total')).toBe(0)
  })

  test('show who leads and when refs were read, and nothing where that is not known', async ({
    database,
  }) => {
    await using queue = await openQueue(database, { log: silentLog })
    const clock = testClock(START)
    const metrics = openMetrics({ database, queue, clock, log: silentLog })
    const before = await metrics.expose()
    expect(valueOf(before, 'leader')).toBe(0)
    expect(valueOf(before, 'poll_age_seconds')).toBeUndefined()
    const polledAt = clock.now()
    metrics.watch({ isLeading: true, polledAt })
    clock.advance(7_000)
    const after = await metrics.expose()
    expect(valueOf(after, 'leader')).toBe(1)
    expect(valueOf(after, 'poll_age_seconds')).toBe(7)
  })

  test('are shown with the age of their counts while Postgres does not answer', async () => {
    const clone = await cloneBlank()
    await using stack = new AsyncDisposableStack()
    stack.defer(() => clone.drop())
    const { database } = clone
    const queue = stack.use(await openQueue(database, { log: silentLog }))
    const clock = testClock(START)
    const metrics = openMetrics({ database, queue, clock, log: silentLog })
    expect(valueOf(await metrics.expose(), 'counts_age_seconds')).toBe(0)
    // Asked no more often than every ten seconds.
    clock.advance(9_000)
    expect(valueOf(await metrics.expose(), 'counts_age_seconds')).toBe(9)
    clock.advance(1_000)
    expect(valueOf(await metrics.expose(), 'counts_age_seconds')).toBe(0)
    await setReachable(database, false)
    clock.advance(60_000)
    metrics.count('watch_events_total', {})
    const text = await metrics.expose()
    expect(valueOf(text, 'counts_age_seconds')).toBe(60)
    expect(valueOf(text, 'watch_events_total')).toBe(1)
    await setReachable(database, true)
  })
})
