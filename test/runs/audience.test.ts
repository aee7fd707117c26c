import { expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import type { EnvironmentName } from '../../src/ids.ts'
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
