import { expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import { serve, OPERATOR } from '../api/server-support.ts'
import { clear, environment, scene, workflow } from '../reconcile/scene.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { run } from './program-support.ts'

const file = (text: string) => ({ 'workflows/a1/workflow.yaml': workflow(text) })
const BROKEN = { 'workflows/a1/workflow.yaml': 'name: [' }

test('waiting for a revision ends with what came after it, and says what that is', async ({
  database,
}) => {
  await clear(database)
  await using made = await testRepository()
  const first = await made.commit({ 'environments/production.yaml': 'ref: main\n', ...file('One') })
  await using api = await serve(database, routes)
  const { reconciler } = await scene(database, made.path, { pollMs: 50 })
  await using running = reconciler
  await running.start()
  const attempted = async (revision: string) =>
    expect
      .poll(async () => (await environment(database, 'production')).attemptedRevision, {
        timeout: 5_000,
      })
      .toBe(revision)
  const settings = { url: api.server.url, apiKey: undefined, operatorToken: OPERATOR }
  const wait = (revision: string) =>
    run(['status', 'production', '--wait', '--revision', revision, '--timeout', '20'], { settings })
  expect(await wait(first)).toMatchObject({ code: 0, error: '' })

  // Two commits with one push: the first one is never read.
  await made.checkout('aside')
  const unread = await made.commit(file('Two'))
  const second = await made.commit(file('Three'))
  await made.git('checkout', '--quiet', 'main')
  await made.git('merge', '--quiet', '--ff-only', 'aside')
  await attempted(second)
  const [followed, passedOver] = await Promise.all([wait(first.slice(0, 7)), wait(unread)])
  expect(followed).toMatchObject({
    code: 0,
    error: expect.stringContaining(
      `${first.slice(0, 7)} was applied, and followed by ${second.slice(0, 12)}, which came after it`,
    ),
  })
  expect(passedOver).toMatchObject({
    code: 0,
    error: expect.stringContaining(`it is part of ${second.slice(0, 12)}`),
  })

  // What is refused later is another one's concern; what never gets through by itself nor in what follows, is not.
  const refused = await made.commit(BROKEN)
  await attempted(refused)
  expect(await wait(second)).toMatchObject({ code: 0, error: '' })
  expect(await wait(refused)).toMatchObject({ code: 1 })
  const still = await made.commit({ 'workflows/b1/workflow.yaml': workflow('B') })
  await attempted(still)
  expect(await wait(refused)).toMatchObject({
    code: 1,
    error: expect.stringContaining(`it is part of ${still.slice(0, 12)}`),
  })
}, 30_000)
