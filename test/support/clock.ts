import type { Clock } from '../../src/clock.ts'

export interface TestClock extends Clock {
  /** Moves the time on by so many milliseconds and returns it. */
  advance(ms: number): Date
  set(at: Date | string): void
}

/** A clock that stands still until a test moves it. */
export function testClock(at: Date | string): TestClock {
  let time = new Date(at).getTime()
  return {
    now: () => new Date(time),
    advance(ms) {
      time += ms
      return new Date(time)
    },
    set(to) {
      time = new Date(to).getTime()
    },
  }
}
