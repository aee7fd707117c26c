import { expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { PromotionPlan } from '../../src/reconcile/promotion.ts'
import { commitOn, one, pipeline } from '../reconcile/promotion-support.ts'
import { belfry } from '../cli/promote-support.ts'
import { cloneBlank } from '../support/database.ts'
import { call, trigger } from '../support/flow.ts'
import { KEY, OPERATOR, openFleet } from '../support/served.ts'

const WAITS = `name: Waits
steps:
  - { ref: wait, type: delay, for: 1h }
  - { ref: feed, type: in_app, body: Later }
`
const GATHERS = (text: string) => `name: Gathers
steps:
  - { ref: gather, type: batch, window: 1h }
  - { ref: feed, type: in_app, body: ${text} }
`
const NO_LONGER = `name: Waits no longer
steps:
  - { ref: feed, type: in_app, body: At once }
`

test('one process answers what another one is asked, with what runs', async () => {
  const clone = await cloneBlank()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => clone.drop())
  const { database } = clone
  await using repository = await pipeline()
  await commitOn(repository, 'main', {
    'workflows/waits/workflow.yaml': WAITS,
    'workflows/gathers/workflow.yaml': GATHERS('First'),
  })
  for (const branch of ['staging', 'production']) await repository.merge('main', branch)
  await commitOn(repository, 'staging', {
    'workflows/waits/workflow.yaml': NO_LONGER,
    'workflows/gathers/workflow.yaml': GATHERS('Second'),
  })
  await repository.git('branch', 'feature', 'production')
  await commitOn(repository, 'feature', one('alpha', 'Never tried'))
  await repository.git('checkout', '--quiet', 'main')
  await using fleet = openFleet()
  const options = { repo: repository.path, databaseUrl: database.url }
  const leading = await fleet.serve(options)
  const asked = await fleet.serve({ ...options, env: { BELFRY_ROLES: 'api' } })

  await trigger(leading.url, 'waits', ['ada', 'ben'])
  for (let times = 3; times > 0; times -= 1) await trigger(leading.url, 'gathers', ['ada'])
  const paused = async () =>
    (
      await database.query(
        sql`select id from runs where environment = 'production' and wakes_at is not null`,
      )
    ).length
  await expect.poll(paused, { timeout: 10_000 }).toBe(3)
  const gathered = async () =>
    (
      await database.query(
        sql`select batch_id from batch_activities where environment = 'production'`,
      )
    ).length
  await expect.poll(gathered, { timeout: 10_000 }).toBe(3)

  const path = '/v1/environments/production/plan'
  const planOf = async (head: string) => {
    const { status, body } = await call(asked.url, { path: `${path}?head=${head}` })
    expect(status).toBe(200)
    return body as unknown as PromotionPlan
  }
  const found = await planOf('staging')
  expect(found).toMatchObject({
    __typename: 'PromotionPlan',
    relation: 'fast_forward',
    verdict: 'ready',
    workflows: [
      { key: 'gathers', change: 'changed' },
      { key: 'waits', change: 'changed' },
    ],
    order: { verdict: 'in_order', checked_by: 'applied' },
    effects: {
      runs: [
        {
          workflow: 'waits',
          paused: 2,
          ends: false,
          steps: [{ ref: 'wait', runs: 2, removed: true }],
        },
      ],
      batches: [
        {
          workflow: 'gathers',
          batches: 1,
          activities: 3,
          ends: false,
          steps: [{ ref: 'gather', batches: 1, activities: 3, goes_on_with: 'newest' }],
        },
      ],
    },
  })
  // What was applied decides, and not where a commit stands.
  expect(await planOf('feature')).toMatchObject({
    order: { verdict: 'out_of_order', never_there: ['alpha'] },
  })

  // The same tips are not worked out again, and what runs is counted anew.
  await database.query(sql`
    update plan_requests set plan = plan || '{"result_tree": "marked"}' where environment = 'production'`)
  await trigger(leading.url, 'waits', ['cyd'])
  await expect.poll(paused, { timeout: 10_000 }).toBe(4)
  const again = await planOf('staging')
  expect(again).toEqual({ ...found, result_tree: 'marked', effects: again.effects })
  expect(again.effects).toMatchObject({ runs: [{ paused: 3 }] })
  const [counts] = await database.query<{ prints: number; plans: number }>(sql`
    select count(distinct fingerprint)::integer as prints, count(*)::integer as plans
    from plan_requests where environment = 'production'`)
  expect(counts).toEqual({ prints: 2, plans: 3 })

  const markdown = await fetch(`${asked.url}${path}?head=staging&format=markdown`, {
    headers: { authorization: `Bearer ${KEY}` },
  })
  expect(markdown.headers.get('content-type')).toBe('text/markdown; charset=utf-8')
  const comment = await markdown.text()
  expect(comment).toContain('3 runs paused: 3 before wait, which the merge removes')
  expect(comment).toContain(
    '1 batch with 3 activities open: 1 at gather with 3 activities, to go on',
  )

  const missing = await call(asked.url, { path: `${path}?head=none` })
  expect(missing).toMatchObject({ status: 404, body: { code: 'head_missing' } })

  const argv = ['plan', '--env', 'production', '--head', 'staging', '--server']
  const env = { BELFRY_URL: asked.url, BELFRY_OPERATOR_TOKEN: OPERATOR }
  const told = await belfry(repository.path, argv, { env })
  expect(told).toMatchObject({ code: 0, error: '' })
  expect(told.out).toContain('waits: 3 runs paused')
  expect(told.out).toContain('gathers: 1 batch with 3 activities open: 1 at gather')
}, 60_000)
