import { expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import { openApp, timelineOf } from './app-support.ts'

// A webhook whose address comes from user data, in production, where nothing of the house may be reached.

const files = {
  'environments/production.yaml': `
ref: main
channels:
  hook: { type: webhook, provider: webhook }
  mail: { type: email, provider: smtp, settings: { host: 127.0.0.1, port: 2525, from: a@example.com } }
`,
  'workflows/hook/workflow.yaml':
    'name: Hook\nsteps:\n  - { ref: hook, type: webhook, url: "{{data.url}}" }\n',
  'workflows/ask/workflow.yaml':
    'name: Ask\nsteps:\n  - { ref: ask, type: fetch, url: "{{data.url}}" }\n',
  'workflows/mail/workflow.yaml':
    'name: Mail\nsteps:\n  - { ref: mail, type: email, subject: Hello, markdown: Hello }\n',
}
const recipients = [{ id: 'ada', name: 'Ada', email: 'ada@example.com' }]

const addresses = (port: number): readonly (readonly [string, string])[] => [
  ['http://169.254.169.254/latest/meta-data/', 'forbidden_target'],
  ['http://[fd00:ec2::254]/latest/', 'forbidden_target'],
  ['http://[::ffff:169.254.169.254]/', 'forbidden_target'],
  ['http://[::ffff:a9fe:a9fe]/', 'forbidden_target'],
  ['http://2852039166/', 'forbidden_target'],
  [`http://127.0.0.1:${port}/`, 'forbidden_target'],
  [`http://127.1:${port}/`, 'forbidden_target'],
  [`http://2130706433:${port}/`, 'forbidden_target'],
  [`http://0x7f000001:${port}/`, 'forbidden_target'],
  [`http://0x7f.1:${port}/`, 'forbidden_target'],
  [`http://0177.0.0.1:${port}/`, 'forbidden_target'],
  [`http://１２７.0.0.1:${port}/`, 'forbidden_target'],
  [`http://%31%32%37.0.0.1:${port}/`, 'forbidden_target'],
  [`http://0.0.0.0:${port}/`, 'forbidden_target'],
  [`http://[::]:${port}/`, 'forbidden_target'],
  [`http://[::1]:${port}/`, 'forbidden_target'],
  [`http://[::127.0.0.1]:${port}/`, 'forbidden_target'],
  [`http://[64:ff9b::7f00:1]:${port}/`, 'forbidden_target'],
  [`http://[2002:7f00:1::]:${port}/`, 'forbidden_target'],
  [`http://localhost:${port}/`, 'forbidden_target'],
  [`http://LOCALHOST:${port}/`, 'forbidden_target'],
  ['https://10.0.0.1/', 'forbidden_target'],
  ['https://192.168.1.1/', 'forbidden_target'],
  ['https://100.64.0.1/', 'forbidden_target'],
  [`http:\\\\127.0.0.1:${port}\\`, 'invalid_request'],
  [`http://example.com@127.0.0.1:${port}/`, 'invalid_request'],
  ['http://user:password@example.com/', 'invalid_request'],
  [`ftp://127.0.0.1:${port}/`, 'invalid_request'],
  [`gopher://127.0.0.1:${port}/`, 'invalid_request'],
  ['file:///etc/passwd', 'invalid_request'],
  ['javascript:alert(1)', 'invalid_request'],
  ['//127.0.0.1/', 'invalid_request'],
  ['127.0.0.1', 'invalid_request'],
  ['http://', 'invalid_request'],
  ['', 'invalid_request'],
]

test('an address of the house is refused at once, with a reason that says what to do', async ({
  database,
}) => {
  await using web = await startHttp()
  await using app = await openApp(database, { files, loopback: false })
  for (const [url, reason] of addresses(web.port)) {
    const [message] = await app.send('hook', { recipients, data: { url } })
    expect.soft(message, url).toMatchObject({ status: 'not_sent', reason })
    const events = (await timelineOf(app, message!)).filter(({ event }) =>
      /^message_(?!created|queued|enqueued)/.test(event),
    )
    expect
      .soft(
        events.map(({ event }) => event),
        url,
      )
      .toEqual(['message_not_sent'])
    expect.soft(events[0]?.data, url).toMatchObject({ attempt: 1, reason })
    const words = reason === 'forbidden_target' ? 'BELFRY_ALLOWED_TARGETS' : /URL|host name/
    expect.soft(events[0]?.data['details'], url).toMatch(words)
  }
  expect(web.requests).toHaveLength(0)
  const due = await database.query(sql`
    select id from messages where environment is not null and due_at is not null
  `)
  expect(due).toEqual([])
}, 60_000)

test('a fetch is refused in the same way, and ends its run', async ({ database }) => {
  await using web = await startHttp()
  await using app = await openApp(database, { files, loopback: false })
  interface Run {
    readonly id: string
    readonly outcome: string | null
  }
  for (const [url, reason] of addresses(web.port)) {
    const body = { recipients, data: { url } }
    const reply = await app.call<{ workflow_run_id: string }>('POST', '/v1/workflows/ask/trigger', {
      body,
    })
    const list = `/v1/workflow_recipient_runs?workflow_run_id=${reply.body.workflow_run_id}`
    const find = async () =>
      (await app.call<{ items: readonly Run[] }>('GET', list)).body.items[0]?.outcome
    await expect.poll(find, { interval: 10, timeout: 10_000 }).toBe('failed')
    const [run] = (await app.call<{ items: readonly Run[] }>('GET', list)).body.items
    const { body: shown } = await app.call<{ events: readonly { event: string; data: object }[] }>(
      'GET',
      `/v1/workflow_recipient_runs/${run!.id}`,
    )
    const failed = shown.events.find(({ event }) => event === 'fetch_failed')
    const words = reason === 'forbidden_target' ? /BELFRY_ALLOWED_TARGETS/ : /URL|host name/
    expect.soft(failed?.data, url).toMatchObject({ retry_at: null, request: null })
    expect.soft(JSON.stringify(failed?.data), url).toMatch(words)
  }
  expect(web.requests).toEqual([])
}, 60_000)

test('a mail server of the house is not reached, and the failure says why', async ({
  database,
}) => {
  await using app = await openApp(database, { files, loopback: false })
  const [message] = await app.send('mail', { recipients })
  expect(message).toMatchObject({ status: 'delivery_attempted', reason: 'delivery_failed' })
  const events = await timelineOf(app, message!)
  const failure = events.find(({ event }) => event === 'message_delivery_attempted')
  expect(failure?.data['details']).toContain('BELFRY_ALLOWED_TARGETS')
})

test('a redirect is not followed, wherever it leads', async ({ database }) => {
  await using inner = await startHttp()
  const places = [
    `http://127.0.0.1:${inner.port}/inner`,
    'http://169.254.169.254/',
    '/again',
    '//[::1]/',
  ]
  await using web = await startHttp((request, response) => {
    const location = places[Number(request.path.slice(1, 2))] ?? ''
    response.writeHead(Number(request.path.slice(3)), { location }).end()
  })
  await using app = await openApp(database, { files })
  for (const [index, place] of places.entries()) {
    const url = `${web.url}/${index}/${[301, 302, 307, 308][index]}`
    const [message] = await app.send('hook', { recipients, data: { url } })
    expect.soft(message, place).toMatchObject({ status: 'undelivered', reason: 'redirected' })
  }
  expect(inner.requests).toHaveLength(0)
  expect(web.requests).toHaveLength(places.length)
})
