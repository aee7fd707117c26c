import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/ids.ts'
import type {
  ChannelKey,
  EnvironmentName,
  MessageId,
  RunId,
  StepRef,
  VersionId,
  WorkflowKey,
  WorkflowRunId,
} from '../../src/ids.ts'
import {
  findMessage,
  findMessageEvents,
  listDeliveries,
  listMessages,
  loadMessageContents,
} from '../../src/messages/log-store.ts'
import type { MessageFilter } from '../../src/messages/log-store.ts'
import { cancelMessages, insertMessages, loadMessageStatuses } from '../../src/messages/store.ts'
import type { NewMessage } from '../../src/messages/store.ts'
import { loadEnvironment } from '../../src/messages/environments.ts'
import { contentToWire, eventsToWire, messageToWire } from '../../src/messages/wire.ts'
import { test } from '../support/database.ts'
import {
  aChannel,
  aMessage,
  anEmailContent,
  aWebhookContent,
  clear,
  production,
  saveEnvironment,
  saveWorkflow,
  startOfTest as now,
} from './builders.ts'

const content = aWebhookContent('https://example.com/')

beforeEach<{ database: Database }>(async ({ database }) => {
  await clear(database)
  const channel = aChannel({ type: 'webhook', provider: 'webhook', name: 'Main hook' })
  await saveEnvironment(database, { main: channel })
  await saveWorkflow(database, 'welcome')
})

async function insert(database: Database, messages: readonly NewMessage[], at = now) {
  return await database.transaction((tx) => insertMessages(tx, messages, at))
}

async function idsOf(database: Database, filter: MessageFilter): Promise<readonly MessageId[]> {
  const { rows } = await listMessages(database, production, filter, { size: 50 })
  return rows.map(({ id }) => id)
}

describe('inserting', () => {
  test('writes each status with its history', async ({ database }) => {
    const queued = aMessage({ content })
    const stored = aMessage({
      content: {
        type: 'in_app',
        body: { content: 'Hi', rendered: '<p>Hi</p>' },
        action_url: null,
        buttons: [],
      },
      provider: 'in_app',
      status: 'delivered',
    })
    const sandboxed = aMessage({ content, status: 'not_sent', reason: 'sandbox' })
    expect(await insert(database, [queued, stored, sandboxed])).toEqual([
      { lane: 'production/main', environment: production, messageIds: [queued.id] },
    ])
    for (const [{ id }, status, reason] of [
      [queued, 'queued', null],
      [stored, 'delivered', null],
      [sandboxed, 'not_sent', 'sandbox'],
    ] as const) {
      expect(await findMessage(database, production, id)).toMatchObject({ status, reason })
      const history = await findMessageEvents(database, production, id)
      expect(history?.events.map(({ type }) => type)).toEqual([
        'message.created',
        `message.${status}`,
      ])
    }
  })

  test('a second time changes nothing', async ({ database }) => {
    const message = aMessage({ content })
    await insert(database, [message])
    expect(await insert(database, [{ ...message, id: newId<MessageId>() }])).toEqual([])
    expect(await idsOf(database, {})).toEqual([message.id])
  })
})

describe('a list', () => {
  test('is narrowed by every filter', async ({ database }) => {
    const one = aMessage({ content, tenant: 'acme', workflow: 'digest' as WorkflowKey })
    const two = aMessage({
      content,
      recipient: { collection: 'teams', id: 'core' },
      channel: 'other' as ChannelKey,
    })
    const three = aMessage({ content, status: 'not_sent', reason: 'sandbox' })
    const elsewhere = aMessage({ content, environment: 'staging' as EnvironmentName })
    await insert(database, [one, two, elsewhere])
    await insert(database, [three], new Date(now.getTime() + 1_000))
    const cases: readonly [MessageFilter, readonly NewMessage[]][] = [
      [{}, [three, two, one]],
      [{ ids: [one.id, elsewhere.id] }, [one]],
      [{ statuses: ['queued'] }, [two, one]],
      [{ statuses: ['not_sent', 'sent'] }, [three]],
      [{ workflow: 'digest' }, [one]],
      [{ workflowRunId: two.workflowRunId }, [two]],
      [{ runId: three.runId }, [three]],
      [{ recipient: { collection: 'teams', id: 'core' } }, [two]],
      [{ recipient: { collection: '$users', id: 'core' } }, []],
      [{ channel: 'other' as ChannelKey }, [two]],
      [{ tenant: 'acme' }, [one]],
      [{ insertedAt: { gt: now } }, [three]],
      [{ insertedAt: { gte: now } }, [three, two, one]],
      [{ insertedAt: { lt: now } }, []],
      [{ insertedAt: { lte: now } }, [two, one]],
      [{ statuses: ['queued'], tenant: 'acme', workflow: 'welcome' }, []],
    ]
    for (const [filter, expected] of cases) {
      expect(await idsOf(database, filter)).toEqual(expected.map(({ id }) => id))
    }
  })

  test('is narrowed by what was done with a message and by what it is about', async ({
    database,
  }) => {
    const one = aMessage({ content, data: { page: 7, draft: false, by: { id: 'ann' }, text: '7' } })
    const two = aMessage({ content, data: { page: 7, draft: true } })
    const three = aMessage({ content, versionId: 'version-2' as VersionId })
    await insert(database, [one, two, three])
    await database.query(sql`
      update messages set seen_at = ${now}, archived_at = ${now}
      where environment = ${production} and id = ${one.id}
    `)
    await database.query(sql`
      update messages set read_at = ${now}, link_clicked_at = ${now}, interacted_at = ${now}
      where environment = ${production} and id = ${two.id}
    `)
    const cases: readonly [MessageFilter, readonly NewMessage[]][] = [
      [{ engagement: ['seen'] }, [one]],
      [{ engagement: ['unseen'] }, [three, two]],
      [{ engagement: ['read'] }, [two]],
      [{ engagement: ['unread'] }, [three, one]],
      [{ engagement: ['archived'] }, [one]],
      [{ engagement: ['unarchived'] }, [three, two]],
      [{ engagement: ['link_clicked'] }, [two]],
      [{ engagement: ['interacted'] }, [two]],
      [{ engagement: ['seen', 'read'] }, [two, one]],
      [{ engagement: [] }, []],
      [{ categories: ['news'] }, [two, one]],
      [{ categories: ['other', 'news'] }, [two, one]],
      [{ categories: ['other'] }, []],
      [{ triggerData: { page: 7 } }, [two, one]],
      [{ triggerData: { page: 7, draft: true } }, [two]],
      [{ triggerData: { page: '7' } }, []],
      [{ triggerData: { text: '7' } }, [one]],
      [{ triggerData: {} }, [three, two, one]],
    ]
    for (const [filter, expected] of cases) {
      expect({ filter, ids: await idsOf(database, filter) }).toEqual({
        filter,
        ids: expected.map(({ id }) => id),
      })
    }
  })

  test('is walked forwards and backwards without a gap or a repetition', async ({ database }) => {
    const messages = Array.from({ length: 7 }, () => aMessage({ content }))
    await insert(database, messages)
    const newestFirst = messages.map(({ id }) => id).toReversed()
    const seen: MessageId[][] = []
    let after: string | null = null
    do {
      const page = await listMessages(
        database,
        production,
        {},
        { size: 3, ...(after !== null && { after }) },
      )
      seen.push(page.rows.map(({ id }) => id))
      after = page.after
    } while (after !== null)
    expect(seen).toEqual([newestFirst.slice(0, 3), newestFirst.slice(3, 6), newestFirst.slice(6)])
    const back = await listMessages(database, production, {}, { size: 3, before: newestFirst[6]! })
    expect(back.rows.map(({ id }) => id)).toEqual(newestFirst.slice(3, 6))
    const first = await listMessages(database, production, {}, { size: 3, before: back.before! })
    expect(first.rows.map(({ id }) => id)).toEqual(newestFirst.slice(0, 3))
    expect(first.before).toBeNull()
  })

  test('of a page reads along the key and sorts nothing', async ({ database }) => {
    await insert(
      database,
      Array.from({ length: 300 }, () => aMessage({ content })),
    )
    await database.execute('analyze messages')
    const { rows } = await database.execute(
      `explain select id from messages m where environment = 'production' and (null::uuid is null or id < null::uuid)
       order by case when null::uuid is null then id end desc, case when null::uuid is not null then id end asc limit 3`,
    )
    expect(JSON.stringify(rows)).toContain('Index Only Scan Backward using messages_pkey')
  })
})

test('cancelling ends what waits, marks what is claimed, and leaves what is done', async ({
  database,
}) => {
  const runId = newId<RunId>()
  const [waits, claimed, done] = ['a', 'b', 'c'].map((ref) =>
    aMessage({ content, runId, stepRef: ref as StepRef }),
  )
  const other = aMessage({ content })
  await insert(database, [waits!, claimed!, { ...done!, status: 'delivered' }, other])
  await database.query(sql`
    update messages set claimed_by = ${newId()}, claimed_at = ${now}
    where environment = ${production} and id = ${claimed!.id}
  `)
  expect(await database.transaction((tx) => cancelMessages(tx, production, [runId], now))).toBe(2)
  expect(await database.transaction((tx) => cancelMessages(tx, production, [runId], now))).toBe(0)
  expect(await findMessage(database, production, waits!.id)).toMatchObject({
    status: 'not_sent',
    reason: 'cancelled',
  })
  expect(await findMessage(database, production, claimed!.id)).toMatchObject({
    status: 'queued',
    reason: null,
  })
  expect(await findMessage(database, production, done!.id)).toMatchObject({ status: 'delivered' })
  expect(await findMessage(database, production, other.id)).toMatchObject({ status: 'queued' })
})

test('cancelling what an earlier attempt may have handed over does not say that nothing went out', async ({
  database,
}) => {
  const message = aMessage({ content })
  await insert(database, [message])
  const attempted = { type: 'message.delivery_attempted', at: now }
  const events = [
    { ...attempted, data: { attempt: 1, reason: 'handover_unknown', ambiguous: true } },
    { ...attempted, data: { attempt: 2, reason: 'delivery_failed' } },
  ]
  await database.query(sql`
    update messages
    set status = 'delivery_attempted', reason = 'delivery_failed', attempt = 2,
        events = events || ${JSON.stringify(events)}::jsonb
    where environment = ${production} and id = ${message.id}
  `)
  await database.transaction((tx) => cancelMessages(tx, production, [message.runId], now))
  expect(await findMessage(database, production, message.id)).toMatchObject({
    status: 'undelivered',
    reason: 'handover_unknown',
  })
  const history = await findMessageEvents(database, production, message.id)
  expect(history?.events.at(-1)).toMatchObject({
    type: 'message.undelivered',
    data: { reason: 'handover_unknown', stopped_by: 'cancelled', ambiguous: true },
  })
})

test('the states of a run’s messages are those that conditions read', async ({ database }) => {
  const message = aMessage({ content, status: 'delivered' })
  await insert(database, [message, aMessage({ content })])
  await database.query(sql`
    update messages set seen_at = ${now}, archived_at = ${now}
    where environment = ${production} and id = ${message.id}
  `)
  expect(await loadMessageStatuses(database, production, [message.runId])).toEqual([
    {
      runId: message.runId,
      stepRef: 'send',
      status: 'delivered',
      reason: null,
      engagement: ['seen', 'archived'],
    },
  ])
})

test('a message, its content and its history have the shape of the contract', async ({
  database,
}) => {
  const message = aMessage({
    content: anEmailContent({ cc: ['cy@example.com'] }),
    recipient: { collection: 'teams', id: 'core' },
    actor: { collection: '$users', id: 'ann' },
    workflowRunId: newId<WorkflowRunId>(),
    data: { n: 1 },
  })
  await insert(database, [message])
  const row = await findMessage(database, production, message.id)
  expect(JSON.parse(JSON.stringify(messageToWire(row!)))).toMatchObject({
    __typename: 'Message',
    id: message.id,
    channel: { key: 'main', name: 'Main hook', provider: 'webhook', type: 'email' },
    recipient: { collection: 'teams', id: 'core' },
    actors: ['ann'],
    source: {
      __typename: 'NotificationSource',
      key: 'welcome',
      version_id: 'version-1',
      categories: ['news'],
      step_ref: 'send',
      workflow_run_id: message.workflowRunId,
      workflow_recipient_run_id: message.runId,
    },
    status: 'queued',
    reason: null,
    engagement_statuses: [],
    data: { n: 1 },
    inserted_at: '2030-01-01T00:00:00.000Z',
  })
  const [contents] = await loadMessageContents(database, production, [message.id])
  expect(contentToWire(contents!)).toMatchObject({
    __typename: 'MessageContent',
    message_id: message.id,
    data: {
      __typename: 'MessageEmailContent',
      subject_line: 'Hello',
      cc: 'cy@example.com',
      bcc: null,
    },
  })
  const history = await findMessageEvents(database, production, message.id)
  expect(eventsToWire(history!)).toMatchObject([
    {
      __typename: 'MessageEvent',
      type: 'message.created',
      recipient: { collection: 'teams', id: 'core' },
    },
    { __typename: 'MessageEvent', type: 'message.queued' },
  ])
})

test('a mail is from whom its channel says where its step names nobody', async ({ database }) => {
  const smtp = aChannel({ type: 'email', provider: 'smtp' })
  const fromOf = async (from: string | null, settings: Readonly<Record<string, unknown>>) => {
    await saveEnvironment(database, { main: { ...smtp, settings } })
    const message = aMessage({ content: anEmailContent({ from }) })
    await insert(database, [message])
    const [row] = await loadMessageContents(database, production, [message.id])
    return (contentToWire(row!) as { data: { from: string } }).data.from
  }
  const settings = { from: 'Us <us@example.com>' }
  expect(await fromOf(null, settings)).toBe('Us <us@example.com>')
  expect(await fromOf('me@example.com', settings)).toBe('me@example.com')
  expect(await fromOf(null, { from: { secret: 'SENDER' } })).toBe('')
})

test('an id that is none, or of another environment, finds nothing', async ({ database }) => {
  const message = aMessage({ content })
  await insert(database, [message])
  const staging = 'staging' as EnvironmentName
  expect(await findMessage(database, production, 'x')).toBeUndefined()
  expect(await findMessage(database, staging, message.id)).toBeUndefined()
  expect(await findMessageEvents(database, staging, message.id)).toBeUndefined()
  expect(await loadMessageContents(database, staging, [message.id, 'x'])).toEqual([])
  expect(await listDeliveries(database, production, 'x')).toEqual([])
})

test('an environment is read anew when it has changed, and only as the transaction sees it', async ({
  database,
}) => {
  const before = await loadEnvironment(database, production)
  expect(await loadEnvironment(database, production)).toBe(before)
  const changing = database.transaction(async (tx) => {
    await tx.query(
      sql`update environments set settings = '{"locale": "de"}' where name = ${production}`,
    )
    expect((await loadEnvironment(tx, production))?.settings.locale).toBe('de')
    await tx.query(
      sql`update environments set settings = '{"locale": "fr"}' where name = ${production}`,
    )
    expect((await loadEnvironment(tx, production))?.settings.locale).toBe('fr')
    expect((await loadEnvironment(database, production))?.settings.locale).toBe('en')
    throw new Error('undo')
  })
  await expect(changing).rejects.toThrow('undo')
  expect((await loadEnvironment(database, production))?.settings.locale).toBe('en')
  expect(await loadEnvironment(database, 'none' as EnvironmentName)).toBeUndefined()
})
