/** The only source of the present time. Tests pass one they can move. */
export interface Clock {
  now(): Date
}

export const systemClock: Clock = { now: () => new Date() }

/** Milliseconds on a watch that only runs forward: for how long something took, never for what time it is. */
export function stopwatch(): number {
  return performance.now()
}
