import { randomUUID } from 'node:crypto'
import { findServer, readDevCredentials } from '../data-directory.ts'
import { ConfigError, messageOf, type Violation } from '../errors.ts'
import type { ClientSettings, Option, OptionValues } from './command.ts'

/** A call that the server answered with something else than 2xx. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

export interface Call {
  readonly query?: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body?: unknown
  readonly idempotencyKey?: string
}

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'

/** Speaks to one server about one environment. */
export interface Client {
  readonly url: string
  /** Undefined: the environment of the key, or the only one there is. */
  readonly environment: string | undefined
  call<Reply>(method: Method, path: string, call?: Call): Promise<Reply>
}

/** The option of each command that speaks to a server. */
export const environmentOption: Option = {
  type: 'string',
  short: 'e',
  value: 'name',
  help: 'environment; default: that of the key, or development',
}

const DEFAULT_URL = 'http://127.0.0.1:4747'
const TIMEOUT_MS = 60_000

/** Finds the server and the key: `BELFRY_URL` and keys where they are set, else what runs on the data directory. */
export function createClient(settings: ClientSettings, options: OptionValues): Client {
  const url = settings.url ?? findServer(settings.dataDir)?.url ?? DEFAULT_URL
  const { token, environment: usual } = credentialOf(settings)
  const environment = options.text('environment') ?? usual
  return {
    url,
    environment,
    call: (method, path, call = {}) =>
      send({ url, token, environment, method, path, ...call }) as Promise<never>,
  }
}

/** An application's key counts before the operator's; what lies in the data directory comes last. */
function credentialOf(settings: ClientSettings): { token: string; environment?: string } {
  const set = settings.apiKey ?? settings.operatorToken
  if (set !== undefined) return { token: set }
  const made = settings.url === undefined ? readDevCredentials(settings.dataDir) : undefined
  if (made) return { token: made.operator_token, environment: 'development' }
  throw new ConfigError(
    'no key: set BELFRY_API_KEY or BELFRY_OPERATOR_TOKEN, or start a local server with "belfry serve --dev"',
  )
}

interface Sending extends Call {
  readonly url: string
  readonly token: string
  readonly environment: string | undefined
  readonly method: Method
  readonly path: string
}

async function send(call: Sending): Promise<unknown> {
  const { url, token, method, path, body } = call
  const target = new URL(path.replace(/^\//, ''), url.endsWith('/') ? url : `${url}/`)
  target.search = searchOf(call)
  const headers: Record<string, string> = { authorization: `Bearer ${token}` }
  if (body !== undefined) headers['content-type'] = 'application/json'
  if (method !== 'GET') headers['idempotency-key'] = call.idempotencyKey ?? randomUUID()
  const init: RequestInit = { method, headers, signal: AbortSignal.timeout(TIMEOUT_MS) }
  if (body !== undefined) init.body = JSON.stringify(body)
  const { status, text } = await exchange(target, init)
  const reply = parseReply(text)
  if (status >= 200 && status < 300) return reply
  throw refusalOf(status, reply)
}

async function exchange(target: URL, init: RequestInit) {
  try {
    const response = await fetch(target, init)
    return { status: response.status, text: await response.text() }
  } catch (error) {
    const cause = error instanceof Error && error.cause ? messageOf(error.cause) : messageOf(error)
    const hint = 'is it running? (belfry serve --dev)'
    throw new ConfigError(`no server answers at ${target.origin}: ${cause}; ${hint}`)
  }
}

function searchOf({ query = {}, environment, path }: Sending): string {
  const search = new URLSearchParams()
  if (environment !== undefined && !path.startsWith('/v1/environments'))
    search.set('environment', environment)
  for (const [name, value] of Object.entries(query)) {
    if (typeof value === 'string') search.append(name, value)
    else for (const one of value ?? []) search.append(`${name}[]`, one)
  }
  return search.toString()
}

function parseReply(text: string): unknown {
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function refusalOf(status: number, reply: unknown): Refusal {
  const { code, message, errors } = (typeof reply === 'object' && reply ? reply : {}) as {
    code?: string
    message?: string
    errors?: unknown
  }
  const text = message ?? `the server answered ${status}`
  const violations = (Array.isArray(errors) ? errors : []) as readonly Violation[]
  // The message is about one of them, as a rule the first.
  const told = violations.findIndex(({ message: what }) => text.endsWith(what))
  const others = violations.filter((_, index) => index !== told)
  const lines = others.map(({ field, message: what }) => `\n  ${field || '/'} ${what}`)
  return new Refusal(status, code ?? `http_${status}`, `${text}${lines.join('')}`)
}
