import { expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { addMembers } from '../../src/recipients/audience-store.ts'
import { upsertRecipients } from '../../src/recipients/store.ts'
import { joinAudience } from '../../src/runs/audience.ts'
import { counted } from '../support/counted.ts'
import { test } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const environment = 'production' as EnvironmentName

const workflow = (audiences: string) => `
name: Welcome
trigger: { audiences: [${audiences}] }
steps:
  - { ref: feed, type: in_app, body: "Hello {{recipient.id}}" }
`

/** As a field of a step. */
const only = (operator: string, audience: string) =>
  `conditions: { all: [{ variable: recipient, operator: ${operator}, argument: ${audience} }] }`

async function join(
  { queue, clock, ...engine }: Engine,
  ids: readonly string[],
  database: Database = engine.database,
): Promise<void> {
  const now = clock.now()
  await database.transaction(async (tx) => {
    const users = ids.map((id) => ({ collection: '$users', id, properties: {} }))
    await upsertRecipients(tx, environment, users, now)
    const members = ids.map((user) => ({ user, tenant: null }))
    await joinAudience(tx, { queue, environment, now }, { audience: 'beta', members })
  })
}

test('conditions of every kind ask for the audiences of the recipient', async ({ database }) => {
  const production = `ref: main
channels:
  feed: { type: in_app, provider: in_app }
  mail: { type: email, provider: smtp, sandbox: true, settings: { host: 127.0.0.1, from: a@example.com } }
preferences: { channel_types: { email: { conditions: [{ variable: recipient, operator: is_not_audience_member, argument: quiet }] } } }
`
  await using engine = await openEngine(database, { environments: { production } })
  await engine.commit({
    'workflows/hello/workflow.yaml': `name: Hello
steps:
  - { ref: member, type: in_app, body: x, ${only('is_audience_member', 'beta')} }
  - { ref: other, type: in_app, body: x, ${only('is_not_audience_member', 'data.audience')} }
  - { ref: mail, type: email, to: a@example.com, subject: s, markdown: x }
`,
  })
  const now = engine.clock.now()
  const add = (audience: string, user: string, tenant: string | null = null) =>
    database.transaction((tx) => addMembers(tx, { environment, audience }, [{ user, tenant }], now))
  await add('beta', 'ada')
  await add('quiet', 'ada')
  await add('beta', 'bob', 'acme')
  const recipients = [{ id: 'ada' }, { id: 'bob' }, { collection: 'teams', id: 'ada', name: 'A' }]
  const sent = async (tenant: string | null) => {
    const before = (await engine.messages()).length
    await engine.trigger('hello', { recipients, tenant, data: { audience: 'beta' } })
    await engine.drain()
    const rows = (await engine.messages()).slice(before)
    const byRun = Map.groupBy(rows, ({ run_id: run }) => run)
    return [...byRun.values()].map((own) => own.map(({ step_ref: ref }) => ref).join(' '))
  }
  expect(await sent(null)).toEqual(['member', 'other mail', 'other mail'])
  expect(await sent('acme')).toEqual(['member', 'member mail', 'other mail'])
  expect(await sent('other')).toEqual(['member', 'other mail', 'other mail'])
})

test('a workflow that names an audience runs for whoever joins it, as it is live then', async ({
  database,
}) => {
  await using engine = await openEngine(database)
  await engine.commit({ 'workflows/welcome/workflow.yaml': workflow('beta') })
  await join(engine, ['ada', 'bob'])
  await engine.drain()
  const reached = (await engine.messages()).map(({ recipient }) => recipient)
  expect(reached.toSorted()).toEqual(['ada', 'bob'])
  await engine.commit({ 'workflows/welcome/workflow.yaml': workflow('gamma') })
  await join(engine, ['cyd'])
  await engine.drain()
  expect(await engine.messages()).toHaveLength(2)
})

test('a hundred join with as many statements as one, whatever the number of workflows', async ({
  database,
}) => {
  await using engine = await openEngine(database)
  await engine.commit({ 'workflows/welcome/workflow.yaml': workflow('beta') })
  // Versions are read once.
  await join(engine, ['zoe'])
  const one = counted(database)
  await join(engine, ['ada'], one.database)
  const files = Array.from({ length: 9 }, (_, at) => [
    `workflows/tip-${at}/workflow.yaml`,
    workflow('beta'),
  ])
  await engine.commit(Object.fromEntries(files) as Record<string, string>)
  await join(engine, ['bob'])
  const many = counted(database)
  await join(
    engine,
    Array.from({ length: 100 }, (_, at) => `user-${at}`),
    many.database,
  )
  expect(many.count()).toBe(one.count())
  await engine.drain()
  expect((await engine.runs()).length).toBe(2 + 101 * 10)
})
