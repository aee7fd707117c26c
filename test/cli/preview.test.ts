import fs from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { parse, type DefaultTreeAdapterMap } from 'parse5'
import { describe, expect, onTestFinished, test } from 'vitest'
import { findWorkflow } from '../../src/cli/preview-files.ts'
import { servePreview } from '../../src/cli/preview-server.ts'
import { run } from './program-support.ts'

const HOSTILE = `<script>alert(1)</script><img src=x onerror=alert(1)>"'</pre></title></style>&lt;b`

const FILES = {
  'workflows/hello/workflow.yaml': [
    'name: Hello',
    'trigger: { data_schema: { type: object, properties: { text: { type: string } } } }',
    'steps:',
    '  - { ref: mail, type: email, subject: "Hi {{recipient.name}}", html: "<p title=\\"{{data.text}}\\">{{data.text}}</p>" }',
    '  - { ref: feed, type: in_app, body: "**{{data.text}}**" }',
    '',
  ].join('\n'),
  'workflows/hello/samples/first.yaml': 'recipient: { name: Ann }\ndata: { text: hello }\n',
  'workflows/hello/samples/hostile.json': JSON.stringify({
    data: { text: HOSTILE },
    recipient: { name: HOSTILE },
  }),
}

function directory(files: Readonly<Record<string, string>> = FILES): string {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'belfry-preview-'))
  onTestFinished(() => fs.rmSync(root, { recursive: true }))
  for (const [name, text] of Object.entries(files)) write(root, name, text)
  return root
}

function write(root: string, name: string, text: string): void {
  fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true })
  fs.writeFileSync(path.join(root, name), text)
}

const preview = (root: string, ...more: readonly string[]) =>
  run(['preview', path.join(root, 'workflows/hello'), ...more])

async function previewed(root: string, ...more: readonly string[]) {
  const { out } = await preview(root, '--output', 'json', ...more)
  return JSON.parse(out) as {
    readonly sample: string
    readonly samples: readonly string[]
    readonly messages: readonly {
      step: string
      content: Record<string, unknown> | null
      diagnostics: readonly { code: string }[]
    }[]
  }
}

test('preview renders each message with the first sample, another one, or other data', async () => {
  const root = directory()
  expect(await previewed(root)).toMatchObject({
    workflow: 'hello',
    sample: 'first',
    samples: ['first', 'hostile'],
    messages: [
      {
        step: 'mail',
        channel: { key: null, type: 'email', provider: null },
        recipient: { name: 'Ann', email: 'ada@example.com' },
        content: {
          type: 'email',
          subject: 'Hi Ann',
          html: '<p title="hello">hello</p>',
          text: 'hello',
        },
        diagnostics: [],
      },
      { step: 'feed', content: { body: { rendered: '<p><strong>hello</strong></p>' } } },
    ],
  })
  write(root, 'data.yaml', 'text: other\n')
  const other = await previewed(root, '--step', 'feed', '--data', path.join(root, 'data.yaml'))
  expect(other.messages).toMatchObject([
    { step: 'feed', content: { body: { content: '**other**' } } },
  ])
  expect((await preview(root, '--sample', 'hostile')).out).toContain('subject: Hi <script>')
})

test('on a terminal a text is a text, and buttons say where they lead', async () => {
  const button = 'buttons: [{ label: Go, action: "https://example.com/{{data.text}}" }]'
  const root = directory({
    ...FILES,
    'workflows/hello/workflow.yaml': `name: Hello\nsteps:\n  - { ref: feed, type: in_app, body: "**{{data.text}}**", ${button} }\n`,
  })
  const { out } = await preview(root)
  expect(out).toContain('body: **hello**')
  expect(out).toContain('buttons: Go → https://example.com/hello')
})

test('text messages, pushes and chat messages go to somebody who is made up', async () => {
  const root = directory({
    'workflows/hello/workflow.yaml': [
      'name: Hello',
      'steps:',
      '  - ref: asked',
      '    type: wait_for_event',
      '    event: message.read',
      '    match: { all: [{ variable: event.run_id, operator: equal_to, argument: run.id }] }',
      '  - { ref: text, type: sms, body: "Read {{event.message_id}}" }',
      '  - { ref: phone, type: push, title: "{{data.text}}", body: "{{data.text}}", data: { n: "{{data.n}}" } }',
      '  - { ref: room, type: chat, markdown: "**{{data.text}}**" }',
      '  - { ref: blocks, type: chat, blocks: [{ text: "{{data.text}}" }], summary: s }',
      '',
    ].join('\n'),
    'workflows/hello/samples/first.yaml': 'event: { message_id: m1 }\ndata: { text: a*b, n: 1 }\n',
  })
  const { messages } = await previewed(root)
  expect(messages).toMatchObject([
    { step: 'text', content: { to: '+12025550123', body: 'Read m1' }, diagnostics: [] },
    { step: 'phone', content: { token: 'sample-device', title: 'a*b', data: { n: 1 } } },
    {
      step: 'room',
      content: { connection: { channel_id: 'sample-channel' }, markdown: '**a\\*b**' },
    },
    { step: 'blocks', content: { blocks: [{ text: 'a*b' }], summary: 's' } },
  ])
  expect((await preview(root)).code).toBe(0)
})

async function linkIn(more: string): Promise<unknown> {
  const body = '{{vars.commercial_unsubscribe_url}}'
  const workflow = `name: Hello\n${more}steps:\n  - { ref: text, type: sms, body: "${body}" }\n`
  const root = directory({ 'workflows/hello/workflow.yaml': workflow })
  return (await previewed(root)).messages[0]?.content?.['body']
}

async function warningsOf(body: string): Promise<readonly object[]> {
  const workflow = `name: Hello\nsteps:\n  - { ref: text, type: sms, body: "${body}" }\n`
  const root = directory({ 'workflows/hello/workflow.yaml': workflow })
  return (await previewed(root)).messages[0]!.diagnostics
}

test('a text message that one letter makes dearer is told, and one in another alphabet is not', async () => {
  expect(await warningsOf(`${'a'.repeat(150)}🔔`)).toMatchObject([
    { code: 'sms_parts', message: expect.stringMatching(/^🔔 .* 3 parts instead of 1$/) as string },
  ])
  expect(await warningsOf('Привет, как дела? '.repeat(10))).toEqual([])
  expect(await warningsOf('a'.repeat(400))).toEqual([])
  expect(await warningsOf('Hi 🔔')).toEqual([])
})

test('a commercial message shows its link to unsubscribe, and others have none', async () => {
  expect(await linkIn('commercial: true\n')).toBe('https://example.com/unsubscribe/sample')
  expect(await linkIn('commercial: true\noverride_preferences: true\n')).toBe('')
  expect(await linkIn('')).toBe('')
})

test('what a step lays over a request is shown with its message', async () => {
  const overrides =
    'overrides: { twilio: { ValidityPeriod: "{{data.n}}" }, sns: { a: { b: "{{data.text}}" } } }'
  const root = directory({
    'workflows/hello/workflow.yaml': `name: Hello\nsteps:\n  - { ref: text, type: sms, body: x, ${overrides} }\n`,
    'workflows/hello/samples/first.yaml': 'data: { text: "<b>", n: 600 }\n',
  })
  const expected = { twilio: { ValidityPeriod: 600 }, sns: { a: { b: '<b>' } } }
  expect((await previewed(root)).messages).toMatchObject([{ content: { overrides: expected } }])
  expect((await preview(root)).out).toContain('overrides')
})

test('what cannot be rendered is told, and the exit code is 1', async () => {
  const root = directory()
  write(
    root,
    'workflows/hello/samples/first.yaml',
    'recipient: { name: Ann }\ndata: { text: 5 }\nnone: 1\n',
  )
  write(
    root,
    'workflows/hello/workflow.yaml',
    FILES['workflows/hello/workflow.yaml'].replace('**{{data.text}}**', '{{join data.text}}'),
  )
  const { code, out } = await preview(root)
  expect(code).toBe(1)
  expect(out).toContain('samples/first.yaml:3:1 error a sample has no "none"')
  expect(out).toContain('samples/first.yaml:2:15 error a trigger with this data would be refused')
  expect(out).toContain('error hello: join takes a list, not 5')
  expect(await run(['validate', root])).toMatchObject({
    code: 1,
    out: expect.stringContaining('step "feed": hello: join takes a list, not 5'),
  })
  write(root, 'workflows/hello/workflow.yaml', 'name: Hello\nsteps: []\n')
  expect(await preview(root)).toMatchObject({
    code: 1,
    out: expect.stringContaining('workflow.yaml:2'),
  })
})

test.each([
  [['preview', '/nowhere/workflows/hello'], 'ENOENT'],
  [['preview', 'other/hello'], 'no directory below workflows/'],
])('%j cannot be previewed', async (argv, message) => {
  expect(await run(argv)).toMatchObject({ code: 2, error: expect.stringContaining(message) })
})

test.each([
  [['--sample', 'none'], 'has no sample "none"; there are: first, hostile'],
  [['--step', 'none'], 'has no step "none" that sends'],
  [['--env', 'none'], 'there is no environment "none"'],
  [['--data', '/nowhere.json'], '/nowhere.json cannot be read'],
])('%j names what is not there', async (more, message) => {
  expect(await preview(directory(), ...more)).toMatchObject({
    code: 2,
    error: expect.stringContaining(message),
  })
})

test('a workflow is found by its path, or by its key', () => {
  expect(findWorkflow('/a/workflows/b/')).toEqual({ root: '/a', key: 'b' })
  expect(findWorkflow('workflows/b/workflow.yaml')).toEqual({ root: '.', key: 'b' })
  expect(findWorkflow('b')).toEqual({ root: '.', key: 'b' })
  expect(findWorkflow('.', '/a/workflows/b')).toEqual({ root: '/a', key: 'b' })
  expect(findWorkflow('../c/workflow.yaml', '/a/workflows/b')).toEqual({ root: '/a', key: 'c' })
  expect(() => findWorkflow('..', '/a')).toThrow('no directory below workflows/')
})

async function open(root = directory()) {
  const choice = {
    root,
    key: 'hello',
    sample: undefined,
    step: undefined,
    environment: undefined,
    dataFile: undefined,
  }
  const server = await servePreview(choice, { port: 0 })
  onTestFinished(() => server.close())
  return { root, ...server }
}

describe('the page', () => {
  test('shows each message in a frame of its own, in which nothing runs', async () => {
    const { url } = await open()
    const page = await fetch(`${url}?sample=hostile`)
    const frames = elementsOf(await page.text()).filter(({ tagName }) => tagName === 'iframe')
    expect(frames.map((frame) => attributesOf(frame))).toEqual([
      { sandbox: '', title: 'mail', src: '/message?step=mail&sample=hostile' },
      { class: 'small', sandbox: '', title: 'feed', src: '/message?step=feed&sample=hostile' },
    ])
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
    for (const frame of frames) {
      const message = await fetch(new URL(attributesOf(frame)['src'] ?? '', url))
      expect(message.headers.get('content-security-policy')).toMatch(/^sandbox; default-src 'none'/)
      const elements = elementsOf(await message.text()).map(({ tagName }) => tagName)
      expect(
        elements.filter((name) => !['html', 'head', 'body', 'p', 'strong'].includes(name)),
      ).toEqual([])
    }
  })

  test.each(['?sample=hostile', '?sample=%3Cscript%3Ealert(1)%3C/script%3E'])(
    'holds what samples and addresses say as text: %s',
    async (query) => {
      const { url } = await open()
      const html = await (await fetch(url + query)).text()
      const elements = elementsOf(html)
      const scripts = elements.filter(({ tagName }) => tagName === 'script').map(attributesOf)
      expect(scripts).toEqual([{ src: '/page.js', defer: '' }])
      expect(elements.filter(({ tagName }) => tagName === 'img')).toEqual([])
      const handlers = elements.flatMap(({ attrs }) =>
        attrs.filter(({ name }) => name.startsWith('on')),
      )
      expect(handlers).toEqual([])
      expect(html).toContain('&#60;script&#62;')
    },
  )

  test('tells open pages of a save, and then shows what was saved', async () => {
    const { root, url } = await open()
    const changes = await fetch(`${url}changes`)
    const reader = changes.body!.getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe(': open\n\n')
    const told = reader.read()
    write(root, 'workflows/hello/samples/first.yaml', 'recipient: { name: Saved }\n')
    expect(new TextDecoder().decode((await told).value)).toBe('data: changed\n\n')
    expect(await (await fetch(url)).text()).toContain('Hi Saved')
    await reader.cancel()
  })

  test('is for this machine alone', async () => {
    const { url } = await open()
    const status = await new Promise((resolve, reject) => {
      const request = http.get(url, { headers: { host: 'evil.example.com' } }, (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      })
      request.once('error', reject)
    })
    expect(status).toBe(421)
    expect((await fetch(`${url}none`)).status).toBe(404)
  })
})

type Element = DefaultTreeAdapterMap['element']

/** The elements of a document, as a browser reads it. */
function elementsOf(html: string): readonly Element[] {
  const found: Element[] = []
  const visit = (node: DefaultTreeAdapterMap['node']): void => {
    if ('tagName' in node) found.push(node)
    if ('childNodes' in node) for (const child of node.childNodes) visit(child)
  }
  visit(parse(html))
  return found
}

function attributesOf({ attrs }: Element): Readonly<Record<string, string>> {
  return Object.fromEntries(attrs.map(({ name, value }) => [name, value]))
}
