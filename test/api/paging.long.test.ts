import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql, type Sql } from '../../src/db/sql.ts'
import type { ChannelKey } from '../../src/ids.ts'
import { insertMessages } from '../../src/messages/store.ts'
import { aChannel, aMessage, clear, saveEnvironment, saveUser } from '../messages/builders.ts'
import { cloneBlank } from '../support/database.ts'
import { random } from '../support/random.ts'
import { serveAll } from './contract-support.ts'
import { anEnvironment, NOW, type TestServer } from './server-support.ts'

// Lists of ten thousand, walked from page to page in both directions while others write: whoever was there
// throughout is met once, and nobody is met twice.

const ROWS = 10_000
/** Written and deleted between two pages. */
const CHANGES = 20

interface List {
  readonly path: string
  readonly makeId: () => string
  readonly insert: (ids: readonly string[]) => Sql
  readonly remove: (ids: readonly string[]) => Sql
  /** Whether it is walked back from its end, too. */
  readonly isReadBack: boolean
  /** Who an entry is, where it is not its id. */
  readonly idOf?: (entry: Entry) => string
}

interface Entry {
  readonly id: string
  readonly recipient?: { readonly id: string }
}

/** A name anywhere in the order, so that what is new may stand before the place that is read and behind it. */
const name = () => `n-${randomUUID()}`

const recipients = (path: string, collection: string): List => ({
  path,
  isReadBack: true,
  makeId: name,
  insert: (ids) => sql`
    insert into recipients (environment, collection, id, properties, created_at, updated_at)
    select 'production', ${collection}, id, '{}', ${NOW}, ${NOW} from unnest(${ids}::text[]) id`,
  remove: (ids) => sql`
    delete from recipients
    where environment = 'production' and collection = ${collection} and id = any(${ids}::text[])`,
})

/** Copies of a message in bo's feed, in that of ann. */
const messages = (path: string, isReadBack: boolean): List => ({
  path,
  isReadBack,
  makeId: randomUUID,
  insert: (ids) => sql`
    insert into messages
    select copy.* from messages m, unnest(${ids}::uuid[]) as n (id),
      jsonb_populate_record(m, jsonb_build_object('id', n.id, 'run_id', n.id, 'recipient', 'ann')) copy
    where m.environment = 'production' and m.recipient = 'bo'`,
  remove: (ids) => sql`
    delete from messages where environment = 'production' and id = any(${ids}::uuid[])`,
})

const subscriptions: List = {
  path: 'objects/teams/core/subscriptions',
  isReadBack: true,
  makeId: name,
  insert: (ids) => sql`
    with subscribers as (
      insert into recipients (environment, collection, id, properties, created_at, updated_at)
      select 'production', '$users', id, '{}', ${NOW}, ${NOW} from unnest(${ids}::text[]) id
      returning id
    )
    insert into subscriptions (environment, object_collection, object_id, collection, recipient, id,
      properties, inserted_at, updated_at)
    select 'production', 'teams', 'core', '$users', id, gen_random_uuid(), '{}', ${NOW}, ${NOW} from subscribers`,
  remove: (ids) => sql`
    delete from subscriptions where environment = 'production' and recipient = any(${ids}::text[])`,
  idOf: ({ recipient }) => recipient?.id ?? '',
}

const lists: Readonly<Record<string, List>> = {
  users: recipients('users', '$users'),
  messages: messages('messages', true),
  // It is read as messages are.
  'a feed': messages('users/ann/feeds/feed', false),
  subscriptions,
}

let scene: {
  readonly database: Database
  readonly server: TestServer
  readonly key: string
  readonly stack: AsyncDisposableStack
}

beforeAll(async () => {
  await using stack = new AsyncDisposableStack()
  const clone = await cloneBlank()
  stack.defer(() => clone.drop())
  const { database } = clone
  await clear(database)
  const feed = aChannel({ key: 'feed' as ChannelKey, type: 'in_app', provider: 'in_app' })
  await saveEnvironment(database, { feed })
  const { key } = await anEnvironment(database, 'production')
  const server = stack.use(await serveAll(database))
  scene = { database, server, key, stack: stack.move() }
})
afterAll(() => scene.stack.disposeAsync())

async function fill(list: List): Promise<readonly string[]> {
  const { database } = scene
  await database.execute('truncate recipients, subscriptions, messages cascade')
  for (const id of ['ann', 'bo']) await saveUser(database, id)
  await scene.server.call('PUT', '/v1/objects/teams/core', { key: scene.key, body: {} })
  const content = {
    type: 'in_app',
    body: { content: '', rendered: '' },
    action_url: null,
    buttons: [],
  } as const
  const message = aMessage({
    content,
    channel: 'feed' as ChannelKey,
    provider: 'in_app',
    status: 'delivered',
    recipient: { collection: '$users', id: 'bo' },
  })
  await database.transaction((tx) => insertMessages(tx, [message], new Date(NOW)))
  const ids = Array.from({ length: ROWS }, list.makeId)
  await database.query(list.insert(ids))
  return ids
}

interface Page {
  readonly entries?: readonly Entry[]
  readonly items?: readonly Entry[]
  readonly page_info: { readonly after: string | null; readonly before: string | null }
}

async function read(
  list: List,
  cursor: string,
): Promise<{ rows: readonly string[]; info: Page['page_info'] }> {
  const reply = await scene.server.call('GET', `/v1/${list.path}?${cursor}`, { key: scene.key })
  expect(reply.status).toBe(200)
  const { entries, items, page_info: info } = reply.body as Page
  const idOf = list.idOf ?? (({ id }: Entry) => id)
  return { rows: (entries ?? items ?? []).map(idOf), info }
}

/** Writes and deletes some while a page is read, and the row at which the next page begins as soon as it is known. */
function writer(list: List, going: Set<string>) {
  const chance = random(7)
  return async (edges: readonly string[]): Promise<void> => {
    const added = Array.from({ length: CHANGES }, list.makeId)
    await scene.database.query(list.insert(added))
    const some = [...going].slice(0, 2 * CHANGES).filter(() => chance.chance(0.5))
    const removed = [...some, ...edges.filter((id) => going.has(id))]
    for (const id of removed) going.delete(id)
    await scene.database.query(list.remove([...removed, ...added.slice(0, CHANGES / 2)]))
  }
}

for (const [what, list] of Object.entries(lists)) {
  test(`${what}: nobody twice, and nobody missed who was there throughout`, async () => {
    const ids = await fill(list)
    const going = new Set(ids.filter((_, index) => index % 5 === 0))
    const staying = ids.filter((_, index) => index % 5 !== 0)
    const change = writer(list, going)
    const walk = async (first: Awaited<ReturnType<typeof read>>, direction: 'after' | 'before') => {
      const seen = [...first.rows]
      let page = first
      for (let cursor = page.info[direction]; cursor !== null; cursor = page.info[direction]) {
        const edge = direction === 'after' ? page.rows.at(-1) : page.rows[0]
        await change(edge === undefined ? [] : [edge])
        const [next] = await Promise.all([
          read(list, `page_size=50&${direction}=${encodeURIComponent(cursor)}`),
          change([]),
        ])
        page = next
        seen.push(...page.rows)
      }
      const met = new Set(seen)
      const missed = staying.filter((id) => !met.has(id)).length
      const twice = seen.length - met.size
      expect({ direction, missed, twice }).toEqual({ direction, missed: 0, twice: 0 })
      expect(seen.length).toBeGreaterThan(staying.length)
      return page
    }
    const end = await walk(await read(list, 'page_size=50'), 'after')
    if (list.isReadBack) await walk(end, 'before')
  })
}
