import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import { routes } from '../../src/api/index.ts'
import { startApp, type App } from '../../src/app.ts'
import { readConfig, type Env } from '../../src/config.ts'
import type { Database } from '../../src/db/database.ts'
import { expectOwnContract } from '../support/contract.ts'
import { git, testRepository, type Files, type TestRepository } from '../support/repository.ts'

/** The keys of the environments that these tests use. */
export const KEYS = {
  production: 'sk_production_for_tests',
  development: 'sk_development_for_tests',
} as const
export const OPERATOR = 'op_for_these_tests'

export interface Reply<Body = unknown> {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The JSON of it, else the text; a test says what it expects there. */
  readonly body: Body
}

export interface CallOptions {
  /** A key; production's where it is left out, none where it is null. */
  readonly key?: string | null
  /** JSON of anything, or text and bytes as they are. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** The whole program on a repository and a database of its own, as it runs in production. */
export interface TestApp extends AsyncDisposable {
  readonly app: App
  readonly url: string
  readonly repository: TestRepository
  /** Every line of the log, at the level `debug`. */
  readonly lines: readonly string[]
  call<Body = unknown>(method: string, path: string, options?: CallOptions): Promise<Reply<Body>>
  /** Commits on the default branch, which production follows, and waits until it was looked at. */
  commit(files: Files): Promise<void>
  /** What an environment says of itself once it has tried the tip of its branch. */
  environment(name: string): Promise<EnvironmentState>
  /** Triggers, and answers the messages once each was handed over or given up for now. */
  send(workflow: string, body: object): Promise<readonly SentMessage[]>
}

export interface EnvironmentState {
  readonly state: string
  readonly reason: string
  readonly observed_revision: string
  readonly attempted_revision: string
  readonly diagnostics: readonly {
    readonly path: string
    readonly line: number
    readonly column: number
    readonly code: string
    readonly message: string
  }[]
}

export interface SentMessage {
  readonly id: string
  readonly status: string
  readonly reason: string | null
  readonly recipient: string
  readonly channel: { readonly key: string }
  readonly source: { readonly step_ref: string; readonly workflow_recipient_run_id: string }
}

export interface AppSettings {
  readonly files: Files
  readonly env?: Env
  /** Whether the fakes of a test, on the loopback, may be reached. */
  readonly loopback?: boolean
}

/** Starts the app on a repository whose default branch `main` holds `files`, also as `development`. */
export async function openApp(database: Database, settings: AppSettings): Promise<TestApp> {
  await using stack = new AsyncDisposableStack()
  const repository = stack.use(await testRepository())
  // The environments of the database may have had other workflows.
  await repository.commit(settings.files, 'Begin\n\nBelfry-Allow-Prune: true\n')
  await repository.git('branch', 'development')
  const directory = await mkdtemp(join(tmpdir(), 'belfry-app-'))
  stack.defer(() => rm(directory, { recursive: true, force: true }))
  const lines: string[] = []
  const config = readConfig({
    BELFRY_REPO: repository.path,
    BELFRY_DATA_DIR: directory,
    BELFRY_API_KEYS: Object.entries(KEYS)
      .map(([environment, key]) => `${environment}=${key}`)
      .join(','),
    BELFRY_OPERATOR_TOKEN: OPERATOR,
    BELFRY_LOG_LEVEL: 'debug',
    BELFRY_POLL_SECONDS: '1',
    ...(settings.loopback !== false && { BELFRY_ALLOWED_TARGETS: '127.0.0.1' }),
    DATABASE_URL: database.url,
    PORT: '0',
    ...settings.env,
  })
  const write = (line: string) => void lines.push(line)
  const app = stack.use(await startApp(config, { write, human: false }))
  await app.firstLook
  const url = app.url!
  const call = <Body>(method: string, path: string, options?: CallOptions) =>
    callApp<Body>(url, method, path, options)
  const environment = (name: string) => stateOf(call, repository, name)
  const opened = stack.move()
  return {
    app,
    url,
    repository,
    lines,
    call,
    async commit(files) {
      await repository.commit(files)
      await environment('production')
    },
    environment,
    send: (workflow, body) => send(call, workflow, body),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

type Call = TestApp['call']

async function callApp<Body>(
  url: string,
  method: string,
  path: string,
  { key = KEYS.production, body, headers = {} }: CallOptions = {},
): Promise<Reply<Body>> {
  const all: Record<string, string> = { ...headers }
  if (key !== null) all['authorization'] ??= `Bearer ${key}`
  if (body !== undefined) all['content-type'] ??= 'application/json'
  const raw = typeof body === 'string' || body instanceof Uint8Array
  const response = await fetch(`${url}${path}`, {
    method,
    headers: all,
    body: body === undefined ? null : raw ? (body as string) : JSON.stringify(body),
  })
  const text = await response.text()
  const { status } = response
  const type = response.headers.get('content-type')
  expectOwnContract(routes, { method, path, status, type, text })
  return { status, headers: response.headers, text, body: parse(text) as Body }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Asks again until it is so; also outside a test. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  const ask = async () => {
    if (!(await isSo())) throw new Error('not in time')
  }
  await vi.waitFor(ask, { timeout: 10_000, interval: 20 })
}

async function stateOf(
  call: Call,
  repository: TestRepository,
  name: string,
): Promise<EnvironmentState> {
  const state = async () =>
    (
      await call<EnvironmentState & { readonly ref: string }>('GET', `/v1/environments/${name}`, {
        key: OPERATOR,
      })
    ).body
  const { ref } = await state()
  const tip = await git(repository.path, 'rev-parse', `refs/heads/${ref}`)
  await until(async () => {
    const { attempted_revision: attempted, state: now } = await state()
    return attempted === tip && now !== 'reconciling'
  })
  return await state()
}

/** States in which nothing happens for now. */
const SETTLED = new Set(['sent', 'delivered', 'delivery_attempted', 'undelivered', 'not_sent'])

interface WorkflowRun {
  readonly fan_out: string
  readonly runs: {
    readonly total: number
    readonly by_status: { readonly completed?: number; readonly cancelled?: number }
  }
}

async function send(call: Call, workflow: string, body: object): Promise<readonly SentMessage[]> {
  const reply = await call<{ workflow_run_id: string }>(
    'POST',
    `/v1/workflows/${workflow}/trigger`,
    { body },
  )
  if (reply.status !== 200)
    throw new Error(`the trigger was answered ${reply.status}: ${reply.text}`)
  const { workflow_run_id: id } = reply.body
  const hasEnded = async () => {
    const run = (await call<WorkflowRun>('GET', `/v1/workflow_runs/${id}`)).body
    const { completed = 0, cancelled = 0 } = run.runs.by_status
    return run.fan_out === 'done' && completed + cancelled === run.runs.total
  }
  const messages = async () =>
    (await call<{ items: readonly SentMessage[] }>('GET', `/v1/messages?workflow_run_id=${id}`))
      .body.items
  const haveSettled = async () =>
    (await messages()).every(
      (message) => SETTLED.has(message.status) || message.reason === 'channel_refused',
    )
  await until(hasEnded)
  await until(haveSettled)
  return (await messages()).toReversed()
}

/** What happened to the run of a message, and to the message. */
export async function timelineOf(
  { call }: Pick<TestApp, 'call'>,
  message: SentMessage,
): Promise<
  readonly { readonly event: string; readonly data: Readonly<Record<string, unknown>> }[]
> {
  const { workflow_recipient_run_id: id } = message.source
  const run = await call<{ events: Awaited<ReturnType<typeof timelineOf>> }>(
    'GET',
    `/v1/workflow_recipient_runs/${id}`,
  )
  return run.body.events
}
