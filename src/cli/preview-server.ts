import { spawn } from 'node:child_process'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { watch } from 'chokidar'
import { systemClock } from '../clock.ts'
import { messageOf } from '../errors.ts'
import { previewFiles, type PreviewChoice } from './preview-files.ts'
import {
  MESSAGE_POLICY,
  messageHtml,
  PAGE_POLICY,
  PAGE_SCRIPT,
  previewPage,
  problemPage,
} from './preview-page.ts'

/** How long files must be quiet before they are shown: editors write in several steps. */
const QUIET_MS = 50

/** A page that shows a preview while it is served. */
export interface PreviewServer {
  readonly url: string
  close(): Promise<void>
}

/** Serves the preview to this machine alone, and tells open pages when a file was saved. */
export async function servePreview(
  choice: PreviewChoice,
  { port }: { readonly port: number },
): Promise<PreviewServer> {
  const listeners = new Set<ServerResponse>()
  const server = createServer((request, response) => {
    answer(request, { response, choice, listeners }).catch((error: unknown) => {
      send(response, {
        type: 'text/html',
        body: problemPage(messageOf(error)),
        policy: PAGE_POLICY,
      })
    })
  })
  await listen(server, port)
  const roots = ['workflows', 'environments'].map((name) => path.join(choice.root, name))
  const watcher = watch(roots, { ignoreInitial: true })
  let timer: NodeJS.Timeout | undefined
  watcher.on('all', () => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      for (const listener of listeners) listener.write('data: changed\n\n')
    }, QUIET_MS)
  })
  await new Promise((resolve) => watcher.once('ready', () => resolve(undefined)))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      clearTimeout(timer)
      await watcher.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve())
  })
}

interface Answering {
  readonly response: ServerResponse
  readonly choice: PreviewChoice
  readonly listeners: Set<ServerResponse>
}

async function answer(
  request: IncomingMessage,
  { response, choice, listeners }: Answering,
): Promise<void> {
  // A page elsewhere could give its own name this address, and read what is shown here.
  if (!/^(?:127\.0\.0\.1|localhost):\d+$/.test(request.headers.host ?? '')) {
    response.writeHead(421).end()
    return
  }
  const url = new URL(request.url ?? '/', 'http://127.0.0.1')
  const sample = url.searchParams.get('sample') ?? choice.sample
  const now = systemClock.now()
  switch (url.pathname) {
    case '/':
      send(response, {
        type: 'text/html',
        body: previewPage(await previewFiles({ ...choice, sample }, now)),
        policy: PAGE_POLICY,
      })
      return
    case '/message': {
      const step = url.searchParams.get('step') ?? ''
      const { messages } = await previewFiles({ ...choice, sample, step }, now)
      const html = messages.map(messageHtml).find((one) => one !== undefined) ?? ''
      send(response, { type: 'text/html', body: html, policy: MESSAGE_POLICY })
      return
    }
    case '/page.js':
      send(response, { type: 'text/javascript', body: PAGE_SCRIPT, policy: PAGE_POLICY })
      return
    case '/changes':
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
      response.write(': open\n\n')
      listeners.add(response)
      response.once('close', () => listeners.delete(response))
      return
    default:
      response.writeHead(404).end()
  }
}

function send(
  response: ServerResponse,
  { type, body, policy }: { readonly type: string; readonly body: string; readonly policy: string },
): void {
  response.writeHead(200, {
    'content-type': `${type}; charset=utf-8`,
    'content-security-policy': policy,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
  })
  response.end(body)
}

const OPENERS: Readonly<Partial<Record<NodeJS.Platform, readonly [string, ...string[]]>>> = {
  darwin: ['open'],
  win32: ['cmd', '/c', 'start', ''],
}

/** Opens a page in the browser of the desktop; where there is none, the address was printed. */
export function openInBrowser(url: string): void {
  const [command, ...rest] = OPENERS[process.platform] ?? ['xdg-open']
  const opened = spawn(command, [...rest, url], { stdio: 'ignore', detached: true })
  opened.once('error', () => undefined)
  opened.unref()
}

/** Resolves at the first SIGINT or SIGTERM. */
export function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}
