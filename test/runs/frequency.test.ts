import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, WorkflowKey } from '../../src/ids.ts'
import { cancelByKey } from '../../src/runs/cancel.ts'
import { moveLedger } from '../../src/runs/frequency.ts'
import type { RunRow } from '../../src/runs/read.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await use(engine)
  },
})

const ada = { id: 'ada', name: 'Ada' }
const bob = { id: 'bob', name: 'Bob' }

const files = (frequency: string, more = '') => ({
  'workflows/hello/workflow.yaml': `name: Hello
trigger: { frequency: ${frequency} }
${more}
steps:
  - { ref: feed, type: in_app, body: x }
`,
})

const shown = ({ recipient, outcome, reason }: RunRow) =>
  [recipient, outcome, reason].filter((word) => word !== null).join(' ')

async function trigger(engine: Engine, body: object): Promise<readonly string[]> {
  const id = await engine.trigger('hello', body)
  await engine.drain()
  return (await engine.runs(id)).map(shown).toSorted()
}

describe('a workflow that runs once for each recipient', () => {
  test('halts the runs of those it has run for, whatever the tenant', async ({ engine }) => {
    await engine.commit(files('once_per_recipient'))
    expect(await trigger(engine, { recipients: [ada] })).toEqual(['ada completed'])
    expect(await trigger(engine, { recipients: [ada, bob], tenant: 'acme' })).toEqual([
      'ada halted frequency_met',
      'bob completed',
    ])
    expect(await trigger(engine, { recipients: [bob] })).toEqual(['bob halted frequency_met'])
    const recipients = (await engine.messages()).map(({ recipient }) => recipient)
    expect(recipients.toSorted()).toEqual(['ada', 'bob'])
  })

  test('goes by the tenant where it says so', async ({ engine }) => {
    await engine.commit(files('once_per_recipient_per_tenant'))
    const runs = async (tenant?: string) =>
      trigger(engine, { recipients: [ada], ...(tenant && { tenant }) })
    expect(await runs('acme')).toEqual(['ada completed'])
    expect(await runs('other')).toEqual(['ada completed'])
    expect(await runs()).toEqual(['ada completed'])
    expect(await runs('acme')).toEqual(['ada halted frequency_met'])
    expect(await runs()).toEqual(['ada halted frequency_met'])
  })

  test('remembers over versions, and what it did for tenants', async ({ engine }) => {
    await engine.commit(files('once_per_recipient_per_tenant'))
    await trigger(engine, { recipients: [ada], tenant: 'acme' })
    await engine.commit(files('once_per_recipient', 'description: Another version'))
    expect(await trigger(engine, { recipients: [ada] })).toEqual(['ada halted frequency_met'])
    await engine.commit(files('every_trigger'))
    expect(await trigger(engine, { recipients: [ada] })).toEqual(['ada completed'])
  })

  test('counts a run that its conditions have halted, and one that was cancelled', async ({
    engine,
  }) => {
    const never = 'conditions: { all: [{ variable: data.go, operator: equal_to, argument: true }] }'
    await engine.commit(files('once_per_recipient', never))
    expect(await trigger(engine, { recipients: [ada] })).toEqual(['ada halted conditions_not_met'])
    expect(await trigger(engine, { recipients: [ada], data: { go: true } })).toEqual([
      'ada halted frequency_met',
    ])
    const id = await engine.trigger('hello', { recipients: [bob], cancellation_key: 'k' })
    await engine.database.transaction((tx) =>
      cancelByKey(tx, engine.queue, {
        environment: 'production' as EnvironmentName,
        workflow: 'hello' as WorkflowKey,
        cancellationKey: 'k',
        recipients: null,
        requestedBy: 'test',
        now: engine.clock.now(),
      }),
    )
    await engine.drain()
    expect((await engine.runs(id)).map(shown)).toEqual(['bob cancelled cancelled'])
    expect(await trigger(engine, { recipients: [bob], data: { go: true } })).toEqual([
      'bob halted frequency_met',
    ])
  })

  test('neither counts nor holds back what runs in the sandbox', async ({ engine }) => {
    await engine.commit(files('once_per_recipient'))
    const sandboxed = { recipients: [ada], settings: { sandbox_mode: true } }
    expect(await trigger(engine, sandboxed)).toEqual(['ada completed'])
    expect(await trigger(engine, { recipients: [ada] })).toEqual(['ada completed'])
    expect(await trigger(engine, sandboxed)).toEqual(['ada completed'])
  })

  test('counts for a user what was merged into it', async ({ engine }) => {
    await engine.commit(files('once_per_recipient'))
    await trigger(engine, { recipients: [ada] })
    const now = engine.clock.now()
    const move = { collection: '$users', from: 'ada', into: 'bob', since: now, now }
    await engine.database.transaction((tx) => moveLedger(tx, 'production' as EnvironmentName, move))
    expect(await trigger(engine, { recipients: [ada, bob] })).toEqual([
      'ada completed',
      'bob halted frequency_met',
    ])
  })

  test('runs once for triggers that come at the same time', async ({ engine }) => {
    await engine.commit(files('once_per_recipient'))
    const body = { recipients: [ada, bob] }
    await Promise.all(Array.from({ length: 8 }, () => engine.trigger('hello', body)))
    await engine.drain()
    const outcomes = (await engine.runs()).map(shown).toSorted()
    expect(outcomes.filter((run) => run.endsWith('completed'))).toEqual([
      'ada completed',
      'bob completed',
    ])
    expect(outcomes).toHaveLength(16)
    expect(await engine.messages()).toHaveLength(2)
  })

  test('keeps one entry for each recipient of each environment', async ({ engine }) => {
    await engine.commit(files('once_per_recipient'))
    await trigger(engine, { recipients: [ada] })
    await trigger(engine, { recipients: [ada] })
    const rows = await engine.database.query(sql`
      select workflow, recipient, tenant from frequency_ledger where environment = 'production'`)
    expect(rows).toEqual([{ workflow: 'hello', recipient: 'ada', tenant: '' }])
  })
})
