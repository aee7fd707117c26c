import { sql } from '../../src/db/sql.ts'
import type { Database } from '../../src/db/database.ts'
import { newRowId } from '../../src/ids.ts'
import { now, openScene, type Scene } from './isolation-support.ts'
import { OPERATOR, type TestReply } from './server-support.ts'

// A call of each route that changes something, which succeeds.

export interface Call {
  /** With what is there in the place of parameters. */
  readonly path: string
  readonly body?: object
  /** Calls that make what this one is about. */
  readonly before?: readonly (readonly [method: string, path: string, body?: object])[]
}

const ids = {
  message: '',
  paused: newRowId(),
  cancelled: newRowId(),
  event: newRowId(),
  schedule: '',
}
const daily = { frequency: 'daily', hours: 9 }
const aSchedule = { workflow: 'hello', recipients: ['ann'], repeats: [daily] }
const user = (id: string) => ['PUT', `/v1/users/${id}`, { name: id }] as const
const core = '/v1/objects/teams/core'
const environment = '/v1/environments/production'
const set = { categories: { news: true } }
const devices = { data: { tokens: ['t'] } }
const reason = 'test'
const REVISION = 'a'.repeat(40)

const bulk = (path: string, body: object): Call => ({ path: `/v1/${path}`, body })

/** Each names one thing, so that one effect is one row at most. */
export function mutationCalls(): Readonly<Record<string, Call>> {
  const message = `/v1/messages/${ids.message}`
  const run = '/v1/workflow_recipient_runs'
  const batch = { message_ids: [ids.message] }
  return {
    'POST /v1/workflows/:key/trigger': {
      path: '/v1/workflows/hello/trigger',
      body: { recipients: ['ann'] },
    },
    'POST /v1/workflows/:key/cancel': {
      path: '/v1/workflows/hello/cancel',
      body: { cancellation_key: 'k' },
    },
    'PUT /v1/workflows/:key/activate': {
      path: '/v1/workflows/hello/activate',
      body: { status: true, reason },
    },
    'POST /v1/workflows/:key/preview': { path: '/v1/workflows/hello/preview', body: {} },
    'PUT /v1/messages/:id/seen': { path: `${message}/seen` },
    'DELETE /v1/messages/:id/seen': { path: `${message}/seen` },
    'PUT /v1/messages/:id/read': { path: `${message}/read` },
    'DELETE /v1/messages/:id/read': { path: `${message}/read` },
    'PUT /v1/messages/:id/interacted': { path: `${message}/interacted`, body: {} },
    'PUT /v1/messages/:id/archived': { path: `${message}/archived` },
    'DELETE /v1/messages/:id/archived': { path: `${message}/archived` },
    'DELETE /v1/messages/:id/unseen': { path: `${message}/unseen` },
    'DELETE /v1/messages/:id/unread': { path: `${message}/unread` },
    'DELETE /v1/messages/:id/unarchived': { path: `${message}/unarchived` },
    'DELETE /v1/channels/:channel/suppressions/:address': {
      path: '/v1/channels/feed/suppressions/ann@example.com',
    },
    'POST /v1/messages/batch/seen': { path: '/v1/messages/batch/seen', body: batch },
    'POST /v1/messages/batch/unseen': { path: '/v1/messages/batch/unseen', body: batch },
    'POST /v1/messages/batch/read': { path: '/v1/messages/batch/read', body: batch },
    'POST /v1/messages/batch/unread': { path: '/v1/messages/batch/unread', body: batch },
    'POST /v1/messages/batch/interacted': { path: '/v1/messages/batch/interacted', body: batch },
    'POST /v1/messages/batch/archived': { path: '/v1/messages/batch/archived', body: batch },
    'POST /v1/messages/batch/unarchived': { path: '/v1/messages/batch/unarchived', body: batch },
    'POST /v1/channels/:channel/messages/bulk/:action': {
      path: '/v1/channels/feed/messages/bulk/read',
      body: {},
    },
    'POST /v1/workflow_recipient_runs/:id/wake': { path: `${run}/${ids.paused}/wake` },
    'POST /v1/workflow_recipient_runs/:id/cancel': { path: `${run}/${ids.cancelled}/cancel` },
    'POST /v1/workflow_recipient_runs/:id/replay': { path: `${run}/${ids.paused}/replay` },
    'PUT /v1/users/:id/preferences/:set': { path: '/v1/users/ann/preferences/default', body: set },
    'DELETE /v1/users/:id/preferences/:set': { path: '/v1/users/ann/preferences/default' },
    'PUT /v1/objects/:collection/:id/preferences/:set': {
      path: `${core}/preferences/default`,
      body: set,
    },
    'DELETE /v1/objects/:collection/:id/preferences/:set': { path: `${core}/preferences/default` },
    'POST /v1/users/bulk/preferences': bulk('users/bulk/preferences', {
      user_ids: ['ann'],
      preferences: set,
    }),
    'PUT /v1/users/:id/channel_data/:channel': {
      path: '/v1/users/ann/channel_data/push',
      body: devices,
    },
    'DELETE /v1/users/:id/channel_data/:channel': { path: '/v1/users/ann/channel_data/push' },
    'PUT /v1/objects/:collection/:id/channel_data/:channel': {
      path: `${core}/channel_data/push`,
      body: devices,
    },
    'DELETE /v1/objects/:collection/:id/channel_data/:channel': {
      path: `${core}/channel_data/push`,
    },
    'POST /v1/users/bulk/identify': bulk('users/bulk/identify', { users: [{ id: 'ann' }] }),
    'POST /v1/users/bulk/delete': bulk('users/bulk/delete', { user_ids: ['x'] }),
    'POST /v1/objects/:collection/bulk/set': bulk('objects/teams/bulk/set', {
      objects: [{ id: 'core' }],
    }),
    'POST /v1/objects/:collection/bulk/delete': bulk('objects/teams/bulk/delete', {
      object_ids: ['x'],
    }),
    'POST /v1/objects/:collection/bulk/subscriptions/add': bulk(
      'objects/teams/bulk/subscriptions/add',
      { subscriptions: [{ id: 'core', recipients: ['ann'] }] },
    ),
    'POST /v1/objects/:collection/bulk/subscriptions/delete': bulk(
      'objects/teams/bulk/subscriptions/delete',
      { subscriptions: [{ id: 'core', recipients: ['ann'] }] },
    ),
    'POST /v1/schedules/bulk/create': bulk('schedules/bulk/create', {
      schedules: [{ workflow: 'hello', recipient: 'ann', repeats: [daily] }],
    }),
    'POST /v1/tenants/bulk/set': bulk('tenants/bulk/set', { tenants: [{ id: 'acme' }] }),
    'POST /v1/tenants/bulk/delete': { path: '/v1/tenants/bulk/delete?tenant_ids[]=x' },
    'PUT /v1/users/:id': { path: '/v1/users/new', body: { name: 'New' } },
    'DELETE /v1/users/:id': { path: '/v1/users/gone', before: [user('gone')] },
    'POST /v1/users/:id/merge': {
      path: '/v1/users/ann/merge',
      body: { from_user_id: 'twin' },
      before: [user('twin')],
    },
    'PUT /v1/objects/:collection/:id': { path: '/v1/objects/teams/new', body: { name: 'New' } },
    'DELETE /v1/objects/:collection/:id': {
      path: '/v1/objects/teams/gone',
      before: [['PUT', '/v1/objects/teams/gone', {}]],
    },
    'POST /v1/objects/:collection/:id/subscriptions': {
      path: `${core}/subscriptions`,
      body: { recipients: ['ann'] },
    },
    'DELETE /v1/objects/:collection/:id/subscriptions': {
      path: `${core}/subscriptions`,
      body: { recipients: ['ann'] },
    },
    'POST /v1/audiences/:key/members': {
      path: '/v1/audiences/beta/members',
      body: { members: [{ user: { id: 'ann' } }] },
    },
    'DELETE /v1/audiences/:key/members': {
      path: '/v1/audiences/beta/members',
      body: { members: [{ user: { id: 'ann' } }] },
    },
    'POST /v1/sources/:key/events/:id/replay': {
      path: `/v1/sources/shop/events/${ids.event}/replay`,
    },
    'POST /v1/schedules': { path: '/v1/schedules', body: aSchedule },
    'PUT /v1/schedules': {
      path: '/v1/schedules',
      body: { schedule_ids: [ids.schedule], data: { n: 1 } },
    },
    'DELETE /v1/schedules': { path: '/v1/schedules', body: { schedule_ids: [ids.schedule] } },
    'PUT /v1/tenants/:id': { path: '/v1/tenants/new', body: { name: 'New' } },
    'DELETE /v1/tenants/:id': {
      path: '/v1/tenants/gone',
      before: [['PUT', '/v1/tenants/gone', {}]],
    },
    'POST /v1/environments/:environment/reconcile': {
      path: `${environment}/reconcile`,
      body: {},
    },
    'PUT /v1/environments/:environment/sending': {
      path: `${environment}/sending`,
      body: { status: true, reason },
    },
    'PUT /v1/environments/:environment/suspend': {
      path: `${environment}/suspend`,
      body: { reason },
    },
    'DELETE /v1/environments/:environment/suspend': { path: `${environment}/suspend` },
    'PUT /v1/environments/:environment/pin': {
      path: `${environment}/pin`,
      body: { revision: REVISION, reason },
    },
    'DELETE /v1/environments/:environment/pin': { path: `${environment}/pin` },
    'PUT /v1/environments/:environment/retire': {
      path: '/v1/environments/staging/retire',
      body: { reason },
    },
    'DELETE /v1/environments/:environment/retire': { path: '/v1/environments/staging/retire' },
  }
}

/** The scene with what these calls are about. */
export async function openMutationScene(): Promise<Scene> {
  const scene = await openScene()
  ids.message = scene.messages['ann'] ?? ''
  await fill(scene.database)
  const made = await callAsOperator(scene, 'POST', '/v1/schedules', { body: aSchedule })
  ids.schedule = (made.body as readonly [{ readonly id: string }])[0].id
  return scene
}

export function callAsOperator(
  scene: Scene,
  method: string,
  path: string,
  { body, key }: { readonly body?: unknown; readonly key?: string } = {},
): Promise<TestReply> {
  return scene.server.call(
    method,
    `${path}${path.includes('?') ? '&' : '?'}environment=production`,
    {
      key: OPERATOR,
      ...(body !== undefined && { body }),
      ...(key !== undefined && { headers: { 'idempotency-key': key } }),
    },
  )
}

export type Rows = Readonly<Record<string, { readonly count: number; readonly digest: string }>>

let statement: string | undefined

/** What each table holds, but for the kept replies themselves. */
export async function rowsOf(database: Database): Promise<Rows> {
  statement ??= await statementOf(database)
  const { rows } = await database.execute(statement)
  return Object.fromEntries(
    (rows as { name: string; count: number; digest: string }[]).map(({ name, ...rest }) => [
      name,
      rest,
    ]),
  )
}

async function statementOf(database: Database): Promise<string> {
  const { rows } = await database.execute(`
    select table_schema || '.' || table_name as name from information_schema.tables
    where table_schema = 'belfry' and table_type = 'BASE TABLE' or table_name = 'job'`)
  const names = (rows as { name: string }[]).map(({ name }) => name)
  const parts = names
    .filter((name) => name !== 'belfry.idempotency_keys')
    .map(
      (name) => `select '${name}' as name, count(*)::integer as count,
        md5(string_agg(t::text, ',' order by t::text)) as digest from ${name} t`,
    )
  return parts.join(' union all ')
}

/** What some calls are about: a revision, runs that wait, and a source with an event. */
async function fill(database: Database): Promise<void> {
  const settings = { sources: { shop: { type: 'http', verification: 'none' } } }
  await database.query(sql`
    update environments set settings = settings || ${JSON.stringify(settings)}::jsonb where name = 'production'
  `)
  await database.query(sql`
    insert into revisions (environment, sequence, revision, settings, added, changed, archived, parts, applied_at)
    select name, 1, ${REVISION}, settings, '{hello}', '{}', '{}', '{}', ${now} from environments where name = 'production'
    on conflict (environment, sequence) do update
    set revision = excluded.revision, settings = excluded.settings, parts = excluded.parts
  `)
  await database.query(sql`
    update environments set declared = false, state = 'stalled', reason = 'undeclared' where name = 'staging'
  `)
  const workflow = { name: 'Hello', steps: [{ ref: 'feed', type: 'in_app', body: 'Hello' }] }
  await database.query(sql`update versions set workflow = ${JSON.stringify(workflow)}`)
  const trigger = newRowId()
  await database.query(sql`
    insert into workflow_runs (environment, id, workflow, version_id, sequence, revision, trigger_source,
      data, settings, recipients, fan_out, inserted_at)
    values ('production', ${trigger}, 'hello', 'version-1', 1, 'abc', '{"type":"api"}', '{}', '{}', '[]', 'done', ${now})
  `)
  for (const [id, recipient] of [
    [ids.paused, 'ann'],
    [ids.cancelled, 'bo'],
  ]) {
    await database.query(sql`
      insert into runs (environment, id, workflow_run_id, workflow, version_id, collection, recipient, status,
        waits_for, wakes_at, inserted_at, updated_at)
      values ('production', ${id}, ${trigger}, 'hello', 'version-1', '$users', ${recipient}, 'paused', 'delay',
        ${new Date(now.getTime() + 86_400_000)}, ${now}, ${now})
    `)
  }
  await database.query(sql`
    insert into source_events (environment, id, source, kind, event, body, status, received_at)
    values ('production', ${ids.event}, 'shop', 'track', 'Bought', '{"event":"Bought"}', 'done', ${now})
  `)
}
