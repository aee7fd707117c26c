import Knock from '@knocklabs/node'
import { describe, expect } from 'vitest'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { test as base } from '../support/database.ts'
import { KEYS, OPERATOR, openApp, type TestApp } from './app-support.ts'

// What services do with the published SDK, against the whole program.

const mail =
  '{ type: email, provider: smtp, sandbox: true, settings: { host: 127.0.0.1, from: hello@example.com } }'
const files = {
  'environments/production.yaml': `ref: main
channels: { feed: { type: in_app, provider: in_app }, mail: ${mail} }
preferences: { categories: { marketing: false } }
`,
  'workflows/comment/workflow.yaml': `name: Comment
steps:
  - { ref: feed, type: in_app, body: "{{actor.name}}: {{data.text}}" }
`,
  'workflows/reminder/workflow.yaml': `name: Reminder
steps:
  - { ref: wait, type: delay, for: 1d }
  - { ref: feed, type: in_app, body: Remember }
`,
  'workflows/digest/workflow.yaml': `name: Digest
steps:
  - { ref: gather, type: batch, window: 1d }
  - { ref: feed, type: in_app, body: "{{total_activities}} by {{total_actors}}, last {{data.n}}" }
`,
  'workflows/offer/workflow.yaml': `name: Offer
categories: [marketing]
steps:
  - { ref: feed, type: in_app, body: Offer }
  - { ref: mail, type: email, subject: Offer, markdown: Offer }
`,
}
const FEED = channelId('feed' as ChannelKey)

const test = base.extend<{ app: TestApp; knock: Knock }>({
  app: [
    async ({ database }, use) => {
      await using app = await openApp(database, { files })
      await use(app)
    },
    { scope: 'file' },
  ],
  knock: ({ app }, use) =>
    use(new Knock({ apiKey: KEYS.production, baseURL: app.url, maxRetries: 0 })),
})

const PATIENCE = { timeout: 15_000, interval: 10 }

interface Counts {
  readonly fan_out: string
  readonly runs: { readonly total: number; readonly by_status: Readonly<Record<string, number>> }
}

/** Waits until all runs of a trigger have this status; answers their messages, oldest first. */
async function messagesOf(app: TestApp, knock: Knock, run: string, status = 'completed') {
  const count = async () => {
    const { body } = await app.call<Counts>('GET', `/v1/workflow_runs/${run}`)
    return body.fan_out === 'done' && body.runs.by_status[status] === body.runs.total
  }
  await expect.poll(count, PATIENCE).toBe(true)
  const { items } = await knock.messages.list({ workflow_run_id: run })
  return items.toReversed()
}

const idOf = (recipient: string | { readonly id?: string }) =>
  typeof recipient === 'string' ? recipient : (recipient.id ?? '')

test('users are identified, and an object reaches its subscribers but for the actor', async ({
  app,
  knock,
}) => {
  await knock.users.update('ann', { name: 'Ann', email: 'ann@example.com' })
  await knock.objects.set('projects', 'p1', { name: 'Project' })
  await knock.objects.addSubscriptions('projects', 'p1', {
    recipients: [
      'ann',
      { id: 'bo', name: 'Bo' },
      { id: 'core', collection: 'teams', name: 'Core' },
    ],
    properties: { role: 'reader' },
  })
  await knock.objects.addSubscriptions('teams', 'core', { recipients: ['ann', 'cid'] })
  const { workflow_run_id: run } = await knock.workflows.trigger('comment', {
    recipients: [{ collection: 'projects', id: 'p1' }],
    actor: 'ann',
    data: { text: 'Hi' },
  })
  const messages = await messagesOf(app, knock, run)
  const reached = messages.map(({ recipient }) => idOf(recipient))
  expect(reached.toSorted()).toEqual(['bo', 'cid', 'core', 'p1'])
  expect(await knock.users.get('bo')).toMatchObject({ name: 'Bo' })
  // Named and subscribed is one run, and the actor who is named is reached.
  const both = await knock.workflows.trigger('comment', {
    recipients: [{ collection: 'projects', id: 'p1' }, 'bo', { id: 'ann', name: 'Anna' }],
    actor: 'ann',
    data: { text: 'Hi' },
  })
  const named = await messagesOf(app, knock, both.workflow_run_id)
  expect(named.map(({ recipient }) => idOf(recipient)).toSorted()).toEqual([
    'ann',
    'bo',
    'cid',
    'core',
    'p1',
  ])
  const one = named.find(({ recipient }) => recipient === 'bo')
  const content = await knock.messages.getContent(one!.id)
  expect(content.data).toMatchObject({ blocks: [{ content: 'Anna: Hi' }] })
})

test('what is cancelled while it waits sends nothing', async ({ app, knock }) => {
  const key = 'reminder-7'
  const { workflow_run_id: run } = await knock.workflows.trigger('reminder', {
    recipients: ['ann', 'bo'],
    cancellation_key: key,
  })
  const other = await knock.workflows.trigger('reminder', {
    recipients: ['ann'],
    cancellation_key: 'b',
  })
  await messagesOf(app, knock, run, 'paused')
  await knock.workflows.cancel('reminder', { cancellation_key: key, recipients: ['bo'] })
  const runs = async (id: string) => {
    const { items } = await knock.workflowRecipientRuns.list({ workflow: 'reminder' })
    return items
      .filter((one) => one.workflow_run_id === id)
      .map(({ recipient, status }) => `${idOf(recipient)} ${status}`)
      .toSorted()
  }
  expect(await runs(run)).toEqual(['ann paused', 'bo cancelled'])
  await knock.workflows.cancel('reminder', { cancellation_key: key })
  expect(await messagesOf(app, knock, run, 'cancelled')).toEqual([])
  await expect.poll(() => runs(other.workflow_run_id), PATIENCE).toEqual(['ann paused'])
})

test('a schedule starts its workflow when its time has come', async ({ knock }) => {
  const [made] = await knock.schedules.create({
    workflow: 'comment',
    recipients: [{ id: 'eve', name: 'Eve' }],
    actor: { id: 'ann', name: 'Ann' },
    scheduled_at: new Date().toISOString(),
    data: { text: 'Now' },
  })
  const sent = async () => (await knock.users.listMessages('eve')).items.length
  await expect.poll(sent, PATIENCE).toBe(1)
  const { entries } = await knock.users.listSchedules('eve')
  expect(entries).toMatchObject([{ id: made!.id, next_occurrence_at: null }])
  await knock.schedules.delete({ schedule_ids: [made!.id] })
  expect((await knock.users.listSchedules('eve')).entries).toEqual([])
})

test('what is batched comes as one message', async ({ app, knock }) => {
  const runs: string[] = []
  for (const [n, actor] of ['ann', 'bo', 'ann'].entries()) {
    const call = { recipients: ['cid'], actor: { id: actor, name: actor }, data: { n } }
    const { workflow_run_id: run } = await knock.workflows.trigger('digest', call)
    runs.push(run)
    await messagesOf(app, knock, run, n === 0 ? 'paused' : 'completed')
  }
  const { items } = await knock.workflowRecipientRuns.list({
    workflow: 'digest',
    status: ['paused'],
  })
  expect(items).toHaveLength(1)
  const wake = `/v1/workflow_recipient_runs/${items[0]!.id}/wake?environment=production`
  expect(await app.call('POST', wake, { key: OPERATOR })).toMatchObject({ status: 204 })
  const [message, ...others] = await messagesOf(app, knock, runs[0]!)
  expect(others).toEqual([])
  const { data } = await knock.messages.getContent(message!.id)
  expect(data).toMatchObject({ blocks: [{ content: '3 by 2, last 2' }] })
  expect(message!.actors).toEqual(['ann', 'bo'])
  const { entries } = await knock.users.feeds.listItems('cid', FEED, { source: 'digest' })
  expect(entries).toMatchObject([
    {
      id: message!.id,
      total_activities: 3,
      total_actors: 2,
      actors: [{ id: 'ann' }, { id: 'bo' }],
    },
  ])
  expect(entries[0]!.activities.map(({ data: about }) => about)).toEqual(
    [0, 1, 2].map((n) => ({ n })),
  )
  const run = await knock.workflowRecipientRuns.get(items[0]!.id)
  expect(run).toMatchObject({ status: 'completed' })
  expect(run.events.length).toBeGreaterThan(0)
})

/** With the counts, which the SDK leaves out of its pages. */
interface FeedReply {
  readonly entries: readonly { readonly id: string }[]
  readonly meta: Readonly<Record<'total_count' | 'unread_count' | 'unseen_count', number>>
}

test('messages are marked one by one and together, and the feed goes by it', async ({
  app,
  knock,
}) => {
  const ids: string[] = []
  for (const text of ['one', 'two', 'three']) {
    const { workflow_run_id: run } = await knock.workflows.trigger('comment', {
      recipients: [{ id: 'fay' }],
      actor: { id: 'ann', name: 'Ann' },
      data: { text },
    })
    ids.push((await messagesOf(app, knock, run))[0]!.id)
  }
  const [one = '', two = '', three = ''] = ids
  const feed = async (query: object = {}) => {
    const reply = await knock.users.feeds.listItems('fay', FEED, query).asResponse()
    const { entries, meta } = (await reply.json()) as FeedReply
    const { total_count: total, unread_count: unread, unseen_count: unseen } = meta
    return { ids: entries.map(({ id }) => id), counts: [total, unread, unseen] }
  }
  expect(await feed()).toEqual({ ids: [three, two, one], counts: [3, 3, 3] })
  await knock.messages.markAsSeen(one)
  const read = await knock.messages.markAsRead(one)
  expect(read).toMatchObject({ id: one, engagement_statuses: ['seen', 'read'] })
  await knock.messages.batch.markAsSeen({ message_ids: [two, three] })
  expect((await feed()).counts).toEqual([3, 2, 0])
  expect((await feed({ status: 'unread' })).ids).toEqual([three, two])
  await knock.messages.markAsUnread(one)
  await knock.messages.batch.archive({ message_ids: [two] })
  expect(await feed()).toEqual({ ids: [three, one], counts: [2, 2, 0] })
  expect((await feed({ archived: 'only' })).ids).toEqual([two])
  await knock.messages.unarchive(two)
  await knock.messages.markAsInteracted(three, { metadata: { button: 'ok' } })
  expect(await knock.messages.get(three)).toMatchObject({
    status: 'delivered',
    engagement_statuses: expect.arrayContaining(['interacted']),
  })
  const { items } = await knock.messages.listEvents(one)
  expect(items.map(({ type }) => type)).toEqual(
    expect.arrayContaining(['message.seen', 'message.read']),
  )
  const asked = await knock.channels.bulk.updateMessageStatus(FEED, 'archived', {
    recipient_ids: ['fay'],
  })
  const done = async () => (await knock.bulkOperations.get(asked.id)).status
  await expect.poll(done, PATIENCE).toBe('completed')
  expect((await feed()).ids).toEqual([])
})

// The table of what counts: who said something beats who said it below, and a tenant has its own sets.
const marketing = (value: unknown) => ({ categories: { marketing: value } }) as never
const other = { categories: { other: false } } as never

interface Row {
  readonly tenant?: true
  /** The recipient's sets, `default` and that for the tenant. */
  readonly own?: never
  readonly ownForTenant?: never
  /** The tenant's, one after the other. */
  readonly tenantSets?: readonly never[]
  readonly sent: readonly string[]
}
const ALL = ['feed', 'mail']
const replace = { __strategy__: 'replace', channel_types: { email: false, in_app_feed: false } }
const rows: Readonly<Record<string, Row>> = {
  'without a tenant, the environment’s where nobody says more': { sent: [] },
  'without a tenant, the recipient’s over the environment’s': { own: marketing(true), sent: ALL },
  'without a tenant, nothing that is said for tenants': {
    own: marketing(true),
    ownForTenant: marketing(false),
    tenantSets: [marketing(false)],
    sent: ALL,
  },
  'with a tenant, the recipient’s for it over the tenant’s': {
    tenant: true,
    ownForTenant: marketing(true),
    tenantSets: [marketing(false)],
    sent: ALL,
  },
  'with a tenant, the tenant’s over the environment’s': {
    tenant: true,
    ownForTenant: other,
    tenantSets: [marketing(true)],
    sent: ALL,
  },
  'with a tenant that has a set, not the recipient’s default': {
    tenant: true,
    own: marketing(true),
    tenantSets: [other],
    sent: [],
  },
  'with a set of the recipient for the tenant, not its default': {
    tenant: true,
    own: marketing(true),
    ownForTenant: other,
    sent: [],
  },
  'with a tenant of which neither has a set, as without one': {
    tenant: true,
    own: marketing(true),
    sent: ALL,
  },
  'setting by setting, each from whoever said it': {
    tenant: true,
    ownForTenant: marketing({ channel_types: { email: false } }),
    tenantSets: [marketing({ channel_types: { email: true, in_app_feed: true } })],
    sent: ['feed'],
  },
  'what a tenant replaces, over the recipient’s': {
    tenant: true,
    ownForTenant: marketing(true),
    tenantSets: [marketing(replace)],
    sent: [],
  },
  'the recipient’s again, when the tenant merges': {
    tenant: true,
    ownForTenant: marketing(true),
    tenantSets: [marketing(replace), marketing({ __strategy__: 'merge' })],
    sent: ALL,
  },
}

describe('of preferences count', () => {
  let user = 0
  for (const [what, row] of Object.entries(rows))
    test(what, async ({ app, knock }) => {
      user += 1
      const id = `pref-${user}`
      const tenant = `tenant-${user}`
      await knock.users.update(id, { email: `${id}@example.com` })
      if (row.own) await knock.users.setPreferences(id, 'default', row.own)
      if (row.ownForTenant) await knock.users.setPreferences(id, tenant, row.ownForTenant)
      for (const set of row.tenantSets ?? [])
        await knock.tenants.set(tenant, { settings: { preference_set: set } })
      const { workflow_run_id: run } = await knock.workflows.trigger('offer', {
        recipients: [id],
        ...(row.tenant && { tenant }),
      })
      const messages = await messagesOf(app, knock, run)
      expect(messages.map(({ source }) => source.step_ref)).toEqual(row.sent)
    })
})
