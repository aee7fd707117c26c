import { describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { channelId, newRowId, type ChannelKey, type EnvironmentName } from '../../src/ids.ts'
import { insertMessages, type NewMessage } from '../../src/messages/store.ts'
import type { InAppContent } from '../../src/steps/step.ts'
import {
  aChannel,
  aMessage,
  anEmailContent,
  clear,
  saveEnvironment,
  saveUser,
  saveWorkflow,
} from '../messages/builders.ts'
import { test as base } from '../support/database.ts'
import { openEngine } from '../support/engine.ts'
import { expectShape, serveAll } from './contract-support.ts'
import { anEnvironment, NOW, type TestReply, type TestServer } from './server-support.ts'

const FEED = channelId('feed' as ChannelKey)

const content: InAppContent = {
  type: 'in_app',
  body: { content: 'Hi', rendered: '<p>Hi</p>' },
  action_url: 'https://example.com/',
  buttons: [{ label: 'Reply', action: 'https://example.com/reply' }],
}

type Call = (method: string, path: string, body?: object) => Promise<TestReply>

const test = base.extend<{ server: TestServer; call: Call }>({
  server: async ({ database }, use) => {
    await clear(database)
    const feed = aChannel({ key: 'feed' as ChannelKey, type: 'in_app', provider: 'in_app' })
    const mail = aChannel({ key: 'mail' as ChannelKey, type: 'email', provider: 'smtp' })
    await saveEnvironment(
      database,
      { feed, mail, other: { ...feed, key: 'other' as ChannelKey } },
      {
        app_url: { value: 'https://example.com', public: true },
        internal: { value: 'not for all', public: false },
        token: { secret: 'TOKEN' },
      },
    )
    await saveWorkflow(database, 'welcome')
    await saveUser(database, 'ann')
    await using server = await serveAll(database)
    await use(server)
  },
  call: async ({ database, server }, use) => {
    const { key } = await anEnvironment(database, 'production')
    await use((method, path, body) => server.call(method, `/v1${path}`, { key, body }))
  },
})

async function save(
  database: Database,
  messages: readonly Partial<NewMessage>[],
  at = NOW,
): Promise<readonly string[]> {
  const channel = 'feed' as ChannelKey
  const all = messages.map((message) =>
    aMessage({ content, channel, provider: 'in_app', status: 'delivered', ...message }),
  )
  await database.transaction((tx) => insertMessages(tx, all, new Date(at)))
  return all.map(({ id }) => id)
}

interface FeedBody {
  readonly entries: readonly (Readonly<Record<string, unknown>> & { readonly id: string })[]
  readonly meta: object
  readonly page_info: { readonly after: string | null; readonly before: string | null }
  readonly vars: object
}

async function feedOf(call: Call, query = '', user = 'ann'): Promise<FeedBody> {
  const reply = await call('GET', `/users/${user}/feeds/${FEED}${query && `?${query}`}`)
  expect({ query, status: reply.status }).toEqual({ query, status: 200 })
  return reply.body as FeedBody
}

async function idsOf(call: Call, query: string): Promise<readonly string[]> {
  return (await feedOf(call, query)).entries.map(({ id }) => id)
}

function counts(total: number, unread: number, unseen: number): object {
  return {
    __typename: 'FeedMetadata',
    total_count: total,
    unread_count: unread,
    unseen_count: unseen,
  }
}

test('a trigger shows in the feed, with its actor, its blocks and what is public', async ({
  database,
  server,
  call,
}) => {
  const feed = 'channels:\n  feed: { type: in_app, provider: in_app }\n'
  const variables = `variables:
  app_url: { value: "https://example.com", public: true }
  internal: { value: not for all }
`
  await using engine = await openEngine(database, {
    environments: { production: `ref: main\n${variables}${feed}` },
  })
  await engine.commit({
    'workflows/comment/workflow.yaml': `name: Comment
categories: [talk]
steps:
  - ref: feed
    type: in_app
    body: "**{{actor.name}}** says {{data.text}}"
    action_url: "{{vars.app_url}}/comments"
    buttons: [{ label: Reply, action: "{{vars.app_url}}/reply" }]
`,
  })
  await engine.trigger('comment', {
    recipients: [{ id: 'ann', name: 'Ann' }],
    actor: { id: 'p1', collection: 'projects', name: 'Project' },
    tenant: 'acme',
    data: { text: 'hello' },
  })
  await engine.drain()
  const body = await feedOf(call)
  expectShape('UserInAppFeedResponse', body)
  const [item] = body.entries
  const actor = {
    __typename: 'Object',
    id: 'p1',
    collection: 'projects',
    properties: { name: 'Project' },
  }
  expect(item).toMatchObject({
    __typename: 'FeedItem',
    __cursor: item?.id,
    actors: [actor],
    total_actors: 1,
    activities: [
      {
        __typename: 'Activity',
        actor,
        recipient: { id: 'ann', name: 'Ann' },
        data: { text: 'hello' },
      },
    ],
    total_activities: 1,
    blocks: [
      {
        type: 'markdown',
        name: 'body',
        content: '**Project** says hello',
        rendered: expect.stringContaining('<strong>Project</strong> says hello'),
      },
      { type: 'text', name: 'action_url', rendered: 'https://example.com/comments' },
      {
        type: 'button_set',
        name: 'actions',
        buttons: [{ name: 'primary', label: 'Reply', action: 'https://example.com/reply' }],
      },
    ],
    data: { text: 'hello' },
    tenant: 'acme',
    source: { __typename: 'Workflow', key: 'comment', categories: ['talk'] },
    seen_at: null,
    inserted_at: engine.clock.now().toISOString(),
  })
  expect(body.meta).toEqual(counts(1, 1, 1))
  expect(body.vars).toEqual({ app_url: 'https://example.com' })
  expect(server.failures).toEqual([])
})

describe('a feed', () => {
  test('holds what was delivered to this user in this channel, and nothing else', async ({
    database,
    call,
  }) => {
    await saveUser(database, 'bob')
    const [mine, alsoMine] = await save(database, [
      {},
      { actor: { collection: '$users', id: 'gone' } },
      { status: 'not_sent', reason: 'workflow_inactive' },
      { recipient: { collection: '$users', id: 'bob' } },
      { recipient: { collection: 'teams', id: 'ann' } },
      { channel: 'other' as ChannelKey },
      { environment: 'staging' as EnvironmentName },
      // From a time at which this channel was one of another kind.
      { content: anEmailContent(), channelType: 'email' },
    ])
    const body = await feedOf(call)
    expectShape('UserInAppFeedResponse', body)
    expect(body.entries.map(({ id }) => id)).toEqual([alsoMine, mine])
    expect(body.entries[0]).toMatchObject({ actors: [], activities: [{ actor: null }] })
    expect(body.meta).toEqual(counts(2, 2, 2))
    expect(body.vars).toEqual({ app_url: 'https://example.com' })
    expect(await call('GET', '/users/ann/feeds/feed')).toMatchObject({
      body: { entries: [{ id: alsoMine }, { id: mine }] },
    })
  })

  test('is narrowed by what was done with its items; the counts are not', async ({
    database,
    call,
  }) => {
    const [one, two, three] = await save(database, [{}, {}, {}])
    await call('PUT', `/messages/${one}/seen`)
    await call('PUT', `/messages/${two}/read`)
    await call('PUT', `/messages/${three}/archived`)
    expect(await idsOf(call, '')).toEqual([two, one])
    expect(await idsOf(call, 'status=all')).toEqual([two, one])
    expect(await idsOf(call, 'status=seen')).toEqual([two, one])
    expect(await idsOf(call, 'status=unseen')).toEqual([])
    expect(await idsOf(call, 'status=read')).toEqual([two])
    expect(await idsOf(call, 'status=unread')).toEqual([one])
    expect(await idsOf(call, 'archived=exclude')).toEqual([two, one])
    expect(await idsOf(call, 'archived=include')).toEqual([three, two, one])
    expect(await idsOf(call, 'archived=only')).toEqual([three])
    expect(await idsOf(call, 'archived=only&status=seen')).toEqual([])
    expect((await feedOf(call, 'status=read')).meta).toEqual(counts(2, 1, 0))
    expect((await feedOf(call, 'archived=include')).meta).toEqual(counts(3, 2, 1))
    expect((await feedOf(call, 'archived=only')).meta).toEqual(counts(1, 1, 1))
  })

  test('is narrowed by what its items are about, and so are the counts', async ({
    database,
    call,
  }) => {
    await saveWorkflow(database, 'welcome')
    const [one, two] = await save(database, [
      { tenant: 'acme', data: { page: 7 } },
      {
        workflow: 'digest' as NewMessage['workflow'],
        versionId: 'gone' as NewMessage['versionId'],
      },
    ])
    const [late] = await save(database, [{}], '2026-03-01T13:00:00.000Z')
    for (const [query, ids] of [
      ['tenant=acme', [one]],
      ['has_tenant=true', [one]],
      ['has_tenant=false', [late, two]],
      ['source=digest', [two]],
      ['source=welcome', [late, one]],
      ['workflow_categories[]=news', [late, one]],
      ['workflow_categories[]=other', []],
      [`trigger_data=${encodeURIComponent('{"page":7}')}`, [one]],
      ['inserted_at.gt=2026-03-01T12:00:00Z', [late]],
      ['inserted_at.lte=2026-03-01T12:00:00Z&has_tenant=false', [two]],
      ['tenant=&trigger_data=&source=', [late, two, one]],
    ] as const) {
      const body = await feedOf(call, query)
      const found = { query, ids: body.entries.map(({ id }) => id), meta: body.meta }
      expect(found).toEqual({ query, ids, meta: counts(ids.length, ids.length, ids.length) })
    }
  })

  test('is read page by page, and from an item on to what is newer', async ({ database, call }) => {
    const ids = (await save(database, [{}, {}, {}, {}, {}])).toReversed()
    const first = await feedOf(call, 'page_size=2')
    const second = await feedOf(call, `page_size=2&after=${first.page_info.after}`)
    expect([...first.entries, ...second.entries].map(({ id }) => id)).toEqual(ids.slice(0, 4))
    expect(second.meta).toEqual(counts(5, 5, 5))
    expect(await idsOf(call, `before=${String(second.entries[0]?.['__cursor'])}`)).toEqual(
      ids.slice(0, 2),
    )
    expect(await idsOf(call, `before=${ids[0]}`)).toEqual([])
  })

  test('is empty for a user who is not known, and again for one who was deleted', async ({
    database,
    call,
  }) => {
    const empty = { entries: [], meta: counts(0, 0, 0), page_info: { after: null, before: null } }
    expect(await feedOf(call, '', 'nobody')).toMatchObject(empty)
    await save(database, [{}])
    await call('DELETE', '/users/ann')
    const body = await feedOf(call)
    expect(body).toMatchObject({ ...empty, vars: { app_url: 'https://example.com' } })
    expectShape('UserInAppFeedResponse', body)
  })

  test('shows less where less is asked for', async ({ database, call }) => {
    await save(database, [{ data: { page: 7, by: { id: 'bob' } } }])
    const [item] = (await feedOf(call, 'mode=compact&exclude=entries.blocks,meta')).entries
    expect(item).toMatchObject({ data: { page: 7 } })
    for (const name of ['activities', 'total_activities', 'blocks'])
      expect(item).not.toHaveProperty(name)
    expect(await feedOf(call, 'exclude=meta')).not.toHaveProperty('meta')
  })

  test('is one of an in-app channel, asked for in words that are known', async ({ call }) => {
    for (const channel of ['mail', 'nothing', newRowId(), channelId('mail' as ChannelKey)])
      expect(await call('GET', `/users/ann/feeds/${channel}`)).toMatchObject({
        status: 404,
        body: { code: 'resource_missing' },
      })
    for (const bad of [
      'status=new',
      'archived=yes',
      'has_tenant=maybe',
      'mode=small',
      'page_size=51',
      'after=x',
      'trigger_data=[]',
      'inserted_at.gt=soon',
      'exclude=a.b.c.d',
    ])
      expect({ bad, ...(await call('GET', `/users/ann/feeds/feed?${bad}`)) }).toMatchObject({
        bad,
        status: 422,
      })
  })
})
