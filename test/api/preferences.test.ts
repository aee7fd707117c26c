import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { expectShape } from './contract-support.ts'
import { blank, EMAIL, fields, test } from './preferences-support.ts'

describe.each(['users/ann', 'objects/projects/p1'])('the preferences of %s', (owner) => {
  test('are set, read, listed and unset', async ({ api }) => {
    const path = `${owner}/preferences/default`
    const given = {
      workflows: { hello: { channel_types: { sms: true }, conditions: null } },
      channel_types: { email: { conditions: [] } },
      commercial_subscribed: true,
    }
    const put = await api.put(path, given)
    const set = {
      id: 'default',
      ...blank,
      ...given,
      workflows: { hello: { channel_types: { sms: true } } },
    }
    expect(put).toMatchObject({ status: 200, body: set })
    expectShape('PreferenceSet', put.body)
    // The owner is there now, and what counts for it is what the reply has said.
    expect(await api.get(owner)).toMatchObject({ status: 200 })
    expect(await api.get(path)).toMatchObject({ status: 200, body: set })
    await api.put(`${owner}/preferences/acme`, { channel_types: { email: false } })
    // The list is of what was said, without what others say.
    const list = await api.get(`${owner}/preferences`)
    expect(list.body).toEqual([
      { ...blank, categories: null, id: 'acme', channel_types: { email: false } },
      { ...set, categories: null },
    ])
    for (const one of list.body as readonly object[]) expectShape('PreferenceSet', one)
    expect(await api.remove(path)).toMatchObject({ status: 204 })
    expect(await api.remove(path)).toMatchObject({ status: 204 })
    expect(await api.get(path)).toMatchObject({ status: 200, body: { id: 'default', ...blank } })
    expect((await api.get(`${owner}/preferences`)).body).toHaveLength(1)
  })

  test('are replaced, or merged where the request says so', async ({ api }) => {
    const path = `${owner}/preferences/default`
    await api.put(path, {
      categories: { a: { channel_types: { email: true, sms: false } }, b: true },
    })
    const merge = { __persistence_strategy__: 'merge' }
    const merged = await api.put(path, {
      ...merge,
      categories: { a: { channel_types: { email: false } }, b: null },
    })
    expect(merged.body).toEqual({
      ...blank,
      id: 'default',
      categories: { a: { channel_types: { email: false, sms: false } }, marketing: false },
    })
    expect((await api.put(path, { categories: { c: true } })).body).toMatchObject({
      categories: { c: true, marketing: false },
    })
    expect((await api.put(path, {})).body).toEqual({ ...blank, id: 'default' })
  })

  test('go with it, and are not there for the next one of that name', async ({ api }) => {
    await api.put(`${owner}/preferences/default`, { workflows: { hello: false } })
    expect(await api.remove(owner)).toMatchObject({ status: 204 })
    for (const path of [`${owner}/preferences`, `${owner}/preferences/default`])
      expect(await api.get(path)).toMatchObject({ status: 404, body: { code: 'resource_missing' } })
    await api.put(owner, {})
    expect((await api.get(`${owner}/preferences`)).body).toEqual([])
  })

  test('come inline with it, are merged, and are not among its properties', async ({ api }) => {
    await api.put(`${owner}/preferences/default`, { workflows: { a: false } })
    const inline = { default: { workflows: { b: false } }, acme: { channel_types: { sms: true } } }
    const put = await api.put(owner, { name: 'A', preferences: inline })
    expect(put.status).toBe(200)
    expect(JSON.stringify(put.body)).not.toContain('preferences')
    expect((await api.get(`${owner}/preferences`)).body).toMatchObject([
      { id: 'acme', channel_types: { sms: true } },
      { id: 'default', workflows: { a: false, b: false } },
    ])
    const set = { ...inline.default, __persistence_strategy__: 'replace' }
    await api.put(owner, { preferences: { default: set } })
    expect((await api.get(`${owner}/preferences/default`)).body).toMatchObject({
      workflows: { b: false },
    })
  })
})

const tooDeep = { conditions: [{ variable: 'refs.feed.delivery_status', operator: 'exists' }] }

test.for<[object, string]>([
  [{ sms: false }, '/sms'],
  [{ workflows: [] }, '/workflows'],
  [{ workflows: { a: 'no' } }, '/workflows/a'],
  [{ workflows: { a: { email: false } } }, '/workflows/a/email'],
  [{ categories: { 'a/b~c': 1 } }, '/categories/a~1b~0c'],
  [{ channel_types: { mail: true } }, '/channel_types/mail'],
  [{ channel_types: { email: {} } }, '/channel_types/email/conditions'],
  [
    { channel_types: { email: { conditions: [{ variable: 'x' }] } } },
    '/channel_types/email/conditions/0/operator',
  ],
  [
    { commercial_subscribed: { conditions: [{ variable: 'data.a', operator: 'is' }] } },
    '/commercial_subscribed/conditions/0/operator',
  ],
  [
    {
      workflows: {
        a: {
          conditions: [
            { variable: 'data.a', operator: 'exists' },
            { variable: 'nobody.a', operator: 'exists' },
          ],
        },
      },
    },
    '/workflows/a/conditions/1/variable',
  ],
  [{ channels: { email: tooDeep } }, '/channels/email/conditions/0/variable'],
  [{ channels: { email: true, [EMAIL]: true } }, `/channels/${EMAIL}`],
  [{ __persistence_strategy__: 'append' }, '/__persistence_strategy__'],
  [{ __strategy__: 'replace' }, '/__strategy__'],
  [{ categories: { a: { __strategy__: 'drop' } } }, '/categories/a/__strategy__'],
  [{ categories: { __strategy__: 'replace' } }, '/categories'],
])('what is no preference set is refused: %j', async ([body, field], { api }) => {
  const refused = await api.put('users/ann/preferences/default', body)
  expect(refused).toMatchObject({ status: 422, body: { code: 'invalid_params' } })
  expect(fields(refused)).toContain(field)
  const inline = await api.put('users/ann', { preferences: { acme: body } })
  expect(fields(inline)).toContain(`/preferences/acme${field}`)
  const tenant = await api.put('tenants/acme', { settings: { preference_set: body } })
  expect(fields(tenant)).toContain(`/settings/preference_set${field}`)
  expect(await api.get('users/ann')).toMatchObject({ status: 404 })
})

test('a body that is no object is refused', async ({ api }) => {
  for (const body of [undefined, '[]', '"x"', '1', 'null'])
    expect(await api.put('users/ann/preferences/default', body)).toMatchObject({ status: 422 })
})

test('a set has an id that can be one, and a size', async ({ api }) => {
  for (const id of ['a%2Fb', 'a%23', 'x'.repeat(257)])
    expect(await api.put(`users/ann/preferences/${id}`, {})).toMatchObject({ status: 422 })
  const conditions = [{ variable: 'data.a', operator: 'equal_to', argument: 'x'.repeat(1000) }]
  const workflows = Object.fromEntries(
    Array.from({ length: 300 }, (_, index) => [`w${index}`, { conditions }]),
  )
  expect(await api.put('users/ann/preferences/default', { workflows })).toMatchObject({
    status: 422,
    body: { message: expect.stringContaining('larger than 256 kB') },
  })
})

test('a recipient has a thousand sets at most', async ({ api, database }) => {
  await api.put('users/ann', {})
  await database.query(sql`
    insert into preference_sets (environment, collection, recipient, id, settings, inserted_at, updated_at)
    select 'production', '$users', 'ann', 'tenant-' || n, '{}', now(), now() from generate_series(1, 999) n
  `)
  expect(await api.put('users/ann/preferences/default', {})).toMatchObject({ status: 200 })
  expect(await api.put('users/ann/preferences/one-more', {})).toMatchObject({ status: 422 })
  expect(await api.put('users/ann/preferences/tenant-7', {})).toMatchObject({ status: 200 })
})

describe('the preferences of a tenant', () => {
  const path = 'tenants/acme'
  const given = {
    categories: { news: { channel_types: { email: false }, __strategy__: 'replace' } },
  }

  test('are merged, or replaced where the request says so', async ({ api }) => {
    const put = await api.put(path, { name: 'Acme', settings: { preference_set: given } })
    expect(put).toMatchObject({
      status: 200,
      body: { settings: { preference_set: { id: 'default', ...given } } },
    })
    expectShape('Tenant', put.body)
    const more = {
      workflows: { hello: true },
      categories: { news: { channel_types: { sms: true } } },
    }
    await api.put(path, { settings: { preference_set: more } })
    // What is left out of a write stays, `__strategy__` too.
    expect((await api.get(path)).body).toMatchObject({
      name: 'Acme',
      settings: {
        preference_set: {
          workflows: { hello: true },
          categories: {
            news: { channel_types: { email: false, sms: true }, __strategy__: 'replace' },
          },
        },
      },
    })
    const replacing = { ...more, __persistence_strategy__: 'replace' }
    const replaced = await api.put(path, { settings: { preference_set: replacing } })
    expect(replaced.body).toEqual({
      __typename: 'Tenant',
      id: 'acme',
      name: 'Acme',
      settings: { preference_set: { id: 'default', ...more } },
    })
    await api.put(path, { settings: { preference_set: null } })
    expect((await api.get(path)).body).toMatchObject({ settings: {} })
  })

  test('come inline as the set "default", and as no other one', async ({ api }) => {
    await api.put(path, { preferences: { default: { channels: { email: false } } } })
    expect((await api.get(path)).body).toMatchObject({
      settings: { preference_set: { channels: { [EMAIL]: false } } },
    })
    expect(await api.put(path, { preferences: { other: {} } })).toMatchObject({
      status: 422,
      body: { errors: [{ field: '/preferences/other' }] },
    })
  })

  test('are shown with those of the environment below them where that is asked', async ({
    api,
  }) => {
    const query = '?resolve_full_preference_settings=true'
    const resolved = { id: 'default', categories: { ...given.categories, marketing: false } }
    const put = await api.put(`${path}${query}`, { settings: { preference_set: given } })
    expect(put.body).toMatchObject({ settings: { preference_set: resolved } })
    expect((await api.get(`${path}${query}`)).body).toEqual(put.body)
    expectShape('Tenant', put.body)
    expect((await api.get(path)).body).toMatchObject({ settings: { preference_set: given } })
    await api.put('tenants/plain', {})
    expect((await api.get(`tenants/plain${query}`)).body).toMatchObject({
      settings: { preference_set: { id: 'default', categories: { marketing: false } } },
    })
  })
})

describe('what counts', () => {
  test('is shown for a tenant, with the word of the tenant that replaces', async ({ api }) => {
    const own = { categories: { news: { channel_types: { email: true } } } }
    const tenants = {
      categories: { news: { channel_types: { email: false }, __strategy__: 'replace' }, b: true },
    }
    await api.put('users/ann/preferences/default', { categories: { c: false } })
    await api.put('users/ann/preferences/acme', own)
    await api.put('tenants/acme', { settings: { preference_set: tenants } })
    const shown = { categories: { marketing: false, ...tenants.categories } }
    for (const path of ['acme', 'default?tenant=acme']) {
      const { body } = await api.get(`users/ann/preferences/${path}`)
      expect(body).toEqual({ ...blank, ...shown, id: path.split('?')[0] })
    }
    // What is shown may be sent back: what the tenant says does not become the user's word against others.
    expect(await api.put('users/ann/preferences/acme', shown)).toMatchObject({ status: 200 })
    expect(JSON.stringify((await api.get('users/ann/preferences')).body)).not.toContain(
      '__strategy__',
    )
    await api.put('tenants/acme', {
      settings: { preference_set: { categories: { news: { __strategy__: 'merge' } } } },
    })
    await api.put('users/ann/preferences/acme', own)
    expect((await api.get('users/ann/preferences/acme')).body).toMatchObject(own)
    // Neither says anything of this one.
    expect((await api.get('users/ann/preferences/other')).body).toMatchObject({
      id: 'other',
      categories: { c: false, marketing: false },
    })
  })

  test('is explained: which sets, where each setting stands, and what it decides', async ({
    api,
  }) => {
    await api.put('users/ann', { plan: 'free' })
    const pro = [{ variable: 'recipient.plan', operator: 'equal_to', argument: 'pro' }]
    await api.put('users/ann/preferences/default', {
      channel_types: { email: true },
      commercial_subscribed: { conditions: pro },
    })
    const path = 'users/ann/preferences/default?explain=true'
    const { body } = await api.get(path)
    expectShape('PreferenceSet', body)
    expect(body).toMatchObject({
      explain: {
        tenant: null,
        tenant_without_preferences: false,
        sets: [
          { set: 'recipient', id: 'default' },
          { set: 'environment', id: null, settings: { categories: { marketing: false } } },
        ],
        settings: [
          { setting: 'categories.marketing', value: false, set: 'environment', id: null },
          { setting: 'channel_types.email', value: true, set: 'recipient', id: 'default' },
          { setting: 'commercial_subscribed.conditions', value: pro },
        ],
        decisions: [],
      },
    })
    const asked = (await api.get(`${path}&workflow=hello&channel=${EMAIL}`)).body
    const decided = {
      setting: 'commercial_subscribed',
      set: 'recipient',
      id: 'default',
      result: false,
      conditions: [{ resolved_variable: 'free', resolved_argument: 'pro', result: false }],
    }
    expect(asked).toMatchObject({
      explain: {
        decisions: [
          {
            workflow: 'hello',
            channel: 'email',
            channel_id: EMAIL,
            channel_type: 'email',
            result: false,
            decided_by: decided,
            settings: [decided, { setting: 'channel_types.email', result: true }],
          },
        ],
      },
    })
    expect((await api.get(`${path}&workflow=hello&channel=email`)).body).toEqual(asked)
    expect((await api.get(`${path}&workflow=hello`)).body).toEqual(asked)
    expect(await api.get(`${path}&workflow=gone`)).toMatchObject({
      status: 404,
      body: { code: 'workflow_missing' },
    })
    expect(await api.get(`${path}&workflow=hello&channel=gone`)).toMatchObject({
      status: 422,
      body: { errors: [{ field: '?/channel' }] },
    })
  })
})

test('a user that is merged brings its preferences, and the other one wins', async ({ api }) => {
  const set = (id: string, name: string, body: object) =>
    api.put(`users/${id}/preferences/${name}`, body)
  await set('ann', 'default', { workflows: { a: true }, channel_types: { sms: false } })
  await set('guest', 'default', { workflows: { a: false, b: false }, commercial_subscribed: false })
  await set('guest', 'acme', { categories: { news: false } })
  expect(await api.post('users/ann/merge', { from_user_id: 'guest' })).toMatchObject({
    status: 200,
  })
  expect((await api.get('users/ann/preferences')).body).toMatchObject([
    { id: 'acme', categories: { news: false } },
    {
      id: 'default',
      workflows: { a: true, b: false },
      channel_types: { sms: false },
      commercial_subscribed: false,
    },
  ])
  await api.put('users/guest', {})
  expect((await api.get('users/guest/preferences')).body).toEqual([])
})
