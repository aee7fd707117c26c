import { describe, expect, test } from 'vitest'
import { startLoop } from '../../src/db/loop.ts'
import { silentLog } from '../../src/log.ts'

/** Long enough that a test which waits for the poll fails by its time limit. */
const NEVER_MS = 3_600_000

function open(turn: () => Promise<boolean>, pollMs = NEVER_MS) {
  return startLoop(turn, { log: silentLog, name: 'test', pollMs })
}

/** Turns that a test answers one by one. */
function turns() {
  const begun: ((more: boolean) => void)[] = []
  const waiting: (() => void)[] = []
  return {
    count: () => begun.length,
    turn: () => {
      const { promise, resolve } = Promise.withResolvers<boolean>()
      begun.push(resolve)
      waiting.shift()?.()
      return promise
    },
    /** Resolves when the turn of that number has begun. */
    begun: async (number: number) => {
      while (begun.length < number) await new Promise<void>((resolve) => waiting.push(resolve))
      return begun[number - 1]
    },
  }
}

describe('a loop', () => {
  test('takes the next turn at once while there is more', async () => {
    const { turn, begun, count } = turns()
    const loop = open(turn)
    const first = await begun(1)
    first?.(true)
    const second = await begun(2)
    second?.(false)
    await loop.close()
    expect(count()).toBe(2)
  })

  test('takes another turn when it was woken during one', async () => {
    const { turn, begun, count } = turns()
    const loop = open(turn)
    const first = await begun(1)
    loop.wake()
    first?.(false)
    const second = await begun(2)
    second?.(false)
    await loop.close()
    expect(count()).toBe(2)
  })

  test('goes on after a turn that failed', async () => {
    const { turn, begun, count } = turns()
    let failed = false
    const loop = open(() => {
      if (failed) return turn()
      failed = true
      return Promise.reject(new Error('connection lost'))
    }, 1)
    const next = await begun(1)
    next?.(false)
    await loop.close()
    expect(count()).toBe(1)
  })

  test('waits for the turn under way when it closes, and takes no other', async () => {
    const { turn, begun, count } = turns()
    const loop = open(turn)
    const first = await begun(1)
    let closed = false
    const closing = loop.close().then(() => (closed = true))
    expect(closed).toBe(false)
    first?.(true)
    await closing
    expect(count()).toBe(1)
  })
})
