import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { cloneBlank } from '../support/database.ts'
import { call } from '../support/flow.ts'
import { testRepository, type Files } from '../support/repository.ts'
import { openFleet, type Served } from '../support/served.ts'

/** Resident memory of the process beyond what it has at rest. Up to 600 were seen, and 1,000 where nothing bounds it. */
const MEGABYTES_MAX = 700

const files: Files = {
  'environments/production.yaml': `ref: main
channels:
  feed: { type: in_app, provider: in_app }
  mail: { type: email, provider: smtp, sandbox: true, settings: { host: mail.example.com, from: us@example.com } }
`,
  'workflows/hello/workflow.yaml':
    'name: Hello\nsteps: [{ ref: feed, type: in_app, body: "{{data.title}}" }]\n',
  'workflows/long/workflow.yaml':
    'name: Long\nsteps: [{ ref: mail, type: email, subject: Long, html: <p>Long</p>, text: "{{data.text}}" }]\n',
  'workflows/digest/workflow.yaml': `name: Digest
steps:
  - { ref: digest, type: batch, window: 2s }
  - { ref: feed, type: in_app, body: "{{total_activities}}" }
`,
}

interface Play {
  readonly workflow: string
  readonly recipients: readonly unknown[]
  readonly data: object
  readonly times?: number
}

/** Text that is no smaller when it is stored. */
function text(megabytes: number): string {
  return randomBytes((megabytes * 1_000_000 * 3) / 4).toString('base64')
}

function people(count: number): readonly object[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `user-${index}`,
    email: `user-${index}@example.com`,
  }))
}

/** The most memory that a process has had since this was asked, in megabytes. */
function peakOf({ pid }: Served): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8')
  fs.writeFileSync(`/proc/${pid}/clear_refs`, '5')
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024)
}

async function countOpen(database: Database): Promise<number | undefined> {
  const [row] = await database.query<{ open: number }>(sql`
    select (select count(*)::integer from workflow_runs
        where environment = 'production' and fan_out = 'pending')
      + (select count(*)::integer from runs
        where environment = 'production' and finished_at is null) as open`)
  return row?.open
}

/** A thousand users of 256 kB each. */
async function saveLargeUsers(database: Database): Promise<readonly string[]> {
  const rows = await database.query<{ id: string }>(sql`
    insert into recipients (environment, collection, id, properties, created_at, updated_at)
    select 'production', '$users', 'large-' || n, jsonb_build_object('bio', ${text(0.26)}::text || n),
      now(), now()
    from generate_series(1, 1000) n
    returning id`)
  return rows.map(({ id }) => id)
}

test.skipIf(process.platform !== 'linux')(
  'data, recipients, messages and batches as large as they may be do not fill the memory',
  async () => {
    const clone = await cloneBlank()
    await using stack = new AsyncDisposableStack()
    stack.defer(() => clone.drop())
    const { database } = clone
    await using repository = await testRepository()
    await repository.commit(files)
    await using fleet = openFleet()
    const served = await fleet.serve({ repo: repository.path, databaseUrl: database.url })
    const isLive = async () => (await call(served.url, { path: '/v1/workflows/hello' })).status
    await expect.poll(isLive, { timeout: 30_000 }).toBe(200)
    const idle = peakOf(served)
    const peaks: Record<string, number> = {}
    const measured = (what: string) => {
      peaks[what] = peakOf(served) - idle
      expect.soft(peaks[what], what).toBeLessThan(MEGABYTES_MAX)
    }
    const play = async (what: string, { workflow, times = 1, ...body }: Play) => {
      const path = `/v1/workflows/${workflow}/trigger`
      for (let time = 0; time < times; time += 1)
        expect((await call(served.url, { method: 'POST', path, body })).status).toBe(200)
      await expect.poll(() => countOpen(database), { timeout: 120_000, interval: 100 }).toBe(0)
      measured(what)
    }
    const large = { title: 'Large', text: text(9) }
    await play('data', { workflow: 'hello', recipients: people(1_000), data: large })
    const first = await call(served.url, { path: '/v1/messages' })
    const { items, page_info: page } = first.body as Listed
    expect(items.map(({ data }) => data)).toEqual([large])
    const next = await call(served.url, { path: `/v1/messages?after=${page.after}` })
    expect((next.body as unknown as Listed).items).toHaveLength(1)
    measured('lists')
    const users = await saveLargeUsers(database)
    await play('recipients', { workflow: 'hello', recipients: users, data: { title: 'x' } })
    const wide = { text: text(2.4) }
    await play('messages', { workflow: 'long', recipients: people(50), data: wide })
    await play('batches', { workflow: 'digest', recipients: people(40), data: wide, times: 2 })
    process.stdout.write(`megabytes beyond ${idle} at rest: ${JSON.stringify(peaks)}\n`)
    const outcomes = await database.query(sql`
      select outcome, count(*)::integer from runs where environment = 'production'
      group by outcome order by outcome`)
    expect(outcomes).toEqual([
      { outcome: 'batched', count: 40 },
      { outcome: 'completed', count: 2_090 },
    ])
  },
)

/** What a process has for all of it; of what sleeps here, half would not fit. */
const HEAP_MEGABYTES = 112

test('what sleepers and batches bring is weighed as it is in memory, however small it is stored', async () => {
  const clone = await cloneBlank()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => clone.drop())
  const { database } = clone
  await using repository = await testRepository()
  await repository.commit({
    ...files,
    'workflows/later/workflow.yaml': `name: Later
steps:
  - { ref: rest, type: delay, for: 1d }
  - { ref: feed, type: in_app, body: "{{data.title}}" }
`,
    'workflows/daily/workflow.yaml': `name: Daily
steps:
  - { ref: digest, type: batch, window: 1d, render_limit: 100 }
  - { ref: feed, type: in_app, body: "{{total_activities}}" }
`,
  })
  await using fleet = openFleet()
  const env = { NODE_OPTIONS: `--max-old-space-size=${HEAP_MEGABYTES}` }
  const served = await fleet.serve({ repo: repository.path, databaseUrl: database.url, env })
  const isLive = async () => (await call(served.url, { path: '/v1/workflows/later' })).status
  await expect.poll(isLive, { timeout: 30_000 }).toBe(200)
  const data = { title: 'Large', text: 'x'.repeat(9_000_000) }
  for (let index = 0; index < 24; index += 1) {
    // Three of each digest, so that none has more than fits.
    const [workflow, id] = index < 12 ? ['later', 'ada'] : ['daily', `user-${index % 4}`]
    const request = { method: 'POST', path: `/v1/workflows/${workflow}/trigger` } as const
    const { status } = await call(served.url, { ...request, body: { recipients: [{ id }], data } })
    expect(status).toBe(200)
  }
  const countAsleep = async () => {
    const [row] = await database.query<{ asleep: number }>(sql`
      select count(*)::integer as asleep from runs
      where environment = 'production' and wakes_at is not null`)
    return row?.asleep
  }
  await expect.poll(countAsleep, { timeout: 60_000, interval: 100 }).toBe(16)
  await expect.poll(() => countQueued(database), { timeout: 60_000, interval: 100 }).toBe(0)
  await database.transaction(async (tx) => {
    await tx.query(sql`update batches set closes_at = now() where environment = 'production'`)
    await tx.query(sql`
      update runs set wakes_at = now() where environment = 'production' and wakes_at is not null`)
  })
  const isOver = async () => !served.isRunning() || (await countOpen(database)) === 0
  await expect.poll(isOver, { timeout: 120_000, interval: 100 }).toBe(true)
  expect(served.isRunning() ? '' : served.log().slice(-2_000)).toBe('')
  const ends = await database.query(sql`
    select workflow, outcome, count(*)::integer from runs where environment = 'production'
    group by workflow, outcome order by workflow, outcome`)
  expect(ends).toEqual([
    { workflow: 'daily', outcome: 'batched', count: 8 },
    { workflow: 'daily', outcome: 'completed', count: 4 },
    { workflow: 'later', outcome: 'completed', count: 12 },
  ])
})

async function countQueued(database: Database): Promise<number | undefined> {
  const [row] = await database.query<{ queued: number }>(sql`
    select count(*)::integer as queued from runs
    where environment = 'production' and status = 'queued'`)
  return row?.queued
}

interface Listed extends Readonly<Record<string, unknown>> {
  readonly items: readonly { readonly data: unknown }[]
  readonly page_info: { readonly after: string }
}
