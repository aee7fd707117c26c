import type { Database } from '../../src/db/database.ts'
import { createKey } from '../../src/api/keys.ts'
import type { Route, Scope } from '../../src/api/route.ts'
import { startServer, type Server, type ServerOptions } from '../../src/api/server.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { testClock, type TestClock } from '../support/clock.ts'
import { sql } from '../../src/db/sql.ts'
import { expectOwnContract } from '../support/contract.ts'

export const NOW = '2026-03-01T12:00:00.000Z'
export const OPERATOR = 'op_for_tests'

export interface TestServer extends AsyncDisposable {
  readonly server: Server
  readonly clock: TestClock
  readonly failures: unknown[]
  call(method: string, path: string, options?: CallOptions): Promise<TestReply>
}

export interface CallOptions {
  readonly key?: string
  readonly headers?: Readonly<Record<string, string>>
  /** JSON of anything, or the bytes as they are. */
  readonly body?: unknown
}

export interface TestReply {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
}

/** A real server on a free port, with the routes that a test wants. */
export async function serve(
  database: Database,
  routes: readonly Route[],
  options: Partial<ServerOptions> = {},
): Promise<TestServer> {
  const clock = testClock(NOW)
  const failures: unknown[] = []
  const server = await startServer({
    database,
    clock,
    routes,
    log: {
      error: (message, fields) => failures.push({ message, ...fields }),
      warn: (message, fields) => failures.push({ message, ...fields }),
    },
    services: {
      queue: undefined as never,
      hasLookedAtGit: () => true,
      startedAt: clock.now(),
    },
    operatorToken: OPERATOR,
    host: '127.0.0.1',
    port: { number: 0, explicit: true },
    loopbackOnly: true,
    ...options,
  })
  return {
    server,
    clock,
    failures,
    call: (method, path, call = {}) => callServer({ url: server.url, routes }, method, path, call),
    [Symbol.asyncDispose]: () => server.close(),
  }
}

async function callServer(
  { url, routes }: { readonly url: string; readonly routes: readonly Route[] },
  method: string,
  path: string,
  { key, headers = {}, body }: CallOptions,
): Promise<TestReply> {
  const all: Record<string, string> = { ...headers }
  if (key !== undefined) all['authorization'] = `Bearer ${key}`
  if (body !== undefined) all['content-type'] ??= 'application/json'
  const response = await fetch(`${url}${path}`, {
    method,
    headers: all,
    body: body === undefined ? null : bytesOf(body),
  })
  const text = await response.text()
  const { status } = response
  const type = response.headers.get('content-type')
  expectOwnContract(routes, { method, path, status, type, text })
  return { status, headers: response.headers, body: parse(text) }
}

function bytesOf(body: unknown): string | Uint8Array<ArrayBuffer> {
  if (typeof body === 'string') return body
  return body instanceof Uint8Array ? new Uint8Array(body) : JSON.stringify(body)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** An environment that has never been looked at, and a key of it. */
export async function anEnvironment(
  database: Database,
  name: string,
  scopes: readonly Scope[] = ['trigger', 'read', 'write', 'operate'],
): Promise<{ environment: EnvironmentName; key: string }> {
  const environment = name as EnvironmentName
  await database.query(sql`
    insert into environments (name, git_ref, declared, state, reason, message, updated_at)
    values (${name}, ${name}, true, 'reconciling', 'pending', 'not looked at yet', ${NOW})
    on conflict (name) do nothing
  `)
  const now = new Date(NOW)
  const made = await createKey(database, {
    environment,
    name: 'test',
    scopes,
    source: 'command',
    now,
  })
  return { environment, key: made.key }
}
