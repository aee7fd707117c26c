import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import { smtpAnswer, startSmtp } from '../support/smtp.ts'
import { KEYS, openApp } from './app-support.ts'
import { readApi, readCommandLine, readTables } from './reading.ts'
import { echo, escapeHtml, found, SMTP_USER } from './secrets-support.ts'

// Secrets go to a mail server that refuses them, and to an endpoint that echoes all it gets in every
// encoding it can think of. Then everything that can be read of Belfry is read.

const SECRETS = {
  SMTP_USER,
  SMTP_PASSWORD: 'p4ss "wörd" & <more>/\\ 42',
  DENIED_PASSWORD: 'denied & "quoted" pass+word/1',
  WRITE_KEY: 'write+key & "more"/=2',
  CRM_TOKEN: 'crm/token+"77"=<&>header',
  PATH_TOKEN: 'path token/with?parts#9',
  QUERY_TOKEN: 'query+token & more=1',
  BODY_TOKEN: 'body "token" \\ ünd <b>&\'',
  SIGNING_SECRET: 'whsec_c2lnbmluZy1rZXktb2YtdGVzdHM=',
  HOOK_URL: 'HOOK_URL',
  BOT_TOKEN: 'xoxb-"bot"/token+of=production',
} as const

const OTHERS = { DEV_TOKEN: 'token-of-development-only-1', UNSHARED: 'unshared-value-of-nobody-2' }

interface Servers {
  readonly http: number
  readonly smtp: number
  readonly denying: number
  readonly rude: number
}

const environmentOf = (ports: Servers) => `
ref: main
variables:
  site: { value: "http://127.0.0.1:${ports.http}" }
  crm_token: { secret: CRM_TOKEN }
  path_token: { secret: PATH_TOKEN }
  query_token: { secret: QUERY_TOKEN }
  body_token: { secret: BODY_TOKEN }
  hook_url: { secret: HOOK_URL }
  signing: { secret: SIGNING_SECRET }
sources:
  segment: { type: segment, secret: { secret: WRITE_KEY } }
channels:
  hook: { type: webhook, provider: webhook, settings: { signing_secret: { secret: SIGNING_SECRET } } }
  mail: { type: email, provider: smtp, settings: { host: 127.0.0.1, port: ${ports.smtp}, from: a@example.com, username: { secret: SMTP_USER }, password: { secret: SMTP_PASSWORD } } }
  denied: { type: email, provider: smtp, settings: { host: 127.0.0.1, port: ${ports.denying}, from: a@example.com, username: { secret: SMTP_USER }, password: { secret: DENIED_PASSWORD } } }
  # By this name whoever reads every path asks for channel data.
  feed: { type: chat, provider: slack, settings: { endpoint: "http://127.0.0.1:${ports.http}", bot_token: { secret: BOT_TOKEN } } }
  rude: { type: email, provider: smtp, settings: { host: 127.0.0.1, port: ${ports.rude}, from: a@example.com, username: { secret: SMTP_USER }, password: { secret: SMTP_PASSWORD } } }
`

const hook = (ref: string, answer: number, more = '') => `
  - ref: ${ref}
    type: webhook
    url: "{{vars.site}}/hook/{{vars.path_token}}?key={{vars.query_token}}"
    headers: { X-Token: "{{vars.crm_token}}", X-Answer: "${answer}"${more} }
    query: { extra: "{{vars.query_token}}" }
    body: { values: ["{{vars.body_token}}", "{{vars.crm_token}}", "{{vars.path_token}}", "{{vars.query_token}}"], note: "{{data.note}}" }
`

const asking = (ref: string, answer: number) =>
  `${hook(ref, answer, ', X-Json: "1"').replace('webhook', 'fetch')}    method: PUT\n    sign_with: vars.signing\n`

const plain = 'channels:\n  feed: { type: in_app, provider: in_app }\n'

const filesOf = (ports: Servers) => ({
  'environments/production.yaml': environmentOf(ports),
  'environments/development.yaml': `${plain}variables:\n  token: { secret: DEV_TOKEN }\n`,
  'environments/wanting.yaml': `ref: main\n${plain}variables:\n  one: { secret: NOT_THERE }\n  two: { secret: PRODUCTION__CRM_TOKEN }\n  three: { secret: CRM_TOKEN }\n  four: { secret: UNSHARED }\n  five: { secret: SHARED }\n  six: { secret: IN_FILE }\n`,
  'environments/crafty.yaml': `ref: crafty\n${plain}`,
  'workflows/mail/workflow.yaml': `
name: Mail
steps:
  - { ref: mail, type: email, channel: mail, subject: Hello, markdown: "Hello {{data.note}}" }
  - { ref: denied, type: email, channel: denied, subject: Hello, markdown: Hello }
  - { ref: rude, type: email, channel: rude, subject: Hello, markdown: Hello }
`,
  'workflows/chat/workflow.yaml': `
name: Chat
steps:
  - { ref: chat, type: chat, channel: feed, markdown: "Hello {{data.note}}" }
`,
  'workflows/hook/workflow.yaml': `
name: Hook
steps:
${hook('fine', 200)}
${hook('json', 400, ', X-Json: "1"')}
${hook('html', 400)}
${hook('failing', 500)}
${hook('moved', 302)}
  - { ref: whole, type: webhook, url: "{{vars.hook_url}}" }
`,
  'workflows/ask/workflow.yaml': `
name: Ask
steps:
${asking('good', 200)}
  - { ref: told, type: webhook, url: "{{vars.site}}/told", body: { all: "{{data}}" } }
${asking('bad', 500)}
`,
})

test('secrets reach those they are for, and nobody who reads Belfry', async ({ database }) => {
  const directory = await mkdtemp(join(tmpdir(), 'belfry-secrets-'))
  await using files = { [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) }
  void files
  await mkdir(join(directory, 'production'))
  await writeFile(join(directory, 'production', 'IN_FILE'), 'value-of-a-file-of-production\n')
  await using web = await startHttp(echo)
  await using smtp = await startSmtp({
    onAuth: (login, _session, done) => done(null, { user: login.username }),
  })
  await using denying = await startSmtp({
    onAuth(login, _session, done) {
      const plainLogin = Buffer.from(`\0${login.username}\0${login.password}`).toString('base64')
      const escaped = escapeHtml(login.password ?? '')
      done(
        smtpAnswer(
          535,
          `no such login: ${login.username} ${login.password} ${escaped} ${plainLogin}`,
        ),
      )
    },
  })
  await using rude = await startSmtp({
    onAuth: (login, _session, done) => done(null, { user: `${login.username} ${login.password}` }),
    onRcptTo: (_address, session, done) => done(smtpAnswer(550, `not from ${session.user}`)),
  })
  const ports = { http: web.port, smtp: smtp.port, denying: denying.port, rude: rude.port }
  const secrets = {
    ...SECRETS,
    HOOK_URL: `http://127.0.0.1:${web.port}/Services/T0/B0/whole-Hook?t=1`,
  }
  const env = Object.fromEntries(
    Object.entries(secrets).map(([name, value]) => [`BELFRY_SECRET_PRODUCTION__${name}`, value]),
  )
  await using app = await openApp(database, {
    files: filesOf(ports),
    env: {
      ...env,
      BELFRY_SECRETS_DIR: directory,
      BELFRY_SECRET_DEVELOPMENT__DEV_TOKEN: OTHERS.DEV_TOKEN,
      BELFRY_SECRET_UNSHARED: OTHERS.UNSHARED,
      BELFRY_SECRET_SHARED: 'shared-among-all-3',
      BELFRY_SHARED_SECRETS: 'SHARED',
    },
  })
  expect(await app.environment('production')).toMatchObject({ state: 'ready' })
  const ada = { id: 'ada', name: 'Ada', email: 'ada@example.com' }
  const mails = await app.send('mail', { recipients: [ada], data: { note: 'hi' } })
  expect(mails.map(({ status, reason }) => [status, reason])).toEqual([
    ['sent', null],
    ['queued', 'channel_refused'],
    ['undelivered', 'provider_rejected'],
  ])
  const connected = { feed: { connections: [{ channel_id: 'C01' }] } }
  const [chat] = await app.send('chat', {
    recipients: [{ id: 'ada', channel_data: connected }],
    data: { note: 'hi' },
  })
  expect([chat?.status, chat?.reason]).toEqual(['delivery_attempted', 'delivery_failed'])
  expect(web.requests.at(-1)?.headers.authorization).toBe(`Bearer ${SECRETS.BOT_TOKEN}`)
  const hooks = await app.send('hook', {
    recipients: [ada],
    actor: { id: 'core', collection: 'teams', name: 'Core', channel_data: connected },
    tenant: { id: 'acme', name: 'Acme' },
    data: { note: '{{vars.crm_token}}' },
  })
  expect(hooks.map(({ status, reason }) => [status, reason])).toEqual([
    ['delivered', null],
    ['undelivered', 'provider_rejected'],
    ['undelivered', 'provider_rejected'],
    ['delivery_attempted', 'delivery_failed'],
    ['undelivered', 'redirected'],
    ['delivered', null],
  ])

  // They did reach those they are for, as they are.
  const request = web.requests.find(({ path }) => path.startsWith('/hook/'))!
  const url = new URL(request.path, web.url)
  expect(request.headers['x-token']).toBe(SECRETS.CRM_TOKEN)
  expect(decodeURIComponent(url.pathname)).toBe(`/hook/${SECRETS.PATH_TOKEN}`)
  expect(Object.fromEntries(url.searchParams)).toEqual({
    key: SECRETS.QUERY_TOKEN,
    extra: SECRETS.QUERY_TOKEN,
  })
  const { BODY_TOKEN, CRM_TOKEN, PATH_TOKEN, QUERY_TOKEN } = SECRETS
  expect(JSON.parse(request.body)).toEqual({
    values: [BODY_TOKEN, CRM_TOKEN, PATH_TOKEN, QUERY_TOKEN],
    note: '{{vars.crm_token}}',
  })
  expect(web.requests.at(-1)?.path).toBe('/Services/T0/B0/whole-Hook?t=1')

  // A fetch is answered with all of them, and goes on with what is left of that.
  await app.call('POST', '/v1/workflows/ask/trigger', { body: { recipients: [ada] } })
  const waiting = async () =>
    (
      await database.query(sql`
      select id from runs where environment = 'production' and waits_for = 'fetch' and status = 'paused'
    `)
    ).length
  await expect.poll(waiting, { timeout: 10_000 }).toBe(1)
  const tolds = () => web.requests.filter(({ path }) => path === '/told')
  await expect.poll(() => tolds().length, { timeout: 10_000 }).toBe(1)
  const told = tolds()[0]!
  expect(Object.keys(JSON.parse(told.body).all).toSorted()).toEqual(['all', 'nested'])
  expect(told.body).toContain('•••')
  expect(found(told.body, Object.values(secrets))).toEqual([])

  const hidden = [...Object.values(secrets), ...Object.values(OTHERS)]
  hidden.push('value-of-a-file-of-production', 'shared-among-all-3')
  const values = {
    workflows: ['mail', 'hook', 'ask', 'chat'],
    users: ['ada'],
    environments: ['production', 'development', 'wanting', 'crafty'],
  }
  const { WRITE_KEY: writeKey } = SECRETS
  const sent = await app.call('POST', '/v1/batch', {
    key: null,
    headers: { authorization: `Basic ${Buffer.from(`${writeKey}:`).toString('base64')}` },
    body: { batch: [{ type: 'identify', userId: 'ada', messageId: 'm1', writeKey }] },
  })
  expect(sent.status).toBe(200)
  expect(found(app.lines.join(''), hidden)).toEqual([])
  expect(found(await readApi(app, values), hidden)).toEqual([])
  expect(found(await readTables(database), hidden)).toEqual([])
  expect(found(await readCommandLine(app), hidden)).toEqual([])

  // Where a secret is not the environment's own, it is missing, whatever its name.
  const wanting = await app.environment('wanting')
  expect(wanting).toMatchObject({ state: 'stalled', reason: 'invalid_files' })
  expect(wanting.diagnostics.map(({ code, line }) => [code, line])).toEqual(
    [5, 6, 7, 8, 10].map((line) => ['missing_secret', line]),
  )
  await app.repository.checkout('crafty')
  await app.repository.commit({
    'environments/crafty.yaml': `${plain}variables:\n  up: { secret: "../production/IN_FILE" }\n`,
  })
  const crafty = await app.environment('crafty')
  expect(crafty.state).toBe('stalled')
  expect(crafty.diagnostics[0]).toMatchObject({ path: 'environments/crafty.yaml', line: 4 })
}, 60_000)

const feed = '  feed: { type: in_app, provider: in_app }'
const hookEnvironment = (ref: string, port: number) => `
ref: ${ref}
variables:
  site: { value: "http://127.0.0.1:${port}" }
  crm_token: { secret: CRM_TOKEN }
channels:
${feed}
  mail: { type: email, provider: smtp, sandbox: true, settings: { host: 127.0.0.1, from: a@example.com } }
  hook: { type: webhook, provider: webhook }
`
const noteWorkflow = `
name: Note
steps:
  - ref: hook
    type: webhook
    url: "{{vars.site}}/notes?about={{data.note}}"
    headers: { X-Token: "{{vars.crm_token}}", X-Note: "{{data.note}}" }
    body: { note: "{{data.note}}", all: "{{data}}" }
`

test('text from outside gets no secret, whatever it guesses or has seen', async ({ database }) => {
  await using web = await startHttp()
  await using app = await openApp(database, {
    files: {
      'environments/production.yaml': hookEnvironment('main', web.port),
      'environments/development.yaml': hookEnvironment('development', web.port),
      'workflows/note/workflow.yaml': noteWorkflow,
    },
    env: {
      BELFRY_SECRET_PRODUCTION__CRM_TOKEN: 'token-of-production',
      BELFRY_SECRET_DEVELOPMENT__CRM_TOKEN: 'token-of-development',
    },
  })
  const trigger = (note: string) =>
    app.send('note', { recipients: [{ id: 'ada', note }], data: { note } })
  const [first] = await trigger('{{vars.crm_token}}')
  const { body: content } = await app.call<{ data: { headers: Record<string, string> } }>(
    'GET',
    `/v1/messages/${first!.id}/content`,
  )
  const placeholder = content.data.headers['X-Token'] ?? ''
  expect(placeholder).toMatch(/^secret[0-9a-f]{24}x0x$/)
  const guesses = [
    placeholder,
    placeholder.replace(/^secret.{24}/, `secret${'0'.repeat(24)}`),
    '§1§',
  ]
  for (const guess of guesses) await trigger(guess)
  for (const [index, note] of ['{{vars.crm_token}}', ...guesses].entries()) {
    const { headers, body, path } = web.requests[index]!
    expect(headers['x-token']).toBe('token-of-production')
    expect(JSON.parse(body)).toEqual({ note, all: { note } })
    expect(new URL(path, web.url).searchParams.get('about')).toBe(note)
  }

  // The same name is another secret in another environment.
  const reply = await app.call('POST', '/v1/workflows/note/trigger', {
    key: KEYS.development,
    body: { recipients: [{ id: 'bo', name: 'Bo' }], data: { note: 'hi' } },
  })
  expect(reply.status).toBe(200)
  await expect.poll(() => web.requests.length).toBe(guesses.length + 2)
  expect(web.requests.at(-1)?.headers['x-token']).toBe('token-of-development')
})

test('a secret where a reader would see it is a problem at its place, and displaces nothing', async ({
  database,
}) => {
  const fine = 'name: Leak\nsteps:\n  - { ref: feed, type: in_app, body: Hello }\n'
  await using app = await openApp(database, {
    files: {
      'environments/production.yaml': hookEnvironment('main', 9),
      'workflows/leak/workflow.yaml': fine,
    },
    env: { BELFRY_SECRET_PRODUCTION__CRM_TOKEN: 'token-of-production' },
  })
  const good = await app.environment('production')
  expect(good.state).toBe('ready')
  await app.commit({
    'workflows/_partials/token.hbs': 'Here\nit is: {{vars.crm_token}}\n',
    'workflows/_layouts/default.html.hbs': '<b>{{vars.crm_token}}</b>{{{content}}}\n',
    'workflows/leak/body.md.hbs': 'One\n\n{{#with vars}}{{crm_token}}{{/with}}\n',
    'workflows/leak/workflow.yaml': `name: Leak
conditions: { all: [{ variable: vars.crm_token, operator: equal_to, argument: x }] }
steps:
  - ref: feed
    type: in_app
    body: { file: body.md.hbs }
    action_url: "https://example.com/{{vars.crm_token}}"
  - ref: mail
    type: email
    subject: "{{vars.crm_token}}"
    markdown: "{{> token}}"
    headers: { X-Token: "{{vars.crm_token}}" }
    conditions: { all: [{ variable: data.x, operator: equal_to, argument: vars.crm_token }] }
`,
  })
  const bad = await app.environment('production')
  expect(bad).toMatchObject({ state: 'stalled', observed_revision: good.observed_revision })
  const places = bad.diagnostics
    .filter(({ code }) => code === 'secret_in_template')
    .map(({ path, line, column }) => `${path}:${line}:${column}`)
  expect(places).toEqual([
    'workflows/_layouts/default.html.hbs:1:6',
    'workflows/_partials/token.hbs:2:10',
    'workflows/leak/body.md.hbs:3:17',
    'workflows/leak/workflow.yaml:2:33',
    'workflows/leak/workflow.yaml:7:40',
    'workflows/leak/workflow.yaml:10:17',
    'workflows/leak/workflow.yaml:12:28',
    'workflows/leak/workflow.yaml:13:75',
  ])
  expect((await app.send('leak', { recipients: [{ id: 'ada', name: 'Ada' }] }))[0]).toMatchObject({
    status: 'delivered',
  })
})
