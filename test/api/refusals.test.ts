import { expect } from 'vitest'
import { BODY_BYTES_MAX } from '../../src/api/body.ts'
import { routes } from '../../src/api/index.ts'
import type { Database, Queryable } from '../../src/db/database.ts'
import { openQueue } from '../../src/db/queue.ts'
import { sql, type Sql } from '../../src/db/sql.ts'
import { silentLog } from '../../src/log.ts'
import { test } from '../support/database.ts'
import { anEnvironment, NOW, OPERATOR, serve } from './server-support.ts'
import { applyRevision } from './workflow-support.ts'

// Each row of the table is a trigger that is refused, what it is told, and nothing stored by it.

interface Row {
  readonly what: string
  /** Which key, by name. */
  readonly key?:
    | 'development'
    | 'reader'
    | 'production'
    | 'operator'
    | 'public'
    | 'unknown'
    | 'none'
  readonly path?: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly status: number
  readonly code?: string
  readonly field?: string
}

const recipients = ['ada']
const manyRecipients = Array.from({ length: 1_001 }, (_, index) => `user-${index}`)

const table: readonly Row[] = [
  { what: 'no key', key: 'none', status: 401, code: 'authentication_required' },
  { what: 'an unknown key', key: 'unknown', status: 401, code: 'api_key_missing' },
  { what: 'a public key', key: 'public', status: 403, code: 'incorrect_token_type' },
  { what: 'a key without the scope', key: 'reader', status: 403, code: 'insufficient_scope' },
  {
    what: 'another environment',
    path: '/v1/workflows/welcome/trigger?environment=production',
    status: 403,
    code: 'environment_mismatch',
  },
  { what: 'malformed JSON', body: '{"recipients": [', status: 400, code: 'invalid_json' },
  {
    what: 'a body over the bound',
    body: { recipients, data: { text: 'x'.repeat(BODY_BYTES_MAX) } },
    status: 413,
    code: 'body_too_large',
  },
  { what: 'no body', body: undefined, status: 422, code: 'invalid_params' },
  { what: 'a list as body', body: [], status: 422, code: 'invalid_params' },
  { what: 'null as body', body: 'null', status: 422, code: 'invalid_params' },
  { what: 'no recipients', body: {}, status: 422, code: 'invalid_params', field: '/recipients' },
  {
    what: 'empty recipients',
    body: { recipients: [] },
    status: 422,
    code: 'invalid_params',
    field: '/recipients',
  },
  {
    what: 'recipients that are no list',
    body: { recipients: 'ada' },
    status: 422,
    code: 'invalid_params',
    field: '/recipients',
  },
  {
    what: 'a bad recipient',
    body: { recipients: ['ada', 7] },
    status: 422,
    code: 'invalid_params',
    field: '/recipients/1',
  },
  {
    what: 'too many recipients',
    body: { recipients: manyRecipients },
    status: 422,
    code: 'invalid_params',
    field: '/recipients',
  },
  {
    what: 'data that is no object',
    body: { recipients, data: 'x' },
    status: 422,
    code: 'invalid_params',
    field: '/data',
  },
  {
    what: 'an unknown workflow',
    path: '/v1/workflows/nothing/trigger',
    status: 404,
    code: 'workflow_missing',
  },
  {
    what: 'an archived workflow',
    path: '/v1/workflows/archived/trigger',
    status: 404,
    code: 'workflow_missing',
  },
  {
    what: 'an inactive workflow',
    path: '/v1/workflows/inactive/trigger',
    status: 422,
    code: 'workflow_inactive',
  },
  {
    what: 'data against the schema',
    path: '/v1/workflows/strict/trigger',
    body: { recipients: [{ id: 'bo', name: 'Bo' }], data: { n: 'x' } },
    status: 422,
  },
  {
    what: 'an unknown actor',
    body: { recipients: [{ id: 'bo', name: 'Bo' }], actor: 'nobody' },
    status: 422,
    code: 'actor_missing',
  },
  {
    what: 'text with NUL',
    body: String.raw`{"recipients":["a\u0000"]}`,
    status: 422,
    code: 'invalid_params',
    field: '/recipients/0',
  },
  {
    what: 'a form',
    body: 'recipients=ada',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    status: 415,
    code: 'unsupported_media_type',
  },
  { what: 'a path without a route', path: '/v1/workflows/welcome/nothing', status: 404 },
]

const step = { ref: 'feed', type: 'in_app', body: 'Hello' }

test.beforeAll(async ({ database }) => {
  await anEnvironment(database, 'development')
  await anEnvironment(database, 'production')
  const workflow = { name: 'Workflow', steps: [step] }
  const data_schema = { type: 'object', properties: { n: { type: 'integer' } } }
  await applyRevision(database, 'development', {
    welcome: workflow,
    archived: workflow,
    inactive: workflow,
    strict: { ...workflow, trigger: { data_schema } },
  })
  await database.query(sql`
    update workflows set archived_at = ${NOW} where environment = 'development' and key = 'archived'
  `)
  await database.query(sql`
    insert into switches (environment, workflow, channel, active, actor, updated_at)
    values ('development', 'inactive', '', false, 'test', ${NOW})
  `)
})

/** How many rows each table has that a trigger can write to. */
async function countRows(database: Database): Promise<unknown> {
  const [row] = await database.query(sql`
    select (select count(*) from workflow_runs where environment <> '') as workflow_runs,
      (select count(*) from recipients where environment <> '') as recipients,
      (select count(*) from idempotency_keys where environment <> '') as keys,
      (select count(*) from belfry_queue.job where name <> '') as jobs
  `)
  return row
}

const EMPTY = { workflow_runs: '0', recipients: '0', keys: '0', jobs: '0' }

test.afterEach(async ({ database }) => {
  await database.query(sql`delete from workflow_runs where environment <> ''`)
  await database.query(sql`delete from recipients where environment <> ''`)
  await database.query(sql`delete from idempotency_keys where environment <> ''`)
})

for (const row of table) {
  test(`a trigger with ${row.what} is refused with ${row.status}, and stores nothing`, async ({
    database,
  }) => {
    await using queue = await openQueue(database, { log: silentLog })
    const services = { queue, hasLookedAtGit: () => true, startedAt: new Date(NOW) }
    await using api = await serve(database, routes, { services })
    const { key: development } = await anEnvironment(database, 'development')
    const { key: reader } = await anEnvironment(database, 'development', ['read'])
    const { key: production } = await anEnvironment(database, 'production')
    const keys = {
      development,
      reader,
      production,
      operator: OPERATOR,
      public: 'pk_x',
      unknown: 'sk_x',
    }
    const name = row.key ?? 'development'
    const body = 'body' in row ? row.body : { recipients }
    const reply = await api.call('POST', row.path ?? '/v1/workflows/welcome/trigger', {
      ...(name !== 'none' && { key: keys[name] }),
      ...(body !== undefined && { body }),
      headers: { 'idempotency-key': 'k', ...row.headers },
    })
    expect(reply.status).toBe(row.status)
    if (row.code !== undefined) {
      const { code, status } = row
      expect(reply.body).toMatchObject({
        code,
        status,
        message: expect.any(String),
        type: expect.any(String),
      })
    }
    if (row.field !== undefined)
      expect(reply.body).toMatchObject({ errors: [{ field: row.field }] })
    expect(await countRows(database)).toEqual(EMPTY)
    expect(api.failures).toEqual([])
  })
}

test('a trigger that is fine is answered with the id of its run, and stored with one job', async ({
  database,
}) => {
  await using queue = await openQueue(database, { log: silentLog })
  const services = { queue, hasLookedAtGit: () => true, startedAt: new Date(NOW) }
  await using api = await serve(database, routes, { services })
  const { key } = await anEnvironment(database, 'development')
  const call = {
    key,
    body: { recipients: [{ id: 'bo', name: 'Bo' }] },
    headers: { 'idempotency-key': 'k' },
  }
  const replies = await Promise.all(
    Array.from({ length: 10 }, () => api.call('POST', '/v1/workflows/welcome/trigger', call)),
  )
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]))
  expect(new Set(replies.map(({ body }) => JSON.stringify(body))).size).toBe(1)
  expect(replies[0]?.body).toEqual({ workflow_run_id: expect.stringMatching(/^[0-9a-f-]{36}$/) })
  expect(await countRows(database)).toEqual({
    workflow_runs: '1',
    recipients: '1',
    keys: '1',
    jobs: '1',
  })
})

/** The same database, and how many statements were sent to it, begin and commit included. */
function counted(database: Database): { readonly database: Database; count(): number } {
  let sent = 0
  const over = <Target extends Queryable>(target: Target): Target => ({
    ...target,
    query: (statement: Sql) => {
      sent += 1
      return target.query(statement)
    },
    execute: (text: string, values?: unknown[]) => {
      sent += 1
      return target.execute(text, values)
    },
  })
  const transaction: Database['transaction'] = (work) => {
    sent += 2
    return database.transaction((tx) => work(over(tx)))
  }
  return { database: { ...over(database), transaction }, count: () => sent }
}

test('a trigger under an idempotency key costs six statements', async ({ database }) => {
  await using queue = await openQueue(database, { log: silentLog })
  const services = { queue, hasLookedAtGit: () => true, startedAt: new Date(NOW) }
  const counting = counted(database)
  await using api = await serve(counting.database, routes, { services })
  const { key } = await anEnvironment(database, 'development')
  const trigger = (idempotencyKey: string) =>
    api.call('POST', '/v1/workflows/welcome/trigger', {
      key,
      body: { recipients },
      headers: { 'idempotency-key': idempotencyKey },
    })
  // The first one also reads the key and the version, which the process then remembers.
  await trigger('first')
  const before = counting.count()
  expect(await trigger('second')).toMatchObject({ status: 200 })
  expect(counting.count() - before).toBe(6)
})
