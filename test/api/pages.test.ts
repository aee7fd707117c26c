import { expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { newId, newRowId, type MessageId } from '../../src/ids.ts'
import { insertMessages } from '../../src/messages/store.ts'
import { aMessage, aWebhookContent } from '../messages/builders.ts'
import { test as base } from '../support/database.ts'
import { anEnvironment, NOW, serve, type TestServer } from './server-support.ts'
import { applyRevision } from './workflow-support.ts'

interface List {
  readonly items?: readonly { readonly id: string }[]
  readonly entries?: readonly { readonly key: string }[]
  readonly page_info: {
    readonly after: string | null
    readonly before: string | null
    readonly page_size: number
  }
}

const test = base.extend<{ api: TestServer; key: string }>({
  key: async ({ database }, use) => {
    await use((await anEnvironment(database, 'development')).key)
  },
  api: async ({ database, key: _key }, use) => {
    await using api = await serve(database, routes)
    await use(api)
  },
})

async function storeMessage(database: Database, attempts: number): Promise<MessageId> {
  const { environment } = await anEnvironment(database, 'development')
  const id = newId<MessageId>()
  const content = aWebhookContent('https://example.com/')
  const message = { ...aMessage({ content }), environment, id }
  await database.transaction((tx) => insertMessages(tx, [message], new Date(NOW)))
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    const event = [{ type: 'message.delivery_attempted', at: NOW, data: { attempt } }]
    await database.query(sql`
      update messages set events = events || ${JSON.stringify(event)}::jsonb
      where environment = ${environment} and id = ${id}
    `)
    const request = { method: 'POST', host: 'example.com', path: '/', headers: {}, body: null }
    await database.query(sql`
      insert into deliveries (environment, message_id, attempt, id, service, request, response, inserted_at)
      values (${environment}, ${id}, ${attempt}, ${newRowId()}, 'webhook', ${JSON.stringify(request)}, null, ${NOW})
    `)
  }
  return id
}

/** Walks a list forth in pages of two, then back from its last page; answers the ids of each page. */
async function walk(api: TestServer, key: string, path: string) {
  const load = async (cursor: string) => {
    const reply = await api.call('GET', `${path}?page_size=2${cursor}`, { key })
    expect(reply.status).toBe(200)
    const { items, entries, page_info: info } = reply.body as List
    expect(info.page_size).toBe(2)
    return { ids: items?.map(({ id }) => id) ?? entries?.map((one) => one.key) ?? [], info }
  }
  const forth = [await load('')]
  expect(forth[0]?.info.before).toBeNull()
  for (let after = forth[0]?.info.after; after; after = forth.at(-1)?.info.after)
    forth.push(await load(`&after=${after}`))
  const back = [forth.at(-1)!]
  for (let before = back[0]?.info.before; before; before = back[0]?.info.before)
    back.unshift(await load(`&before=${before}`))
  return { forth: forth.map(({ ids }) => ids), back: back.map(({ ids }) => ids) }
}

test('events and attempts of a message are given page by page, forth and back', async ({
  api,
  key,
  database,
}) => {
  const path = `/v1/messages/${await storeMessage(database, 5)}`
  for (const [list, counts] of [
    ['events', [2, 2, 2, 1]],
    ['delivery_logs', [2, 2, 1]],
  ] as const) {
    const whole = (await api.call('GET', `${path}/${list}`, { key })).body as List
    expect(whole.page_info).toEqual({
      __typename: 'PageInfo',
      after: null,
      before: null,
      page_size: 50,
    })
    const { forth, back } = await walk(api, key, `${path}/${list}`)
    expect(forth.map(({ length }) => length)).toEqual(counts)
    expect(forth.flat()).toEqual(whole.items?.map(({ id }) => id))
    expect(back.at(-1)).toEqual(forth.at(-1))
    expect(back.flat()).toEqual(forth.flat())
    expect(await api.call('GET', `${path}/${list}?after=x`, { key })).toMatchObject({
      status: 422,
      body: { errors: [{ field: '?/after' }] },
    })
  }
})

test('workflows are given in pages of 50 at most, like everything else', async ({
  api,
  key,
  database,
}) => {
  const keys = Array.from({ length: 51 }, (_, index) => `flow-${String(index).padStart(2, '0')}`)
  const workflow = { name: 'Flow', steps: [{ ref: 'feed', type: 'in_app', body: 'Hi' }] }
  await applyRevision(
    database,
    'development',
    Object.fromEntries(keys.map((name) => [name, workflow])),
  )
  const first = (await api.call('GET', '/v1/workflows', { key })).body as List
  expect(first.entries).toHaveLength(50)
  expect(first.page_info).toMatchObject({ after: 'flow-49', before: null, page_size: 50 })
  const { forth, back } = await walk(api, key, '/v1/workflows')
  expect(forth.flat()).toEqual(keys)
  expect(back.flat()).toEqual(keys)
  for (const bad of ['page_size=51', 'after=/'])
    expect(await api.call('GET', `/v1/workflows?${bad}`, { key })).toMatchObject({ status: 422 })
})
