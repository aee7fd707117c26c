import { setImmediate, setTimeout } from 'node:timers/promises'
import { stopwatch } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'

/** For how long work may keep the process's thread, unless a single piece takes longer. */
const TURN_MS = 100
/** Behind longer work the thread is free for so much of the time that it took. */
const PAUSE_PART = 1 / 4

let last: Promise<unknown> = Promise.resolve()

/**
 * Does work that has the thread for itself, piece by piece, so that beats, requests and hand-overs come to their
 * turn between the pieces. There is one such work at a time in the process: several would keep the thread by turns.
 */
export async function inTurns(tx: Transaction, work: Iterator<unknown>): Promise<void> {
  for (let done = false, turn = 0; !done; turn += 1) {
    const before = last
    const { promise, resolve } = Promise.withResolvers<unknown>()
    last = promise
    await before
    let began = stopwatch()
    try {
      // What came in meanwhile is looked at first, and Postgres ends a transaction that is silent for long.
      if (turn === 0) await setImmediate()
      else await tx.query(sql`select 1`)
      began = stopwatch()
      do done = work.next().done === true
      while (!done && stopwatch() - began < TURN_MS)
    } finally {
      const took = stopwatch() - began
      resolve(took < TURN_MS ? undefined : setTimeout(took * PAUSE_PART))
    }
  }
}
