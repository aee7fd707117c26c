import { expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { cloneBlank } from '../support/database.ts'
import { call, flowRepository, names } from '../support/flow.ts'
import { startHttp } from '../support/http.ts'
import { openFleet } from '../support/served.ts'

const SCHEDULES = 300

// The clock is the real one: what is due is made so in Postgres.
test('what is due runs once, whichever process dies while it starts it', async () => {
  const clone = await cloneBlank()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => clone.drop())
  const { database } = clone
  await using hook = await startHttp((_request, response) => void response.writeHead(200).end())
  await using repository = await flowRepository(hook.url)
  await using fleet = openFleet()
  const options = { repo: repository.path, databaseUrl: database.url }
  const first = await fleet.serve(options)
  const all = names('user', SCHEDULES)
  for (let from = 0; from < SCHEDULES; from += 100) {
    const body = {
      workflow: 'direct',
      recipients: all.slice(from, from + 100),
      repeats: [{ frequency: 'monthly', day_of_month: 15 }],
    }
    const reply = await call(first.url, { method: 'POST', path: '/v1/schedules', body })
    expect(reply.status).toBe(200)
  }
  const second = await fleet.serve(options)
  await database.query(sql`
    update schedules set next_occurrence_at = '2026-01-15T00:00:00Z' where environment = 'production'
  `)
  const started = () =>
    database.query<{ schedule: string; status: string | null }>(sql`
      select w.trigger_source ->> 'schedule_id' as schedule, r.status
      from workflow_runs w
      left join runs r on r.environment = w.environment and r.workflow_run_id = w.id
      where w.environment = 'production'
    `)
  // As soon as something has been started, by whomever, one of them is gone.
  await expect
    .poll(async () => (await started()).length, { timeout: 30_000, interval: 5 })
    .toBeGreaterThan(0)
  await first.kill()
  const completed = async () =>
    (await started()).filter(({ status }) => status === 'completed').length
  await expect.poll(completed, { timeout: 60_000, interval: 100 }).toBe(SCHEDULES)
  const ran = await started()
  expect(ran).toHaveLength(SCHEDULES)
  expect(new Set(ran.map(({ schedule }) => schedule)).size).toBe(SCHEDULES)
  const [left] = await database.query<{ due: number; ahead: number }>(sql`
    select count(*) filter (where next_occurrence_at <= now())::integer as due,
      count(*) filter (where next_occurrence_at > now()
        and last_occurrence_at = '2026-01-15T00:00:00Z')::integer as ahead
    from schedules where environment = 'production'
  `)
  expect(left).toEqual({ due: 0, ahead: SCHEDULES })
  expect(second.isRunning()).toBe(true)
}, 120_000)
