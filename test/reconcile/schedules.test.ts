import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { pin, unpin } from '../../src/reconcile/brakes.ts'
import { findEnvironment } from '../../src/reconcile/read.ts'
import { listSchedules } from '../../src/recipients/schedule-store.ts'
import { deleteRecipient, mergeUsers, upsertRecipients } from '../../src/recipients/store.ts'
import { test as base } from '../support/database.ts'
import { openEngine, plainEnvironment, type Engine } from '../support/engine.ts'
import type { Files } from '../support/repository.ts'

const production = 'production' as EnvironmentName
const WORKFLOW = 'workflows/report/workflow.yaml'
const report =
  'name: Report\nsteps: [{ ref: feed, type: in_app, body: "{{recipient.schedule.key}}" }]\n'

/** Production's file with these lines below `schedules`. */
function declaring(...lines: readonly string[]): Files {
  const text = lines.length === 0 ? '' : `schedules:\n${lines.map((one) => `  ${one}\n`).join('')}`
  return { 'environments/production.yaml': `ref: main\n${plainEnvironment}${text}` }
}

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await engine.commit({ [WORKFLOW]: report })
    const users = ['ada', 'bob'].map((id) => ({ collection: '$users', id, properties: {} }))
    await database.transaction((tx) => upsertRecipients(tx, production, users, engine.clock.now()))
    await use(engine)
  },
})

const daily = (name: string, more = '') =>
  `${name}: { workflow: report, recipients: [ada], repeats: [{ frequency: daily, hours: 9 }]${more} }`

const once = (at: string) => `{ workflow: report, recipients: [ada], scheduled_at: "${at}" }`

async function schedules(engine: Engine) {
  return (await listSchedules(engine.database, production, {}, { limit: 100 })).toReversed()
}

async function shown(engine: Engine) {
  return (await findEnvironment(engine.database, 'production'))!
}

/** The declared schedules: name, recipient and next occurrence. */
async function declared(engine: Engine): Promise<readonly string[]> {
  const all = await schedules(engine)
  return all.map(({ declaredKey, recipient, nextOccurrenceAt }) =>
    [declaredKey, recipient.id, nextOccurrenceAt?.toISOString() ?? 'never'].join(' '),
  )
}

describe('a schedule of the environment file', () => {
  test('is there with the revision, for each of its recipients, and runs', async ({ engine }) => {
    const both = '{ collection: teams, id: core }'
    await engine.commit(declaring(daily('weekly-report').replace('[ada]', `[ada, ${both}]`)))
    const at = '2027-03-02T08:00:00.000Z'
    expect(await declared(engine)).toEqual([`weekly-report ada ${at}`, `weekly-report core ${at}`])
    engine.clock.set(at)
    await engine.drain()
    const [run, ...others] = await engine.runs()
    expect(others).toEqual([])
    expect(run).toMatchObject({ recipient: 'ada', trigger_source: { schedule: 'weekly-report' } })
    expect(await engine.messages()).toMatchObject([
      { content: { body: { content: 'weekly-report' } } },
    ])
    // The object is not there yet: it is waited for.
    expect(await schedules(engine)).toMatchObject([
      { lastProblem: null },
      { lastProblem: { code: 'recipient_missing' } },
    ])
  })

  test('is gone with the line, and comes with another name as a new one', async ({ engine }) => {
    await engine.commit(declaring(daily('one'), daily('two')))
    const before = await schedules(engine)
    await engine.commit(declaring(daily('two'), daily('three')))
    const after = await schedules(engine)
    expect(after.map(({ declaredKey }) => declaredKey)).toEqual(['two', 'three'])
    expect(after[0]?.id).toBe(before[1]?.id)
    await engine.commit(declaring())
    expect(await schedules(engine)).toEqual([])
  })

  test('keeps its next occurrence while it says the same, whatever else changes', async ({
    engine,
  }) => {
    await engine.commit(declaring(daily('one', ', data: { n: 1 }')))
    // A revision that is applied while an occurrence is due does not take it away.
    engine.clock.set('2027-03-02T08:30:00Z')
    const [before] = await schedules(engine)
    await engine.commit({
      ...declaring(daily('zero'), daily('one', ', data: { n: 1 }')),
      'README.md': 'x',
    })
    expect((await schedules(engine)).find(({ id }) => id === before?.id)).toEqual(before)
    await engine.commit({ [WORKFLOW]: `description: new\n${report}` })
    expect((await schedules(engine)).find(({ id }) => id === before?.id)).toEqual(before)
    // Nor does one that changes something else of it.
    await engine.commit(declaring(daily('one', ', data: { n: 2 }')))
    expect(await declared(engine)).toEqual(['one ada 2027-03-02T08:00:00.000Z'])
    expect(await schedules(engine)).toMatchObject([{ id: before?.id, data: { n: 2 } }])
    await engine.commit(declaring(daily('one').replace('hours: 9', 'hours: 10')))
    expect(await declared(engine)).toEqual(['one ada 2027-03-02T09:00:00.000Z'])
  })

  test('pauses, and goes on behind the pause', async ({ engine }) => {
    await engine.commit(declaring(daily('one', ', paused: true')))
    expect(await declared(engine)).toEqual(['one ada never'])
    engine.clock.set('2027-03-02T12:00:00Z')
    await engine.commit(declaring(daily('one')))
    expect(await declared(engine)).toEqual(['one ada 2027-03-03T08:00:00.000Z'])
    await engine.commit(declaring(daily('one', ', paused: true')))
    expect(await declared(engine)).toEqual(['one ada never'])
  })

  test('once, and past already, does not come again to an environment that is new', async ({
    engine,
  }) => {
    await engine.commit(
      declaring(
        `past: ${once('2027-02-01T09:00:00Z')}`,
        `ahead: ${once('2027-04-01T09:00:00+02:00')}`,
      ),
    )
    expect(await declared(engine)).toEqual(['past ada never', 'ahead ada 2027-04-01T07:00:00.000Z'])
  })

  test('of a workflow that is not there keeps the revision from being applied', async ({
    engine,
  }) => {
    await engine.commit(declaring(daily('one')))
    await engine.repository.commit({ [WORKFLOW]: null, 'workflows/other/workflow.yaml': report })
    await engine.reconcile()
    const { state, reason, diagnostics } = await shown(engine)
    expect({ state, reason, diagnostics }).toMatchObject({
      state: 'stalled',
      reason: 'invalid_files',
      diagnostics: [
        {
          path: 'environments/production.yaml',
          line: 8,
          column: 20,
          code: 'unknown_workflow',
          message: expect.stringContaining('"report"'),
        },
      ],
    })
    expect(await declared(engine)).toHaveLength(1)
  })

  test('stays where its recipient is merged or deleted: only the file ends it', async ({
    engine,
  }) => {
    await engine.commit(declaring(daily('one').replace('[ada]', '[ada, bob]')))
    const now = engine.clock.now()
    await engine.database.transaction((tx) =>
      mergeUsers(tx, production, { from: 'ada', into: 'bob' }, now),
    )
    await deleteRecipient(engine.database, production, { collection: '$users', id: 'bob' })
    const all = await schedules(engine)
    expect(all.map(({ recipient }) => recipient.id)).toEqual(['ada', 'bob'])
  })

  test('is as a pin says, and as the branch says behind it', async ({ engine }) => {
    await engine.commit(declaring(daily('one')))
    const first = await shown(engine)
    await engine.commit(declaring(daily('two')))
    const acting = { environment: production, actor: 'ada', now: engine.clock.now() }
    const pinning = { ...acting, named: first.observedRevision!, reason: 'why', expiresAt: null }
    const second = await shown(engine)
    await engine.database.transaction((tx) => pin(tx, second, pinning))
    await engine.reconcile()
    expect(await declared(engine)).toEqual(['one ada 2027-03-02T08:00:00.000Z'])
    const pinned = await shown(engine)
    await engine.database.transaction((tx) => unpin(tx, pinned, acting))
    await engine.reconcile()
    expect(await declared(engine)).toEqual(['two ada 2027-03-02T08:00:00.000Z'])
  })
})

test('one that the API has made stays beside those of the file', async ({ engine }) => {
  await engine.commit(declaring(daily('one')))
  await engine.database.query(sql`
    update schedules set declared_key = null where environment = 'production'
  `)
  await engine.commit(declaring(daily('one'), daily('two')))
  await engine.commit(declaring())
  expect(await schedules(engine)).toMatchObject([{ declaredKey: null }])
})
