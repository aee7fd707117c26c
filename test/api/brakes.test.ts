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

/** Two workflows live in production, the API of it, and the command line on that. */
async function production(database: Database) {
  await using stack = new AsyncDisposableStack()
  const made = stack.use(await testRepository())
  await made.commit({
    'environments/production.yaml': 'ref: main\n',
    'workflows/a1/workflow.yaml': workflow('One'),
    'workflows/b1/workflow.yaml': workflow('Two'),
  })
  const api = stack.use(await serve(database, routes))
  const { reconciler, clock } = await scene(database, made.path)
  await reconciler.pass()
  const settings = { url: api.server.url, apiKey: undefined, operatorToken: OPERATOR }
  const opened = stack.move()
  return {
    made,
    api,
    reconciler,
    clock,
    cli: (...argv: readonly string[]) => run(argv, { settings }),
    state: async () => (await api.call('GET', PATH, { key: OPERATOR })).body,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

test('a prune is confirmed through the API, with an audit', async ({ database }) => {
  await using at = await production(database)
  const tip = await at.made.commit({ workflows: null })
  await at.reconciler.pass()
  const path = `${PATH}/reconcile`
  const other = { key: OPERATOR, body: { allow_prune: 'f'.repeat(40) } }
  expect(await at.api.call('POST', path, other)).toMatchObject({
    status: 422,
    body: { code: 'invalid_params', errors: [{ field: '/allow_prune' }] },
  })
  const wrong = { key: OPERATOR, body: { allow_prunes: tip } }
  expect(await at.api.call('POST', path, wrong)).toMatchObject({ status: 422 })
  const { key } = await anEnvironment(database, 'production', ['trigger', 'read', 'write'])
  const right = { body: { allow_prune: tip } }
  expect(await at.api.call('POST', path, { key, ...right })).toMatchObject({ status: 403 })
  const { status, body } = await at.api.call('POST', path, { key: OPERATOR, ...right })
  expect(status).toBe(202)
  await at.reconciler.pass()
  expect(await at.state()).toMatchObject({
    state: 'ready',
    workflows: 0,
    observed_revision: tip,
    last_handled_request: (body as { id: string }).id,
  })
  expect(await at.api.call('GET', `${PATH}/brakes`, { key })).toMatchObject({
    body: { entries: [{ kind: 'allow_prune', revision: tip, actor: 'operator' }] },
  })
})

test('a prune is confirmed on the command line', async ({ database }) => {
  await using at = await production(database)
  const tip = await at.made.commit({ workflows: null })
  await at.reconciler.pass()
  expect(await at.cli('status')).toMatchObject({
    code: 1,
    out: expect.stringContaining('stalled: prune_guard'),
  })
  expect(await at.cli('reconcile', 'production', '--allow-prune', 'abcdef12')).toMatchObject({
    code: 1,
    error: expect.stringContaining('does not wait for a confirmation of revision abcdef12'),
  })
  const confirmed = await at.cli('reconcile', 'production', '--allow-prune', tip.slice(0, 12))
  expect(confirmed).toMatchObject({ code: 0 })
  await at.reconciler.pass()
  expect(await at.cli('status')).toMatchObject({ code: 0 })
})
