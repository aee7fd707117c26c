import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import { test } from '../support/database.ts'
import { figure } from '../support/figures.ts'
import { fsck, serveRepository } from '../support/git-server.ts'
import { openFleet, OPERATOR as OPERATOR_OF_FLEET } from '../support/served.ts'
import { openApp, OPERATOR, type EnvironmentState, type TestApp } from './app-support.ts'
import { readTables } from './reading.ts'

const PATH = '/v1/environments/production'
const BEARER = { authorization: `Bearer ${OPERATOR_OF_FLEET}` }
const ADA = { username: 'ada', password: 's3cret/with%odd:signs' }
const FILES = {
  'environments/production.yaml': 'ref: main\nchannels: {feed: {type: in_app, provider: in_app}}\n',
  'workflows/hello/workflow.yaml': workflow('the first text'),
}

/** At so many places of a pack that is a little longer than this. */
const CUTS = figure(30, 6)
const PACK_BYTES = 480

function workflow(text: string): string {
  return `name: Hello\nsteps:\n  - ref: feed\n    type: in_app\n    body: ${JSON.stringify(text)}\n`
}

async function until(app: TestApp, state: Readonly<Record<string, unknown>>): Promise<void> {
  const ask = async () => {
    const { body } = await app.call<EnvironmentState>('GET', PATH, { key: OPERATOR })
    expect(body).toMatchObject(state)
  }
  await vi.waitFor(ask, { timeout: 10_000, interval: 20 })
}

async function textOf(app: TestApp): Promise<string> {
  const [message] = await app.send('hello', { recipients: [{ id: 'ada', name: 'Ada' }] })
  return (await app.call('GET', `/v1/messages/${message?.id}/content`)).text
}

test('a push to a remote is live after a reconcile request, and its credentials are nowhere', async ({
  database,
}) => {
  await using served = await serveRepository(FILES)
  const { server } = served
  server.credentials = ADA
  const secret = encodeURIComponent(ADA.password)
  await using app = await openApp(database, {
    files: {},
    env: {
      BELFRY_REPO: server.url.replace('://', `://${ADA.username}:${secret}@`),
      BELFRY_POLL_SECONDS: '3600',
    },
  })
  expect(await textOf(app)).toContain('the first text')
  const tip = await served.push({ 'workflows/hello/workflow.yaml': workflow('the second text') })
  server.forget()
  await app.call('POST', `${PATH}/reconcile`, { key: OPERATOR })
  await until(app, { state: 'ready', observed_revision: tip })
  expect(await textOf(app)).toContain('the second text')
  expect(server.requests.map(({ step }) => step)).toEqual(['advertise', 'list', 'fetch'])

  server.credentials = { ...ADA, password: 'another one' }
  await app.call('POST', `${PATH}/reconcile`, { key: OPERATOR })
  await until(app, { state: 'stalled', reason: 'authentication', observed_revision: tip })
  for (let round = 0; round < 5; round += 1) {
    expect(await textOf(app)).toContain('the second text')
  }
  const states = await app.call('GET', '/v1/environments', { key: OPERATOR })
  const all = [...app.lines, states.text, await readTables(database)].join('\n')
  const basic = Buffer.from(`${ADA.username}:${ADA.password}`).toString('base64')
  for (const form of [ADA.password, secret, basic]) expect(all).not.toContain(form)

  server.credentials = ADA
  await app.call('POST', `${PATH}/reconcile`, { key: OPERATOR })
  await until(app, { state: 'ready', observed_revision: tip })
})

test('a remote that never answers delays neither the start nor triggers', async ({ database }) => {
  await using served = await serveRepository(FILES)
  const settings = { files: {}, env: { BELFRY_REPO: served.server.url } }
  // What is live is from before.
  await using before = await openApp(database, settings)
  expect(await textOf(before)).toContain('the')
  await before.app.close()
  served.server.trouble = () => ({ kind: 'silence' })
  const started = performance.now()
  await using app = await openApp(database, settings)
  expect(performance.now() - started).toBeLessThan(16_000)
  expect((await app.call('GET', '/readyz')).status).toBe(200)
  const asked = performance.now()
  expect(await textOf(app)).toContain('the')
  expect(performance.now() - asked).toBeLessThan(3000)
  const closing = performance.now()
  await app.app.close()
  expect(performance.now() - closing).toBeLessThan(5000)
}, 40_000)

test('a process that is killed in the middle of a fetch leaves nothing half done', async ({
  database,
}) => {
  await using served = await serveRepository(FILES)
  const { server } = served
  await using fleet = openFleet()
  const dataDir = join(fleet.directory, 'data')
  const options = { repo: server.url, databaseUrl: database.url, dataDir }
  let tip = ''
  for (const bytes of Array.from({ length: CUTS }, (_, at) =>
    Math.floor((PACK_BYTES * at) / CUTS),
  )) {
    server.trouble = () => undefined
    const killed = await fleet.serve(options)
    server.trouble = ({ step }) => (step === 'fetch' ? { kind: 'stall', bytes } : undefined)
    tip = await served.push({ 'workflows/hello/workflow.yaml': workflow(`${bytes} bytes`) })
    server.forget()
    await fetch(`${killed.url}${PATH}/reconcile`, { method: 'POST', headers: BEARER })
    await vi.waitFor(() => expect(server.count('fetch')).toBe(1), { timeout: 15_000 })
    await killed.kill()
  }
  server.trouble = () => undefined
  const last = await fleet.serve(options)
  const ask = async () => {
    const reply = await fetch(`${last.url}${PATH}`, { headers: BEARER })
    expect(await reply.json()).toMatchObject({ state: 'ready', observed_revision: tip })
  }
  await vi.waitFor(ask, { timeout: 15_000, interval: 50 })
  await last.stop('SIGTERM')
  const [mirrors = '', ...others] = await readdir(join(dataDir, 'mirrors'))
  expect(others).toEqual([])
  // Each process has taken over from the one before.
  const places = await readdir(join(dataDir, 'mirrors', mirrors))
  expect(places).toHaveLength(1)
  const place = join(dataDir, 'mirrors', mirrors, places[0] ?? '')
  const generations = (await readdir(place)).filter((name) => /^g\d+$/.test(name))
  expect(generations).toHaveLength(1)
  expect(await fsck(join(place, generations[0] ?? ''))).toBe('')
}, 900_000)
