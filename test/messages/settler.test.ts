import { beforeEach, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/ids.ts'
import type { MessageId, ProcessId } from '../../src/ids.ts'
import { listDeliveries } from '../../src/messages/log-store.ts'
import { settle } from '../../src/messages/message.ts'
import { openSettler } from '../../src/messages/settler.ts'
import type { Ending } from '../../src/messages/settler.ts'
import { testClock } from '../support/clock.ts'
import { test } from '../support/database.ts'
import { aMessage, aWebhookContent, clear, production, startOfTest } from './builders.ts'
import { insert, statesOf } from './harness.ts'

const clock = testClock(startOfTest)
const process = newId<ProcessId>()
const log = { warn() {} }
const { signal } = new AbortController()
const exchange = {
  request: { method: 'POST', host: 'example.com', path: '/', headers: {}, body: null },
  response: null,
}

beforeEach<{ database: Database }>(async ({ database }) => {
  await clear(database)
})

async function claimedMessages(database: Database, count: number) {
  const content = aWebhookContent('https://example.com/')
  const messages = Array.from({ length: count }, () => aMessage({ content }))
  await insert(database, clock, messages)
  await database.query(sql`
    update messages set attempt = 1, claimed_by = ${process}, claimed_at = ${startOfTest}
    where environment = ${production}
  `)
  return messages
}

function anEnding(id: MessageId, body: unknown = null): Ending {
  const claim = { environment: production, id, attempt: 1 }
  const sent = { ...exchange, request: { ...exchange.request, body } }
  return {
    claim,
    decide: (cancelled) =>
      settle(
        {
          attempt: 1,
          status: 'queued',
          reason: null,
          plannedAt: startOfTest,
          cancelled,
          ambiguous: false,
          onAmbiguous: 'retry',
        },
        { kind: 'accepted', status: 'sent', reference: null, exchange: sent },
        { now: startOfTest, random: 0 },
      ),
    delivery: { ...claim, service: 'webhook', exchange: sent, at: startOfTest },
  }
}

test('what comes while a commit is under way goes into the next', async ({ database }) => {
  const messages = await claimedMessages(database, 100)
  let commits = 0
  const counting: Database = {
    ...database,
    transaction(work) {
      commits += 1
      return database.transaction(work)
    },
  }
  const settler = openSettler({ database: counting, clock, process, signal, log })
  await Promise.all(messages.map(({ id }) => settler.settle(anEnding(id))))
  expect(commits).toBe(2)
  const states = await statesOf(database, messages)
  expect(states.every(({ status, claimed_by: by }) => status === 'sent' && by === null)).toBe(true)
})

test('a database that is away for a while loses nothing', async ({ database }) => {
  const messages = await claimedMessages(database, 3)
  let failures = 0
  const failing: Database = {
    ...database,
    transaction(work) {
      failures += 1
      return failures < 7
        ? Promise.reject(new Error('connection lost'))
        : database.transaction(work)
    },
  }
  const settler = openSettler({ database: failing, clock, process, signal, log })
  await Promise.all(messages.map(({ id }) => settler.settle(anEnding(id))))
  const states = await statesOf(database, messages)
  expect(states.every(({ status }) => status === 'sent')).toBe(true)
})

test('an answer that Postgres refuses holds up neither the others nor its own message', async ({
  database,
}) => {
  const messages = await claimedMessages(database, 3)
  const settler = openSettler({ database, clock, process, signal, log })
  const bodies = [null, 'a\0b', null]
  await Promise.all(messages.map(({ id }, index) => settler.settle(anEnding(id, bodies[index]))))
  const states = await statesOf(database, messages)
  expect(states.every(({ status }) => status === 'sent')).toBe(true)
  const logs = await Promise.all(messages.map(({ id }) => listDeliveries(database, production, id)))
  expect(logs.map((entries) => entries.length)).toEqual([1, 0, 1])
})

test('a claim of another process, or of an earlier attempt, is left alone', async ({
  database,
}) => {
  const messages = await claimedMessages(database, 1)
  const { id } = messages[0]!
  const stranger = openSettler({ database, clock, process: newId<ProcessId>(), signal, log })
  await stranger.settle(anEnding(id))
  const late = anEnding(id)
  await openSettler({ database, clock, process, signal, log }).settle({
    ...late,
    claim: { ...late.claim, attempt: 0 },
  })
  expect(await statesOf(database, messages)).toMatchObject([
    { status: 'queued', claimed_by: process },
  ])
})

test('a process that stops does not wait for a database that is away', async ({ database }) => {
  const [message] = await claimedMessages(database, 1)
  const stopping = new AbortController()
  const away: Database = {
    ...database,
    transaction: () => Promise.reject(new Error('connection refused')),
  }
  const settler = openSettler({ database: away, clock, process, signal: stopping.signal, log })
  const settling = settler.settle(anEnding(message!.id))
  stopping.abort()
  await settling
  expect(await statesOf(database, [message!])).toMatchObject([{ claimed_by: process }])
})
