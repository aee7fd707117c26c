import { describe, expect } from 'vitest'
import type { RunId } from '../../src/ids.ts'
import { wakeRun } from '../../src/runs/operate.ts'
import type { Engine } from '../support/engine.ts'
import { startHttp, type Responder } from '../support/http.ts'
import {
  ada,
  cancel,
  data,
  environment,
  events,
  files,
  kept,
  later,
  send,
  standing,
  test,
} from './fetch-scene.ts'

/** Answers these statuses, one after the other, and the last one from then on. */
const answers = (
  statuses: readonly number[],
  headers: Readonly<Record<string, string>> = {},
): Responder => {
  return (_request, response, index) => {
    const status = statuses[index] ?? statuses.at(-1)!
    response.writeHead(status, status === 200 ? {} : headers).end('{"m":2}')
  }
}

const words = async (engine: Engine, id?: RunId) =>
  (await events(engine, id)).map(({ event, attempt }) => `${event} ${attempt}`)

/** Has a run of Ada wait for its second attempt. */
async function inBackOff(engine: Engine, url: string): Promise<void> {
  await engine.commit(files(url))
  await send(engine, { cancellation_key: 'k' })
  expect(await standing(engine)).toEqual(['paused:fetch'])
}

/** Does this while the request of Ada's run waits for its answer. */
async function meanwhile(engine: Engine, act: () => Promise<unknown>) {
  await using web = await startHttp(async (_request, response) => {
    await act()
    response.end('{"m":2}')
  })
  await engine.commit(files(web.url))
  await send(engine, { cancellation_key: 'k' })
  return web.requests.length
}

describe('a request that failed', () => {
  test('is made again after 30 and 60 seconds, and then no more', async ({ engine }) => {
    await using web = await startHttp(answers([500, 502, 599, 200]))
    await engine.commit(files(web.url, 'method: POST, body: { at: "{{timestamp}}" }'))
    await send(engine)
    expect(await standing(engine)).toEqual(['paused:fetch'])
    await later(engine, 29)
    expect(web.requests).toHaveLength(1)
    await later(engine, 1)
    expect(web.requests).toHaveLength(2)
    await later(engine, 59)
    expect(web.requests).toHaveLength(2)
    await later(engine, 1)
    expect(web.requests).toHaveLength(3)
    expect(await standing(engine)).toEqual(['failed:step_failed'])
    await later(engine, 3_600)
    expect(web.requests).toHaveLength(3)
    expect(await kept(engine)).toBe(0)
    // The very same request each time.
    const bodies = web.requests.map(({ body, headers }) => [body, headers['idempotency-key']])
    expect(new Set(bodies.map((each) => JSON.stringify(each))).size).toBe(1)
    const retries = (await events(engine)).flatMap(({ event, attempt, data: shown }) =>
      event === 'fetch_failed' ? [[attempt, shown?.['retry_at'], shown?.['details']]] : [],
    )
    expect(retries).toEqual([
      [1, '2027-03-01T09:00:30.000Z', 'the endpoint answered 500'],
      [2, '2027-03-01T09:01:30.000Z', 'the endpoint answered 502'],
      [3, null, 'the endpoint answered 599'],
    ])
    const [run] = await engine.runs()
    expect(run?.error_count).toBe(4)
  })

  test('may succeed at its last attempt', async ({ engine }) => {
    await using web = await startHttp(answers([500, 500, 200]))
    await engine.commit(files(web.url))
    await send(engine)
    await later(engine, 30)
    await later(engine, 60)
    expect(await standing(engine)).toEqual(['completed:null'])
    expect(await data(engine)).toEqual([{ n: 1, m: 2 }])
  })

  test('waits as long as it is told', async ({ engine }) => {
    await using web = await startHttp(answers([500, 200], { 'retry-after': '300' }))
    await engine.commit(files(web.url))
    await send(engine)
    await later(engine, 299)
    expect(web.requests).toHaveLength(1)
    await later(engine, 1)
    expect(web.requests).toHaveLength(2)
  })

  test.for([[429], [503]])(
    'is put off by %i without using up an attempt',
    async ([status], { engine }) => {
      await using web = await startHttp(
        answers([status!, status!, status!, status!, 200], { 'retry-after': '7' }),
      )
      await engine.commit(files(web.url))
      await send(engine)
      for (let time = 0; time < 4; time++) await later(engine, 30)
      expect(await standing(engine)).toEqual(['completed:null'])
      expect(web.requests).toHaveLength(5)
    },
  )

  test('is put off for a day at most', async ({ engine }) => {
    await using web = await startHttp(answers([429], { 'retry-after': '36000' }))
    await engine.commit(files(web.url))
    await send(engine)
    // An hour at a time at most, however long it is told to wait.
    await later(engine, 3_600)
    expect(web.requests).toHaveLength(2)
    await later(engine, 36_000)
    await later(engine, 44_000)
    expect(await standing(engine)).toEqual(['failed:step_failed'])
    expect(web.requests).toHaveLength(4)
  })

  test('is put off ever longer, and leaves no endless timeline', async ({ engine }) => {
    await using web = await startHttp(answers([429]))
    await engine.commit(files(web.url))
    await send(engine)
    for (let hour = 0; hour < 25; hour++) {
      const [run] = await engine.runs()
      if (run?.outcome !== null) break
      await later(engine, 3_600)
    }
    expect(await standing(engine)).toEqual(['failed:step_failed'])
    expect(web.requests.length).toBeLessThan(30)
  })

  test.for([[202], [206], [301], [302], [400], [401], [404], [409], [422]])(
    'with %i is not made again',
    async ([status], { engine }) => {
      await using web = await startHttp(answers([status!], { location: '/again' }))
      await engine.commit(files(web.url))
      await send(engine)
      expect(await standing(engine)).toEqual(['failed:step_failed'])
      expect(web.requests).toHaveLength(1)
    },
  )

  test('is made again where the connection broke, or none came about', async ({ engine }) => {
    await using web = await startHttp((_request, response) => void response.destroy())
    await engine.commit(files(web.url))
    await send(engine)
    expect(await standing(engine)).toEqual(['paused:fetch'])
    await web[Symbol.asyncDispose]()
    await later(engine, 30)
    expect(await standing(engine)).toEqual(['paused:fetch'])
    expect(await words(engine)).toEqual([
      'fetch_requested 1',
      'fetch_failed 1',
      'fetch_requested 2',
      'fetch_failed 2',
    ])
  })
})

describe('a run in its back-off', () => {
  test('ends by a cancel, and asks no more', async ({ engine }) => {
    await using web = await startHttp(answers([500, 200]))
    await inBackOff(engine, web.url)
    expect(await cancel(engine)).toEqual({ runs: 1, messages: 0 })
    expect(await kept(engine)).toBe(0)
    await later(engine, 30)
    expect(await standing(engine)).toEqual(['cancelled:cancelled'])
    expect(web.requests).toHaveLength(1)
  })

  test('ends when it wakes while its workflow is off', async ({ engine }) => {
    await using web = await startHttp(answers([500, 200]))
    await inBackOff(engine, web.url)
    await engine.switchTo(false, 'hello')
    await later(engine, 30)
    expect(await standing(engine)).toEqual(['cancelled:workflow_inactive'])
    expect(web.requests).toHaveLength(1)
    expect(await kept(engine)).toBe(0)
  })

  test('goes on as if nothing had happened where it is on again before', async ({ engine }) => {
    await using web = await startHttp(answers([500, 200]))
    await inBackOff(engine, web.url)
    await engine.switchTo(false, 'hello')
    await engine.switchTo(true, 'hello')
    await later(engine, 30)
    expect(await standing(engine)).toEqual(['completed:null'])
  })

  test('ends when it wakes while its workflow is archived', async ({ engine }) => {
    await using web = await startHttp(answers([500, 200]))
    await inBackOff(engine, web.url)
    await engine.repository.commit({ 'workflows/hello/workflow.yaml': null }, 'Remove')
    await engine.reconcile()
    await later(engine, 30)
    expect(await standing(engine)).toEqual(['cancelled:workflow_archived'])
    expect(web.requests).toHaveLength(1)
    expect(await kept(engine)).toBe(0)
  })

  test('asks at once when it is woken, and keeps its version', async ({ engine }) => {
    await using web = await startHttp(answers([500, 200]))
    await inBackOff(engine, web.url)
    await engine.commit(files(`${web.url}/new`))
    const [run] = await engine.runs()
    await engine.database.transaction((tx) =>
      wakeRun(tx, engine.queue, {
        environment,
        id: run!.id,
        requestedBy: 'operator',
        now: engine.clock.now(),
      }),
    )
    await engine.drain()
    expect(await standing(engine)).toEqual(['completed:null'])
    expect(web.requests.map(({ path }) => path)).toEqual(['/', '/'])
  })
})

describe('a run whose request is under way', () => {
  test('reads as processing', async ({ engine }) => {
    const seen: string[] = []
    await meanwhile(engine, async () => seen.push(...(await standing(engine))))
    expect(seen).toEqual(['processing:fetch'])
  })

  test('ends by a cancel, and notes what came too late', async ({ engine }) => {
    await meanwhile(engine, () => cancel(engine))
    expect(await standing(engine)).toEqual(['cancelled:cancelled'])
    expect(await data(engine)).toEqual([])
    expect(await kept(engine)).toBe(0)
    const late = (await events(engine)).at(-1)
    expect(late).toMatchObject({ event: 'fetch_answered', data: { step: 'crm', keys: null } })
  })

  test('ends with the answer where its workflow was switched off', async ({ engine }) => {
    await meanwhile(engine, () => engine.switchTo(false, 'hello'))
    expect(await standing(engine)).toEqual(['cancelled:workflow_inactive'])
    expect(await data(engine)).toEqual([])
    expect(await kept(engine)).toBe(0)
  })

  test('takes nothing from anybody else', async ({ engine }) => {
    let others = 0
    await using web = await startHttp(async (request, response) => {
      if (request.path === '/ada') {
        await cancel(engine)
        others += 1
      }
      response.end(JSON.stringify({ who: request.path }))
    })
    await engine.commit(files(`${web.url}/{{recipient.id}}`))
    await send(engine, { cancellation_key: 'k' })
    await send(engine, { recipients: [{ id: 'ben' }] })
    expect(others).toBe(1)
    expect(await data(engine)).toEqual([{ n: 1, who: '/ben' }])
    expect(ada.id).toBe('ada')
  })
})
