import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { chromium, type BrowserContext, type Page } from 'playwright-core'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome']
const MAC = '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'

function places(): readonly string[] {
  const { PATH = '', BELFRY_TEST_BROWSER: named } = process.env
  if (named !== undefined) return [named]
  const directories = PATH.split(path.delimiter)
  return [...NAMES.flatMap((name) => directories.map((one) => path.join(one, name))), MAC]
}

/** Where Chromium is on this machine; undefined where it is not. */
export const browserPath = places().find((one) => existsSync(one))

const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** What a page did that it should not, in words. */
export type Misdeed = string

/** A page in headless Chromium that reaches this machine alone. */
export interface TestPage extends AsyncDisposable {
  readonly page: Page
  /** Shows `html` as what a website answers. */
  show(html: string): Promise<void>
  /** Scripts that ran, dialogs, requests to elsewhere, and what the page's policy refused, since it was asked last. */
  misdeeds(): Promise<readonly Misdeed[]>
}

export interface TestBrowser extends AsyncDisposable {
  /** A page that may ask for what is on these origins. */
  open(origins: readonly string[]): Promise<TestPage>
}

/** Starts the browser with a profile of its own. */
export async function startBrowser(): Promise<TestBrowser> {
  await using stack = new AsyncDisposableStack()
  const profile = await mkdtemp(path.join(tmpdir(), 'belfry-browser-'))
  stack.defer(() => rm(profile, { recursive: true, force: true, maxRetries: 5 }))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: browserPath!,
    headless: true,
    args: ARGUMENTS,
  })
  stack.defer(() => context.close())
  const opened = stack.move()
  return {
    open: (origins) => openPage(context, origins),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

/** Where a page stands that is only shown: links in it lead somewhere. */
const SITE = 'https://page.example.com/'

/** What a script of a test's data leaves behind, were it to run. */
const PWNED = 'pwned'

async function openPage(context: BrowserContext, origins: readonly string[]): Promise<TestPage> {
  const page = await context.newPage()
  let found: Misdeed[] = []
  page.on('dialog', (dialog) => {
    found.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('console', (line) => {
    if (line.type() === 'error') found.push(`console: ${line.text()}`)
  })
  page.on('pageerror', ({ message }) => found.push(`error: ${message}`))
  page.on('popup', () => found.push('a window was opened'))
  let shown = ''
  await page.route('**', async (route) => {
    const url = route.request().url()
    if (url === SITE && route.request().isNavigationRequest()) {
      return await route.fulfill({ contentType: 'text/html; charset=utf-8', body: shown })
    }
    if (origins.includes(new URL(url).origin)) return await route.continue()
    found.push(`request: ${url}`)
    await route.abort()
  })
  return {
    page,
    async show(html) {
      shown = html
      await page.goto(SITE)
    },
    async misdeeds() {
      const frames = page.frames().filter((frame) => !frame.isDetached())
      const marks = await Promise.all(
        frames.map((frame) =>
          // A page that leaves for elsewhere has been asked for that, which is noted.
          frame.evaluate((name) => name in globalThis, PWNED).catch(() => false),
        ),
      )
      const all = [...found, ...marks.flatMap((mark) => (mark ? ['a script ran'] : []))]
      found = []
      return all
    },
    [Symbol.asyncDispose]: () => page.close(),
  }
}
