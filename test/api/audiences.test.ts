import Knock from '@knocklabs/node'
import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { test as base } from '../support/database.ts'
import { expectShape, serveAll } from './contract-support.ts'
import { anEnvironment, type TestReply } from './server-support.ts'
import { applyRevision } from './workflow-support.ts'

interface Api {
  readonly knock: Knock
  call(method: string, path: string, body?: object): Promise<TestReply>
}

const welcome = {
  name: 'Welcome',
  trigger: { audiences: ['beta', 'alpha'] },
  steps: [{ ref: 'feed', type: 'in_app', body: 'Hello' }],
}
const other = { ...welcome, name: 'Other', trigger: { audiences: ['gamma'] } }

const test = base.extend<{ api: Api }>({
  api: async ({ database }, use) => {
    await database.execute(
      'truncate recipients, audiences, audience_members, workflow_runs cascade',
    )
    const { key } = await anEnvironment(database, 'production')
    await applyRevision(database, 'production', { welcome, tips: welcome, other })
    await using server = await serveAll(database)
    await use({
      knock: new Knock({ apiKey: key, baseURL: server.server.url, maxRetries: 0 }),
      call: (method, path, body) => server.call(method, path, { key, ...(body && { body }) }),
    })
  },
})

/** In an order of their own, since those who join together have no order. */
const sorted = (rows: readonly (readonly unknown[])[]) =>
  rows.toSorted((a, b) => String(a).localeCompare(String(b)))

const page = '/v1/audiences/beta/members'
const member = (id: string, tenant?: string) => ({ user: { id }, ...(tenant && { tenant }) })

const ids = ({ body }: TestReply) =>
  (body as { entries: { user_id: string }[] }).entries.map(({ user_id: id }) => id)

interface Trigger {
  readonly workflow: string
  readonly tenant: string | null
  readonly recipients: readonly { readonly id: string }[]
  readonly trigger_source: object
}

async function triggers(database: Parameters<typeof applyRevision>[0]) {
  const rows = await database.query<Trigger>(sql`
    select workflow, tenant, recipients, trigger_source from workflow_runs
    where environment = 'production' order by workflow, tenant nulls first, id
  `)
  const whole = rows.map(({ workflow, tenant, recipients }) => {
    const names = recipients.map(({ id }) => id).toSorted()
    return `${workflow} ${tenant ?? '-'} ${names.join(',')}`
  })
  return { whole, sources: rows.map((row) => row.trigger_source) }
}

describe('members of an audience', () => {
  test('are added, listed and removed through the SDK', async ({ api }) => {
    const { knock } = api
    await knock.audiences.addMembers('beta', {
      members: [
        { user: { id: 'ada', name: 'Ada' }, tenant: 'acme' },
        { user: { id: 'bob' } },
        { user: { id: 'ada' } },
      ],
    })
    const listed = await knock.audiences.listMembers('beta')
    expectShape('ListAudienceMembersResponse', listed)
    const shown = listed.entries.map(({ user, tenant }) => [user.id, user.name, tenant])
    expect(sorted(shown)).toEqual([
      ['ada', 'Ada', null],
      ['ada', 'Ada', 'acme'],
      ['bob', undefined, null],
    ])
    await knock.audiences.removeMembers('beta', {
      members: [{ user: { id: 'ada' }, tenant: 'acme' }, { user: { id: 'nobody' } }],
    })
    const left = await knock.audiences.listMembers('beta')
    expect(sorted(left.entries.map(({ user_id: id, tenant }) => [id, tenant]))).toEqual([
      ['ada', null],
      ['bob', null],
    ])
  })

  test('are told apart by audience, and paged newest first', async ({ api }) => {
    for (const id of ['ada', 'bob', 'cyd']) await api.call('POST', page, { members: [member(id)] })
    await api.call('POST', '/v1/audiences/alpha/members', { members: [member('dan')] })
    const first = await api.call('GET', `${page}?page_size=2`)
    expect(ids(first)).toEqual(['cyd', 'bob'])
    const { after } = (first.body as { page_info: { after: string } }).page_info
    const second = await api.call('GET', `${page}?page_size=2&after=${after}`)
    expect(ids(second)).toEqual(['ada'])
    const { before } = (second.body as { page_info: { before: string } }).page_info
    expect(ids(await api.call('GET', `${page}?page_size=2&before=${before}`))).toEqual([
      'cyd',
      'bob',
    ])
  })

  test('who are merged or deleted are no longer there under their old names', async ({
    api,
    database,
  }) => {
    await api.call('POST', page, { members: [member('ada'), member('bob'), member('bob', 'acme')] })
    const before = await triggers(database)
    await api.call('POST', '/v1/users/ada/merge', { from_user_id: 'bob' })
    const listed = async () =>
      (await api.knock.audiences.listMembers('beta')).entries.map((one) => [
        one.user_id,
        one.tenant,
      ])
    expect(sorted(await listed())).toEqual([
      ['ada', null],
      ['ada', 'acme'],
    ])
    expect(await triggers(database)).toEqual(before)
    await api.call('DELETE', '/v1/users/ada')
    expect(await listed()).toEqual([])
    const rows = await database.query(sql`
      select user_id from audience_members where environment = 'production'
    `)
    expect(rows).toEqual([])
  })
})

describe('an audience', () => {
  test('is there once a workflow names it, or somebody was added', async ({ api }) => {
    expect((await api.call('GET', page)).status).toBe(200)
    const unknown = '/v1/audiences/unknown/members'
    const body = { members: [member('ada')] }
    expect((await api.call('GET', unknown)).status).toBe(404)
    expect((await api.call('DELETE', unknown, body)).status).toBe(404)
    expect((await api.call('POST', `${unknown}?create_audience=false`, body)).status).toBe(404)
    expect((await api.call('POST', unknown, body)).status).toBe(204)
    expect((await api.call('POST', `${unknown}?create_audience=false`, body)).status).toBe(204)
    expect((await api.call('GET', unknown)).status).toBe(200)
  })

  const wrong: readonly (readonly [string, string, object])[] = [
    ['no members', page, { members: [] }],
    ['a member without a user', page, { members: [{ tenant: 'acme' }] }],
    ['a user without an id', page, { members: [{ user: { name: 'Ada' } }] }],
    ['an object', page, { members: [{ user: { id: 'core', collection: 'teams' } }] }],
    ['a tenant that is no name', page, { members: [{ user: { id: 'ada' }, tenant: 'a/b' }] }],
    ['too many', page, { members: Array.from({ length: 1_001 }, (_, at) => member(`u${at}`)) }],
    ['a key that is none', '/v1/audiences/A%25/members', { members: [member('ada')] }],
  ]
  test.for(wrong)('takes not %s, and none of the others', async ([, path, body], { api }) => {
    const { members } = body as { members: object[] }
    const reply = await api.call('POST', path, { members: [...members, ...members.slice(0, 1)] })
    expect(reply.status).toBe(422)
    expect((await api.knock.audiences.listMembers('beta')).entries).toEqual([])
  })
})

describe('joining an audience', () => {
  test('starts the workflows that name it, once for each of them and each tenant', async ({
    api,
    database,
  }) => {
    const members = [member('ada'), member('bob'), member('cyd', 'acme')]
    await api.call('POST', page, { members })
    const { whole, sources } = await triggers(database)
    expect(whole).toEqual([
      'tips - ada,bob',
      'tips acme cyd',
      'welcome - ada,bob',
      'welcome acme cyd',
    ])
    expect(sources[0]).toEqual({ type: 'audience', audience_key: 'beta', cancellation_key: null })
  })

  test('again does nothing, and starts nothing for those who were there', async ({
    api,
    database,
  }) => {
    await api.call('POST', page, { members: [member('ada')] })
    await api.call('POST', page, { members: [member('ada'), member('bob')] })
    const { whole } = await triggers(database)
    expect(whole).toEqual(['tips - ada', 'tips - bob', 'welcome - ada', 'welcome - bob'])
    await api.call('DELETE', page, { members: [member('ada')] })
    expect((await triggers(database)).whole).toEqual(whole)
  })

  test('starts no workflow that is switched off or archived, and is done all the same', async ({
    api,
    database,
  }) => {
    await database.query(sql`
      update workflows set archived_at = now() where environment = 'production' and key = 'tips'
    `)
    await database.query(sql`
      insert into switches (environment, workflow, channel, active, actor, updated_at)
      values ('production', 'welcome', '', false, 'operator', now())
    `)
    expect((await api.call('POST', page, { members: [member('ada')] })).status).toBe(204)
    expect((await triggers(database)).whole).toEqual([])
    await database.query(sql`delete from switches where environment = 'production'`)
    await database.query(sql`
      update workflows set archived_at = null where environment = 'production' and key = 'tips'
    `)
  })
})
