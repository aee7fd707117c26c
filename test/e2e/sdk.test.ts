import Knock from '@knocklabs/node'
import { expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { answeredBy, expectOwnContract, findRoute, type Answered } from '../support/contract.ts'
import { test as base } from '../support/database.ts'
import { publishedContract } from '../support/published-contract.ts'
import { KEYS, openApp, type TestApp } from './app-support.ts'

// The SDK that services use, as it is published: every call that it has.

const FEED = channelId('feed' as ChannelKey)
const PUSH = channelId('push' as ChannelKey)

const files = {
  'environments/production.yaml': `ref: main
channels:
  feed: { type: in_app, provider: in_app }
  mail: { type: email, provider: smtp, sandbox: true, settings: { host: 127.0.0.1, from: hello@example.com } }
  push: { type: push, provider: expo }
`,
  'environments/development.yaml': 'ref: development\n',
  'workflows/comment/workflow.yaml': `name: Comment
categories: [collaboration]
steps:
  - { ref: feed, type: in_app, body: "Hello {{data.n}}", action_url: "https://example.com" }
  - { ref: mail, type: email, subject: Hello, markdown: Hello }
`,
  'workflows/digest/workflow.yaml': `name: Digest
steps:
  - { ref: wait, type: batch, window: 1h, max_items: 2 }
  - { ref: feed, type: in_app, body: "{{total_activities}} of them" }
`,
  'workflows/later/workflow.yaml': `name: Later
steps:
  - { ref: wait, type: delay, for: 1h }
  - { ref: feed, type: in_app, body: Late }
`,
}

/** What calls are made with, and what later calls have from earlier ones. */
interface Scene {
  readonly knock: Knock
  readonly app: TestApp
  /** Ids of messages to Ann: in the feed, by mail, and of a batch. */
  readonly feed: string
  readonly mail: string
  readonly batched: string
  bulk: string
  schedule: string
}

/** Each call of the SDK that is served, in an order in which there is something to answer. */
const CALLS: Readonly<Record<string, (scene: Scene) => Promise<unknown>>> = {
  'users.update': ({ knock }) =>
    knock.users.update('ann', { name: 'Ann', email: 'ann@example.com', plan: { seats: 2 } }),
  'users.get': ({ knock }) => knock.users.get('ann'),
  'users.list': ({ knock }) => some(knock.users.list()),
  'users.bulk.identify': async (scene) => {
    const users = [{ id: 'bo', name: 'Bo' }, { id: 'cy' }, { id: 'dee' }]
    scene.bulk = (await scene.knock.users.bulk.identify({ users })).id
  },
  'bulkOperations.get': ({ knock, bulk }) => completed(knock, bulk),
  'users.merge': ({ knock }) => knock.users.merge('ann', { from_user_id: 'cy' }),
  'users.setPreferences': ({ knock }) =>
    knock.users.setPreferences('ann', 'default', {
      categories: { collaboration: { channel_types: { sms: false } } },
      workflows: { comment: true },
    }),
  'users.getPreferences': ({ knock }) => knock.users.getPreferences('ann', 'default'),
  'users.listPreferences': async ({ knock }) =>
    expect(await knock.users.listPreferences('ann')).toHaveLength(1),
  'users.bulk.setPreferences': ({ knock }) =>
    knock.users.bulk.setPreferences({
      user_ids: ['bo', 'dee'],
      preferences: { channel_types: { email: true } },
    }),
  'users.unsetPreferences': ({ knock }) => knock.users.unsetPreferences('bo', 'default'),
  'users.setChannelData': ({ knock }) =>
    knock.users.setChannelData('ann', PUSH, { data: { tokens: ['a-device-of-ann'] } }),
  'users.getChannelData': ({ knock }) => knock.users.getChannelData('ann', PUSH),
  'users.unsetChannelData': ({ knock }) => knock.users.unsetChannelData('ann', PUSH),
  'objects.set': ({ knock }) =>
    knock.objects.set('projects', 'p1', { name: 'One', channel_data: {} }),
  'objects.get': ({ knock }) => knock.objects.get('projects', 'p1'),
  'objects.list': ({ knock }) => some(knock.objects.list('projects')),
  'objects.bulk.set': ({ knock }) =>
    knock.objects.bulk.set('projects', { objects: [{ id: 'p2', name: 'Two' }] }),
  'objects.setPreferences': ({ knock }) =>
    knock.objects.setPreferences('projects', 'p1', 'default', { channel_types: { chat: false } }),
  'objects.getPreferences': ({ knock }) =>
    knock.objects.getPreferences('projects', 'p1', 'default'),
  'objects.listPreferences': async ({ knock }) =>
    expect(await knock.objects.listPreferences('projects', 'p1')).toHaveLength(1),
  'objects.unsetPreferences': ({ knock }) =>
    knock.objects.unsetPreferences('projects', 'p1', 'default'),
  'objects.setChannelData': ({ knock }) =>
    knock.objects.setChannelData('projects', 'p1', PUSH, { data: { tokens: ['a-device'] } }),
  'objects.getChannelData': ({ knock }) => knock.objects.getChannelData('projects', 'p1', PUSH),
  'objects.unsetChannelData': ({ knock }) => knock.objects.unsetChannelData('projects', 'p1', PUSH),
  'objects.addSubscriptions': async ({ knock }) => {
    const recipients = ['ann', { id: 'p2', collection: 'projects' }]
    const made = await knock.objects.addSubscriptions('projects', 'p1', {
      recipients,
      properties: { role: 'reader' },
    })
    expect(made).toHaveLength(2)
  },
  'objects.listSubscriptions': ({ knock }) =>
    some(knock.objects.listSubscriptions('projects', 'p1', { recipients: ['ann'] })),
  'users.listSubscriptions': ({ knock }) => some(knock.users.listSubscriptions('ann')),
  'objects.deleteSubscriptions': async ({ knock }) =>
    expect(
      await knock.objects.deleteSubscriptions('projects', 'p1', { recipients: ['ann'] }),
    ).toHaveLength(1),
  'objects.bulk.addSubscriptions': async ({ knock }) => {
    const subscriptions = [{ id: 'p2', recipients: ['ann', 'bo'], properties: { role: 'owner' } }]
    const { id } = await knock.objects.bulk.addSubscriptions('projects', { subscriptions })
    await completed(knock, id)
  },
  'objects.bulk.deleteSubscriptions': ({ knock }) =>
    knock.objects.bulk.deleteSubscriptions('projects', {
      subscriptions: [{ id: 'p2', recipients: ['bo'] }],
    }),
  'tenants.set': ({ knock }) =>
    knock.tenants.set('acme', {
      name: 'Acme',
      settings: { branding: { primary_color: '#fff' }, preference_set: { categories: {} } },
    }),
  'tenants.get': ({ knock }) =>
    knock.tenants.get('acme', { resolve_full_preference_settings: true }),
  'tenants.list': ({ knock }) => some(knock.tenants.list({ name: 'Acme' })),
  'tenants.bulk.set': ({ knock }) => knock.tenants.bulk.set({ tenants: ['one', { id: 'two' }] }),
  'workflows.trigger': async ({ knock }) => {
    const started = await knock.workflows.trigger('later', {
      recipients: ['ann', { id: 'eve', name: 'Eve' }, { id: 'p1', collection: 'projects' }],
      actor: 'bo',
      tenant: 'acme',
      data: { n: 1 },
      cancellation_key: 'later-1',
    })
    expect(started.workflow_run_id).toMatch(/^[0-9a-f-]{36}$/)
  },
  'workflowRecipientRuns.list': async ({ knock }) => {
    const list = () => knock.workflowRecipientRuns.list({ workflow: 'later', status: ['paused'] })
    await expect.poll(async () => (await list()).items.length, { timeout: 10_000 }).toBe(4)
  },
  'workflowRecipientRuns.get': async ({ knock }) => {
    const [run] = (await knock.workflowRecipientRuns.list({ workflow: 'comment' })).items
    expect((await knock.workflowRecipientRuns.get(run!.id)).events.length).toBeGreaterThan(2)
  },
  'workflows.cancel': ({ knock }) =>
    knock.workflows.cancel('later', { cancellation_key: 'later-1', recipients: ['eve'] }),
  'messages.list': ({ knock }) => some(knock.messages.list({ status: ['delivered'] })),
  'users.listMessages': ({ knock }) => some(knock.users.listMessages('ann')),
  'objects.listMessages': ({ knock }) => some(knock.objects.listMessages('projects', 'p9')),
  'messages.get': ({ knock, mail }) => knock.messages.get(mail),
  'messages.getContent': async ({ knock, mail, feed }) => {
    await knock.messages.getContent(mail)
    await knock.messages.getContent(feed)
  },
  'messages.batch.getContent': async ({ knock, mail, feed }) =>
    expect(await knock.messages.batch.getContent({ message_ids: [mail, feed] })).toHaveLength(2),
  'messages.listEvents': ({ knock, mail }) => some(knock.messages.listEvents(mail)),
  'messages.listDeliveryLogs': ({ knock, mail }) => knock.messages.listDeliveryLogs(mail),
  'messages.listActivities': async ({ knock, feed, batched }) => {
    const [one, ...more] = (await knock.messages.listActivities(feed)).items
    expect({ data: one?.data, actor: one?.actor, more }).toMatchObject({
      data: { n: 7 },
      actor: { id: 'bo' },
      more: [],
    })
    const of = async (query: object) =>
      (await knock.messages.listActivities(batched, query)).items.map(({ data }) => data)
    expect(await of({})).toEqual([{ n: 1 }, { n: 2 }])
    expect(await of({ trigger_data: '{"n":2}' })).toEqual([{ n: 2 }])
    expect(await of({ page_size: 1 })).toEqual([{ n: 1 }])
  },
  'messages.markAsSeen': ({ knock, feed }) => knock.messages.markAsSeen(feed),
  'messages.markAsRead': ({ knock, feed }) => knock.messages.markAsRead(feed),
  'messages.markAsInteracted': ({ knock, feed }) =>
    knock.messages.markAsInteracted(feed, { metadata: { button: 'yes' } }),
  'messages.archive': ({ knock, feed }) => knock.messages.archive(feed),
  'messages.unarchive': ({ knock, feed }) => knock.messages.unarchive(feed),
  'messages.markAsUnread': ({ knock, feed }) => knock.messages.markAsUnread(feed),
  'messages.markAsUnseen': ({ knock, feed }) => knock.messages.markAsUnseen(feed),
  'messages.batch.markAsSeen': (scene) => marked(scene, 'markAsSeen'),
  'messages.batch.markAsRead': (scene) => marked(scene, 'markAsRead'),
  'messages.batch.markAsInteracted': (scene) => marked(scene, 'markAsInteracted'),
  'messages.batch.archive': (scene) => marked(scene, 'archive'),
  'messages.batch.unarchive': (scene) => marked(scene, 'unarchive'),
  'messages.batch.markAsUnread': (scene) => marked(scene, 'markAsUnread'),
  'messages.batch.markAsUnseen': (scene) => marked(scene, 'markAsUnseen'),
  'channels.bulk.updateMessageStatus': async ({ knock }) => {
    const { id } = await knock.channels.bulk.updateMessageStatus(FEED, 'seen', {
      recipient_ids: ['ann'],
      archived: 'exclude',
    })
    await completed(knock, id)
  },
  'users.feeds.listItems': ({ knock }) =>
    some(knock.users.feeds.listItems('ann', FEED, { status: 'seen' })),
  'users.feeds.getSettings': ({ knock }) => knock.users.feeds.getSettings('ann', FEED),
  'schedules.create': async (scene) => {
    const [made] = await scene.knock.schedules.create({
      workflow: 'comment',
      recipients: ['ann', { id: 'p1', collection: 'projects' }],
      actor: 'bo',
      tenant: 'acme',
      data: { n: 9 },
      repeats: [{ frequency: 'weekly', days: ['mon', 'fri'], hours: 9, minutes: 30 }],
    })
    scene.schedule = made!.id
  },
  'schedules.update': async ({ knock, schedule }) =>
    expect(
      await knock.schedules.update({
        schedule_ids: [schedule],
        ending_at: '2099-01-01T00:00:00Z',
        repeats: [{ frequency: 'daily', hours: 10 }],
      }),
    ).toHaveLength(1),
  'schedules.bulk.create': async ({ knock }) => {
    const schedules = ['ann', 'bo'].map((recipient) => ({
      workflow: 'comment',
      recipient,
      repeats: [{ frequency: 'monthly' as const, day_of_month: 1 }],
    }))
    await completed(knock, (await knock.schedules.bulk.create({ schedules })).id)
  },
  'schedules.list': ({ knock }) =>
    some(knock.schedules.list({ workflow: 'comment', recipients: ['ann'] })),
  'users.listSchedules': ({ knock }) => some(knock.users.listSchedules('ann')),
  'objects.listSchedules': ({ knock }) => some(knock.objects.listSchedules('projects', 'p1')),
  'schedules.delete': async ({ knock, schedule }) =>
    expect(await knock.schedules.delete({ schedule_ids: [schedule] })).toHaveLength(1),
  'audiences.addMembers': ({ knock }) =>
    knock.audiences.addMembers('beta-testers', {
      members: [{ user: { id: 'ann' } }, { user: { id: 'bo', name: 'Bo' }, tenant: 'acme' }],
    }),
  'audiences.listMembers': async ({ knock }) =>
    expect((await knock.audiences.listMembers('beta-testers')).entries).toHaveLength(2),
  'audiences.removeMembers': ({ knock }) =>
    knock.audiences.removeMembers('beta-testers', { members: [{ user: { id: 'ann' } }] }),
  'objects.delete': ({ knock }) => knock.objects.delete('projects', 'p1'),
  'objects.bulk.delete': ({ knock }) =>
    knock.objects.bulk.delete('projects', { object_ids: ['p2'] }),
  'tenants.delete': ({ knock }) => knock.tenants.delete('acme'),
  'tenants.bulk.delete': ({ knock }) => knock.tenants.bulk.delete({ tenant_ids: ['one', 'two'] }),
  'users.delete': ({ knock }) => knock.users.delete('ann'),
  'users.bulk.delete': ({ knock }) => knock.users.bulk.delete({ user_ids: ['bo', 'dee'] }),
}

/** What of the SDK is not served, and why. */
const NOT_SERVED: Readonly<Record<string, readonly string[]>> = {
  'Belfry has no guides': [
    'users.guides.getChannel',
    'users.guides.markMessageAsArchived',
    'users.guides.markMessageAsInteracted',
    'users.guides.markMessageAsSeen',
    'users.guides.resetGuideEngagements',
    'users.guides.unarchiveGuideMessage',
  ],
  'Belfry hosts no page of preferences': [
    'users.preferenceCenter.generateSignedURL',
    'users.preferenceCenter.getConfig',
  ],
  'applications connect chat services themselves': [
    'providers.slack.checkAuth',
    'providers.slack.listChannels',
    'providers.slack.revokeAccess',
    'providers.msTeams.checkAuth',
    'providers.msTeams.listChannels',
    'providers.msTeams.listTeams',
    'providers.msTeams.revokeAccess',
  ],
  'of other products, which send to sources': [
    'integrations.census.customDestination',
    'integrations.hightouch.embeddedDestination',
  ],
}

interface Page {
  getPaginatedItems(): readonly unknown[]
}

/** A list in which nothing stands says nothing about what would stand there. */
async function some(page: PromiseLike<Page>): Promise<void> {
  expect((await page).getPaginatedItems().length).toBeGreaterThan(0)
}

async function completed(knock: Knock, id: string): Promise<void> {
  const status = async () => (await knock.bulkOperations.get(id)).status
  await expect.poll(status, { timeout: 10_000 }).toBe('completed')
}

type BatchMark = Exclude<keyof Knock['messages']['batch'], 'getContent' | '_client'>

async function marked({ knock, feed, mail }: Scene, mark: BatchMark): Promise<void> {
  expect(await knock.messages.batch[mark]({ message_ids: [feed, mail] })).toHaveLength(2)
}

function isResource(value: unknown): value is object {
  return typeof value === 'object' && value !== null && '_client' in value
}

/** The names of all calls of the SDK, by its own objects. */
function callsOf(resource: object, path: readonly string[] = []): readonly string[] {
  const own: object = isResource(resource) ? (Object.getPrototypeOf(resource) as object) : {}
  const methods = Object.getOwnPropertyNames(own).filter((name) => name !== 'constructor')
  return [
    ...methods.map((name) => [...path, name].join('.')),
    ...Object.entries(resource).flatMap(([name, inner]) =>
      isResource(inner) ? callsOf(inner, [...path, name]) : [],
    ),
  ]
}

const test = base.extend<{ app: TestApp }>({
  app: async ({ database }, use) => {
    await using app = await openApp(database, { files })
    await use(app)
  },
})

test('every call of the SDK is served, or there is a reason', () => {
  const known = [...Object.keys(CALLS), ...Object.values(NOT_SERVED).flat()]
  expect(known.toSorted()).toEqual(callsOf(new Knock({ apiKey: 'sk_a' })).toSorted())
  // Its calls are called in our contract as it calls them.
  const ids = new Set(routes.map(({ id }) => id))
  expect(Object.keys(CALLS).filter((name) => !ids.has(name))).toEqual([])
  expect(
    Object.values(NOT_SERVED)
      .flat()
      .filter((name) => ids.has(name)),
  ).toEqual([])
})

test('each reply to the SDK is what both contracts say', async ({ app }) => {
  const published = publishedContract()
  const answers: Answered[] = []
  const knock = listenedTo(app, (answered) => answers.push(answered))
  const scene = await openScene(app, knock)
  for (const [name, call] of Object.entries(CALLS)) {
    answers.length = 0
    await call(scene)
    const served = answers.map((one) => findRoute(routes, one)?.id)
    expect({ name, isServed: served.includes(name) }).toEqual({ name, isServed: true })
    for (const one of answers) {
      expectOwnContract(routes, one)
      published?.(one)
    }
  }
}, 60_000)

function listenedTo(app: TestApp, hear: (answered: Answered) => void): Knock {
  return new Knock({
    apiKey: KEYS.production,
    baseURL: app.url,
    maxRetries: 0,
    async fetch(input, init) {
      const reply = await fetch(input, init)
      hear(await answeredBy(reply, init?.method))
      return reply
    },
  })
}

async function openScene(app: TestApp, knock: Knock): Promise<Scene> {
  const ann = { id: 'ann', name: 'Ann', email: 'ann@example.com' }
  const sent = await app.send('comment', {
    recipients: [ann, { id: 'p9', collection: 'projects', name: 'Nine' }],
    actor: { id: 'bo', name: 'Bo' },
    data: { n: 7 },
  })
  const idOf = (step: string) =>
    sent.find(({ recipient, source }) => recipient === 'ann' && source.step_ref === step)?.id ?? ''
  for (const n of [1, 2])
    await knock.workflows.trigger('digest', { recipients: ['ann'], data: { n } })
  const digests = async () => (await knock.messages.list({ source: 'digest' })).items
  await expect.poll(digests, { timeout: 10_000 }).toHaveLength(1)
  const batched = (await digests())[0]?.id ?? ''
  return { knock, app, feed: idOf('feed'), mail: idOf('mail'), batched, bulk: '', schedule: '' }
}
