import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, WorkflowKey } from '../../src/ids.ts'
import type { RecipientRef } from '../../src/recipients/recipient.ts'
import { upsertRecipients } from '../../src/recipients/store.ts'
import { upsertSubscriptions } from '../../src/recipients/subscription-store.ts'
import { cancelByKey } from '../../src/runs/cancel.ts'
import { dryRunWorkflow } from '../../src/runs/dry-run.ts'
import { expandWorkflowRun } from '../../src/runs/expand.ts'
import { replayRun } from '../../src/runs/operate.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const production = 'production' as EnvironmentName

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await engine.commit({
      'workflows/hello/workflow.yaml': `name: Hello
steps:
  - ref: feed
    type: in_app
    body: "{{recipient.id}} as {{recipient.subscription.role}} of {{recipient.subscription.object.title}}"
`,
    })
    await use(engine)
  },
})

const user = (id: string): RecipientRef => ({ collection: '$users', id })
const object = (id: string): RecipientRef => ({ collection: 'pages', id })

/** Subscribes recipients to an object; all of them are known from then on, the object with a title. */
async function subscribe(
  { database, clock }: Engine,
  to: RecipientRef,
  subscribers: readonly RecipientRef[],
  properties: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const patches = [
    { ...to, properties: { title: `T-${to.id}` } },
    ...subscribers.map((ref) => ({ ...ref, properties: {} })),
  ]
  await database.transaction(async (tx) => {
    await upsertRecipients(tx, production, patches, clock.now())
    const asked = subscribers.map((subscriber) => ({ object: to, subscriber, properties }))
    await upsertSubscriptions(tx, production, asked, clock.now())
  })
}

/** Who got a run, and what its message says. */
async function reach(engine: Engine, body: object): Promise<readonly string[]> {
  const id = await engine.trigger('hello', body)
  await engine.drain()
  const runs = await engine.runs(id)
  expect(runs.map(({ status }) => status)).toEqual(runs.map(() => 'completed'))
  const own = new Set(runs.map((run) => run.id))
  const messages = (await engine.messages()).filter(({ run_id: run }) => own.has(run))
  expect(messages).toHaveLength(runs.length)
  return messages
    .map(({ content }) => (content['body'] as { content: string }).content.trim())
    .toSorted()
}

describe('a trigger for an object', () => {
  test('reaches its subscribers as well, each with the subscription in its scope', async ({
    engine,
  }) => {
    await subscribe(engine, object('start'), [user('ada'), user('bob')], { role: 'reader' })
    expect(await reach(engine, { recipients: [object('start')] })).toEqual([
      'ada as reader of T-start',
      'bob as reader of T-start',
      'start as  of',
    ])
  })

  test('reaches those of an object that is subscribed to it, and no farther', async ({
    engine,
  }) => {
    await subscribe(engine, object('start'), [object('team')])
    await subscribe(engine, object('team'), [user('ada'), object('far')], { role: 'member' })
    await subscribe(engine, object('far'), [user('nobody')])
    expect(await reach(engine, { recipients: [object('start')] })).toEqual([
      'ada as member of T-team',
      'far as member of T-team',
      'start as  of',
      'team as  of T-start',
    ])
  })

  test('gives one run to each, by the nearest way: named, then subscribed, then at one remove', async ({
    engine,
  }) => {
    await subscribe(engine, object('start'), [object('team'), user('ada'), user('bob')], {
      role: 'near',
    })
    await subscribe(engine, object('team'), [user('ada'), user('bob'), user('cid')], {
      role: 'far',
    })
    expect(await reach(engine, { recipients: [object('start'), 'ada'] })).toEqual([
      'ada as  of',
      'bob as near of T-start',
      'cid as far of T-team',
      'start as  of',
      'team as near of T-start',
    ])
  })

  test('ends where objects are subscribed to each other', async ({ engine }) => {
    await subscribe(engine, object('start'), [object('team')])
    await subscribe(engine, object('team'), [object('start')])
    expect(await reach(engine, { recipients: [object('start')] })).toHaveLength(2)
  })

  test('leaves out the actor, but not where it is named', async ({ engine }) => {
    await subscribe(engine, object('start'), [user('ada'), user('bob')])
    const others = await reach(engine, { recipients: [object('start')], actor: 'ada' })
    expect(others).toEqual(['bob as  of T-start', 'start as  of'])
    const named = await reach(engine, { recipients: [object('start'), 'ada'], actor: 'ada' })
    expect(named).toContain('ada as  of')
  })

  test('keeps the data that it has for the object from those who are subscribed', async ({
    engine,
  }) => {
    await subscribe(engine, object('start'), [user('ada')])
    const recipients = [{ ...object('start'), $trigger_data: { secret: 'x' } }]
    const id = await engine.trigger('hello', { recipients })
    await engine.drain()
    const rows = await engine.database.query<{ recipient: string; data: unknown }>(sql`
      select recipient, data from runs where environment = 'production' and workflow_run_id = ${id}
      order by recipient`)
    expect(rows).toEqual([
      { recipient: 'ada', data: null },
      { recipient: 'start', data: { secret: 'x' } },
    ])
  })

  test('is for nobody else when one of its runs is repeated, and shows that one the same', async ({
    engine,
  }) => {
    await subscribe(engine, object('start'), [user('ada'), user('bob')], { role: 'reader' })
    const id = await engine.trigger('hello', { recipients: [object('start')] })
    await engine.drain()
    for (const run of await engine.runs(id)) {
      const again = await engine.database.transaction((tx) =>
        replayRun(tx, engine.queue, {
          environment: production,
          id: run.id,
          sandbox: true,
          requestedBy: 'a test',
          now: engine.clock.now(),
        }),
      )
      await engine.drain()
      const repeated = await engine.runs(again)
      expect(repeated.map((one) => one.recipient)).toEqual([run.recipient])
      const bodies = (await engine.messages())
        .filter(({ run_id: of }) => of === run.id || of === repeated[0]?.id)
        .map(({ content }) => content['body'])
      expect(bodies).toHaveLength(2)
      expect(bodies[0]).toEqual(bodies[1])
    }
  })

  test('shows all of them in a dry run, and none where there are too many', async ({ engine }) => {
    await subscribe(engine, object('start'), [user('ada'), user('bob')])
    const crowd = Array.from({ length: 30 }, (_, index) => user(`user-${index}`))
    await subscribe(engine, object('crowd'), crowd)
    const dryRun = (id: string) =>
      engine.database.transaction((tx) =>
        dryRunWorkflow(tx, engine.queue, {
          environment: production,
          workflow: 'hello' as WorkflowKey,
          body: { recipients: [object(id)] },
          now: engine.clock.now(),
        }),
      )
    const { runs } = await dryRun('start')
    expect(runs.map(({ run }) => run.recipient).toSorted()).toEqual(['ada', 'bob', 'start'])
    await expect(dryRun('crowd')).rejects.toThrow('at most 25 recipients, and this trigger has 31')
    expect(await engine.runs()).toEqual([])
  })
})

async function fanOut(engine: Engine) {
  const [row] = await engine.database.query<{ fan_out: string; cursor: unknown }>(sql`
    select fan_out, fan_out_cursor as cursor from workflow_runs where environment = 'production'`)
  return row
}

describe('a trigger for very many', () => {
  test('reaches the subscribers of many objects that have few each', async ({ engine }) => {
    const objects = Array.from({ length: 40 }, (_, index) => object(`page-${index}`))
    for (const [index, one] of objects.entries()) await subscribe(engine, one, [user(`u-${index}`)])
    expect(await reach(engine, { recipients: objects })).toHaveLength(80)
  })

  /**
   * Three thousand at two removes, of more objects than one page is made of, one of them many times; those of a later
   * object come earlier by name.
   */
  const crowd = async (engine: Engine) => {
    const teams = Array.from({ length: 30 }, (_, index) => object(`team-${index}`))
    await subscribe(engine, object('start'), teams)
    for (const [index, team] of teams.entries()) {
      const members = Array.from({ length: 101 }, (_, n) =>
        user(n === 100 ? 'twice' : `u-${90 - index}-${n}`),
      )
      await subscribe(engine, team, members, { role: team.id })
    }
    const many = Array.from({ length: 2_500 }, (_, index) => user(`direct-${index}`))
    await subscribe(engine, object('second'), many)
  }
  const recipients = [object('start'), object('second')]
  const everybody = 2 + 30 + 2_500 + 3_000 + 1

  test('gives each of them one run, in rounds', async ({ engine }) => {
    await crowd(engine)
    const id = await engine.trigger('hello', { recipients })
    const rounds: number[] = []
    const ids = new Set<string>()
    for (let isDone = false; !isDone;) {
      const round = await engine.database.transaction((tx) =>
        expandWorkflowRun(tx, production, id, engine.clock.now()),
      )
      rounds.push(round?.ids.length ?? -1)
      for (const run of round?.ids ?? []) ids.add(run)
      isDone = round?.isDone ?? true
      expect((await fanOut(engine))?.fan_out).toBe(isDone ? 'done' : 'pending')
    }
    expect(ids.size).toBe(everybody)
    expect(Math.max(...rounds)).toBeLessThanOrEqual(1_000)
    expect(rounds.length).toBeLessThan(12)
    const [row] = await engine.database.query<{
      runs: number
      recipients: number
      odd: number
    }>(sql`
      select count(*)::integer as runs, count(distinct recipient)::integer as recipients,
        count(*) filter (where recipient like 'u-%'
          and subscription->'properties'->>'role' <> 'team-' || (90 - split_part(recipient, '-', 2)::integer))::integer as odd
      from runs where environment = 'production'`)
    expect(row).toEqual({ runs: everybody, recipients: everybody, odd: 0 })
    expect(await fanOut(engine)).toEqual({ fan_out: 'done', cursor: null })
  })

  test('takes up to the end what a worker does, whatever falls into the middle of it', async ({
    engine,
  }) => {
    await crowd(engine)
    const id = await engine.trigger('hello', { recipients, cancellation_key: 'k' })
    await engine.database.transaction((tx) =>
      expandWorkflowRun(tx, production, id, engine.clock.now()),
    )
    // A round that is undone leaves nothing behind.
    const undone = engine.database.transaction(async (tx) => {
      await expandWorkflowRun(tx, production, id, engine.clock.now())
      throw new Error('the process dies')
    })
    await expect(undone).rejects.toThrow('the process dies')
    const before = await engine.database.query(sql`
      select id from runs where environment = 'production' and status = 'queued'`)
    const { runs } = await engine.database.transaction((tx) =>
      cancelByKey(tx, engine.queue, {
        environment: production,
        workflow: 'hello' as WorkflowKey,
        cancellationKey: 'k',
        recipients: null,
        requestedBy: 'a test',
        now: engine.clock.now(),
      }),
    )
    expect(runs).toBe(before.length)
    await engine.drain()
    const rows = await engine.database.query<{ status: string; count: number }>(sql`
      select status, count(*)::integer as count from runs where environment = 'production'
      group by status`)
    // Those that had no run yet have one that was cancelled, so that each can be asked about.
    expect(rows).toEqual([{ status: 'cancelled', count: everybody }])
    expect(await engine.messages()).toEqual([])
  })
})
