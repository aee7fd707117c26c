import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Database } from '../../src/db/database.ts'
import type { ChannelKey, StepRef } from '../../src/ids.ts'
import { deliver } from '../../src/messages/deliver.ts'
import { cancelMessages } from '../../src/messages/store.ts'
import type { NewMessage } from '../../src/messages/store.ts'
import { setSwitch } from '../../src/messages/switches.ts'
import type { TestClock } from '../support/clock.ts'
import { test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import { aChannel, aMessage, aWebhookContent, production, saveEnvironment } from './builders.ts'
import { aProcess, insert, off, stateOf, statesOf, prepare } from './harness.ts'

let clock: TestClock
let stop: AbortController

beforeEach<{ database: Database }>(async ({ database }) => {
  ;({ clock, stop } = await prepare(database, {
    main: aChannel({ type: 'webhook', provider: 'webhook' }),
  }))
})
afterEach(() => {
  stop.abort()
})

// These are about real time: what starts how long after the answer of the switch.
describe('a switch', () => {
  test('stops what waits in a claimed batch of slow hand-overs within a second', async ({
    database,
  }) => {
    const starts: number[] = []
    await using server = await startHttp(async (_request, response) => {
      starts.push(performance.now())
      await sleep(250)
      response.end()
    })
    const messages = Array.from({ length: 60 }, () =>
      aMessage({ content: aWebhookContent(server.url) }),
    )
    clock.set(new Date())
    const job = await insert(database, clock, messages)
    const delivering = deliver(
      await aProcess(database, { clock: systemClock, signal: stop.signal }),
      job,
    )
    await sleep(400)
    await database.transaction((tx) => setSwitch(tx, { ...off, now: new Date() }))
    const answeredAt = performance.now()
    await delivering
    expect(Math.max(...starts) - answeredAt).toBeLessThan(1_000)
    const states = await statesOf(database, messages)
    const stopped = states.filter(({ reason }) => reason === 'workflow_inactive')
    expect(stopped.length).toBe(60 - starts.length)
    expect(stopped.length).toBeGreaterThan(20)
    expect(stopped.every(({ attempt, claimed_by: by }) => attempt === 0 && by === null)).toBe(true)
  })

  test('of one channel leaves the others', async ({ database }) => {
    const channel = aChannel({ type: 'webhook', provider: 'webhook' })
    await saveEnvironment(database, { main: channel, other: channel })
    await using server = await startHttp()
    const one = aMessage({ content: aWebhookContent(server.url) })
    const two = aMessage({
      content: aWebhookContent(server.url),
      channel: 'other' as ChannelKey,
      stepRef: 'b' as StepRef,
    })
    const job = await insert(database, clock, [one, two])
    await database.transaction((tx) => setSwitch(tx, { ...off, channel: 'other' }))
    await deliver(await aProcess(database, { clock, signal: stop.signal }), job)
    expect((await stateOf(database, one.id)).status).toBe('delivered')
    expect((await stateOf(database, two.id)).reason).toBe('workflow_inactive')
  })
})

describe('a cancel while a message is being handed over', () => {
  test.for([
    [500, 'not_sent', 'cancelled'],
    [429, 'not_sent', 'cancelled'],
    [200, 'delivered', null],
  ] as const)('and answered %i leaves it %s', async ([status, expected, reason], { database }) => {
    const message: NewMessage[] = []
    await using server = await startHttp(async (_request, response) => {
      const [{ runId }] = message as [NewMessage]
      const matched = await database.transaction((tx) =>
        cancelMessages(tx, production, [runId], clock.now()),
      )
      expect(matched).toBe(1)
      response.writeHead(status).end()
    })
    message.push(aMessage({ content: aWebhookContent(server.url) }))
    const { id } = message[0]!
    await deliver(
      await aProcess(database, { clock, signal: stop.signal }),
      await insert(database, clock, message),
    )
    expect(await stateOf(database, id)).toMatchObject({ status: expected, reason, due_at: null })
  })
})
