import { expect, test, vi } from 'vitest'
import { RemotePoll } from '../../src/git/remote-poll.ts'

test('a poll asks once per interval, a little later each time, until it is closed', async () => {
  vi.useFakeTimers()
  try {
    let asked = 0
    let isClosed = false
    const times: number[] = []
    const onChange = () => {
      asked += 1
      times.push(Date.now())
    }
    const poll = new RemotePoll({ pollMs: 30_000, onChange }, () => void (isClosed = true))
    await poll.start()
    await vi.advanceTimersByTimeAsync(29_999)
    expect(asked).toBe(0)
    await vi.advanceTimersByTimeAsync(3001)
    expect(asked).toBe(1)
    await vi.advanceTimersByTimeAsync(330_000)
    expect(asked).toBeGreaterThanOrEqual(10)
    expect(asked).toBeLessThanOrEqual(12)
    // By chance, so that many processes do not ask at the same time.
    const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0))
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(30_000)
    expect(new Set(gaps).size).toBeGreaterThan(1)
    await poll.close()
    expect(vi.getTimerCount()).toBe(0)
    const before = asked
    await vi.advanceTimersByTimeAsync(330_000)
    poll.ask()
    expect([asked, isClosed]).toEqual([before, true])
  } finally {
    vi.useRealTimers()
  }
})
