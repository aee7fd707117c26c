import { expect } from 'vitest'
import { test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import { startSmtp } from '../support/smtp.ts'
import { openApp, timelineOf, type TestApp } from './app-support.ts'

// From a trigger to what a mail program makes of the mail: hostile and unusual user data in every field.

const MARKUP = `<script>alert("x")</script><img src=x onerror='y'> & "quoted" {{data.secret}} **bold** [a](javascript:b)`

const environment = (port: number) => `
ref: main
variables:
  app_url: { value: https://app.example.com }
channels:
  feed: { type: in_app, provider: in_app }
  mail: { type: email, provider: smtp, settings: { host: 127.0.0.1, port: ${port}, from: "Example <hello@example.com>" } }
`

const workflows = {
  'workflows/_layouts/default.html.hbs':
    '<html><body class="{{data.text}}"><h1>{{data.text}}</h1>{{{content}}}</body></html>\n',
  'workflows/_partials/card.hbs':
    '<p title="{{label}}">{{label}}</p><a href="{{url}}">{{label}}</a>\n',
  'workflows/html/workflow.yaml': `
name: HTML
steps:
  - ref: mail
    type: email
    subject: "{{data.text}}"
    preheader: "{{data.text}}"
    html: { file: mail.html.hbs }
    text: "{{data.text}}"
`,
  'workflows/html/mail.html.hbs':
    '<p>{{data.text}}</p>{{> card label=data.text url=data.url}}<a href="https://app.example.com/?q={{data.text}}">q</a>\n',
  'workflows/markdown/workflow.yaml': `
name: Markdown
steps:
  - { ref: mail, type: email, subject: Note, markdown: "# Note\\n\\n{{data.text}} [link]({{data.url}})" }
`,
  'workflows/plain/workflow.yaml': `
name: Plain
steps:
  - ref: mail
    type: email
    layout: none
    subject: "{{data.subject}}"
    from: "{{data.sender}} <hello@example.com>"
    html: "<p>{{recipient.name}}: {{data.text}}</p>"
    text: "{{data.text}}"
    attachments: data.attachments
`,
  'workflows/copies/workflow.yaml': `
name: Copies
steps:
  - ref: mail
    type: email
    layout: none
    subject: Copies
    html: "<p>Hello</p>"
    cc: ["{{data.cc}}"]
    bcc: ["{{data.bcc}}"]
    reply_to: "{{data.reply_to}}"
    headers: { X-Thread: "{{data.thread}}" }
`,
  'workflows/feed/workflow.yaml': `
name: Feed
steps:
  - ref: feed
    type: in_app
    body: "**{{data.text}}** [link]({{data.url}})"
    action_url: "{{data.url}}"
    buttons: [{ label: "{{data.text}}", action: "{{data.url}}" }]
`,
}

async function open(database: Parameters<typeof openApp>[0], port: number): Promise<TestApp> {
  return await openApp(database, {
    files: { 'environments/production.yaml': environment(port), ...workflows },
  })
}

const ada = { id: 'ada', name: 'Ada', email: 'ada@example.com' }

test('user data in mail stays text, wherever it stands', async ({ database }) => {
  await using smtp = await startSmtp()
  await using app = await open(database, smtp.port)
  const data = { text: MARKUP, url: 'javascript:alert(1)' }
  expect(await app.send('html', { recipients: [ada], data })).toMatchObject([{ status: 'sent' }])
  const mail = smtp.mails[0]!
  const html = String(mail.parsed.html)
  expect(tagsOf(html)).toEqual(['html', 'body', 'div', 'h1', 'p', 'p', 'a', 'a'])
  expect(html).not.toMatch(/href="\s*javascript:/i)
  expect(html).not.toContain('alert("x")')
  expect(mail.parsed.subject).toBe(MARKUP)
  expect(mail.parsed.text?.trimEnd()).toBe(MARKUP)
  expect(html).toContain('&lt;script&gt;')

  expect(await app.send('markdown', { recipients: [ada], data })).toMatchObject([
    { status: 'sent' },
  ])
  const markdown = String(smtp.mails[1]!.parsed.html)
  expect(tagsOf(markdown).filter((tag) => /script|img|strong/.test(tag))).toEqual([])
  expect(markdown).not.toMatch(/href="\s*javascript:/i)
  expect(smtp.mails[1]!.parsed.text).toContain('<script>')
})

/** The elements of an HTML text, in order. */
function tagsOf(html: string): string[] {
  return [...html.matchAll(/<([a-z][a-z0-9]*)/gi)].map(([, tag = '']) => tag.toLowerCase())
}

const subjects: readonly [string, string, string][] = [
  ['an emoji', 'Hello 👩‍👩‍👧 🎉', 'Hello 👩‍👩‍👧 🎉'],
  ['line breaks', 'Hello\r\nBcc: eve@example.com\r\n\r\nBody', 'Hello Bcc: eve@example.com Body'],
  ['other line ends', 'a\u2028b\u2029c\u0085d\ve', 'a b c d e'],
  ['right-to-left text', 'שלום עולם — مرحبا', 'שלום עולם — مرحبا'],
  ['CJK text', '日本語の件名と中文主题', '日本語の件名と中文主题'],
  [
    'a line break in an encoded word',
    '=?utf-8?Q?a=0D=0ABcc:_eve@example.com?=',
    '=?utf-8?Q?a=0D=0ABcc:_eve@example.com?=',
  ],
  ['an encoded word', '=?utf-8?B?aGk=?= there', '=?utf-8?B?aGk=?= there'],
  ['great length', 'Lorem ipsum dolor '.repeat(50).trim(), 'Lorem ipsum dolor '.repeat(50).trim()],
  ['great length in CJK', '長い件名'.repeat(100), '長い件名'.repeat(100)],
  ['one long word of emojis', '🎉'.repeat(400), '🎉'.repeat(400)],
  ['one long word', 'x'.repeat(1_200), 'x'.repeat(1_200)],
]

test('subjects, names, texts and attachments arrive as they were meant', async ({ database }) => {
  await using smtp = await startSmtp()
  await using app = await open(database, smtp.port)
  for (const [what, subject, expected] of subjects) {
    const before = smtp.mails.length
    const messages = await app.send('plain', { recipients: [ada], data: { subject, text: 'x' } })
    expect.soft(messages, what).toMatchObject([{ status: 'sent' }])
    const mail = smtp.mails[before]!
    expect.soft(mail.parsed.subject, what).toBe(expected)
    expect.soft(mail.to, what).toEqual(['ada@example.com'])
    expect.soft(mail.parsed.bcc, what).toBeUndefined()
    for (const line of mail.raw.split('\r\n')) expect.soft(line.length, what).toBeLessThan(999)
  }

  const names = [
    'O\'Hara, "Ann" \\ <b>',
    'Ünïcode, Ää',
    '名前、テスト',
    'evil@example.com,',
    '"quoted"',
    '=?utf-8?Q?a=0D=0ABcc:_eve@example.com?=',
  ]
  for (const name of names) {
    const before = smtp.mails.length
    const recipient = { ...ada, name }
    const data = { subject: 'Name', text: 'x', sender: name.replaceAll(/[<>]/g, '') }
    await app.send('plain', { recipients: [recipient], data })
    const mail = smtp.mails[before]!
    expect.soft(mail.to, name).toEqual(['ada@example.com'])
    expect.soft(mail.from, name).toBe('hello@example.com')
    expect
      .soft(
        mail.parsed.from?.value.map(({ address }) => address),
        name,
      )
      .toEqual(['hello@example.com'])
    expect.soft(mail.parsed.from?.value[0]?.name, name).not.toMatch(/[\r\n]/)
    expect.soft(tagsOf(String(mail.parsed.html)), name).toEqual(['p'])
  }

  const text = 'Zeile 1\nשורה — سطر 日本 🎉\n.\n..dots\nFrom me\n' + 'long '.repeat(400)
  const bytes = Buffer.from([0, 1, 2, 255, 13, 10, 46, 13, 10])
  const attachments = [
    {
      name: 'Rechnung "1", ä.pdf',
      content_type: 'application/pdf',
      content: bytes.toString('base64'),
    },
    {
      name: '領収書.txt',
      content_type: 'text/plain',
      content: Buffer.from('hé').toString('base64'),
    },
  ]
  const before = smtp.mails.length
  await app.send('plain', { recipients: [ada], data: { subject: 'All', text, attachments } })
  const { parsed } = smtp.mails[before]!
  expect(parsed.text?.trimEnd()).toBe(text.trimEnd())
  expect(parsed.attachments.map(({ filename }) => filename)).toEqual(
    attachments.map(({ name }) => name),
  )
  expect(parsed.attachments[0]?.content).toEqual(bytes)
}, 60_000)

const refused: readonly [string, object, object, string][] = [
  ['a comma in the address', { email: 'ada@example.com,eve@example.com' }, {}, 'invalid_address'],
  [
    'a line break in the address',
    { email: 'ada@example.com\r\nBcc: eve@example.com' },
    {},
    'invalid_address',
  ],
  [
    'a line break and a command',
    { email: 'ada@example.com>\r\nRCPT TO:<eve@example.com' },
    {},
    'invalid_address',
  ],
  ['a name in the address', { email: 'Eve <eve@example.com>' }, {}, 'invalid_address'],
  ['a quoted address', { email: '"eve@example.com,"@example.com' }, {}, 'invalid_address'],
  ['a group', { email: 'undisclosed: eve@example.com;' }, {}, 'invalid_address'],
  ['no domain', { email: 'ada' }, {}, 'invalid_address'],
  ['two copies in one', {}, { cc: 'bo@example.com, eve@example.com' }, 'invalid_address'],
  ['two blind copies in one', {}, { bcc: 'bo@example.com;eve@example.com' }, 'invalid_address'],
  ['a header that is too long for a line', {}, { thread: 'x'.repeat(1_000) }, 'invalid_header'],
  ['two reply addresses', {}, { reply_to: 'a@example.com, eve@example.com' }, 'invalid_address'],
]

test('an address that is not exactly one is not sent to, and the reason is kept', async ({
  database,
}) => {
  await using smtp = await startSmtp()
  await using app = await open(database, smtp.port)
  for (const [what, person, data, reason] of refused) {
    const messages = await app.send('copies', { recipients: [{ ...ada, ...person }], data })
    expect.soft(messages, what).toMatchObject([{ status: 'not_sent', reason }])
    const events = await timelineOf(app, messages[0]!)
    const event = events.find((each) => each.event === 'message_not_sent')
    expect.soft(event?.data, what).toMatchObject({ reason, details: expect.any(String) })
  }
  expect(smtp.mails).toHaveLength(0)
  const fine = {
    cc: ' bo@example.com ',
    bcc: 'cy@example.com',
    thread: 'a\r\nBcc: eve@example.com',
  }
  expect(await app.send('copies', { recipients: [ada], data: fine })).toMatchObject([
    { status: 'sent' },
  ])
  const mail = smtp.mails[0]!
  expect(mail.to).toEqual(['ada@example.com', 'bo@example.com', 'cy@example.com'])
  expect(mail.parsed.headers.get('x-thread')).toBe('a Bcc: eve@example.com')
  expect(mail.raw).not.toMatch(/^bcc:/im)
  expect(mail.raw).not.toContain('cy@example.com')
})

const files: readonly [string, object][] = [
  ['a name with a line break', { name: 'a\r\nX-Evil: 1' }],
  ['a type with a line break', { content_type: 'text/plain\r\nX-Evil: 1' }],
  ['a type that holds parts', { content_type: 'Multipart/mixed' }],
  ['a type with parameters', { content_type: 'text/plain; charset=x' }],
  ['content that is no base64', { content: 'From: eve@example.com\r\n\r\n' }],
  ['an id with a line break', { content_id: 'a>\r\nX-Evil: 1', disposition: 'inline' }],
]

test('an attachment that cannot be sent safely keeps the mail back', async ({ database }) => {
  await using smtp = await startSmtp()
  await using app = await open(database, smtp.port)
  const plain = { name: 'a.txt', content_type: 'text/plain', content: 'aGk=' }
  for (const [what, file] of files) {
    const attachments = [plain, { ...plain, ...file }, { ...plain, ...file }]
    const messages = await app.send('plain', {
      recipients: [ada],
      data: { text: what, attachments },
    })
    const expected = { status: 'not_sent', reason: 'invalid_attachment' }
    expect.soft(messages, what).toMatchObject([expected])
  }
  // What only the mail library would read is not read.
  const sly = {
    ...plain,
    path: '/etc/passwd',
    href: 'http://127.0.0.1/',
    raw: 'X',
    encoding: 'utf8',
  }
  await app.send('plain', { recipients: [ada], data: { subject: 'Sly', attachments: [sly] } })
  expect(smtp.mails).toHaveLength(1)
  expect(smtp.mails[0]?.parsed.attachments[0]?.content.toString()).toBe('hi')
})

interface Feed {
  readonly data: {
    readonly blocks: readonly [
      { readonly rendered: string },
      { readonly rendered: string },
      { readonly buttons: readonly [{ readonly label: string; readonly action: string }] },
    ]
  }
}

test('an item of the feed holds no markup of its data, and no link that runs code', async ({
  database,
}) => {
  await using app = await open(database, 9)
  for (const url of [
    'javascript:alert(1)',
    ' JaVa\tscript:alert(1)',
    'data:text/html,x',
    'vbscript:x',
  ]) {
    const [message] = await app.send('feed', { recipients: [ada], data: { text: MARKUP, url } })
    expect(message).toMatchObject({ status: 'delivered' })
    const { body: content } = await app.call<Feed>('GET', `/v1/messages/${message!.id}/content`)
    const { blocks } = content.data
    const [body, action, buttons] = blocks
    expect
      .soft(
        tagsOf(body.rendered).filter((tag) => !/^(p|strong|a)$/.test(tag)),
        url,
      )
      .toEqual([])
    expect.soft(body.rendered, url).not.toMatch(/href="\s*(javascript|data|vbscript):/i)
    expect.soft(body.rendered, url).toContain('&lt;script&gt;')
    expect.soft(action.rendered, url).not.toMatch(/script:|data:/i)
    expect.soft(buttons.buttons[0], url).toMatchObject({ label: MARKUP })
    expect.soft(buttons.buttons[0].action, url).not.toMatch(/script:|data:/i)
  }
})

test('the body of a webhook keeps types, and needs no escaping', async ({ database }) => {
  await using web = await startHttp()
  await using app = await openApp(database, {
    files: {
      'environments/production.yaml':
        'ref: main\nchannels:\n  hook: { type: webhook, provider: webhook }\n',
      'workflows/hook/workflow.yaml': `
name: Hook
steps:
  - ref: hook
    type: webhook
    url: "${web.url}/people/{{data.text}}/x?q={{data.text}}#{{data.text}}"
    headers: { X-Text: "{{data.line}}" }
    query: { "a b&c": "{{data.text}}" }
    body: { text: "{{data.text}}", mixed: "<{{data.text}}>", list: "{{data.list}}", number: "{{data.number}}", no: "{{data.no}}", nothing: "{{data.nothing}}", missing: "{{data.missing}}", fixed: [1, true, null, "x"], "{{data.text}}": 1 }
`,
    },
  })
  const text = '"}, {"a": "\\ \n /../?#&=% <b>😀'
  const data = {
    text,
    line: 'one\r\nX-Evil: two',
    list: [1, 'a"b', { c: null }],
    number: 1.5,
    no: false,
    nothing: null,
  }
  expect(await app.send('hook', { recipients: [ada], data })).toMatchObject([
    { status: 'delivered' },
  ])
  const { path, headers, body } = web.requests[0]!
  expect(JSON.parse(body)).toEqual({
    text,
    mixed: `<${text}>`,
    list: data.list,
    number: 1.5,
    no: false,
    nothing: null,
    missing: null,
    fixed: [1, true, null, 'x'],
    '{{data.text}}': 1,
  })
  const url = new URL(path, web.url)
  expect(decodeURIComponent(url.pathname)).toBe(`/people/${text}/x`)
  expect(url.pathname.split('/')).toHaveLength(4)
  expect([...url.searchParams]).toEqual([
    ['q', text],
    ['a b&c', text],
  ])
  expect(headers['x-text']).toBe('one X-Evil: two')
  expect(headers['x-evil']).toBeUndefined()
})
