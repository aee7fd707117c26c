import { createHmac } from 'node:crypto'
import { describe, expect } from 'vitest'
import type { EnvironmentName, WorkflowKey } from '../../src/ids.ts'
import { dryRunWorkflow } from '../../src/runs/dry-run.ts'
import { replayRun } from '../../src/runs/operate.ts'
import { openEngine, type Engine } from '../support/engine.ts'
import { startHttp, type Responder } from '../support/http.ts'
import {
  ada,
  data,
  ENVIRONMENTS,
  environment,
  events,
  files,
  kept,
  later,
  SECRETS,
  send,
  standing,
  test,
} from './fetch-scene.ts'

const json = (value: unknown, status = 200): Responder => {
  return (_request, response) => void response.writeHead(status).end(JSON.stringify(value))
}

/** A workflow with these steps. */
const steps = (...lines: readonly string[]) => ({
  'workflows/hello/workflow.yaml': `name: W\nsteps:\n${lines.map((line) => `  - ${line}\n`).join('')}`,
})
const feed =
  '{ ref: feed, type: in_app, body: "{{data.m}} {{total_activities}} {{#each activities}}{{m}}{{/each}}" }'

/** The texts that were sent. */
const sent = async (engine: Engine) =>
  (await engine.messages()).map(({ content }) => (content['body'] as { content: string }).content)

describe('an answer', () => {
  test('is laid over the data at its top, and seen by later steps', async ({ engine }) => {
    await using web = await startHttp(json({ user: { plan: 'pro' }, n: 2 }))
    await engine.commit(files(`${web.url}/a/{{recipient.id}}`))
    await send(engine, { data: { n: 1, user: { old: true }, kept: 'yes' } })
    expect(await data(engine)).toEqual([{ n: 2, user: { plan: 'pro' }, kept: 'yes' }])
    const [message] = await engine.messages()
    expect(message?.content['body']).toMatchObject({ content: 'Hello 2' })
    expect(await standing(engine)).toEqual(['completed:null'])
    expect(web.requests).toMatchObject([{ method: 'GET', path: '/a/ada', body: '' }])
    expect(await kept(engine)).toBe(0)
  })

  test.for([
    ['crm', { crm: [1, 'a'] }],
    ['data.crm', { crm: [1, 'a'] }],
    ['crm.account.list', { crm: { kept: 1, account: { list: [1, 'a'] } } }],
    ['n.deep', { crm: { kept: 1 }, n: { deep: [1, 'a'] } }],
    ['__proto__.toString', { crm: { kept: 1 }, ['__proto__']: { toString: [1, 'a'] } }],
  ] as const)('is put into %s, whatever it is', async ([into, expected], { engine }) => {
    await using web = await startHttp(json([1, 'a']))
    await engine.commit(files(web.url, `into: ${into}`))
    await send(engine, { data: { n: 1, crm: { kept: 1 } } })
    expect(await data(engine)).toEqual([{ n: 1, ...expected }])
  })

  test('may be empty', async ({ engine }) => {
    await using web = await startHttp((_request, response, index) => {
      response.writeHead([204, 200, 201][index] ?? 500).end()
    })
    await engine.commit(files(web.url))
    for (let time = 0; time < 3; time++) await send(engine)
    expect(await data(engine)).toEqual([{ n: 1 }, { n: 1 }, { n: 1 }])
  })

  test('keeps nothing that Postgres cannot store', async ({ engine }) => {
    await using web = await startHttp((_request, response) => {
      const text = Buffer.from('{"a\\u0000":"b\\u0000\\ud800c","d":"?"}')
      text[text.lastIndexOf('?')] = 0xff
      response.end(Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), text]))
    })
    await engine.commit(files(web.url))
    await send(engine)
    expect(await data(engine)).toEqual([{ n: 1, 'a\uFFFD': 'b\uFFFD\uFFFDc', d: '\uFFFD' }])
  })

  test('may be as large as 5 MB, and not larger', async ({ engine }) => {
    await using web = await startHttp((_request, response, index) => {
      response.end(JSON.stringify({ text: 'x'.repeat(5 * 1024 * 1024 - (index === 0 ? 50 : 0)) }))
    })
    await engine.commit(files(web.url))
    await send(engine)
    await send(engine)
    expect(await standing(engine)).toEqual(['completed:null', 'failed:step_failed'])
    const failed = (await events(engine)).find(({ event }) => event === 'fetch_failed')
    expect(failed?.data).toMatchObject({ details: 'the answer is larger than 5242880 bytes' })
    expect(JSON.stringify(failed).length).toBeLessThan(20_000)
  })

  test.for([
    ['an answer that is no JSON', '<html>', 'the answer is not JSON'],
    ['a list without a place', '[1]', 'the answer is no JSON object'],
    ['nesting', `${'['.repeat(5_000)}${']'.repeat(5_000)}`, 'the answer is nested too deep'],
  ] as const)('%s ends the run', async ([, text, details], { engine }) => {
    await using web = await startHttp((_request, response) => void response.end(text))
    await engine.commit(files(web.url))
    await send(engine)
    expect(await standing(engine)).toEqual(['failed:step_failed'])
    expect((await events(engine)).at(-1)?.data?.['details']).toContain(details)
    expect(await kept(engine)).toBe(0)
  })

  test('of one step is there for the request of the next', async ({ engine }) => {
    await using web = await startHttp(({ path }, response) => {
      response.end(JSON.stringify(path === '/one' ? { id: 'x/y' } : { name: path }))
    })
    await engine.commit({
      'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: one, type: fetch, url: "${web.url}/one" }
  - { ref: two, type: fetch, url: "${web.url}/{{data.id}}", conditions: { all: [{ variable: data.id, operator: exists }] } }
  - { ref: feed, type: in_app, body: "{{data.name}}" }
`,
    })
    await send(engine)
    expect(await data(engine)).toEqual([{ n: 1, id: 'x/y', name: '/x%2Fy' }])
    expect(await kept(engine)).toBe(0)
  })
})

describe('the data of a run', () => {
  test('is that of its activity where it comes to a batch', async ({ engine }) => {
    await using web = await startHttp((_request, response, index) => {
      response.end(JSON.stringify({ m: index + 1 }))
    })
    const ask = `{ ref: crm, type: fetch, url: "${web.url}" }`
    await engine.commit(steps(ask, '{ ref: digest, type: batch, window: 1m }', feed))
    for (let time = 0; time < 3; time++) await send(engine)
    await later(engine, 60)
    expect(await sent(engine)).toEqual(['3 3 123'])
  })

  test('of a batch is asked for once, and keeps what the batch held', async ({ engine }) => {
    await using web = await startHttp(json({ m: 7 }))
    const ask = `{ ref: crm, type: fetch, url: "${web.url}/{{total_activities}}" }`
    await engine.commit(steps('{ ref: digest, type: batch, window: 1m }', ask, feed))
    for (let m = 0; m < 3; m++) await send(engine, { data: { m, own: true } })
    await later(engine, 60)
    expect(web.requests.map(({ path }) => path)).toEqual(['/3'])
    expect(await sent(engine)).toEqual(['7 3 012'])
    expect(await data(engine)).toEqual([{ m: 7, own: true }])
  })

  test('may be changed however large an answer was, up to 10 MB in all', async ({ engine }) => {
    await using web = await startHttp(json({ text: 'x'.repeat(4_000_000) }))
    const ask = (ref: string) => `{ ref: ${ref}, type: fetch, url: "${web.url}", into: ${ref} }`
    const update = '{ ref: note, type: update_data, properties: { m: 5 } }'
    await engine.commit(steps(ask('a'), ask('b'), update, feed, ask('c')))
    await send(engine)
    expect(await sent(engine)).toEqual(['5 1 5'])
    expect(await standing(engine)).toEqual(['failed:step_failed'])
    expect((await events(engine)).at(-1)?.data?.['details']).toBe(
      'the data of the run would be larger than 10485760 bytes',
    )
  })

  test('is asked for although no message may be sent', async ({ engine }) => {
    await using web = await startHttp(json({ m: 7 }))
    await engine.commit(files(web.url))
    await engine.switchTo(false, '')
    await send(engine)
    expect(await standing(engine)).toEqual(['completed:null'])
    expect(await engine.messages()).toMatchObject([
      { status: 'not_sent', reason: 'workflow_inactive' },
    ])
  })
})

describe('a request', () => {
  const fields =
    'method: POST, headers: { Authorization: "Bearer {{vars.token}}" }, query: { t: "{{vars.token}}" }, body: { list: "{{data.list}}", t: "{{vars.token}}" }, sign_with: vars.key'

  test('holds secrets, is signed, and leaves no secret anywhere', async ({ engine }) => {
    await using web = await startHttp(({ headers, path }, response) => {
      response.setHeader('x-echo', String(headers.authorization))
      response.end(JSON.stringify({ echo: { headers, path } }))
    })
    await engine.commit(files(web.url, fields))
    const id = await send(engine, { data: { list: [1, 2] } })
    const [run] = await engine.runs(id)
    const [request] = web.requests
    const signed = `${run!.id}_crm.${String(request?.headers['webhook-timestamp'])}.${request?.body}`
    const signature = createHmac('sha256', 'secret-key').update(signed).digest('base64')
    expect(request).toMatchObject({
      path: '/?t=tok-12345',
      body: '{"t":"tok-12345","list":[1,2]}',
      headers: {
        authorization: 'Bearer tok-12345',
        'content-type': 'application/json',
        'idempotency-key': `${run!.id}_crm`,
        'webhook-id': `${run!.id}_crm`,
        'webhook-signature': `v1,${signature}`,
      },
    })
    const written = JSON.stringify([await data(engine), await events(engine)])
    expect(written).toContain('•••')
    expect(written).not.toContain('tok-12345')
    expect(
      (await events(engine)).map(({ event, status, data: shown }) => [event, status, shown]),
    ).toEqual([
      [
        'fetch_requested',
        'ok',
        { method: 'POST', url: web.url, idempotency_key: `${run!.id}_crm` },
      ],
      [
        'fetch_answered',
        'ok',
        {
          into: null,
          keys: ['echo'],
          request: expect.objectContaining({ method: 'POST', host: `127.0.0.1:${web.port}` }),
          response: expect.objectContaining({ status: 200 }),
        },
      ],
    ])
  })

  test('waits for a secret that is no longer set, and says so', async ({ database }) => {
    await using web = await startHttp()
    const secrets: Record<string, string> = { ...SECRETS }
    await using engine = await openEngine(database, { environments: ENVIRONMENTS, secrets })
    await engine.commit(files(web.url, 'headers: { A: "{{vars.token}}" }'))
    delete secrets['production/TOKEN']
    await send(engine)
    expect(await standing(engine)).toEqual(['paused:fetch'])
    expect((await events(engine)).at(-1)?.data?.['details']).toBe(
      'the secret TOKEN of production is not set',
    )
    expect(web.requests).toEqual([])
  })

  test('is not made where the conditions do not hold', async ({ engine }) => {
    await using web = await startHttp()
    const conditions =
      'conditions: { all: [{ variable: data.n, operator: equal_to, argument: 2 }] }'
    await engine.commit(files(web.url, conditions))
    await send(engine)
    expect(await standing(engine)).toEqual(['completed:null'])
    expect(web.requests).toEqual([])
  })

  test.for(['GET', 'POST'] as const)('with %s in a sandbox', async (method, { engine }) => {
    await using web = await startHttp(json({ m: 2 }))
    await engine.commit(files(web.url, `method: ${method}`))
    await send(engine, { settings: { sandbox_mode: true } })
    expect(web.requests).toHaveLength(method === 'GET' ? 1 : 0)
    expect(await data(engine)).toEqual([{ n: 1, ...(method === 'GET' && { m: 2 }) }])
    const [run] = await engine.runs()
    const isSkipped = (await engine.timeline(run!.id)).includes('crm step_skipped:sandbox')
    expect(isSkipped).toBe(method === 'POST')
  })

  test('is made anew by a replay', async ({ engine }) => {
    await using web = await startHttp((_request, response, index) => {
      response.end(JSON.stringify({ answer: index }))
    })
    await engine.commit(files(web.url))
    await send(engine)
    const [run] = await engine.runs()
    await engine.database.transaction((tx) =>
      replayRun(tx, engine.queue, {
        environment,
        id: run!.id,
        requestedBy: 'operator',
        now: engine.clock.now(),
        sandbox: true,
      }),
    )
    await engine.drain()
    expect(await data(engine)).toEqual([
      { n: 1, answer: 0 },
      { n: 1, answer: 1 },
    ])
    const keys = web.requests.map(({ headers }) => headers['idempotency-key'])
    expect(new Set(keys).size).toBe(2)
  })

  test('is not made by a dry run, which says so and goes on', async ({ engine }) => {
    await using web = await startHttp()
    await engine.commit(files(web.url))
    const { runs } = await engine.database.transaction((tx) =>
      dryRunWorkflow(tx, engine.queue, {
        environment: 'production' as EnvironmentName,
        workflow: 'hello' as WorkflowKey,
        body: { recipients: [ada], data: { n: 1 } },
        now: engine.clock.now(),
      }),
    )
    await engine.drain()
    const words = runs[0]!.timeline.map(({ event, data: shown }) => [event, shown?.['reason']])
    expect(words).toContainEqual(['fetch_requested', undefined])
    expect(words).toContainEqual(['step_skipped', 'dry_run'])
    expect(runs[0]!.messages).toHaveLength(1)
    expect(web.requests).toEqual([])
    expect(await kept(engine)).toBe(0)
  })
})
