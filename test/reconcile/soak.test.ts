import { beforeEach, describe, expect } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Database } from '../../src/db/database.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { findPlanAnswer, requestPlan } from '../../src/reconcile/promotion-store.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import type { Files } from '../support/repository.ts'
import { clear, environment, scene, workflow } from './scene.ts'

beforeEach<{ database: Database }>(({ database }) => clear(database))

const PRODUCTION = 'production' as EnvironmentName
const HOUR = 3_600_000
const file = (key: string) => `workflows/${key}/workflow.yaml`
const FEED = 'channels:\n  feed: {type: in_app, provider: in_app}\n'

/** A workflow that is live in staging and in production, where content comes after two hours in staging. */
async function pipeline(database: Database, promotion = 'enforce') {
  const made = await testRepository()
  const policy = `promotes_from: staging\npolicy: {promotion: ${promotion}, soak: 2h}\n`
  await made.commit({
    'environments/production.yaml': `${policy}${FEED}`,
    'environments/staging.yaml': FEED,
    [file('a1')]: workflow('One'),
  })
  await made.git('branch', 'production')
  await made.checkout('staging')
  const at = await scene(database, made.path)
  await at.reconciler.pass()
  const commit = async (branch: string, files: Files) => {
    await made.git('checkout', '--quiet', branch)
    const tip = await made.commit(files)
    await at.reconciler.pass()
    return tip
  }
  const promote = async () => {
    await made.git('checkout', '--quiet', 'production')
    await made.git('merge', '--quiet', '--no-edit', 'staging')
    await at.reconciler.pass()
    return made.tip('production')
  }
  const later = async (ms: number) => {
    at.clock.advance(ms)
    await at.reconciler.pass()
  }
  const production = () => environment(database, 'production')
  /** The plan of merging staging, as a server makes it. */
  const plan = async () => {
    const asked = { head: 'staging', now: at.clock.now() }
    const id = await database.transaction((tx) => requestPlan(tx, PRODUCTION, asked))
    await at.reconciler.pass()
    const answer = await findPlanAnswer(database, PRODUCTION, id ?? '')
    return answer.kind === 'plan' ? answer.plan : undefined
  }
  return { made, ...at, commit, promote, later, production, plan }
}

describe('content that has to be live elsewhere for a while', () => {
  test('waits there, says until when, and goes on by itself', async ({ database }) => {
    const at = await pipeline(database)
    await using _ = at.made
    const first = await at.made.tip('production')
    await at.commit('staging', { [file('a1')]: workflow('Two') })
    await at.later(HOUR)
    // A new layout may concern any workflow: all are written anew, and this one with the same content.
    await at.commit('staging', { 'workflows/_layouts/plain.html.hbs': '{{{content}}}' })
    expect((await at.plan())?.order).toMatchObject({
      verdict: 'soaking',
      soak: '2h',
      soaking: [{ key: 'a1', until: '2026-03-01T14:00:00.000Z' }],
    })
    expect(await at.plan()).toMatchObject({ verdict: 'ready', warnings: [{ code: 'soaking' }] })
    const tip = await at.promote()
    const waits = {
      state: 'waiting',
      reason: 'soaking',
      observedRevision: first,
      attemptedRevision: tip,
      message: `Revision ${tip.slice(0, 12)} waits until 2026-03-01T14:00:00.000Z: by then a1 will have been live in staging for 2h. Then it is applied by itself. Revision ${first.slice(0, 12)} stays live.`,
      diagnostics: [{ code: 'out_of_order', severity: 'warning' }],
    }
    expect(await at.production()).toMatchObject(waits)
    // Nothing is read again while it waits.
    const read = at.source.blobs.length
    await at.later(HOUR - 1)
    expect(await at.production()).toMatchObject(waits)
    expect(at.source.blobs).toHaveLength(read)
    await at.later(1)
    expect(await at.production()).toMatchObject({
      reason: 'applied',
      observedRevision: tip,
      diagnostics: [],
    })
    await at.commit('staging', { [file('b1')]: workflow('B') })
    await at.later(2 * HOUR)
    expect((await at.plan())?.order).toMatchObject({ verdict: 'in_order', soaking: [] })
  })

  test('has to be live there without a break', async ({ database }) => {
    const at = await pipeline(database)
    await using _ = at.made
    await at.commit('staging', { [file('a1')]: workflow('Two') })
    const good = await at.made.tip('staging')
    await at.later(HOUR)
    await at.commit('staging', { [file('a1')]: workflow('Three') })
    await at.later(10 * HOUR)
    await at.made.git('checkout', '--quiet', 'production')
    await at.made.git('merge', '--quiet', '--no-edit', good)
    await at.reconciler.pass()
    const lost = await at.production()
    expect(lost).toMatchObject({
      state: 'stalled',
      reason: 'out_of_order',
      diagnostics: [{ severity: 'error', message: expect.stringContaining('is not any more') }],
    })
    expect(lost.message).toContain('a workflow that was not live in staging for 2h')
    await at.commit('staging', { [file('a1')]: workflow('Two') })
    expect(await at.production()).toMatchObject({ reason: 'soaking' })
    await at.later(2 * HOUR)
    expect(await at.production()).toMatchObject({
      reason: 'applied',
      observedRevision: expect.not.stringMatching(lost.observedRevision ?? ''),
    })
  })

  test('waits in a process that begins anew, too, and not once it was taken back', async ({
    database,
  }) => {
    const at = await pipeline(database)
    await using _ = at.made
    await at.commit('staging', { [file('a1')]: workflow('Two') })
    await at.promote()
    expect(await at.production()).toMatchObject({ reason: 'soaking' })
    await at.reconciler.close()
    const next = await scene(database, at.made.path)
    await next.reconciler.pass()
    expect(await at.production()).toMatchObject({ reason: 'soaking' })
    // What was live here before comes back at once.
    await at.made.git('revert', '--no-edit', 'HEAD')
    await next.reconciler.pass()
    expect(await at.production()).toMatchObject({ reason: 'applied' })
  })

  test('goes on in a running process when its time is over, with nothing else to wake it', async ({
    database,
  }) => {
    const at = await pipeline(database)
    await using _ = at.made
    const until = new Date(systemClock.now().getTime() + 1_500)
    at.clock.set(new Date(until.getTime() - 2 * HOUR))
    await at.commit('staging', { [file('a1')]: workflow('Two') })
    const tip = await at.promote()
    expect((await at.production()).message).toContain(`waits until ${until.toISOString()}`)
    await at.reconciler.close()
    const next = await scene(database, at.made.path, { clock: systemClock })
    await using running = next.reconciler
    await running.start()
    await expect
      .poll(at.production, { timeout: 5_000 })
      .toMatchObject({ reason: 'applied', observedRevision: tip })
    expect((await at.production()).appliedAt?.getTime()).toBeGreaterThanOrEqual(until.getTime())
  })

  test('is applied with a warning where that is all the policy asks', async ({ database }) => {
    const at = await pipeline(database, 'warn')
    await using _ = at.made
    await at.commit('staging', { [file('a1')]: workflow('Two') })
    const tip = await at.promote()
    expect(await at.production()).toMatchObject({
      reason: 'applied',
      observedRevision: tip,
      diagnostics: [
        {
          code: 'out_of_order',
          severity: 'warning',
          message: expect.stringContaining('was not live in "staging" for 2h'),
        },
      ],
    })
  })
})
