import { describe, expect } from 'vitest'
import { test as base } from '../support/database.ts'
import { expectShape, serveAll } from './contract-support.ts'
import { anEnvironment, type TestReply } from './server-support.ts'

interface Api {
  call(method: string, path: string, body?: object): Promise<TestReply>
}

const test = base.extend<{ api: Api }>({
  api: async ({ database }, use) => {
    await database.execute('truncate recipients, channel_data, subscriptions')
    const { key } = await anEnvironment(database, 'production')
    await using server = await serveAll(database)
    await use({
      call: (method, path, body) => server.call(method, path, { key, ...(body && { body }) }),
    })
  },
})

interface Subscription {
  readonly object: { readonly id: string }
  readonly recipient: { readonly id: string; readonly name?: string }
  readonly properties: object
}

const page = '/v1/objects/pages/start/subscriptions'
const names = (body: unknown) =>
  (body as readonly Subscription[]).map(
    ({ object, recipient }) => `${recipient.id} to ${object.id}`,
  )
const entries = (reply: TestReply) => (reply.body as { entries: readonly Subscription[] }).entries

async function names200(api: Api, path: string): Promise<readonly string[]> {
  const reply = await api.call('GET', path)
  expect({ path, status: reply.status }).toEqual({ path, status: 200 })
  expectShape('ListSubscriptionsResponse', reply.body)
  return names(entries(reply))
}

describe('subscribing', () => {
  test('answers the subscriptions in full, in the order of the call', async ({ api }) => {
    await api.call('PUT', '/v1/users/bob', { name: 'Bob' })
    const reply = await api.call('POST', page, {
      recipients: ['bob', { id: 'ada', name: 'Ada' }, { id: 'core', collection: 'teams' }],
      properties: { role: 'reader' },
    })
    expect(reply.status).toBe(200)
    expectShape('SubscriptionsResponse', reply.body)
    expect(names(reply.body)).toEqual(['bob to start', 'ada to start', 'core to start'])
    expect(reply.body).toMatchObject([
      { recipient: { name: 'Bob' }, properties: { role: 'reader' } },
      { recipient: { name: 'Ada' }, object: { collection: 'pages' } },
      { recipient: { __typename: 'Object', collection: 'teams' } },
    ])
  })

  test('again keeps the subscription, and replaces its properties where some are given', async ({
    api,
  }) => {
    const first = await api.call('POST', page, { recipients: ['ada'], properties: { a: 1 } })
    const again = await api.call('POST', page, { recipients: ['ada'] })
    const other = await api.call('POST', page, { recipients: ['ada'], properties: { b: 2 } })
    const properties = [first, again, other].map(
      ({ body }) => (body as [Subscription])[0].properties,
    )
    expect(properties).toEqual([{ a: 1 }, { a: 1 }, { b: 2 }])
    expect(await names200(api, page)).toEqual(['ada to start'])
  })

  test('refuses the object itself, too many, and what is no recipient, and does none of it', async ({
    api,
  }) => {
    const itself = { id: 'start', collection: 'pages' }
    const bodies = [
      { recipients: ['ada', itself] },
      { recipients: Array.from({ length: 101 }, (_, index) => `user-${index}`) },
      { recipients: [] },
      { recipients: ['ada', 5] },
      { recipients: ['ada', 'a/b'] },
      { recipients: ['ada'], properties: [] },
      {},
    ]
    for (const body of bodies) {
      const reply = await api.call('POST', page, body)
      expect(reply).toMatchObject({ status: 422, body: { code: 'invalid_params' } })
    }
    expect(await names200(api, page)).toEqual([])
    expect((await api.call('GET', '/v1/users/ada')).status).toBe(404)
  })

  test('to a collection of ours is refused', async ({ api }) => {
    const path = '/v1/objects/$users/ada/subscriptions'
    expect((await api.call('POST', path, { recipients: ['bob'] })).status).toBe(422)
  })
})

test('unsubscribing answers those that there were', async ({ api }) => {
  await api.call('POST', page, { recipients: ['ada', 'bob', 'cid'] })
  const reply = await api.call('DELETE', page, { recipients: ['cid', 'nobody', 'ada'] })
  expect(reply.status).toBe(200)
  expectShape('SubscriptionsResponse', reply.body)
  expect(names(reply.body)).toEqual(['cid to start', 'ada to start'])
  expect(await names200(api, page)).toEqual(['bob to start'])
})

describe('lists', () => {
  test('go from both ends, newest first, narrowed and page by page', async ({ api }) => {
    const teams = { id: 'core', collection: 'teams' }
    for (const id of ['one', 'two', 'three']) {
      const path = `/v1/objects/pages/${id}/subscriptions`
      await api.call('POST', path, { recipients: ['ada', teams] })
    }
    const ada = '/v1/users/ada/subscriptions'
    expect(await names200(api, ada)).toEqual(['ada to three', 'ada to two', 'ada to one'])
    const core = '/v1/objects/teams/core/subscriptions?mode=recipient'
    expect(await names200(api, core)).toEqual(['core to three', 'core to two', 'core to one'])
    expect(await names200(api, '/v1/objects/teams/core/subscriptions')).toEqual([])

    const only = 'objects[0][collection]=pages&objects[0][id]=two'
    expect(await names200(api, `${ada}?${only}`)).toEqual(['ada to two'])
    expect(await names200(api, `${core}&${only}`)).toEqual(['core to two'])
    const two = '/v1/objects/pages/two/subscriptions'
    expect(await names200(api, `${two}?recipients[]=ada`)).toEqual(['ada to two'])
    expect(await names200(api, `${two}?recipients[]=bob`)).toEqual([])

    for (const path of [`${ada}?`, `${core}&`]) {
      const first = await api.call('GET', `${path}page_size=2`)
      const { page_info: info } = first.body as { page_info: { after: string } }
      const second = await api.call('GET', `${path}page_size=2&after=${info.after}`)
      const back = (second.body as { page_info: { before: string } }).page_info.before
      expect(names(entries(second))).toHaveLength(1)
      const before = await api.call('GET', `${path}page_size=2&before=${back}`)
      expect(names(entries(before))).toEqual(names(entries(first)))
    }
    const users = Array.from({ length: 5 }, (_, index) => `user-${index}`)
    await api.call('POST', page, { recipients: users })
    const first = await api.call('GET', `${page}?page_size=3`)
    const { page_info: info } = first.body as { page_info: { after: string } }
    const second = await api.call('GET', `${page}?page_size=3&after=${info.after}`)
    const back = (second.body as { page_info: { before: string } }).page_info.before
    const again = await api.call('GET', `${page}?page_size=3&before=${back}`)
    expect(names(entries(again))).toEqual(names(entries(first)))
    const all = [...entries(first), ...entries(second)].map(({ recipient }) => recipient.id)
    expect(all.toSorted()).toEqual(users)
  })
})

describe('a recipient', () => {
  test('that is deleted has no subscriptions any more, and nobody is subscribed to it', async ({
    api,
  }) => {
    await api.call('POST', page, { recipients: ['ada', 'bob'] })
    await api.call('DELETE', '/v1/users/ada')
    expect(await names200(api, page)).toEqual(['bob to start'])
    await api.call('DELETE', '/v1/objects/pages/start')
    expect(await names200(api, '/v1/users/bob/subscriptions')).toEqual([])
    // Nothing of before comes back with the name.
    await api.call('PUT', '/v1/objects/pages/start', {})
    expect(await names200(api, page)).toEqual([])
  })

  test('that is merged into another one brings its subscriptions, where that one has none', async ({
    api,
  }) => {
    const other = '/v1/objects/pages/other/subscriptions'
    await api.call('POST', page, { recipients: ['ada'], properties: { of: 'ada' } })
    await api.call('POST', page, { recipients: ['bob'], properties: { of: 'bob' } })
    await api.call('POST', other, { recipients: ['bob'], properties: { of: 'bob' } })
    await api.call('POST', '/v1/users/ada/merge', { from_user_id: 'bob' })
    const reply = await api.call('GET', '/v1/users/ada/subscriptions')
    const found = entries(reply).map(({ object, properties }) => ({ to: object.id, ...properties }))
    expect(found).toEqual([
      { to: 'other', of: 'bob' },
      { to: 'start', of: 'ada' },
    ])
  })
})
