import { beforeEach, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { deliver } from '../../src/messages/deliver.ts'
import { enqueueDueMessages, releaseDeadClaims } from '../../src/messages/due.ts'
import { insertMessages } from '../../src/messages/store.ts'
import { openSettler, type Ending, type Settler } from '../../src/messages/settler.ts'
import { testClock } from '../support/clock.ts'
import { counted } from '../support/counted.ts'
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

beforeEach<{ database: Database }>(async ({ database }) => {
  await clear(database)
  await saveEnvironment(database, { main: aChannel({ type: 'webhook', provider: 'webhook' }) })
  await saveWorkflow(database, 'welcome')
  await saveUser(database, 'ann')
})

const nowhere = () => Promise.resolve()

/** Hands so many messages over, and says how many statements each part of that took. */
async function statementsFor(database: Database, size: number) {
  const clock = testClock(startOfTest)
  const { signal } = new AbortController()
  await using server = await startHttp()
  const watched = counted(database)
  const statements = async (work: () => Promise<unknown>) => {
    const before = watched.count()
    await work()
    return watched.count() - before
  }
  const content = aWebhookContent(server.url)
  const messages = Array.from({ length: size }, () => aMessage({ content }))
  const stored = await statements(() =>
    watched.database.transaction((tx) => insertMessages(tx, messages, clock.now())),
  )
  clock.advance(61_000)
  const found = await statements(async () => {
    const loop = { database: watched.database, enqueue: nowhere }
    expect(await enqueueDueMessages(loop, clock.now())).toBe(size)
  })
  const process = await aProcess(watched.database, { clock, signal })
  // The ends of all hand-overs, to be settled together below: else chance says how many come at once.
  const endings: Ending[] = []
  const keep = async (ending: Ending) => void endings.push(ending)
  const settler = { settle: keep } as unknown as Settler
  const job = { environment: messages[0]!.environment, messageIds: messages.map(({ id }) => id) }
  const claimed = await statements(() => deliver({ ...process, settler }, job))
  const log = { warn: (message: string) => expect.fail(message) }
  const own = openSettler({ ...process, database: watched.database, signal, log })
  const settled = await statements(async () => {
    // The first one goes at once, and those that come meanwhile go together.
    await Promise.all(endings.map((ending) => own.settle(ending)))
  })
  expect(endings).toHaveLength(size)
  expect(server.requests).toHaveLength(size)
  const again = Array.from({ length: size }, () => aMessage({ content }))
  await database.transaction((tx) => insertMessages(tx, again, clock.now()))
  const lost = { ...process, settler }
  await deliver(lost, { ...job, messageIds: again.map(({ id }) => id) })
  const freed = await statements(async () => {
    expect(await releaseDeadClaims(process, clock.advance(1_000))).toBe(size)
  })
  return { stored, found, claimed, settled, freed }
}

test('the number of statements is the same for 2 messages, for 20 and for 200', async ({
  database,
}) => {
  const few = await statementsFor(database, 2)
  expect(Math.min(...Object.values(few))).toBeGreaterThan(0)
  expect(await statementsFor(database, 20)).toEqual(few)
  expect(await statementsFor(database, 200)).toEqual(few)
})

test('and one message alone takes no more', async ({ database }) => {
  const few = await statementsFor(database, 2)
  const one = await statementsFor(database, 1)
  // It is settled in one go, and others behind it in a second one.
  expect(one).toEqual({ ...few, settled: few.settled / 2 })
})
