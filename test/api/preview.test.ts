import { describe, expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { anEnvironment, NOW, serve } from './server-support.ts'
import { applyRevision } from './workflow-support.ts'

const WELCOME = {
  name: 'Welcome',
  steps: [
    {
      ref: 'mail',
      type: 'email',
      conditions: { all: [{ variable: 'data.never', operator: 'equal_to', argument: true }] },
      subject: 'Hi {{recipient.name}} {{recipient.plan}} {{tenant.name}}',
      markdown: '{{data.text}} {{actor.name}}',
    },
    { ref: 'bad', type: 'email', subject: '{{number data.text}}', markdown: 'x' },
    { ref: 'pause', type: 'delay', for: '1d' },
  ],
}

async function ground(database: Database) {
  const { environment, key } = await anEnvironment(database, 'production')
  await applyRevision(database, environment, { preview_welcome: WELCOME })
  const files = {
    'workflows/preview_welcome/samples/a.yaml': 'recipient: {name: Ann}\ndata: {text: "<b>"}',
    'workflows/preview_welcome/samples/b.yaml': 'recipient: {name: Bob}',
  }
  await database.query(sql`
    update versions set files = ${JSON.stringify(files)} where id = ${`${environment}-preview_welcome`}
  `)
  await database.query(sql`
    insert into recipients (environment, collection, id, properties, created_at, updated_at)
    values (${environment}, '$users', 'ada', '{"name":"Ada","email":"ada@example.com"}', ${NOW}, ${NOW})
    on conflict do nothing
  `)
  return { key, environment }
}

describe('a preview of the API', () => {
  test('says of a body that is nested too deeply what is wrong with it', async ({ database }) => {
    const { environment, key } = await anEnvironment(database, 'production')
    const html = '{{#each data.many}}<div>{{/each}}'
    const deep = { name: 'Deep', steps: [{ ref: 'mail', type: 'email', subject: 'x', html }] }
    await applyRevision(database, environment, { preview_deep: deep })
    await using server = await serve(database, routes)
    const body = {
      recipient: { id: 'ann', email: 'ann@example.com' },
      data: { many: Array.from({ length: 20_000 }, () => 1) },
    }
    const path = '/v1/workflows/preview_deep/preview'
    expect(await server.call('POST', path, { key, body })).toMatchObject({
      status: 200,
      body: {
        messages: [{ diagnostics: [{ message: expect.stringContaining('nested too deeply') }] }],
      },
    })
  })

  test('renders each message with a sample, or with what the body says', async ({ database }) => {
    const { key } = await ground(database)
    await using server = await serve(database, routes)
    const path = '/v1/workflows/preview_welcome/preview'
    const preview = (body: object) => server.call('POST', path, { key, body })
    expect(await preview({})).toMatchObject({
      status: 200,
      body: {
        workflow: 'preview_welcome',
        sample: 'a',
        samples: ['a', 'b'],
        messages: [
          {
            step: 'mail',
            channel: { key: 'email', type: 'email', provider: 'smtp' },
            recipient: { name: 'Ann' },
            content: { subject: 'Hi Ann', html: '<p>&lt;b&gt;</p>' },
            diagnostics: [],
          },
          {
            step: 'bad',
            content: null,
            diagnostics: [{ severity: 'error', code: 'template_failed' }],
          },
        ],
      },
    })
    const given = {
      sample: 'b',
      step: 'mail',
      recipient: { id: 'ada', plan: 'pro' },
      tenant: { id: 'acme', name: 'Acme' },
      actor: 'ada',
      data: { text: 'hello' },
    }
    expect(await preview(given)).toMatchObject({
      body: {
        sample: 'b',
        messages: [{ content: { subject: 'Hi Ada pro Acme', html: '<p>hello Ada</p>' } }],
      },
    })
  })

  test('refuses what is not there', async ({ database }) => {
    const { key } = await ground(database)
    await using server = await serve(database, routes)
    const at = (workflow: string, body: object) =>
      server.call('POST', `/v1/workflows/${workflow}/preview`, { key, body })
    expect(await at('preview_none', {})).toMatchObject({
      status: 404,
      body: { code: 'workflow_missing' },
    })
    for (const [body, field] of [
      [{ sample: 'z' }, '/sample'],
      [{ step: 'pause' }, '/step'],
      [{ recipient: 'nobody' }, '/recipient'],
      [{ data: 5 }, '/data'],
    ] as const) {
      expect(await at('preview_welcome', body)).toMatchObject({
        status: 422,
        body: { errors: [{ field }] },
      })
    }
  })

  test('stores nothing', async ({ database }) => {
    const { key, environment } = await ground(database)
    await using server = await serve(database, routes)
    await server.call('POST', '/v1/workflows/preview_welcome/preview', { key, body: {} })
    const [counts] = await database.query<{ runs: number; messages: number }>(sql`
      select (select count(*)::int from runs where environment = ${environment}) as runs,
        (select count(*)::int from messages where environment = ${environment}) as messages
    `)
    expect(counts).toEqual({ runs: 0, messages: 0 })
  })
})
