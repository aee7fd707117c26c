import { describe, expect } from 'vitest'
import type { Database, Queryable } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import type { PromotionPlan } from '../../src/reconcile/promotion.ts'
import { findEffects } from '../../src/reconcile/promotion-effects.ts'
import { findPlanAnswer, requestPlan } from '../../src/reconcile/promotion-store.ts'
import { test } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'
import type { Files } from '../support/repository.ts'

const environment = 'production' as EnvironmentName
const MINUTE_MS = 60_000

const file = (key: string, steps: readonly string[]): Files => ({
  [`workflows/${key}/workflow.yaml`]: `name: W\nsteps:\n${steps.map((step) => `  - ${step}\n`).join('')}`,
})
const gather = (version = 'latest', ref = 'gather') =>
  `{ ref: ${ref}, type: batch, window: 10m, version: ${version} }`
const says = (body: string) => `{ ref: feed, type: in_app, body: ${JSON.stringify(body)} }`
const hold = '{ ref: hold, type: delay, for: 10m }'
const inBranch = (step: string) =>
  `{ ref: fork, type: branch, branches: [{ name: All, steps: [${step}] }] }`

/** The plan of a branch, as the process that reads Git gives it. */
async function planOf(engine: Engine, head: string) {
  const { database, clock } = engine
  const question = { head, now: clock.now() }
  const id = await database.transaction((tx) => requestPlan(tx, environment, question))
  await engine.reconcile()
  const answer = await findPlanAnswer(database, environment, id ?? '')
  if (answer.kind !== 'plan') throw new Error(JSON.stringify(answer))
  return answer.plan
}

/** One open batch of a workflow. */
const open = (workflow: string, goesOnWith: string | null, activities = 1) => ({
  workflow,
  batches: 1,
  activities,
  steps: [{ ref: 'gather', batches: 1, activities, goes_on_with: goesOnWith }],
  ends: workflow === 'ends',
})

/** Key → the text of what was sent. */
async function sent(engine: Engine) {
  const rows = await engine.database.query<{ workflow: string; body: string }>(sql`
    select r.workflow, m.content #>> '{body,content}' as body
    from messages m join runs r on r.environment = m.environment and r.id = m.run_id
    where m.environment = ${environment}`)
  return Object.fromEntries(rows.map(({ workflow, body }) => [workflow, body]))
}

describe('what is under way', () => {
  test('is told with the version that goes on, and that one goes on', async ({ database }) => {
    await using engine = await openEngine(database)
    const { repository } = engine
    await engine.commit({
      ...file('apart', [gather(), says('one')]),
      ...file('drops', [gather(), says('one')]),
      ...file('ends', [gather('pinned'), says('one')]),
      ...file('follows', [gather(), says('one')]),
      ...file('nests', [gather(), says('one')]),
      ...file('parts', [gather(), says('{{> word}}')]),
      ...file('pins', [gather(), says('one')]),
      ...file('sleeps', [hold, says('one')]),
      ...file('stays', [gather('pinned'), says('one')]),
      'workflows/_partials/word.hbs': 'one',
    })
    const keys = ['apart', 'drops', 'ends', 'follows', 'nests', 'parts', 'pins', 'sleeps', 'stays']
    for (const key of keys) await engine.trigger(key, { recipients: [{ id: 'ada' }] })
    for (let more = 2; more > 0; more -= 1)
      await engine.trigger('follows', { recipients: [{ id: 'ada' }] })
    await engine.drain()
    // What is live is newer than the version that each batch was opened with.
    await engine.commit({
      ...file('drops', [gather(), says('two')]),
      ...file('pins', [gather(), says('two')]),
      ...file('stays', [gather('pinned'), says('two')]),
    })
    await repository.checkout('next')
    await repository.commit({
      ...file('drops', [says('three')]),
      'workflows/ends': null,
      ...file('follows', [gather(), says('three')]),
      ...file('nests', [inBranch(gather()), says('three')]),
      ...file('pins', [gather('pinned'), says('three')]),
      ...file('sleeps', [gather('latest', 'hold'), says('three')]),
      ...file('stays', [gather('pinned'), says('three')]),
      'workflows/_partials/word.hbs': 'three',
    })
    await repository.git('checkout', '--quiet', 'main')

    const { verdict, effects } = await planOf(engine, 'next')
    expect(verdict).toBe('ready')
    expect(effects).toEqual({
      runs: [
        {
          workflow: 'sleeps',
          paused: 1,
          steps: [{ ref: 'hold', runs: 1, removed: false }],
          ends: false,
        },
      ],
      batches: [
        open('follows', 'newest', 3),
        open('drops', 'earlier'),
        open('ends', null),
        open('nests', 'newest'),
        open('parts', 'newest'),
        open('pins', 'earlier'),
        open('stays', 'pinned'),
      ],
      unlisted: { runs: 0, batches: 0 },
    })

    await repository.merge('next', 'main')
    await engine.reconcile()
    engine.clock.advance(10 * MINUTE_MS)
    await engine.drain()
    expect(await sent(engine)).toEqual({
      apart: 'one',
      drops: 'two',
      follows: 'three',
      nests: 'three',
      parts: 'three',
      pins: 'two',
      sleeps: 'one',
      stays: 'one',
    })
  })

  test('is bounded, whatever the number of workflows, and takes two statements', async ({
    database,
  }) => {
    await database.query(sql`
      insert into runs (environment, id, workflow_run_id, workflow, version_id, collection, recipient,
        status, waits_for, wakes_at, batch_id, inserted_at, updated_at)
      select ${environment}, gen_random_uuid(), gen_random_uuid(), 'wf-' || n, 'v', '$users', 'ada',
        'paused', case when b then 'batch' else 'delay' end, now(), case when b then md5('b' || n)::uuid end,
        now(), now()
      from generate_series(1, 103) n, unnest(array[true, false]) b`)
    await database.query(sql`
      insert into batches (environment, id, bucket, workflow, step_ref, collection, recipient, tenant,
        version_id, sandbox, flush_leading, opened_at, closes_at, activities)
      select e, md5('b' || n)::uuid, n, 'wf-' || n, 'gather', '$users', 'ada', '', '', false, false,
        now(), now(), n
      from generate_series(1, 103) n, unnest(array[${environment}, 'elsewhere']) e`)
    const workflows = Array.from({ length: 103 }, (_, index) => ({
      key: `wf-${index + 1}`,
      change: 'changed',
      steps: null,
    }))
    const plan = { workflows, shared: [], batch_steps: [] } as unknown as PromotionPlan
    const counted = counting(database)
    const { runs, batches, unlisted } = await findEffects(counted, environment, plan)
    expect(counted.statements()).toBe(2)
    expect([runs.length, batches.length, unlisted]).toEqual([100, 100, { runs: 3, batches: 3 }])
    // Those with the most come first, and what was not read is not guessed.
    expect(batches[0]).toEqual({
      workflow: 'wf-103',
      batches: 1,
      activities: 103,
      steps: [{ ref: 'gather', batches: 1, activities: 103, goes_on_with: null }],
      ends: false,
    })
  })
})

function counting(database: Database): Queryable & { statements(): number } {
  let count = 0
  return {
    execute: (text, values) => database.execute(text, values),
    query(statement) {
      count += 1
      return database.query(statement)
    },
    statements: () => count,
  }
}
