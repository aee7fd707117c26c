import Knock from '@knocklabs/node'
import { expect } from 'vitest'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { test as base } from '../support/database.ts'
import { KEYS, openApp, timelineOf, type SentMessage, type TestApp } from './app-support.ts'

const files = {
  'environments/production.yaml': `ref: main
channels:
  feed: { type: in_app, provider: in_app }
  mail: { type: email, provider: smtp, sandbox: true, settings: { host: 127.0.0.1, from: hello@example.com } }
preferences:
  categories: { marketing: false }
`,
  'environments/development.yaml': 'ref: development\n',
  'workflows/comment/workflow.yaml': `name: Comment
categories: [collaboration]
steps:
  - { ref: feed, type: in_app, body: Hello }
  - { ref: mail, type: email, subject: Hello, markdown: Hello }
`,
}

const test = base.extend<{ app: TestApp; knock: Knock }>({
  app: [
    async ({ database }, use) => {
      await using app = await openApp(database, { files })
      await use(app)
    },
    { scope: 'file' },
  ],
  knock: async ({ app }, use) => {
    await use(new Knock({ apiKey: KEYS.production, baseURL: app.url, maxRetries: 0 }))
  },
})

const steps = (messages: readonly SentMessage[]) => messages.map(({ source }) => source.step_ref)

test('the SDK identifies with preferences, sets, reads, lists and unsets them', async ({
  knock,
}) => {
  const set = { categories: { collaboration: { channel_types: { email: false } } } }
  await knock.users.update('ann', { name: 'Ann', preferences: { default: set } })
  expect(await knock.users.getPreferences('ann', 'default')).toMatchObject({
    id: 'default',
    categories: { ...set.categories, marketing: false },
  })
  const replaced = await knock.users.setPreferences('ann', 'default', {
    workflows: { comment: { channel_types: { in_app_feed: false } } },
    channels: { [channelId('mail' as ChannelKey)]: true },
    commercial_subscribed: true,
  })
  expect(replaced).toMatchObject({ workflows: { comment: {} }, categories: { marketing: false } })
  await knock.users.setPreferences('ann', 'default', {
    __persistence_strategy__: 'merge',
    workflows: { comment: { channel_types: { email: true } } },
  })
  expect(await knock.users.listPreferences('ann')).toEqual([
    expect.objectContaining({
      id: 'default',
      workflows: { comment: { channel_types: { in_app_feed: false, email: true } } },
    }),
  ])
  await knock.users.unsetPreferences('ann', 'default')
  expect(await knock.users.listPreferences('ann')).toEqual([])
  await expect(knock.users.getPreferences('nobody', 'default')).rejects.toMatchObject({
    status: 404,
  })
  await expect(
    knock.users.setPreferences('ann', 'default', { channel_types: { email: 'no' as never } }),
  ).rejects.toBeInstanceOf(Knock.UnprocessableEntityError)
})

test('the SDK sets preferences of many users', async ({ knock }) => {
  const done = await knock.users.bulk.setPreferences({
    user_ids: ['u1', 'u2'],
    preferences: { channel_types: { push: false } },
  })
  expect(await knock.bulkOperations.get(done.id)).toMatchObject({
    status: 'completed',
    success_count: 2,
  })
  expect(await knock.users.getPreferences('u2', 'default')).toMatchObject({
    channel_types: { push: false },
  })
})

test('the SDK does the same for objects', async ({ knock }) => {
  await knock.objects.setPreferences('projects', 'p1', 'default', { workflows: { comment: false } })
  expect(await knock.objects.getPreferences('projects', 'p1', 'default')).toMatchObject({
    workflows: { comment: false },
  })
  expect(await knock.objects.listPreferences('projects', 'p1')).toHaveLength(1)
  await knock.objects.unsetPreferences('projects', 'p1', 'default')
  expect(await knock.objects.listPreferences('projects', 'p1')).toEqual([])
})

test('what the SDK sets decides what is sent, with a tenant above the user', async ({
  app,
  knock,
}) => {
  const recipients = [{ id: 'bob', email: 'bob@example.com' }]
  expect(steps(await app.send('comment', { recipients }))).toEqual(['feed', 'mail'])
  await knock.users.setPreferences('bob', 'acme', {
    categories: { collaboration: { channel_types: { email: true, in_app_feed: false } } },
  })
  expect(steps(await app.send('comment', { recipients, tenant: 'acme' }))).toEqual(['mail'])
  await knock.tenants.set('acme', {
    settings: {
      preference_set: {
        categories: {
          collaboration: { __strategy__: 'replace', channel_types: { email: false } } as never,
        },
      },
    },
  })
  const messages = await app.send('comment', { recipients, tenant: 'acme' })
  expect(steps(messages)).toEqual(['feed'])
  const mail = (await timelineOf(app, messages[0]!)).filter(
    ({ event }) => event === 'preferences_evaluated',
  )
  expect(mail.map(({ data }) => data['decided_by'])).toEqual([
    {
      setting: 'categories.collaboration.channel_types.email',
      set: 'tenant',
      id: 'acme',
      result: false,
    },
  ])
  expect(await knock.users.getPreferences('bob', 'default', { tenant: 'acme' })).toMatchObject({
    categories: { collaboration: { __strategy__: 'replace', channel_types: { email: false } } },
  })
  const tenant = await knock.tenants.get('acme', { resolve_full_preference_settings: true })
  expect(tenant.settings?.preference_set?.categories).toMatchObject({ marketing: false })
})
