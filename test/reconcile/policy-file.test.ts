import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { ConfigError } from '../../src/errors.ts'
import { test } from '../support/database.ts'
import { temporaryDirectory, testRepository } from '../support/repository.ts'
import { clear, environment, scene, workflow } from './scene.ts'

beforeEach<{ database: Database }>(({ database }) => clear(database))

const FEED = 'channels:\n  feed: {type: in_app, provider: in_app}\n'
const text = (content: string) => ({ 'workflows/a1/workflow.yaml': workflow(content) })

/** Production with an applied revision, and a file of policies. */
async function outside(database: Database, policies: string, declared = '') {
  const stack = new AsyncDisposableStack()
  const directory = await temporaryDirectory()
  stack.defer(() => rm(directory, { recursive: true, force: true }))
  const policyFile = join(directory, 'policies.yaml')
  await writeFile(policyFile, policies)
  const made = stack.use(await testRepository())
  await made.commit({ 'environments/production.yaml': `${declared}${FEED}`, ...text('Start') })
  await made.checkout('production')
  const first = await made.commit(text('One'))
  const { reconciler } = await scene(database, made.path, { policyFile })
  const look = async () => {
    await reconciler.pass()
    return environment(database, 'production')
  }
  return { stack, made, first, policyFile, reconciler, look }
}

describe('the policy file', () => {
  test('overrides what the default branch says, field by field', async ({ database }) => {
    const declared = 'policy: {history: apply, promotion: off}\n'
    const { stack, made, first, look } = await outside(
      database,
      'production: {history: refuse}\nstaging: {}\n',
      declared,
    )
    await using _ = stack
    await look()
    await made.git('reset', '--quiet', '--hard', 'main')
    await made.commit(text('Other'))
    expect(await look()).toMatchObject({ reason: 'history_rewritten', observedRevision: first })
    // The default branch cannot loosen it.
    await made.git('checkout', '--quiet', 'main')
    await made.commit({ 'environments/production.yaml': `policy: {history: apply}\n${FEED}` })
    await made.commit({}, 'Go on')
    expect(await look()).toMatchObject({ reason: 'history_rewritten' })
  })

  test('is read anew when it changes, and what waited is judged by it', async ({ database }) => {
    const { stack, made, policyFile, look } = await outside(
      database,
      'production: {history: refuse}\n',
    )
    await using _ = stack
    await look()
    await made.git('reset', '--quiet', '--hard', 'main')
    const tip = await made.commit(text('Other'))
    expect(await look()).toMatchObject({ reason: 'history_rewritten' })
    await writeFile(policyFile, 'production: {history: apply}\n')
    expect(await look()).toMatchObject({ reason: 'applied', observedRevision: tip })
  })

  test.for([
    ['one that is broken', 'production:\n  history: never\n', ':2:12 '],
    ['one that names a circle', 'a1: {promotes_from: b1}\nb1: {promotes_from: a1}\n', ':1:21 '],
    ['one with an unknown policy', 'production: {prune: 3}\n', ':1:14 '],
    ['one that is gone', null, ':1:1 '],
  ] as const)('leaves the last good one in force: %s', async ([, content, place], { database }) => {
    const { stack, made, policyFile, look } = await outside(
      database,
      'production: {history: refuse}\n',
    )
    await using _ = stack
    await look()
    await made.git('reset', '--quiet', '--hard', 'main')
    await made.commit(text('Other'))
    if (content === null) await rm(policyFile)
    else await writeFile(policyFile, content)
    const held = await look()
    expect(held).toMatchObject({
      reason: 'history_rewritten',
      diagnostics: expect.arrayContaining([
        expect.objectContaining({
          path: policyFile,
          code: 'policy_file_invalid',
          severity: 'warning',
          message: expect.stringContaining('whose last good content still holds: ') as string,
        }),
      ]) as object,
    })
    const warning = held.diagnostics.find(({ code }) => code === 'policy_file_invalid')
    expect(`:${warning?.line}:${warning?.column} `).toBe(place)
    await writeFile(policyFile, 'production: {history: apply}\n')
    expect(await look()).toMatchObject({ reason: 'applied', diagnostics: [] })
  })

  test('keeps a process from starting where it was never good', async ({ database }) => {
    const { stack, policyFile, reconciler } = await outside(
      database,
      'production: {histroy: refuse}\n',
    )
    await using _ = stack
    const start = reconciler.start()
    await expect(start).rejects.toThrow(ConfigError)
    await expect(start).rejects.toThrow(`${policyFile}:1:14 `)
    await reconciler.close()
  })

  test('can say where an environment is promoted from', async ({ database }) => {
    const policies = 'production: {promotes_from: staging, promotion: enforce}\n'
    const { stack, made, look } = await outside(database, policies)
    await using _ = stack
    await look()
    await made.commit(text('Two'))
    expect(await look()).toMatchObject({
      reason: 'out_of_order',
      message: expect.stringContaining('never applied in staging') as string,
    })
  })
})
