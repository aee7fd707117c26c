import { expect, vi } from 'vitest'
import { test } from '../support/database.ts'
import { openApp, OPERATOR, type TestApp } from './app-support.ts'

const PATH = '/v1/environments/production'

function workflow(text: string): string {
  return `name: Hello\nsteps:\n  - ref: feed\n    type: in_app\n    body: ${JSON.stringify(text)}\n`
}

async function until(app: TestApp, state: Readonly<Record<string, unknown>>): Promise<void> {
  const ask = async () => {
    expect((await app.call('GET', PATH, { key: OPERATOR })).body).toMatchObject(state)
  }
  await vi.waitFor(ask, { timeout: 10_000, interval: 20 })
}

async function textOf(app: TestApp): Promise<string> {
  const [message] = await app.send('hello', { recipients: [{ id: 'ada', name: 'Ada' }] })
  return (await app.call('GET', `/v1/messages/${message?.id}/content`)).text
}

test('what is sent follows a pin, its release and a suspension at once', async ({ database }) => {
  await using app = await openApp(database, {
    files: {
      'environments/production.yaml':
        'ref: main\nchannels: {feed: {type: in_app, provider: in_app}}\n',
      'workflows/hello/workflow.yaml': workflow('the good text'),
    },
  })
  const good = await app.repository.tip('main')
  await app.commit({ 'workflows/hello/workflow.yaml': workflow('the bad text') })
  expect(await textOf(app)).toContain('the bad text')

  const body = { revision: good, reason: 'The text is wrong' }
  await app.call('PUT', `${PATH}/pin`, { key: OPERATOR, body })
  await until(app, { state: 'ready', reason: 'pinned', observed_revision: good })
  expect(await textOf(app)).toContain('the good text')

  await app.call('PUT', `${PATH}/suspend`, { key: OPERATOR, body: { reason: 'A freeze' } })
  await app.call('DELETE', `${PATH}/pin`, { key: OPERATOR })
  await app.repository.commit({ 'workflows/hello/workflow.yaml': workflow('the new text') })
  const { id } = (await app.call<{ id: string }>('POST', `${PATH}/reconcile`, { key: OPERATOR }))
    .body
  await until(app, { state: 'suspended', last_handled_request: id, pinned: null })
  expect(await textOf(app)).toContain('the good text')

  await app.call('DELETE', `${PATH}/suspend`, { key: OPERATOR })
  const tip = await app.repository.tip('main')
  await until(app, { state: 'ready', reason: 'applied', observed_revision: tip })
  expect(await textOf(app)).toContain('the new text')
})
