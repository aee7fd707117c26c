import { describe, expect } from 'vitest'
import { notify, openTopics } from '../../src/db/topics.ts'
import { silentLog } from '../../src/log.ts'
import { test } from '../support/database.ts'

/** Collects what is heard, and lets a test wait for the next of it. */
function ear() {
  const heard: (string | undefined)[] = []
  const waiting: (() => void)[] = []
  return {
    hear: (payload: string | undefined) => {
      heard.push(payload)
      waiting.shift()?.()
    },
    next: async (): Promise<string | undefined> => {
      if (heard.length === 0) await new Promise<void>((resolve) => waiting.push(resolve))
      return heard.shift()
    },
  }
}

describe('topics', () => {
  test('carry what a transaction says when it commits, and only then', async ({ database }) => {
    await using topics = openTopics(database.url, { log: silentLog })
    const { hear, next } = ear()
    await topics.listen('belfry_reconcile', hear)
    const failing = database.transaction(async (tx) => {
      await notify(tx, 'belfry_reconcile', 'lost')
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await database.transaction((tx) => notify(tx, 'belfry_reconcile', 'production'))
    expect(await next()).toBe('production')
  })

  test('say that messages may be missing when the connection was down', async ({ database }) => {
    await using topics = openTopics(database.url, { log: silentLog })
    const { hear, next } = ear()
    await topics.listen('belfry_reconcile', hear)
    await database.execute(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and query like 'listen%'`,
    )
    expect(await next()).toBeUndefined()
    await notify(database, 'belfry_reconcile', 'back')
    expect(await next()).toBe('back')
  })

  test('refuse a message that Postgres would refuse', async ({ database }) => {
    await expect(notify(database, 'belfry_reconcile', 'x'.repeat(8000))).rejects.toThrow('longer')
  })
})
