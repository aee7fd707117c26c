import fs from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type published from '@knocklabs/client'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { previewFiles } from '../../src/cli/preview-files.ts'
import { PAGE_POLICY } from '../../src/cli/preview-page.ts'
import { servePreview } from '../../src/cli/preview-server.ts'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { browserPath, startBrowser, type TestBrowser, type TestPage } from '../support/browser.ts'
import { makeKeys, signToken } from '../support/client-keys.ts'
import { cloneBlank } from '../support/database.ts'
import { startSmtp, type SmtpFake } from '../support/smtp.ts'
import { openApp, type TestApp } from './app-support.ts'
import { HOSTILE } from './hostile.ts'

// What a browser makes of what people write into messages: in mails, in a feed, on the preview and on our own pages.

if (browserPath === undefined) {
  console.warn('browser.long.test.ts is skipped: there is no Chromium; see test/support/browser.ts')
}

test.runIf(process.env['BELFRY_TEST_BROWSER'])('the browser that is named is there', () => {
  expect(browserPath).toBeDefined()
})

const PUBLIC_KEY = 'pk_production_for_tests'
const keys = makeKeys()

const workflows = {
  'workflows/html/workflow.yaml': `name: HTML
steps:
  - ref: mail
    type: email
    subject: "{{data.text}}"
    preheader: "{{data.text}}"
    html: { file: mail.html.hbs }
`,
  'workflows/html/mail.html.hbs': `<style>p{margin:0}</style>
<p title="{{data.text}}">{{data.text}} {{recipient.name}}</p>
<div>{{markdown data.text}}</div>
<a href="{{data.text}}">one</a>
<a href="https://example.com/{{data.text}}?q={{data.text}}#{{data.text}}">two</a>
<textarea>{{data.text}}</textarea><img alt="{{data.text}}">
`,
  'workflows/markdown/workflow.yaml': `name: Markdown
commercial: true
steps:
  - ref: mail
    type: email
    subject: "{{data.text}}"
    markdown: { file: text.md.hbs }
  - ref: feed
    type: in_app
    body: { file: text.md.hbs }
    action_url: "{{data.text}}"
    buttons: [{ label: "{{data.text}}", action: "{{data.text}}" }]
`,
  'workflows/markdown/text.md.hbs': `# {{data.text}}

**{{data.text}}** [link]({{data.text}}) \`{{data.text}}\` [{{data.text}}](https://example.com/{{data.text}})

> {{data.text}}

- {{recipient.name}}
`,
}

const environment = (port: number) => `ref: main
channels:
  feed: { type: in_app, provider: in_app }
  mail: { type: email, provider: smtp, settings: { host: 127.0.0.1, port: ${port}, from: hello@example.com } }
client_keys: { app: { file: app.pem } }
`

interface Scene extends AsyncDisposable {
  readonly browser: TestBrowser
  readonly app: TestApp
  readonly smtp: SmtpFake
}

async function openScene(): Promise<Scene> {
  await using stack = new AsyncDisposableStack()
  const clone = await cloneBlank()
  stack.defer(() => clone.drop())
  const smtp = stack.use(await startSmtp())
  const app = stack.use(
    await openApp(clone.database, {
      files: {
        'environments/production.yaml': environment(smtp.port),
        'environments/app.pem': keys.pem,
        ...workflows,
      },
      env: {
        BELFRY_API_KEYS: `production=sk_production_for_tests,production=${PUBLIC_KEY}`,
        BELFRY_PUBLIC_URL: 'https://belfry.example.com',
      },
    }),
  )
  const browser = stack.use(await startBrowser())
  const opened = stack.move()
  return { app, smtp, browser, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

let scene: Scene

/** Sends each of the values, to a person of that name. */
async function sendAll(workflow: string): Promise<void> {
  const { app, smtp } = scene
  const before = smtp.mails.length
  for (const [index, text] of HOSTILE.entries()) {
    const one = { id: `p${index}`, name: text, email: `p${index}@example.com` }
    const reply = await app.call('POST', `/v1/workflows/${workflow}/trigger`, {
      body: { recipients: [one], data: { text } },
    })
    expect([reply.text, reply.status]).toEqual([expect.anything(), 200])
  }
  const haveCome = () => expect(smtp.mails).toHaveLength(before + HOSTILE.length)
  await vi.waitFor(haveCome, { timeout: 30_000 })
}

describe.runIf(browserPath !== undefined)('in a browser', () => {
  beforeAll(async () => {
    scene = await openScene()
    await sendAll('html')
    await sendAll('markdown')
  }, 120_000)
  afterAll(() => (scene as Scene | undefined)?.[Symbol.asyncDispose]())

  test('the values do run where nothing keeps them from it', async () => {
    await using opened = await scene.browser.open([])
    const ran: boolean[] = []
    for (const text of HOSTILE.slice(0, 12)) {
      await opened.show(`<main>${text}<a href="${text}">a</a></main>`)
      ran.push((await misdeedsOf(opened)).length > 0)
    }
    // A form, for one, waits for somebody.
    expect(ran.filter(Boolean).length).toBeGreaterThan(8)
  })

  test('nothing of them runs or is loaded in a mail', async () => {
    await using opened = await scene.browser.open([])
    const { mails } = scene.smtp
    expect(mails).toHaveLength(2 * HOSTILE.length)
    await opened.show('')
    for (const { parsed } of mails) {
      const html = String(parsed.html)
      await opened.page.setContent(html)
      expect([html, ...(await misdeedsOf(opened))]).toEqual([html])
    }
  })

  test('nothing of them runs or is loaded in a feed', async () => {
    await using opened = await scene.browser.open([])
    await opened.show('<main></main>')
    const { default: Knock } = createRequire(import.meta.url)(
      '@knocklabs/client',
    ) as typeof published
    for (const index of HOSTILE.keys()) {
      const client = new Knock(PUBLIC_KEY, { host: scene.app.url })
      const id = `p${index}`
      client.authenticate({ id }, signToken(keys, new Date(), { sub: id }))
      const feed = client.feeds.initialize(channelId('feed' as ChannelKey))
      await feed.fetch()
      const blocks = JSON.stringify(feed.store.getState().items.flatMap((item) => item.blocks))
      client.teardown()
      expect(blocks).toContain('"markdown"')
      await opened.page.evaluate(`(${SHOW_BLOCKS})(${blocks})`)
      expect([blocks, ...(await misdeedsOf(opened))]).toEqual([blocks])
    }
  })

  test('the page to unsubscribe works, is styled, and takes nothing from elsewhere', async () => {
    const { app, smtp, browser } = scene
    const sent = smtp.mails.map(({ raw }) => raw.replaceAll(/\r\n\s+/g, ''))
    const link = /<https:\/\/belfry\.example\.com(\/unsubscribe\/[\w-]+)>/
    const at = link.exec(sent.find((raw) => link.test(raw)) ?? '')?.[1] ?? ''
    await using opened = await browser.open([app.url])
    const { page } = opened
    const answer = await page.goto(app.url + at)
    expect(answer?.headers()['content-security-policy']).toContain("default-src 'none'")
    expect(await page.textContent('h1')).toBe('Unsubscribe?')
    expect(await page.evaluate('getComputedStyle(document.body).maxWidth')).not.toBe('none')
    await page.click('button')
    await page.getByRole('heading', { name: 'You are unsubscribed' }).waitFor()
    await page.click('button')
    await page.getByRole('heading', { name: 'Unsubscribe?' }).waitFor()
    expect(await opened.misdeeds()).toEqual([])
    const added = JSON.stringify(`<img src=/o/x><img src=x onerror="globalThis.pwned=1">`)
    await page.evaluate(`document.body.insertAdjacentHTML('beforeend', ${added})`)
    const refused = await opened.misdeeds()
    expect(refused.length).toBeGreaterThan(0)
    expect(refused.filter((one) => !/Content Security Policy/.test(one))).toEqual([])
    await page.goto(`${app.url}/unsubscribe/${encodeURIComponent(HOSTILE[0]!)}`)
    expect((await opened.misdeeds()).filter((one) => !/404/.test(one))).toEqual([])
  })

  test('the mails that ship fit the screen of a phone', async () => {
    await using opened = await scene.browser.open([])
    await opened.page.setViewportSize({ width: 375, height: 700 })
    const found: string[] = []
    for (const key of await fs.readdir('workflows')) {
      if (key.startsWith('_')) continue
      const choice = { ...CHOICE, root: '.', key }
      for (const { step, content } of (await previewFiles(choice, new Date())).messages) {
        if (content?.type !== 'email') continue
        await opened.page.setContent(content.html)
        const width = await opened.page.evaluate('document.documentElement.scrollWidth')
        found.push(`${key} ${step}: ${String(width)}`)
      }
    }
    expect(found.length).toBeGreaterThan(8)
    expect(found.filter((one) => !one.endsWith(' 375'))).toEqual([])
  })

  test('nothing of them runs or is loaded in a preview, which is shown anew on a save', async () => {
    const root = await fs.mkdtemp(path.join(tmpdir(), 'belfry-preview-'))
    onTestFinished(() => fs.rm(root, { recursive: true }))
    const write = async (name: string, text: string) => {
      await fs.mkdir(path.dirname(path.join(root, name)), { recursive: true })
      await fs.writeFile(path.join(root, name), text)
    }
    for (const [name, text] of Object.entries(workflows)) await write(name, text)
    // Several in each, so that there are few pages to open.
    const samples = Array.from({ length: 6 }, (_, first) =>
      HOSTILE.filter((_text, index) => index % 6 === first),
    )
    for (const [index, texts] of samples.entries()) {
      const text = texts.join(' ')
      const sample = { recipient: { id: 'p', name: text, email: 'p@example.com' }, data: { text } }
      await write(`workflows/markdown/samples/s${index}.json`, JSON.stringify(sample))
    }
    const preview = await servePreview({ ...CHOICE, root, key: 'markdown' }, { port: 0 })
    onTestFinished(() => preview.close())
    await using opened = await scene.browser.open([new URL(preview.url).origin])
    const { page } = opened
    for (const index of samples.keys()) {
      const answer = await page.goto(`${preview.url}?sample=s${index}`)
      expect(answer?.headers()['content-security-policy']).toBe(PAGE_POLICY)
      expect(page.frames()).toHaveLength(3)
      expect(await opened.misdeeds()).toEqual([])
      // The text is there, and has not become something else.
      expect(await page.textContent('main')).toContain(samples[index]![0]!.slice(0, 5).trim())
    }
    await page.goto(preview.url)
    await write('workflows/markdown/samples/s0.json', '{"data":{"text":"saved just now"}}')
    await page.getByText('saved just now').first().waitFor()
    await page.frameLocator('iframe').first().getByText('saved just now').first().waitFor()
    expect(await opened.misdeeds()).toEqual([])
  })
})

const CHOICE = { sample: undefined, step: undefined, environment: undefined, dataFile: undefined }

// What runs in a page; it is text here, since nothing else of these tests knows of pages.

/** Shows the blocks of a feed's items as applications do: a body is HTML, the rest are properties. */
const SHOW_BLOCKS = `(blocks) => {
  const link = (label, href) => Object.assign(document.createElement('a'), { textContent: label, href })
  document.querySelector('main').replaceChildren(...blocks.map((block) => {
    const part = document.createElement('div')
    if (block.buttons) part.append(...block.buttons.map(({ label, action }) => link(label, action)))
    else if (block.type === 'markdown') part.innerHTML = block.rendered
    else part.append(link('open', block.rendered))
    return part
  }))
}`

/** Moves over everything, and follows each link that does not leave for the web. Answers where links lead. */
const USE_PAGE = `(() => {
  for (const link of document.links) {
    link.target = '_self'
    if (/^(https?|mailto|tel):/.test(link.href)) link.addEventListener('click', (event) => event.preventDefault())
    link.click()
  }
  for (const element of document.querySelectorAll('*')) {
    element.dispatchEvent(new Event('mouseover', { bubbles: true }))
    element.focus?.()
  }
  return Array.from(document.links, ({ protocol }) => protocol)
})()`

const wasLeft = () => ['elsewhere, which it left for']

/** What a page did by itself, and when somebody used it; and links that lead elsewhere than people expect. */
async function misdeedsOf(opened: TestPage): Promise<readonly string[]> {
  const protocols = await opened.page.evaluate<readonly string[]>(USE_PAGE).catch(wasLeft)
  const strange = protocols.filter((one) => !/^(?:https?|mailto|tel):$/.test(one))
  return [...(await opened.misdeeds()), ...strange.map((one) => `a link to ${one}`)]
}
