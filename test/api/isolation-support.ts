import { createKey } from '../../src/api/keys.ts'
import type { Route } from '../../src/api/route.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { ChannelKey, EnvironmentName, MessageId, RunId, WorkflowRunId } from '../../src/ids.ts'
import { insertMessages } from '../../src/messages/store.ts'
import { aChannel, aMessage, clear, saveEnvironment, saveWorkflow } from '../messages/builders.ts'
import { makeKeys } from '../support/client-keys.ts'
import { cloneBlank } from '../support/database.ts'
import { serveAll } from './contract-support.ts'
import { addRow, fillTables, MARK, REVISION, ROW, TWIN } from './isolation-rows.ts'
import { anEnvironment, NOW, type TestReply, type TestServer } from './server-support.ts'

export const nameOf = ({ method, path }: Pick<Route, 'method' | 'path'>): string =>
  `${method} ${path}`

export const own = makeKeys()
export const staging = makeKeys()
const SOURCES = { hello: { type: 'segment', secret: { secret: 'SEGMENT_KEY' } } }
export const now = new Date(NOW)
export const PAGE = 'pk_production_for_tests'
export const STAGING_PAGE = 'pk_staging_for_tests'

export interface Scene extends AsyncDisposable {
  readonly database: Database
  readonly server: TestServer
  readonly keys: { readonly production: string; readonly staging: string }
  /** Ids of messages in the feeds of users. */
  readonly messages: Readonly<Record<string, string>>
}

export async function openScene(): Promise<Scene> {
  await using stack = new AsyncDisposableStack()
  const clone = await cloneBlank()
  stack.defer(() => clone.drop())
  const { database } = clone
  await clear(database)
  const feed = aChannel({ key: 'feed' as ChannelKey, type: 'in_app', provider: 'in_app' })
  const push = aChannel({ key: 'push' as ChannelKey, type: 'push', provider: 'expo' })
  await saveEnvironment(database, { feed, push })
  await saveWorkflow(database, 'hello')
  const workflow = { name: 'Hello', trigger: { audiences: ['hello'] }, steps: [] }
  await database.query(sql`update versions set workflow = ${JSON.stringify(workflow)}`)
  const production = await anEnvironment(database, 'production')
  const other = await anEnvironment(database, 'staging')
  await database.query(sql`
    update environments e
    set settings = p.settings || ${JSON.stringify({ sources: SOURCES })} || jsonb_build_object('client_keys', jsonb_build_object('app',
          jsonb_build_object('pem', case e.name when 'production' then ${own.pem} else ${staging.pem} end))),
        message = case e.name when 'production' then ${MARK} else ${TWIN} end,
        git_ref = e.name, state = 'ready', reason = 'applied', updated_at = ${now},
        sequence = 1, observed_revision = 'abc', applied_at = ${now}
    from environments p
    where p.name = 'production'
  `)
  await makePage(database, production.environment, PAGE)
  await makePage(database, other.environment, STAGING_PAGE)
  const messages = await fill(database)
  await fillTables(database)
  await addRow(database, 'schedules', { collection: 'teams', recipient: 'core' })
  await addRow(database, 'switch_events', { workflow: '' })
  const server = stack.use(await serveAll(database))
  const opened = stack.move()
  return {
    database,
    server,
    keys: { production: production.key, staging: other.key },
    messages,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

async function makePage(
  database: Database,
  environment: EnvironmentName,
  key: string,
): Promise<void> {
  await createKey(database, {
    environment,
    name: 'page',
    scopes: [],
    source: 'command',
    key,
    now,
  })
}

async function fill(database: Database): Promise<Scene['messages']> {
  const names = ['ann', 'bo', 'outside', 'core']
  const made = names.map((id) =>
    aMessage({
      ...(id === 'ann' && {
        id: ROW as MessageId,
        runId: ROW as RunId,
        workflowRunId: ROW as WorkflowRunId,
      }),
      content: {
        type: 'in_app',
        body: { content: MARK, rendered: MARK },
        action_url: null,
        buttons: [],
      },
      channel: 'feed' as ChannelKey,
      channelType: id === 'outside' ? 'email' : 'in_app',
      provider: 'in_app',
      status: 'delivered',
      recipient: {
        collection: id === 'core' ? 'teams' : '$users',
        id: id === 'outside' ? 'ann' : id,
      },
      data: { mark: MARK },
    }),
  )
  await database.transaction((tx) => insertMessages(tx, made, now))
  await database.query(sql`
    update messages set events = jsonb_set(events, '{0,data}', ${JSON.stringify({ mark: MARK })})
  `)
  for (const [collection, id] of [
    ['$users', 'ann'],
    ['$users', 'bo'],
    ['teams', 'core'],
    ['$tenants', 'acme'],
  ]) {
    await database.query(sql`
      insert into recipients (environment, collection, id, properties, created_at, updated_at)
      values ('production', ${collection}, ${id}, ${JSON.stringify({ name: MARK })}, ${now}, ${now})
    `)
    await database.query(sql`
      insert into preference_sets (environment, collection, recipient, id, settings, inserted_at, updated_at)
      values ('production', ${collection}, ${id}, 'default', ${JSON.stringify({ categories: { [MARK]: false } })}, ${now}, ${now})
    `)
  }
  for (const [collection, id] of [
    ['$users', 'ann'],
    ['$users', 'bo'],
    ['teams', 'core'],
  ]) {
    await database.query(sql`
      insert into channel_data (environment, collection, recipient, channel, data, updated_at)
      values ('production', ${collection}, ${id}, 'push', ${JSON.stringify({ devices: [{ token: MARK }] })}, ${now})
    `)
  }
  await database.query(sql`
    insert into suppressions (environment, channel, address, reason, details, message_id, inserted_at)
    values ('production', 'feed', 'ann@example.com', 'bounced', ${MARK}, ${made[0]!.id}, ${now})
  `)
  return Object.fromEntries(names.map((name, index) => [name, made[index]?.id ?? '']))
}

const VALUES: Readonly<Record<string, string>> = {
  key: 'hello',
  collection: 'teams',
  channel: 'feed',
  action: 'read',
  set: 'default',
  provider: 'github',
  address: 'ann@example.com',
}

/** The path of a route about what there is of `user`. */
function pathOf({ path }: Route, scene: Scene, user: string, environment: string): string {
  const [, resource = ''] = /^\/v1\/([^/]+)/.exec(path) ?? []
  const ids: Readonly<Record<string, string | undefined>> = {
    users: user,
    objects: 'core',
    tenants: 'acme',
    messages: scene.messages[user],
  }
  return path.replaceAll(/:(\w+)/g, (_, name: string) =>
    name === 'id'
      ? (ids[resource] ?? ROW)
      : name === 'environment'
        ? environment
        : valueOf(name, path),
  )
}

function valueOf(name: string, path: string): string {
  if (name === 'channel' && path.includes('/channel_data/')) return 'push'
  return VALUES[name] ?? name
}

const AT = '2026-04-01T00:00:00Z'

const BODIES: Readonly<Record<string, object>> = {
  'PUT /v1/environments/:environment/sending': { status: false, reason: 'x' },
  'POST /v1/environments/:environment/reconcile': {},
  'PUT /v1/environments/:environment/suspend': { reason: 'x' },
  'PUT /v1/environments/:environment/retire': { reason: 'x' },
  'PUT /v1/environments/:environment/pin': { revision: REVISION, reason: 'x' },
  'POST /v1/workflows/:key/preview': { recipient: 'ann' },
  'POST /v1/schedules': { workflow: 'hello', recipients: ['ann'], scheduled_at: AT },
  'PUT /v1/schedules': { schedule_ids: [ROW], scheduled_at: AT },
  'DELETE /v1/schedules': { schedule_ids: [ROW] },
  'POST /v1/schedules/bulk/create': {
    schedules: [{ workflow: 'hello', recipient: 'ann', scheduled_at: AT }],
  },
  'POST /v1/audiences/:key/members': { members: [{ user: 'ann' }] },
  'DELETE /v1/audiences/:key/members': { members: [{ user: 'ann', tenant: MARK }] },
  'POST /v1/workflows/:key/trigger': { recipients: ['ann'] },
  'POST /v1/workflows/:key/cancel': { cancellation_key: 'a' },
  'PUT /v1/workflows/:key/activate': { status: false, reason: 'x' },
  'POST /v1/users/:id/merge': { from_user_id: 'bo' },
  'POST /v1/users/bulk/identify': { users: [{ id: 'ann' }] },
  'POST /v1/users/bulk/delete': { user_ids: ['ann'] },
  'POST /v1/objects/:collection/bulk/set': { objects: [{ id: 'core' }] },
  'POST /v1/objects/:collection/bulk/delete': { object_ids: ['core'] },
  'POST /v1/objects/:collection/bulk/subscriptions/add': {
    subscriptions: [{ id: 'core', recipients: ['ann'] }],
  },
  'POST /v1/objects/:collection/bulk/subscriptions/delete': {
    subscriptions: [{ id: 'core', recipients: ['ann'] }],
  },
  'POST /v1/tenants/bulk/set': { tenants: [{ id: 'acme' }] },
  'POST /v1/objects/:collection/:id/subscriptions': { recipients: ['ann'] },
  'DELETE /v1/objects/:collection/:id/subscriptions': { recipients: ['ann'] },
  'POST /v1/users/bulk/preferences': { user_ids: ['ann'], preferences: {} },
}

function bodyOf(route: Route, scene: Scene, user: string): object | undefined {
  const { method, path } = route
  if (method === 'GET') return undefined
  if (path.includes('/batch/')) return { message_ids: [scene.messages[user]] }
  if (path.includes('/bulk/:action')) return { user_ids: [user] }
  if (path.endsWith('/preferences/:set')) return {}
  if (path.includes('/channel_data/')) return { data: { tokens: ['changed'] } }
  return BODIES[nameOf(route)] ?? { name: 'changed' }
}

export function callRoute(
  scene: Scene,
  route: Route,
  options: {
    readonly key?: string
    readonly token?: string
    readonly user?: string
    readonly query?: string
    /** In the path, where a route has one there. */
    readonly environment?: string
  },
): Promise<TestReply> {
  const { key, token, user = 'ann', query = '', environment = 'production' } = options
  const body = bodyOf(route, scene, user)
  return scene.server.call(route.method, `${pathOf(route, scene, user, environment)}${query}`, {
    ...(key !== undefined && { key }),
    ...(token !== undefined && { headers: { 'x-knock-user-token': token } }),
    ...(body && { body }),
  })
}
