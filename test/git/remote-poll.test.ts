import { expect, test, vi } from 'vitest'
import { RemotePoll } from '../../src/git/remote-poll.ts'

test('a poll asks once per interval, a little later each time, until it is closed', async () => {
  vi.useFakeTimers()
  try {
    let asked = 0
    let isClosed = false
    const onChange = () => void (asked += 1)
    const poll = new RemotePoll({ pollMs: 30_000, onChange }, () => void (isClosed = true))
    await poll.start()
    await vi.advanceTimersByTimeAsync(29_999)
    expect(asked).toBe(0)
    await vi.advanceTimersByTimeAsync(3001)
    expect(asked).toBe(1)
    await vi.advanceTimersByTimeAsync(330_000)
    expect(asked).toBeGreaterThanOrEqual(10)
    expect(asked).toBeLessThanOrEqual(12)
    await poll.close()
    const before = asked
    await vi.advanceTimersByTimeAsync(330_000)
    poll.ask()
    expect([asked, isClosed]).toEqual([before, true])
  } finally {
    vi.useRealTimers()
  }
})
