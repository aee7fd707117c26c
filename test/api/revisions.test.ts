import { beforeEach, expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import type { Database } from '../../src/db/database.ts'
import { run } from '../cli/program-support.ts'
import { clear, scene, workflow } from '../reconcile/scene.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { anEnvironment, OPERATOR, serve } from './server-support.ts'

const PATH = '/v1/environments/production'

beforeEach<{ database: Database }>(({ database }) => clear(database))

const text = (content: string) => ({ 'workflows/a1/workflow.yaml': workflow(content) })

interface Listed {
  readonly items: readonly { readonly sequence: number; readonly revision: string }[]
  readonly page_info: { readonly after: string | null; readonly before: string | null }
}

/** Production after three revisions and a rewrite that an operator has confirmed on the command line. */
async function production(database: Database) {
  await using stack = new AsyncDisposableStack()
  const made = stack.use(await testRepository())
  const api = stack.use(await serve(database, routes))
  const { reconciler } = await scene(database, made.path)
  const settings = { url: api.server.url, apiKey: undefined, operatorToken: OPERATOR }
  const cli = (...argv: readonly string[]) => run(argv, { settings })
  const commit = async (content: string) => {
    const tip = await made.commit(text(content))
    await reconciler.pass()
    return tip
  }
  await made.commit({ 'environments/production.yaml': 'ref: main\npolicy: {history: confirm}\n' })
  const tips = [await commit('One'), await commit('Two')]
  await made.git('reset', '--quiet', '--hard', 'HEAD~1')
  const rewritten = await commit('Other')
  const confirmed = await cli('reconcile', 'production', '--allow-rewrite', rewritten.slice(0, 12))
  expect(confirmed).toMatchObject({ code: 0 })
  await reconciler.pass()
  const opened = stack.move()
  const list = async (query: string) => {
    const { status, body } = await api.call('GET', `${PATH}/revisions${query}`, { key: OPERATOR })
    expect(status).toBe(200)
    return body as Listed
  }
  return {
    api,
    cli,
    list,
    break: async () => {
      await made.commit({ 'workflows/a1/workflow.yaml': 'name: [' })
      await reconciler.pass()
    },
    tips: [...tips, rewritten],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

test('the history names what was applied, newest first, and not what was refused', async ({
  database,
}) => {
  await using at = await production(database)
  await at.break()
  const [one, two, three] = at.tips
  const { items, page_info: info } = await at.list('')
  expect(items).toEqual([
    {
      __typename: 'AppliedRevision',
      sequence: 3,
      revision: three,
      origin: 'git',
      applied_at: '2026-03-01T12:00:00.000Z',
      added: [],
      changed: ['a1'],
      archived: [],
      rewritten_from: two,
      signer: null,
    },
    expect.objectContaining({ sequence: 2, revision: two, changed: ['a1'], rewritten_from: null }),
    expect.objectContaining({ sequence: 1, revision: one, added: ['a1'], changed: [] }),
  ])
  expect(info).toMatchObject({ after: null, before: null, page_size: 50 })
})

test('the history comes in pages, there and back', async ({ database }) => {
  await using at = await production(database)
  const sequences = async (query: string) => {
    const { items, page_info: info } = await at.list(query)
    return [items.map(({ sequence }) => sequence), info.after, info.before]
  }
  expect(await sequences('?page_size=2')).toEqual([[3, 2], '2', null])
  expect(await sequences('?page_size=2&after=2')).toEqual([[1], null, '1'])
  expect(await sequences('?page_size=1&before=1')).toEqual([[2], '2', '2'])
  expect(await sequences('?page_size=5&before=1')).toEqual([[3, 2], '2', null])
  for (const cursor of ['x', '-1', '99999999999999999999']) {
    const reply = await at.api.call('GET', `${PATH}/revisions?after=${cursor}`, { key: OPERATOR })
    expect(reply).toMatchObject({ status: 422, body: { code: 'invalid_params' } })
  }
})

test('the history is that of the environment of the key', async ({ database }) => {
  await using at = await production(database)
  const { key } = await anEnvironment(database, 'staging', ['read'])
  expect(await at.api.call('GET', `${PATH}/revisions`, { key })).toMatchObject({ status: 403 })
  const own = '/v1/environments/staging/revisions'
  expect((await at.api.call('GET', own, { key })).body).toMatchObject({ items: [] })
  const gone = '/v1/environments/nowhere/revisions'
  expect(await at.api.call('GET', gone, { key: OPERATOR })).toMatchObject({ status: 404 })
})

test('the command line shows the history', async ({ database }) => {
  await using at = await production(database)
  const [, two = '', three = ''] = at.tips
  const { out, code } = await at.cli('status', 'production', '--history')
  expect(code).toBe(0)
  const lines = out.trimEnd().split('\n')
  expect(lines).toHaveLength(4)
  expect(lines[0]).toMatch(/^REVISION +APPLIED +FROM +ADDED +CHANGED +ARCHIVED +NOTE/)
  expect(lines[1]).toMatch(
    new RegExp(`^${three.slice(0, 12)} .* git +0 +1 +0 +rewritten from ${two.slice(0, 12)}$`),
  )
  const page = await at.cli('status', 'production', '--history', '--limit', '1', '--output', 'json')
  expect(JSON.parse(page.out)).toMatchObject({
    items: [{ sequence: 3 }],
    page_info: { after: '3' },
  })
  expect(await at.cli('status', '--history')).toMatchObject({ code: 2 })
})
