import { beforeEach, expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import { listEnvironmentFigures } from '../../src/api/metrics-store.ts'
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

test('an environment is suspended and resumed through the API', async ({ database }) => {
  await using at = await production(database)
  const path = `${PATH}/suspend`
  for (const body of [{}, { reason: '  ' }, { reason: 'x', until: 'later' }]) {
    expect(await at.api.call('PUT', path, { key: OPERATOR, body })).toMatchObject({ status: 422 })
  }
  const body = { reason: 'A freeze' }
  const { key } = await anEnvironment(database, 'production', ['trigger', 'read', 'write'])
  expect(await at.api.call('PUT', path, { key, body })).toMatchObject({ status: 403 })
  const shown = { reason: 'A freeze', actor: 'operator', since: expect.any(String) }
  expect(await at.api.call('PUT', path, { key: OPERATOR, body })).toMatchObject({
    status: 200,
    body: { state: 'suspended', suspended: shown },
  })
  expect(await at.state()).toMatchObject({ state: 'suspended', suspended: shown })
  expect(await at.api.call('DELETE', path, { key: OPERATOR })).toMatchObject({
    status: 200,
    body: { state: 'reconciling', suspended: null },
  })
  await at.reconciler.pass()
  expect(await at.state()).toMatchObject({ state: 'ready', suspended: null })
  const unknown = '/v1/environments/nowhere/suspend'
  expect(await at.api.call('PUT', unknown, { key: OPERATOR, body })).toMatchObject({ status: 404 })
})

test('an environment is suspended and resumed on the command line', async ({ database }) => {
  await using at = await production(database)
  expect(await at.cli('suspend', 'production')).toMatchObject({
    code: 2,
    error: expect.stringContaining('say why with --reason'),
  })
  expect(await at.cli('suspend', 'production', '--reason', 'A freeze')).toMatchObject({ code: 0 })
  await at.made.commit({ 'workflows/c1/workflow.yaml': workflow('Three') })
  await at.reconciler.pass()
  expect(await at.cli('status', 'production')).toMatchObject({
    code: 1,
    out: expect.stringMatching(/suspended[^]*Suspended by operator at [^]*: A freeze\./),
  })
  expect(await at.cli('suspend', 'production', '--resume')).toMatchObject({
    code: 0,
    out: expect.stringContaining('production follows main again'),
  })
  await at.reconciler.pass()
  expect(await at.cli('status', 'production')).toMatchObject({ code: 0 })
})

test('an environment is pinned and released through the API', async ({ database }) => {
  await using at = await production(database)
  const first = await at.made.tip('main')
  const tip = await at.made.commit({ 'workflows/a1/workflow.yaml': workflow('Bad') })
  await at.reconciler.pass()
  const path = `${PATH}/pin`
  const body = { revision: first, reason: 'Wrong link', expires_at: '2026-03-02T00:00:00Z' }
  for (const [wrong, field] of [
    [{ revision: first }, '/reason'],
    [{ ...body, revision: 'f'.repeat(40) }, '/revision'],
    [{ ...body, revision: '%%%%%%%%' }, '/revision'],
    [{ ...body, expires_at: '2026-01-01T00:00:00Z' }, '/expires_at'],
    [{ ...body, expires_at: 'tomorrow' }, '/expires_at'],
  ] as const) {
    expect(await at.api.call('PUT', path, { key: OPERATOR, body: wrong })).toMatchObject({
      status: 422,
      body: { errors: [{ field }] },
    })
  }
  const { key } = await anEnvironment(database, 'production', ['trigger', 'read', 'write'])
  expect(await at.api.call('PUT', path, { key, body })).toMatchObject({ status: 403 })
  const shown = {
    revision: first,
    reason: 'Wrong link',
    actor: 'operator',
    since: expect.any(String),
    expires_at: '2026-03-02T00:00:00.000Z',
  }
  expect(await at.api.call('PUT', path, { key: OPERATOR, body })).toMatchObject({
    status: 200,
    body: { state: 'reconciling', pinned: shown },
  })
  await at.reconciler.pass()
  expect(await at.state()).toMatchObject({
    state: 'ready',
    reason: 'pinned',
    observed_revision: first,
    pinned: shown,
  })
  expect(await at.api.call('DELETE', path, { key: OPERATOR })).toMatchObject({
    status: 200,
    body: { pinned: null },
  })
  await at.reconciler.pass()
  expect(await at.state()).toMatchObject({ reason: 'applied', observed_revision: tip })
  expect(await at.api.call('DELETE', path, { key: OPERATOR })).toMatchObject({ status: 200 })
  expect(await at.api.call('GET', `${PATH}/brakes`, { key: OPERATOR })).toMatchObject({
    body: { entries: [{ kind: 'unpin' }, { kind: 'pin', expires_at: shown.expires_at }] },
  })
})

test('an environment is pinned and released on the command line', async ({ database }) => {
  await using at = await production(database)
  const first = await at.made.tip('main')
  await at.made.commit({ 'workflows/a1/workflow.yaml': workflow('Bad') })
  await at.reconciler.pass()
  for (const wrong of [['production'], ['production', first], ['production', first, '--release']]) {
    expect(await at.cli('pin', ...wrong)).toMatchObject({ code: 2 })
  }
  const pinned = await at.cli('pin', 'production', first.slice(0, 8), '--reason', 'Wrong link')
  expect(pinned).toMatchObject({ code: 0, out: expect.stringContaining('Wrong link.') })
  await at.reconciler.pass()
  expect(await at.cli('status', 'production')).toMatchObject({
    code: 0,
    out: expect.stringMatching(/ready: pinned[^]*Pinned to revision [0-9a-f]{12} by operator/),
  })
  await at.cli('suspend', 'production', '--reason', 'A freeze')
  expect(await at.cli('suspend', 'production', '--resume')).toMatchObject({
    out: expect.stringContaining('stays pinned'),
  })
  expect(await at.cli('pin', 'production', '--release')).toMatchObject({
    code: 0,
    out: expect.stringContaining('production follows main again'),
  })
  await at.reconciler.pass()
  expect((await at.cli('status', 'production')).out).not.toContain('pinned')
})

test('an environment that is no longer declared is retired on the command line, and nothing waits for it', async ({
  database,
}) => {
  await using at = await production(database)
  await at.made.commit({ 'environments/staging.yaml': 'ref: main\n' })
  await at.reconciler.pass()
  expect(await at.cli('retire', 'production', '--reason', 'Moved')).toMatchObject({
    code: 1,
    error: expect.stringContaining('production is declared'),
  })
  await at.made.commit({ 'environments/production.yaml': null })
  await at.reconciler.pass()
  expect(await at.cli('status', '--wait')).toMatchObject({ code: 1 })
  const { key } = await anEnvironment(database, 'production', ['trigger', 'read', 'write'])
  const call = { key, body: { recipients: ['ada'] } }

  expect(await at.cli('retire', 'production', '--reason', 'Moved')).toMatchObject({
    code: 0,
    out: expect.stringContaining('Retired by operator'),
  })
  expect(await at.api.call('POST', '/v1/workflows/a1/trigger', call)).toMatchObject({
    status: 404,
    body: { code: 'workflow_missing' },
  })
  const all = await at.cli('status', '--wait')
  expect(all).toMatchObject({ code: 0 })
  expect(all.out).not.toContain('production')
  const figures = await listEnvironmentFigures(database)
  expect(figures.map(({ name }) => name)).toEqual(['staging'])
  expect(await at.cli('status', 'production')).toMatchObject({
    code: 1,
    out: expect.stringContaining('suspended: retired'),
  })
  const listed = await at.api.call('GET', '/v1/environments?retired=true', { key: OPERATOR })
  expect(listed.body).toMatchObject({
    entries: [{ name: 'production', retired: { reason: 'Moved' } }, { name: 'staging' }],
  })
  expect(await at.cli('retire', 'production')).toMatchObject({ code: 2 })
  expect(await at.cli('retire', 'production', '--undo')).toMatchObject({ code: 0 })
  expect(await at.state()).toMatchObject({ reason: 'undeclared', retired: null, workflows: 2 })
})
