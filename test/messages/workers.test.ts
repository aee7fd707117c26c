import { afterEach, beforeEach, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { openQueue } from '../../src/db/queue.ts'
import type { ChannelKey } from '../../src/ids.ts'
import { silentLog } from '../../src/log.ts'
import { insertMessages } from '../../src/messages/store.ts'
import type { NewMessage } from '../../src/messages/store.ts'
import { registerDeliverWorker } from '../../src/messages/workers.ts'
import { testClock } from '../support/clock.ts'
import { test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import {
  aChannel,
  aMessage,
  aWebhookContent,
  clear,
  saveEnvironment,
  saveUser,
  saveWorkflow,
  startOfTest,
} from './builders.ts'
import { aProcess } from './harness.ts'

const OTHER = 'other' as ChannelKey
const HANGING = Array.from({ length: 18 }, (_, index) => `hanging-${index}` as ChannelKey)
let stop: AbortController

beforeEach<{ database: Database }>(async ({ database }) => {
  stop = new AbortController()
  await clear(database)
  const main = aChannel({ type: 'webhook', provider: 'webhook' })
  const others = [OTHER, ...HANGING].map((key) => [key, { ...main, key }])
  await saveEnvironment(database, { main, ...Object.fromEntries(others) })
  await saveWorkflow(database, 'welcome')
  await saveUser(database, 'ann')
})
afterEach(() => {
  stop.abort()
})

test('many messages of a channel that hangs hold no other channel up', async ({ database }) => {
  const clock = testClock(startOfTest)
  const { promise: open, resolve: release } = Promise.withResolvers<void>()
  await using hanging = await startHttp(async (_request, response) => {
    await open
    response.end()
  })
  await using quick = await startHttp()
  const slow = Array.from({ length: 600 }, () =>
    aMessage({ content: aWebhookContent(hanging.url) }),
  )
  const fast = aMessage({ content: aWebhookContent(quick.url), channel: OTHER })
  await using queue = await openQueue(database, { log: silentLog })
  registerDeliverWorker(queue, await aProcess(database, { clock, signal: stop.signal }))
  const insert = (messages: readonly NewMessage[]) =>
    database.transaction(async (tx) => {
      const jobs = await insertMessages(tx, messages, clock.now())
      await queue.enqueue(tx, 'deliver', jobs)
    })
  await insert(slow)
  queue.start()
  await expect.poll(() => hanging.requests.length, { timeout: 10_000 }).toBe(10)
  await insert([fast])
  await expect.poll(() => quick.requests.length, { timeout: 10_000 }).toBe(1)
  release()
  await expect.poll(() => hanging.requests.length, { timeout: 20_000 }).toBe(600)
})

test('any number of channels that hang hold no other channel up', async ({ database }) => {
  const clock = testClock(startOfTest)
  const { promise: open, resolve: release } = Promise.withResolvers<void>()
  await using hanging = await startHttp(async (_request, response) => {
    await open
    response.end()
  })
  await using quick = await startHttp()
  await using queue = await openQueue(database, { log: silentLog })
  registerDeliverWorker(queue, await aProcess(database, { clock, signal: stop.signal }))
  const insert = (messages: readonly NewMessage[]) =>
    database.transaction(async (tx) => {
      const jobs = await insertMessages(tx, messages, clock.now())
      await queue.enqueue(tx, 'deliver', jobs)
    })
  const content = aWebhookContent(hanging.url)
  const slow = HANGING.map((channel) =>
    Array.from({ length: 1 }, () => aMessage({ content, channel })),
  )
  await insert(slow.flat())
  queue.start()
  // There are more of them than there are places for all together.
  await expect.poll(() => hanging.requests.length, { timeout: 10_000 }).toBe(HANGING.length)
  await insert([aMessage({ content: aWebhookContent(quick.url), channel: OTHER })])
  await expect.poll(() => quick.requests.length, { timeout: 5_000 }).toBe(1)
  release()
})
