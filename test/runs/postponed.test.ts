import { describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const HOUR_MS = 3_600_000
const ada = { id: 'ada', name: 'Ada' }

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await use(engine)
    await allow(database)
  },
})

const refuse = (database: Database) =>
  database.execute(`alter table messages add constraint no_message check (status = 'none')`)
const allow = (database: Database) =>
  database.execute('alter table messages drop constraint if exists no_message')

/** Lets the time pass, and Postgres refuse what the run does then: its job fails, and then its run alone. */
async function failAfter(engine: Engine, ms: number): Promise<void> {
  engine.clock.advance(ms)
  await engine.drain().catch(() => {})
  await engine.queue.drain({ retries: true })
}

async function start(engine: Engine, steps: string, rest = ''): Promise<void> {
  const text = `name: W\n${rest}steps:\n${steps}`
  await engine.commit({ 'workflows/hello/workflow.yaml': text })
  await engine.trigger('hello', { recipients: [ada] })
}

const standing = async (engine: Engine) => {
  const [run] = await engine.runs()
  return `${run!.status} ${run!.outcome ?? run!.waits_for} ${run!.reason ?? run!.wakes_at?.toISOString()}`
}

const AFTER = '  - { ref: feed, type: in_app, body: x }\n'

describe('a run that the engine could not work on', () => {
  test('has not to wait again for a delay that is over', async ({ engine }) => {
    await start(engine, `  - { ref: rest, type: delay, for: 24h }\n${AFTER}`)
    await engine.drain()
    await refuse(engine.database)
    await failAfter(engine, 24 * HOUR_MS)
    expect(await standing(engine)).toBe('paused delay 2027-03-02T09:00:05.000Z')
    await failAfter(engine, 5_000)
    expect(await standing(engine)).toBe('paused delay 2027-03-02T09:00:35.000Z')
    await allow(engine.database)
    engine.clock.advance(30_000)
    await engine.drain()
    expect(await standing(engine)).toBe('completed completed undefined')
    expect(await engine.messages()).toHaveLength(1)
  })

  test('keeps the deadline of its wait for an event', async ({ engine }) => {
    const match = 'all: [{ variable: event.run_id, operator: equal_to, argument: run.id }]'
    const wait = `event: message.read, match: { ${match} }, expires_after: 1d, on_timeout: continue`
    await start(engine, `  - { ref: wait, type: wait_for_event, ${wait} }\n${AFTER}`)
    await engine.drain()
    await refuse(engine.database)
    await failAfter(engine, 24 * HOUR_MS)
    expect(await standing(engine)).toBe('paused event 2027-03-02T09:00:05.000Z')
    await allow(engine.database)
    engine.clock.advance(5_000)
    await engine.drain()
    expect(await standing(engine)).toBe('completed completed undefined')
  })

  test('is held to the conditions of its workflow when it is tried again', async ({ engine }) => {
    const rest =
      'conditions: { all: [{ variable: recipient.name, operator: equal_to, argument: Ada }] }\n'
    await start(engine, AFTER, rest)
    await refuse(engine.database)
    await failAfter(engine, 0)
    await allow(engine.database)
    await engine.database.execute(`update recipients set properties = '{"name": "Eve"}'`)
    engine.clock.advance(5_000)
    await engine.drain()
    expect(await standing(engine)).toBe('completed halted conditions_not_met')
  })

  test('says in its timeline what failed, at which step, without secrets', async ({ database }) => {
    await using engine = await openEngine(database, {
      secrets: { 'production/KEY': 'hunter2-of-ada' },
    })
    await using stack = new AsyncDisposableStack()
    stack.defer(async () => void (await database.execute('drop function refuse() cascade')))
    await database.execute(`create function refuse() returns trigger language plpgsql as
      $$ begin raise exception 'refused hunter2-of-ada %', repeat('x', 1000); end $$`)
    await database.execute(
      'create trigger refuse before insert on messages for each row execute function refuse()',
    )
    await start(engine, `  - { ref: rest, type: delay, for: 1h }\n${AFTER}`)
    await engine.drain()
    for (const ms of [HOUR_MS, 5_000, 30_000]) await failAfter(engine, ms)
    await start(engine, AFTER)
    for (const ms of [0, 5_000, 30_000]) await failAfter(engine, ms)
    const entries = await database.query<{
      ref: string
      message: string
      retry: string | null
    }>(sql`
      select s.ref, e.data ->> 'message' as message, e.data ->> 'retry_at' as retry
      from run_steps s
      cross join lateral jsonb_to_recordset(s.events) as e (event text, data jsonb)
      where s.environment = 'production' and e.event = 'step_failed'
      order by s.run_id, s.number`)
    expect(entries.map(({ ref, retry }) => `${ref} ${retry}`)).toEqual([
      'rest 2027-03-01T10:00:05.000Z',
      'rest 2027-03-01T10:00:35.000Z',
      'rest null',
      'feed null',
    ])
    for (const { message } of entries) {
      expect(message).toMatch(/^the engine could not work on the run: refused ••• x/)
      expect(message.length).toBeLessThan(600)
    }
    const runs = await engine.runs()
    expect(runs.map((run) => `${run.outcome} ${run.error_count}`)).toEqual(['failed 3', 'failed 3'])
  })
})
