import { expect, vi } from 'vitest'
import { test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import { startSmtp } from '../support/smtp.ts'
import { openApp, type TestApp } from './app-support.ts'

const environment = (port: number) => `
ref: main
locale: en
variables: { app_url: { value: https://app.example.com } }
channels:
  mail: { type: email, provider: smtp, settings: { host: 127.0.0.1, port: ${port}, from: "Example <hello@example.com>" } }
`

const mail = (html: string) => `
name: Mail
steps:
  - { ref: mail, type: email, subject: "{{t 'subject' name=recipient.name}}", preheader: "{{t 'pages' count=2}}", attachments: data.files, html: ${html} }
`

const bad = (html: string) => `
name: Bad
steps:
  - { ref: mail, type: email, subject: Bad, html: '${html}' }
`

const workflows = {
  'workflows/_locales/en.yaml':
    'subject: Hello {{name}}\npages: { one: one page, other: "{{count}} pages" }\n',
  'workflows/_locales/he.yaml': 'subject: שלום {{name}}\n',
  'workflows/_locales/ja.yaml':
    'subject: こんにちは、{{name}}さん\npages: { other: "{{count}} ページ" }\n',
  'workflows/_layouts/default.html.hbs':
    '<html lang="{{locale}}" dir="{{direction}}"><head><style>p{margin:0}.card b{color:red}@media(max-width:9px){p{margin:9px!important}}</style></head><body><div class="card">{{{content}}}</div></body></html>\n',
  'workflows/_partials/again.hbs': '{{> again}}\n',
  'workflows/html/workflow.yaml': mail('{ file: mail.html.hbs }'),
  'workflows/html/mail.html.hbs':
    '<p><b>{{data.text}}</b> <img src="cid:logo" alt="logo"> <a href="{{vars.app_url}}/?a=1&b={{data.text}}">Open</a></p>\n',
  'workflows/mjml/workflow.yaml': mail('{ file: mail.mjml.hbs }'),
  'workflows/mjml/mail.mjml.hbs':
    '{{#each data.items}}<mj-section><mj-column><mj-text>{{this}}</mj-text></mj-column></mj-section>{{/each}}\n',
  'workflows/large/workflow.yaml': bad(
    '{{#each data.many}}{{#each ../data.many}}{{../../data.wide}}{{/each}}{{/each}}',
  ),
  'workflows/endless/workflow.yaml': bad(
    '{{#each data.many}}{{#each ../data.many}}{{#each ../../data.many}}{{#each ../../../data.many}}{{/each}}{{/each}}{{/each}}{{/each}}',
  ),
  'workflows/recursive/workflow.yaml': bad('{{> again}}'),
  'workflows/argument/workflow.yaml': bad('{{currency data.text "EUR"}}'),
}

const ada = { id: 'ada', name: 'Ada', email: 'ada@example.com' }

const logo = {
  name: 'logo.png',
  content_type: 'image/png',
  content: 'iVBORw0KGgo=',
  content_id: 'logo',
  disposition: 'inline',
}

async function open(database: Parameters<typeof openApp>[0], port: number): Promise<TestApp> {
  return await openApp(database, {
    files: { 'environments/production.yaml': environment(port), ...workflows },
  })
}

test('a mail arrives in the language of its reader, styled, with its images inside', async ({
  database,
}) => {
  await using smtp = await startSmtp()
  await using app = await open(database, smtp.port)
  const readers = [
    ['en', 'Hello Ada', 'Text', '2 pages'],
    ['he-IL', 'שלום Ada', 'טקסט מימין לשמאל', '2 pages'],
    ['ja', 'こんにちは、Adaさん', '日本語の本文', '2 ページ'],
  ] as const
  for (const [locale, subject, text, preheader] of readers) {
    const recipient = { id: `ada-${locale}`, name: 'Ada', email: 'ada@example.com', locale }
    await app.send('html', { recipients: [recipient], data: { text, files: [logo] } })
    const parsed = smtp.mails.at(-1)!.parsed
    expect(parsed.subject).toBe(subject)
    const html = String(parsed.html)
    expect(html).toContain(`<b style="color: red;">${text}</b>`)
    expect(html).toContain('<p style="margin: 0;">')
    expect(html).toContain('@media')
    const direction = locale === 'he-IL' ? 'rtl' : 'ltr'
    expect(html).toContain(`<html lang="${locale}" dir="${direction}">`)
    expect(html).toContain(`?a=1&b=${encodeURIComponent(text)}`)
    expect(html).toContain(preheader)
    // The parser puts an image in the place of the cid that it found in the mail.
    expect(html).toContain('src="data:image/png;base64,iVBORw0KGgo="')
    expect(parsed.attachments).toMatchObject([
      { contentId: '<logo>', contentDisposition: 'inline', related: true },
    ])
    expect(parsed.text).toContain(text)
    expect(parsed.text).not.toContain('@media')
  }
})

test('what a step lays over a request reaches its provider, and moves nothing to somebody else', async ({
  database,
}) => {
  await using service = await startHttp((_request, response) => {
    response.writeHead(202, { 'x-message-id': 'sg-1' }).end()
  })
  await using app = await openApp(database, {
    files: {
      'environments/production.yaml': `
ref: main
channels:
  mail: { type: email, provider: sendgrid, settings: { api_key: SG.123456789, from: hello@example.com, endpoint: '${service.url}' } }
`,
      'workflows/over/workflow.yaml': `
name: Over
steps:
  - ref: mail
    type: email
    subject: Hello
    html: <p>Hello</p>
    overrides:
      postmark: { Tag: other }
      sendgrid:
        categories: ['{{data.kind}}']
        custom_args: '{{data.args}}'
        asm: { group_id: '{{data.group}}' }
`,
    },
  })
  const send = (args: object) =>
    app.send('over', { recipients: [ada], data: { kind: '"a', group: 7, args } })
  const [sent] = await send({ page: 'p1' })
  expect(sent).toMatchObject({ status: 'sent' })
  expect(JSON.parse(service.requests[0]!.body)).toMatchObject({
    personalizations: [{ to: [{ email: ada.email }] }],
    categories: ['"a'],
    custom_args: { belfry_message_id: sent!.id, page: 'p1' },
    asm: { group_id: 7 },
  })
  const { body: shown } = await app.call('GET', `/v1/messages/${sent!.id}/content`)
  expect(shown).toMatchObject({
    data: { overrides: { postmark: { Tag: 'other' }, sendgrid: { categories: ['"a'] } } },
  })
  const path = '/v1/workflows/over/trigger?dry_run=true'
  const body = { recipients: [ada], data: { kind: 'dry', args: {} } }
  const { body: dry } = await app.call('POST', path, { body })
  expect(JSON.stringify(dry)).toContain('"categories":["dry"]')

  expect(await send({ Belfry_Message_ID: 'mallory' })).toMatchObject([
    { status: 'not_sent', reason: 'invalid_overrides' },
  ])
  expect(service.requests).toHaveLength(1)
})

test('MJML arrives as HTML that every mail program shows, and as text', async ({ database }) => {
  await using smtp = await startSmtp()
  await using app = await open(database, smtp.port)
  const recipients = [{ id: 'ada', name: 'Ada', email: 'ada@example.com' }]
  await app.send('mjml', { recipients, data: { items: ['One & <b>', 'שתיים', '三'] } })
  const { html, text } = smtp.mails[0]!.parsed
  expect(html).toMatch(/<!doctype html>[\s\S]*<!--\[if mso \| IE\]>/)
  for (const item of ['One &amp; &lt;b&gt;', 'שתיים', '三']) expect(html).toContain(item)
  expect(html).not.toContain('<mj-')
  expect(text).toContain('One & <b>')
})

test('a template that runs away fails its step with the reason, and the worker lives', async ({
  database,
}) => {
  await using smtp = await startSmtp()
  await using app = await open(database, smtp.port)
  const recipients = [{ id: 'ada', name: 'Ada', email: 'ada@example.com' }]
  const many = Array.from({ length: 400 }, (_, index) => index)
  const cases = [
    ['large', { many, wide: 'x'.repeat(200) }, 'the output is larger than 5 MB'],
    ['endless', { many }, 'the loops take more than 100000 rounds'],
    ['recursive', {}, 'partial "again" is included more than 50 levels deep'],
    ['argument', { text: 'free' }, 'currency takes a number, not '],
  ] as const
  for (const [workflow, data, reason] of cases) {
    await app.call('POST', `/v1/workflows/${workflow}/trigger`, { body: { recipients, data } })
    const failed = await vi.waitFor(
      async () => {
        const { body } = await app.call<{ items: { id: string; outcome: string | null }[] }>(
          'GET',
          `/v1/workflow_recipient_runs?workflow=${workflow}`,
        )
        const [run] = body.items
        if (run?.outcome !== 'failed') throw new Error(`${workflow}: ${JSON.stringify(run)}`)
        return run
      },
      { timeout: 60_000, interval: 200 },
    )
    const { text } = await app.call('GET', `/v1/workflow_recipient_runs/${failed.id}`)
    expect(text).toContain(JSON.stringify(reason).slice(1, -1))
  }
  expect(await app.send('mjml', { recipients, data: { items: ['still here'] } })).toMatchObject([
    { status: 'sent' },
  ])
})
