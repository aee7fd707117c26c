import { expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import type { Database } from '../../src/db/database.ts'
import { openQueue } from '../../src/db/queue.ts'
import { sql } from '../../src/db/sql.ts'
import { silentLog } from '../../src/log.ts'
import { test as base } from '../support/database.ts'
import { rowsOf } from './mutation-support.ts'
import { anEnvironment, NOW, serve, type TestServer } from './server-support.ts'
import { applyRevision } from './workflow-support.ts'

const workflow = { name: 'Welcome', steps: [{ ref: 'feed', type: 'in_app', body: 'Hi' }] }

const test = base.extend<{ api: TestServer }>({
  api: async ({ database }, use) => {
    await anEnvironment(database, 'development')
    await applyRevision(database, 'development', { welcome: workflow })
    await using queue = await openQueue(database, { log: silentLog })
    const services = { queue, hasLookedAtGit: () => true, startedAt: new Date(NOW) }
    await using api = await serve(database, routes, { services })
    await use(api)
  },
})

/** What each table holds, kept replies too. */
async function everything(database: Database): Promise<unknown> {
  const kept = await database.query(sql`select * from idempotency_keys order by environment, key`)
  return [await rowsOf(database), kept]
}

test('a dry run answers what would happen and stores nothing, to who may also read', async ({
  api,
  database,
}) => {
  const path = '/v1/workflows/welcome/trigger?dry_run=true'
  const body = { recipients: [{ id: 'ada', name: 'Ada' }] }
  const both = await anEnvironment(database, 'development', ['trigger', 'read'])
  const reply = await api.call('POST', path, { key: both.key, body })
  expect(reply).toMatchObject({
    status: 200,
    body: { __typename: 'DryRun', workflow: 'welcome', runs: [{ recipient: 'ada' }] },
  })
  // The SDKs send a key with each call that may change something: it stays free for what does.
  const keyed = { key: both.key, body, headers: { 'idempotency-key': 'welcome-ada' } }
  const before = await everything(database)
  expect((await api.call('POST', path, keyed)).body).toHaveProperty('runs')
  expect(await everything(database)).toEqual(before)
  const { key } = await anEnvironment(database, 'development', ['trigger'])
  expect(await api.call('POST', path, { key, body })).toMatchObject({
    status: 403,
    body: { code: 'insufficient_scope' },
  })
  const real = '/v1/workflows/welcome/trigger?dry_run=false'
  const done = await api.call('POST', real, keyed)
  expect(done.body).toHaveProperty('workflow_run_id')
  expect((await api.call('POST', path, keyed)).body).toHaveProperty('runs')
  expect((await api.call('POST', real, keyed)).body).toEqual(done.body)
})
