import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { METRICS } from '../../src/metrics.ts'
import { test } from '../support/database.ts'
import { flowFiles } from '../support/flow.ts'
import { startHttp } from '../support/http.ts'
import { openApp, type TestApp } from './app-support.ts'

interface Family {
  readonly help: string
  readonly type: string
  /** Labels as they are written → value. */
  readonly samples: ReadonlyMap<string, number>
}

const SAMPLE = /^([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)+\})? (-?[\d.e+-]+|NaN|\+Inf)$/

/** Reads an exposition as Prometheus does; throws at a line that it would refuse. */
function parse(text: string): ReadonlyMap<string, Family> {
  const families = new Map<string, { help: string; type: string; samples: Map<string, number> }>()
  const familyOf = (name: string) => {
    const base = [name, name.replace(/_(bucket|sum|count)$/, '')].find((one) => families.has(one))
    if (base === undefined) throw new Error(`${name} has neither HELP nor TYPE before it`)
    return families.get(base)!
  }
  expect(text.endsWith('\n')).toBe(true)
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const meta = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line)
    if (meta) {
      const [, kind, name = '', rest = ''] = meta
      const family = families.get(name) ?? { help: '', type: '', samples: new Map() }
      families.set(name, family)
      if (kind === 'HELP') family.help = rest
      else family.type = rest
      continue
    }
    const sample = SAMPLE.exec(line)
    if (!sample) throw new Error(`not a sample: ${line}`)
    const [, name = '', labels = '', value = ''] = sample
    const { samples } = familyOf(name)
    if (samples.has(`${name}${labels}`)) throw new Error(`twice: ${line}`)
    samples.set(`${name}${labels}`, Number(value))
  }
  return families
}

async function scrape({ call }: Pick<TestApp, 'call'>) {
  const { status, headers, text } = await call('GET', '/metrics', { key: null })
  expect(status).toBe(200)
  expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  const families = parse(text)
  const value = (name: string, labels = '') =>
    families.get(name.replace(/_(bucket|sum|count)$/, ''))?.samples.get(`${name}${labels}`) ??
    families.get(name)?.samples.get(`${name}${labels}`)
  return { text, families, value }
}

const UNITS = /_(seconds|bytes|info)$/
/** Gauges that count things, which have no unit. */
const PLAIN = new Set([
  'belfry_env_ready',
  'belfry_workflows',
  'belfry_leader',
  'belfry_queue_jobs',
  'belfry_runs',
  'belfry_messages',
])

/** All that there is, under names as Prometheus wants them. */
function expectNames(families: ReadonlyMap<string, Family>): void {
  const known = Object.keys(METRICS).map((name) => `belfry_${name}`)
  expect([...families.keys()].toSorted()).toEqual(known.toSorted())
  for (const [name, { help, type }] of families) {
    expect({ name, isHelped: /^[A-Z0-9].*\.$/.test(help) }).toEqual({ name, isHelped: true })
    if (type === 'counter') expect(name).toMatch(/_total$/)
    else expect(name).not.toMatch(/_total$/)
    if (type === 'histogram') expect(name).toMatch(/_(seconds|bytes)$/)
    if (type === 'gauge' && !PLAIN.has(name)) expect(name).toMatch(UNITS)
  }
}

describe('/metrics', () => {
  test('says what a push, a trigger and a hand-over came to, in the form that Prometheus reads', async ({
    database,
  }) => {
    await using hook = await startHttp()
    await using app = await openApp(database, { files: flowFiles(hook.url) })
    await app.commit({ 'workflows/slow/workflow.yaml': null })
    const [message] = await app.send('direct', { recipients: [{ id: 'ada', name: 'Ada' }] })
    expect(message).toMatchObject({ status: 'delivered' })
    await app.call('POST', '/v1/workflows/none/trigger', { body: { recipients: ['ada'] } })
    await app.call('POST', '/hooks/git/github', { key: null, body: {} })
    const { observed_revision: revision } = await app.environment('production')

    const environment = '{env="production"'
    const { value, text, families } = await scrape(app)
    expectNames(families)
    expect(value('belfry_leader')).toBe(1)
    expect(value('belfry_runs', `${environment},status="completed"}`)).toBe(1)
    expect(value('belfry_poll_total', '{trigger="start",result="ok"}')).toBeGreaterThan(0)
    expect(value('belfry_poll_total', '{trigger="watch",result="ok"}')).toBeGreaterThan(0)
    expect(value('belfry_poll_age_seconds')).toBeLessThan(10)
    for (const phase of ['resolve', 'diff', 'read', 'compile', 'guard', 'apply']) {
      const labels = `${environment},phase="${phase}"}`
      expect(value('belfry_reconcile_seconds_count', labels)).toBeGreaterThan(0)
    }
    for (const since of ['first_sight', 'commit']) {
      const labels = `${environment},since="${since}"}`
      expect(value('belfry_push_to_applied_seconds_count', labels)).toBe(1)
    }
    const live = `${environment},applied="true",revision="${revision}"}`
    expect(value('belfry_revision_info', live)).toBe(1)
    expect(text).not.toContain('applied="false",')
    expect(value('belfry_env_ready', `${environment},reason="applied"}`)).toBe(1)
    expect(value('belfry_workflows', `${environment},state="live"}`)).toBe(1)
    expect(value('belfry_workflows', `${environment},state="archived"}`)).toBe(1)
    expect(value('belfry_pruned_total', `${environment}}`)).toBe(1)
    expect(value('belfry_watch_events_total')).toBeGreaterThan(0)
    expect(value('belfry_webhook_total', '{provider="github",result="no_secrets"}')).toBe(1)
    expect(value('belfry_trigger_seconds_count', '{status="2xx"}')).toBe(1)
    expect(value('belfry_trigger_seconds_count', '{status="4xx"}')).toBe(1)
    const handedOver = '{channel="webhook",outcome="accepted"}'
    expect(value('belfry_delivery_seconds_count', handedOver)).toBe(1)
    expect(value('belfry_messages', `${environment},channel="webhook",status="delivered"}`)).toBe(1)
    expect(value('belfry_queue_jobs', '{queue="deliver",state="active"}')).toBe(0)
    expect(value('belfry_oldest_due_seconds', '{kind="message"}')).toBe(0)
    expect(value('belfry_counts_age_seconds')).toBeLessThan(15)
    expect(value('belfry_resident_memory_bytes')).toBeGreaterThan(1e7)
    // Nothing about anybody: neither a recipient nor an id of a run, a message or a key.
    // The id of a commit may hold these three letters by chance.
    expect(text.replaceAll(revision, '')).not.toContain('ada')
    expect(text).not.toContain(message!.id)
    expect(text).not.toMatch(/sk_|op_/)
  }, 40_000)

  test('tells the revision that is live from one that was tried and refused', async ({
    database,
  }) => {
    await using hook = await startHttp()
    await using app = await openApp(database, { files: flowFiles(hook.url) })
    const { observed_revision: live } = await app.environment('production')
    await app.commit({ 'workflows/slow/workflow.yaml': 'steps: [' })
    const refused = await app.repository.tip('main')
    const { text } = await scrape(app)
    const lines = text
      .split('\n')
      .filter((line) => /^belfry_revision_info.*"production"/.test(line))
    expect(lines).toEqual([
      `belfry_revision_info{env="production",applied="true",revision="${live}"} 1`,
      `belfry_revision_info{env="production",applied="false",revision="${refused}"} 1`,
    ])
  }, 40_000)

  test('samples a table that is large, and asks no more for one that is larger', async ({
    database,
  }) => {
    const { countRuns, findSamplePercents } = await import('../../src/api/metrics-store.ts')
    expect(await findSamplePercents(database)).toEqual({ runs: 100, messages: 100 })
    await database.query(sql`
      insert into runs (environment, id, workflow_run_id, workflow, version_id, collection, recipient,
        status, inserted_at, updated_at)
      select 'sampled', gen_random_uuid(), gen_random_uuid(), 'w', 'v', 'users', n::text, 'queued', now(), now()
      from generate_series(1, 20000) n`)
    const whole = await countRuns(database, 100)
    expect(whole).toContainEqual({ environment: 'sampled', status: 'queued', count: 20_000 })
    const part = (await countRuns(database, 25)).find((one) => one.environment === 'sampled')
    expect(part!.count).toBeGreaterThan(10_000)
    expect(part!.count).toBeLessThan(30_000)
  })
})
