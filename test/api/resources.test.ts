import { expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import { openQueue } from '../../src/db/queue.ts'
import { sql } from '../../src/db/sql.ts'
import { silentLog } from '../../src/log.ts'
import { channelId, newRowId, type ChannelKey } from '../../src/ids.ts'
import { test as base } from '../support/database.ts'
import { anEnvironment, NOW, OPERATOR, serve, type TestServer } from './server-support.ts'
import { applyRevision, storeRuns } from './workflow-support.ts'

const workflow = {
  name: 'Welcome',
  tags: ['a'],
  steps: [{ ref: 'feed', type: 'in_app', body: 'Hi' }],
}

const test = base.extend<{ api: TestServer; key: string }>({
  key: async ({ database }, use) => {
    const { key } = await anEnvironment(database, 'development')
    await anEnvironment(database, 'production')
    await applyRevision(database, 'development', { welcome: workflow, goodbye: workflow })
    await use(key)
  },
  api: async ({ database, key: _key }, use) => {
    await using queue = await openQueue(database, { log: silentLog })
    const services = { queue, hasLookedAtGit: () => true, startedAt: new Date(NOW) }
    await using api = await serve(database, routes, { services })
    await use(api)
  },
})

interface RunList {
  readonly items: readonly { readonly id: string }[]
  readonly page_info: { readonly after: string | null; readonly before: string | null }
}

function idsOf(list: RunList): string[] {
  return list.items.map(({ id }) => id)
}

test('runs are listed newest first, page by page, forth and back', async ({
  api,
  key,
  database,
}) => {
  const ids = (await storeRuns(database, 5)).toReversed()
  const page = async (cursor: string): Promise<RunList> => {
    const reply = await api.call('GET', `/v1/workflow_recipient_runs?page_size=2${cursor}`, { key })
    expect(reply.status).toBe(200)
    return reply.body as RunList
  }
  const first = await page('')
  const second = await page(`&after=${first.page_info.after}`)
  const third = await page(`&after=${second.page_info.after}`)
  expect([...idsOf(first), ...idsOf(second), ...idsOf(third)]).toEqual(ids)
  expect(first.page_info).toMatchObject({ before: null, page_size: 2 })
  expect(third.page_info.after).toBeNull()
  const back = await page(`&before=${third.page_info.before}`)
  expect(idsOf(back)).toEqual(idsOf(second))
  expect((await page(`&before=${second.page_info.before}`)).page_info.before).toBeNull()
})

test('runs are found by what they are about', async ({ api, key, database }) => {
  await storeRuns(database, 2)
  const count = async (query: string) => {
    const reply = await api.call('GET', `/v1/workflow_recipient_runs?${query}`, { key })
    expect({ query, status: reply.status }).toEqual({ query, status: 200 })
    return (reply.body as RunList).items.length
  }
  const all = await count('')
  expect(await count('has_errors=true')).toBeLessThan(all)
  expect(await count('outcome=failed&reason=step_failed')).toBe(await count('has_errors=true'))
  expect(await count('recipient=user-0')).toBe(
    await count('recipient[id]=user-0&recipient[collection]=$users'),
  )
  expect(await count('status[]=queued')).toBe(0)
  expect(await count('workflow=goodbye')).toBe(0)
  expect(await count(`starting_at=2026-04-01T00:00:00Z`)).toBe(0)
  for (const bad of [
    'status=done',
    'page_size=51',
    'after=x',
    'starting_at=yesterday',
    'workflow_run_id=1',
  ]) {
    const reply = await api.call('GET', `/v1/workflow_recipient_runs?${bad}`, { key })
    expect({ bad, status: reply.status }).toEqual({ bad, status: 422 })
  }
})

test('one run is told with its events, and one trigger with its counts', async ({
  api,
  key,
  database,
}) => {
  const [id = ''] = await storeRuns(database, 2)
  const run = await api.call('GET', `/v1/workflow_recipient_runs/${id}`, { key })
  expect(run).toMatchObject({
    status: 200,
    body: {
      id,
      __typename: 'WorkflowRecipientRun',
      recipient: 'user-0',
      revision: 'rev1',
      events: [{ event: 'triggered' }, { event: 'run_completed' }],
    },
  })
  const { workflow_run_id: trigger } = run.body as { workflow_run_id: string }
  expect(await api.call('GET', `/v1/workflow_runs/${trigger}`, { key })).toMatchObject({
    status: 200,
    body: {
      fan_out: 'done',
      runs: { total: 2, by_outcome: { completed: 1, failed: 1 } },
      recipients_missing: ['nobody'],
    },
  })
  for (const path of [
    'workflow_recipient_runs/id',
    `workflow_recipient_runs/${newRowId()}`,
    'workflow_runs/id',
    'messages/id',
    'messages/id/content',
    'users/nobody',
  ])
    expect(await api.call('GET', `/v1/${path}`, { key })).toMatchObject({
      status: 404,
      body: { code: 'resource_missing' },
    })
})

test('nothing of another environment is seen', async ({ api, database }) => {
  const [id = ''] = await storeRuns(database, 1)
  const { key } = await anEnvironment(database, 'production')
  expect(await api.call('GET', `/v1/workflow_recipient_runs/${id}`, { key })).toMatchObject({
    status: 404,
  })
  expect(await api.call('GET', '/v1/workflow_recipient_runs', { key })).toMatchObject({
    body: { items: [] },
  })
  expect(await api.call('GET', '/v1/environments', { key })).toMatchObject({
    body: { entries: [{ name: 'production' }] },
  })
  expect(await api.call('GET', '/v1/environments/development', { key })).toMatchObject({
    status: 403,
  })
})

test('a user is merged, shown and deleted', async ({ api, key }) => {
  const path = '/v1/users/ada%40example.com'
  await api.call('PUT', path, { key, body: { name: 'Ada', plan: { seats: 1, tier: 'a' } } })
  const put = await api.call('PUT', path, { key, body: { name: null, plan: { seats: 2 } } })
  expect(put).toMatchObject({
    status: 200,
    body: { __typename: 'User', id: 'ada@example.com', plan: { seats: 2, tier: 'a' } },
  })
  expect(put.body).not.toHaveProperty('name')
  expect((await api.call('GET', path, { key })).body).toEqual(put.body)
  expect(await api.call('PUT', path, { key, body: { email: 7 } })).toMatchObject({
    status: 422,
    body: { errors: [{ field: '/email' }] },
  })
  expect(await api.call('PUT', '/v1/users/a%2Fb', { key, body: {} })).toMatchObject({ status: 422 })
  expect(await api.call('DELETE', path, { key })).toMatchObject({ status: 204 })
  expect(await api.call('GET', path, { key })).toMatchObject({ status: 404 })
  expect(await api.call('DELETE', path, { key })).toMatchObject({ status: 204 })
})

test('a workflow is switched off and on, with an audit, and only where it exists', async ({
  api,
  key,
}) => {
  const off = { status: false, reason: 'wrong link', expires_at: '2026-03-02T00:00:00Z' }
  const path = '/v1/workflows/welcome/activate'
  expect(await api.call('PUT', path, { key, body: off })).toMatchObject({
    status: 200,
    body: { key: 'welcome', active: false, switches: [{ channel: null, reason: 'wrong link' }] },
  })
  const inChannel = { status: false, channel: 'email' }
  await api.call('PUT', '/v1/workflows/goodbye/activate', { key, body: inChannel })
  expect(await api.call('GET', '/v1/workflows/goodbye', { key })).toMatchObject({
    body: { active: true, switches: [{ channel: 'email' }], definition: { name: 'Welcome' } },
  })
  expect(await api.call('GET', '/v1/workflows', { key })).toMatchObject({
    body: {
      entries: [
        { key: 'goodbye', active: true },
        { key: 'welcome', active: false },
      ],
    },
  })
  expect(await api.call('PUT', path, { key, body: { status: true } })).toMatchObject({
    body: { active: true },
  })
  expect(await api.call('GET', '/v1/workflows/welcome/activations', { key })).toMatchObject({
    body: {
      items: [
        { status: true },
        { status: false, reason: 'wrong link', actor: expect.stringContaining('key test') },
      ],
    },
  })
  expect(await api.call('PUT', '/v1/workflows/nothing/activate', { key, body: off })).toMatchObject(
    { status: 404, body: { code: 'workflow_missing' } },
  )
  expect(await api.call('PUT', path, { key, body: { status: 'off' } })).toMatchObject({
    status: 422,
  })
  expect(await api.call('PUT', path, { key, body: { status: false, chanel: 'x' } })).toMatchObject({
    status: 422,
  })
})

test('a channel of a workflow is switched by key or id, and only one that is there', async ({
  api,
  key,
}) => {
  const path = '/v1/workflows/goodbye/activate'
  const id = channelId('email' as ChannelKey)
  const off = { status: false, channel: id.toUpperCase() }
  expect(await api.call('PUT', path, { key, body: off })).toMatchObject({
    status: 200,
    body: { active: true, switches: [{ channel: 'email' }] },
  })
  const on = { status: true, channel: 'email' }
  expect(await api.call('PUT', path, { key, body: on })).toMatchObject({ body: { switches: [] } })
  for (const channel of ['emial', newRowId()])
    expect(await api.call('PUT', path, { key, body: { status: false, channel } })).toMatchObject({
      status: 422,
      body: { errors: [{ field: '/channel' }] },
    })
})

test('a switch takes an end that lies ahead, and only for being off', async ({ api, key }) => {
  const paths = ['/v1/workflows/welcome/activate', '/v1/environments/development/sending']
  const past = { status: false, reason: 'x', expires_at: NOW }
  const on = { status: true, expires_at: '2026-03-02T00:00:00Z' }
  for (const path of paths)
    for (const body of [past, on])
      expect(await api.call('PUT', path, { key, body })).toMatchObject({
        status: 422,
        body: { errors: [{ field: '/expires_at' }] },
      })
})

test('sending of an environment is stopped and resumed', async ({ api }) => {
  const path = '/v1/environments/production/sending'
  const off = { status: false, reason: 'incident', expires_at: '2026-03-02T00:00:00.000Z' }
  expect(await api.call('PUT', path, { key: OPERATOR, body: off })).toMatchObject({
    status: 200,
    body: { sending: { active: false, reason: 'incident', expires_at: off.expires_at } },
  })
  expect(await api.call('GET', '/v1/environments', { key: OPERATOR })).toMatchObject({
    body: {
      entries: [
        { name: 'development', sending: { active: true, reason: null } },
        { name: 'production', sending: { active: false, reason: 'incident' } },
      ],
    },
  })
  expect(await api.call('PUT', path, { key: OPERATOR, body: { status: true } })).toMatchObject({
    body: { sending: { active: true } },
  })
  expect(await api.call('GET', path, { key: OPERATOR })).toMatchObject({
    status: 200,
    body: {
      sending: { active: true, reason: null, actor: null },
      items: [{ status: true }, { status: false, reason: 'incident', actor: expect.any(String) }],
      page_info: { after: null },
    },
  })
  for (const reason of [undefined, null, ' '])
    expect(
      await api.call('PUT', path, { key: OPERATOR, body: { status: false, reason } }),
    ).toMatchObject({ status: 422, body: { errors: [{ field: '/reason' }] } })
})

test('a look at Git is asked for by id', async ({ api, key, database }) => {
  const reply = await api.call('POST', '/v1/environments/development/reconcile', { key })
  expect(reply).toMatchObject({
    status: 202,
    body: { id: expect.any(String), environment: 'development' },
  })
  const { id } = reply.body as { id: string }
  expect(
    await database.query(
      sql`select id from reconcile_requests where environment = 'development' and id = ${id}`,
    ),
  ).toHaveLength(1)
})

test('a cancel that matches nothing is fine, and one without a key is not', async ({
  api,
  key,
}) => {
  const path = '/v1/workflows/welcome/cancel'
  expect(
    await api.call('POST', path, {
      key,
      body: { cancellation_key: 'k', recipients: ['ada', { id: 'x', collection: 'y' }] },
    }),
  ).toMatchObject({ status: 204 })
  expect(
    await api.call('POST', '/v1/workflows/nothing/cancel', {
      key,
      body: { cancellation_key: 'k' },
    }),
  ).toMatchObject({ status: 404, body: { code: 'workflow_missing' } })
  expect(await api.call('POST', path, { key, body: {} })).toMatchObject({
    status: 422,
    body: { errors: [{ field: '/cancellation_key' }] },
  })
  expect(
    await api.call('POST', path, { key, body: { cancellation_key: 'k', recipients: [7] } }),
  ).toMatchObject({ status: 422 })
})

test('readiness waits for the first look at Git, a while', async ({ database }) => {
  await anEnvironment(database, 'staging')
  const services = {
    queue: undefined as never,
    hasLookedAtGit: () => false,
    startedAt: new Date(NOW),
  }
  await using api = await serve(database, routes, { services })
  expect(await api.call('GET', '/healthz')).toMatchObject({ status: 200 })
  expect(await api.call('GET', '/readyz')).toMatchObject({
    status: 503,
    body: { waiting_for: 'git' },
  })
  api.clock.advance(15_000)
  expect(await api.call('GET', '/readyz')).toMatchObject({ status: 200 })
})

test('runs are woken and replayed by operators, in a sandbox unless the body says otherwise', async ({
  api,
  database,
}) => {
  const [id] = await storeRuns(database, 1)
  const { key } = await anEnvironment(database, 'development', ['trigger', 'read', 'write'])
  await database.query(sql`
    insert into recipients (environment, collection, id, properties, created_at, updated_at)
    values ('development', '$users', 'user-0', '{}', ${NOW}, ${NOW}) on conflict do nothing`)
  const path = `/v1/workflow_recipient_runs/${id}`
  expect(await api.call('POST', `${path}/wake`, { key })).toMatchObject({
    status: 403,
    body: { code: 'insufficient_scope' },
  })
  expect(
    await api.call('POST', `${path}/wake?environment=development`, { key: OPERATOR }),
  ).toMatchObject({
    status: 422,
    body: { code: 'run_not_waiting' },
  })
  const replay = `${path}/replay?environment=development`
  for (const [body, sandbox] of [
    [undefined, true],
    [{}, true],
    [{ sandbox: false }, false],
  ] as const) {
    const reply = await api.call('POST', replay, { key: OPERATOR, ...(body && { body }) })
    expect(reply.status).toBe(200)
    const { workflow_run_id: made } = reply.body as { workflow_run_id: string }
    const [row] = await database.query(sql`
      select settings from workflow_runs where environment = 'development' and id = ${made}`)
    expect(row).toEqual({ settings: { sandbox_mode: sandbox } })
  }
  expect(
    await api.call('POST', replay, { key: OPERATOR, body: { sandbox: 'false' } }),
  ).toMatchObject({ status: 422, body: { errors: [{ field: '/sandbox' }] } })
})
