import { createKey } from '../../src/api/keys.ts'
import type { Route } from '../../src/api/route.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { ChannelKey } from '../../src/ids.ts'
import { insertMessages } from '../../src/messages/store.ts'
import { aChannel, aMessage, clear, saveEnvironment, saveWorkflow } from '../messages/builders.ts'
import { makeKeys } from '../support/client-keys.ts'
import { cloneBlank } from '../support/database.ts'
import { serveAll } from './contract-support.ts'
import { anEnvironment, NOW, type TestReply, type TestServer } from './server-support.ts'

export const nameOf = ({ method, path }: Pick<Route, 'method' | 'path'>): string =>
  `${method} ${path}`

export const own = makeKeys()
export const staging = makeKeys()
export const now = new Date(NOW)
export const PAGE = 'pk_production_for_tests'
/** It stands in all that production has, and nobody else may see it. */
export const MARK = 'only-of-production'

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
  const production = await anEnvironment(database, 'production')
  const other = await anEnvironment(database, 'staging')
  await database.query(sql`
    update environments e
    set settings = p.settings || jsonb_build_object('client_keys', jsonb_build_object('app',
          jsonb_build_object('pem', case e.name when 'production' then ${own.pem} else ${staging.pem} end))),
        sequence = 1, observed_revision = 'abc', applied_at = ${now}
    from environments p
    where p.name = 'production'
  `)
  await createKey(database, {
    environment: production.environment,
    name: 'page',
    scopes: [],
    source: 'command',
    key: PAGE,
    now,
  })
  const messages = await fill(database)
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

async function fill(database: Database): Promise<Scene['messages']> {
  const names = ['ann', 'bo', 'outside']
  const made = names.map((id) =>
    aMessage({
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
      recipient: { collection: '$users', id: id === 'outside' ? 'ann' : id },
      data: { mark: MARK },
    }),
  )
  await database.transaction((tx) => insertMessages(tx, made, now))
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
  for (const id of ['ann', 'bo']) {
    await database.query(sql`
      insert into channel_data (environment, collection, recipient, channel, data, updated_at)
      values ('production', '$users', ${id}, 'push', ${JSON.stringify({ devices: [{ token: MARK }] })}, ${now})
    `)
  }
  await database.query(sql`
    insert into suppressions (environment, channel, address, reason, details, message_id, inserted_at)
    values ('production', 'feed', 'ann@example.com', 'bounced', ${MARK}, ${made[0]!.id}, ${now})
  `)
  return Object.fromEntries(names.map((name, index) => [name, made[index]?.id ?? '']))
}

/** All that production has, by table, whichever tables there are; equal digests are equal rows. */
export async function stateOf(database: Database): Promise<unknown> {
  const tables = await database.query<{ name: string }>(sql`
    select c.table_name as name from information_schema.columns c
    join information_schema.tables t using (table_schema, table_name)
    where c.table_schema = 'belfry' and c.column_name = 'environment' and t.table_type = 'BASE TABLE'
  `)
  const parts = [{ name: 'environments', column: 'name' }, ...tables].map(
    ({ name, column = 'environment' }: { name: string; column?: string }) =>
      `select '${name}' as table, count(*)::integer as count,
         md5(string_agg(t::text, ',' order by t::text)) as digest
       from ${name} t where ${column} = 'production'`,
  )
  const { rows } = await database.execute(`${parts.join(' union all ')} order by 1`)
  return rows
}

const VALUES: Readonly<Record<string, string>> = {
  key: 'hello',
  collection: 'teams',
  channel: 'feed',
  action: 'read',
  set: 'default',
  environment: 'production',
  provider: 'github',
  address: 'ann@example.com',
}

/** The path of a route about what there is of `user`. */
function pathOf({ path }: Route, scene: Scene, user: string): string {
  const [, resource = ''] = /^\/v1\/([^/]+)/.exec(path) ?? []
  const ids: Readonly<Record<string, string | undefined>> = {
    users: user,
    objects: 'core',
    tenants: 'acme',
    messages: scene.messages[user],
  }
  return path.replaceAll(/:(\w+)/g, (_, name: string) =>
    name === 'id' ? (ids[resource] ?? scene.messages['ann'] ?? '') : valueOf(name, path),
  )
}

function valueOf(name: string, path: string): string {
  if (name === 'channel' && path.includes('/channel_data/')) return 'push'
  return VALUES[name] ?? name
}

const BODIES: Readonly<Record<string, object>> = {
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
  return BODIES[nameOf(route)] ?? { name: 'changed', reason: 'x', status: false, revision: 'abc' }
}

export function callRoute(
  scene: Scene,
  route: Route,
  options: {
    readonly key?: string
    readonly token?: string
    readonly user?: string
    readonly query?: string
  },
): Promise<TestReply> {
  const { key, token, user = 'ann', query = '' } = options
  const body = bodyOf(route, scene, user)
  return scene.server.call(route.method, `${pathOf(route, scene, user)}${query}`, {
    ...(key !== undefined && { key }),
    ...(token !== undefined && { headers: { 'x-knock-user-token': token } }),
    ...(body && { body }),
  })
}
