import { expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { cloneBlank } from '../support/database.ts'
import { names, trigger } from '../support/flow.ts'
import { startHttp } from '../support/http.ts'
import { testRepository } from '../support/repository.ts'
import { openFleet } from '../support/served.ts'

const RECIPIENTS = 60

const filesOf = (url: string) => ({
  'environments/production.yaml':
    'ref: main\nchannels:\n  feed: { type: in_app, provider: in_app }\n',
  'workflows/ask/workflow.yaml': `name: Ask
steps:
  - { ref: ask, type: fetch, method: POST, url: "${url}/{{recipient.id}}", body: { who: "{{recipient.id}}" } }
  - { ref: feed, type: in_app, body: "{{data.answer}}" }
`,
})

// A real process on a real Postgres, ended by SIGKILL while its requests are under way.

test('requests of a process that was killed are made again, and no run is lost or doubled', async () => {
  const clone = await cloneBlank()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => clone.drop())
  let isHanging = true
  await using web = await startHttp((request, response, index) => {
    if (isHanging && index >= 20) return
    response.end(JSON.stringify({ answer: `for ${request.path}` }))
  })
  await using repository = await testRepository()
  await repository.commit(filesOf(web.url))
  await using fleet = openFleet()
  const options = { repo: repository.path, databaseUrl: clone.database.url }
  const served = await fleet.serve(options)
  await trigger(served.url, 'ask', names('u', RECIPIENTS))
  await expect.poll(() => web.requests.length, { timeout: 10_000, interval: 5 }).toBe(30)
  const killedAt = performance.now()
  await served.kill()
  isHanging = false
  await fleet.serve(options)
  const outcomes = () =>
    clone.database.query<{ outcome: string | null; count: number }>(sql`
      select outcome, count(*)::integer as count from runs
      where environment = 'production' group by outcome
    `)
  await expect
    .poll(outcomes, { timeout: 20_000, interval: 100 })
    .toEqual([{ outcome: 'completed', count: RECIPIENTS }])
  console.log(`all done ${Math.round(performance.now() - killedAt)} ms after the kill`)
  const wrong = await clone.database.query(sql`
    select r.recipient from runs r
    left join messages m on m.environment = r.environment and m.run_id = r.id
    where r.environment = 'production'
      and m.content -> 'body' ->> 'content' is distinct from 'for /' || r.recipient
  `)
  expect(wrong).toEqual([])
  for (const [path, requests] of Map.groupBy(web.requests, (request) => request.path)) {
    const own = new Set(requests.map(({ headers }) => headers['idempotency-key']))
    expect([path, own.size]).toEqual([path, 1])
  }
  const left = await clone.database.query(sql`
    select run_id from fetches where environment = 'production'
  `)
  expect(left).toEqual([])
}, 60_000)
