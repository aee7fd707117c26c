import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname } from 'node:path'
import { createGunzip } from 'node:zlib'
import { bareClone, git, testRepository } from './repository.ts'
import type { Files, TestRepository } from './repository.ts'

/** What a Git client asks for, in the order in which it asks. */
export type GitStep = 'advertise' | 'list' | 'fetch' | 'push'

/** What the server does in the place of answering, or with its answer. */
export type Trouble =
  | {
      readonly kind: 'status'
      readonly status: number
      readonly headers?: http.OutgoingHttpHeaders
    }
  /** Takes the request and says nothing. */
  | { readonly kind: 'silence' }
  /** Sends headers and nothing more. */
  | { readonly kind: 'headers_only' }
  /** Ends the connection after so many bytes of the body. */
  | { readonly kind: 'cut'; readonly bytes: number }
  /** Ends the body after so many bytes as if that were all. */
  | { readonly kind: 'short'; readonly bytes: number }
  /** Says nothing more after so many bytes, and keeps the connection. */
  | { readonly kind: 'stall'; readonly bytes: number }
  /** Sends a byte, waits, sends another one. */
  | { readonly kind: 'drip'; readonly pauseMs: number }
  /** Answers as it is, after the test has let it. */
  | { readonly kind: 'hold'; readonly until: Promise<unknown> }
  /** Answers with these bytes. */
  | { readonly kind: 'body'; readonly body: Buffer }

export interface GitRequest {
  readonly step: GitStep
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  /** How many bytes were sent as the body of the answer. */
  sent: number
  readonly body: string
}

/** A real Git server over HTTP: `git http-backend` behind a listener that can be told to fail. */
export interface GitServer extends AsyncDisposable {
  readonly port: number
  /** The address of the repository, without credentials. */
  readonly url: string
  readonly requests: readonly GitRequest[]
  /** The bare repository that is served; it can be worked on in place, or swapped for another one. */
  bare: TestRepository
  /** Who may read; null lets everybody. */
  credentials: { readonly username: string; readonly password: string } | null
  /** What is wrong with each request from now on; undefined for nothing. */
  trouble: (request: GitRequest) => Trouble | undefined
  /** Serves the first protocol alone, as some hosts do. */
  isOld: boolean
  /** How many requests came for a step, or for all of them, since `forget`. */
  count(step?: GitStep): number
  forget(): void
}

/** A work tree and a server of the bare repository that it is pushed to. */
export interface ServedRepository extends AsyncDisposable {
  readonly work: TestRepository
  readonly server: GitServer
  /** Commits on the branch that is checked out and pushes it; answers the tip. */
  push(files: Files, message?: string): Promise<string>
}

/** Serves a clone of what `files` say on the branch `main`, and on further branches at the same commit. */
export async function serveRepository(
  files: Files,
  branches: readonly string[] = [],
): Promise<ServedRepository> {
  await using stack = new AsyncDisposableStack()
  const work = stack.use(await testRepository())
  await work.commit(files)
  for (const branch of branches) await work.git('branch', branch)
  const server = stack.use(await startGitServer(await bareClone(work)))
  const owned = stack.move()
  return {
    work,
    server,
    async push(changed, message) {
      await work.commit(changed, message)
      await work.git('push', '--quiet', '--force', server.bare.path, 'HEAD')
      return work.git('rev-parse', 'HEAD')
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Serves a bare repository, which is removed with the server, as `/repository.git`. */
export async function startGitServer(bare: TestRepository): Promise<GitServer> {
  const requests: GitRequest[] = []
  const listener = http.createServer((incoming, response) => {
    answer(server, requests, { incoming, response }).catch(() => response.destroy())
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  const owned = new Set([bare])
  const server: GitServer = {
    port,
    url: `http://127.0.0.1:${port}/repository.git`,
    requests,
    get bare() {
      return [...owned].at(-1) ?? bare
    },
    set bare(next) {
      owned.delete(next)
      owned.add(next)
    },
    credentials: null,
    trouble: () => undefined,
    isOld: false,
    count: (step) => requests.filter((one) => step === undefined || one.step === step).length,
    forget: () => void requests.splice(0),
    async [Symbol.asyncDispose]() {
      listener.closeAllConnections()
      await new Promise<void>((resolve) => listener.close(() => resolve()))
      for (const one of owned) await one[Symbol.asyncDispose]()
    },
  }
  return server
}

interface Exchange {
  readonly incoming: http.IncomingMessage
  readonly response: http.ServerResponse
}

async function answer(
  server: GitServer,
  requests: GitRequest[],
  exchange: Exchange,
): Promise<void> {
  const { incoming, response } = exchange
  const body = await bodyOf(incoming)
  const text = body.toString('latin1')
  const { headers, url: path = '' } = incoming
  const request: GitRequest = { step: stepOf(path, text), path, headers, sent: 0, body: text }
  requests.push(request)
  if (server.credentials && !isKnown(server.credentials, headers.authorization)) {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end()
    return
  }
  const trouble = server.trouble(request)
  if (trouble?.kind === 'silence') return
  if (trouble?.kind === 'status') {
    response.writeHead(trouble.status, trouble.headers).end('an error page')
    return
  }
  if (trouble?.kind === 'hold') await trouble.until
  const backend = await runBackend(server, exchange, body)
  await reply(request, response, { ...backend, trouble })
}

async function bodyOf(incoming: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  const isPacked = incoming.headers['content-encoding'] === 'gzip'
  for await (const chunk of isPacked ? incoming.pipe(createGunzip()) : incoming) {
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}

function stepOf(path: string, body: string): GitStep {
  if (path.includes('/info/refs')) return 'advertise'
  if (path.endsWith('/git-receive-pack')) return 'push'
  return body.includes('command=ls-refs') ? 'list' : 'fetch'
}

function isKnown(
  { username, password }: { readonly username: string; readonly password: string },
  header = '',
): boolean {
  return header === `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

interface Backend {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** One CGI call. Its output is collected, so that a test can cut it at any byte. */
async function runBackend(
  server: GitServer,
  { incoming }: Exchange,
  body: Buffer,
): Promise<Backend> {
  const url = new URL(incoming.url ?? '', server.url)
  const protocol = incoming.headers['git-protocol']
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env['PATH'],
      GIT_PROJECT_ROOT: dirname(server.bare.path),
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      REQUEST_METHOD: incoming.method,
      PATH_INFO: url.pathname.replace('/repository.git', `/${server.bare.path.split('/').at(-1)}`),
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: incoming.headers['content-type'],
      CONTENT_LENGTH: String(body.length),
      REMOTE_USER: 'ada',
      REMOTE_ADDR: '127.0.0.1',
      ...(protocol && !server.isOld && { GIT_PROTOCOL: String(protocol) }),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  // A backend that has refused a request does not read it.
  child.stdin.on('error', () => {})
  child.stdin.end(body)
  const chunks: Buffer[] = []
  for await (const chunk of child.stdout) chunks.push(chunk as Buffer)
  const output = Buffer.concat(chunks)
  const end = output.indexOf('\r\n\r\n')
  const headers: Record<string, string> = {}
  for (const line of output.toString('latin1', 0, Math.max(end, 0)).split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim()
  }
  const { status = '200', ...rest } = headers
  return { status: Number.parseInt(status, 10), headers: rest, body: output.subarray(end + 4) }
}

async function reply(
  request: GitRequest,
  response: http.ServerResponse,
  { status, headers, body, trouble }: Backend & { readonly trouble: Trouble | undefined },
): Promise<void> {
  response.writeHead(status, headers)
  if (trouble?.kind === 'headers_only') return response.flushHeaders()
  if (trouble?.kind === 'drip') return drip(response, body, trouble.pauseMs)
  const bytes = bytesOf(body, trouble)
  request.sent = bytes.length
  await new Promise<void>((resolve) => response.write(bytes, () => resolve()))
  if (trouble?.kind === 'stall') return
  if (trouble?.kind === 'cut') response.destroy()
  else response.end()
}

function bytesOf(body: Buffer, trouble: Trouble | undefined): Buffer {
  if (trouble?.kind === 'body') return trouble.body
  return trouble && 'bytes' in trouble ? body.subarray(0, trouble.bytes) : body
}

async function drip(response: http.ServerResponse, body: Buffer, pauseMs: number): Promise<void> {
  for (const byte of body) {
    if (response.destroyed) return
    response.write(Buffer.from([byte]))
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  response.end()
}

/** What `git fsck` finds wrong with a repository, reading every object; empty when it is whole. */
export async function fsck(path: string): Promise<string> {
  return git(path, 'fsck', '--full', '--strict', '--no-dangling', '--no-progress').catch(
    (error: Error) => error.message,
  )
}
