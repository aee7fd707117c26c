import type { RemoteLimits } from './remote.ts'

const MEGABYTE = 1024 * 1024

/** What a remote may take, unless told otherwise. */
export const REMOTE_LIMITS: RemoteLimits = {
  list: { idleMs: 30_000, totalMs: 60_000, bytesMax: 64 * MEGABYTE },
  fetch: { idleMs: 60_000, totalMs: 15 * 60_000, bytesMax: 1024 * MEGABYTE },
  patienceMs: 10_000,
  packsMax: 100,
  pullsMax: 20_000,
}
