import { readFile } from 'node:fs/promises'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { ConfigError, messageOf, RequestError } from '../errors.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import { explainViolations } from '../workflow/explain.ts'
import { parseYaml } from '../workflow/parse.ts'
import type { Caller, Route } from './route.ts'

/** Calls in a second of each tier, by which the contract groups its operations. */
const TIERS = { '1': 1, '2': 5, '3': 60, '4': 200, '5': 1_000 } as const
export type Tier = keyof typeof TIERS

/** The tiers of those that are not 4 for what reads and 3 for what writes; `:` stands for a parameter. */
const OTHERS: readonly (readonly [operations: RegExp, tier: Tier])[] = [
  [/^POST \/v1\/workflows\/:\/(trigger|cancel)$/, '5'],
  [/^POST \/v1\/(users|tenants|objects\/:|schedules)\/bulk\//, '1'],
  [/^POST \/v1\/channels\/:\/messages\/bulk\/:$/, '2'],
  [/^(PUT|DELETE) \/v1\/messages\/:\//, '2'],
  [/^GET \/v1\/messages\/:\/(events|delivery_logs)$/, '3'],
  [/^GET \/v1\/workflow(_recipient)?_runs/, '2'],
  [/^GET \/v1\/users\/:\/feeds\/:$/, '2'],
  [/^DELETE \/v1\/(users|tenants)\/:$/, '2'],
  [/^POST \/v1\/users\/:\/merge$/, '2'],
]

type Operation = Pick<Route, 'method' | 'path'>

/** How an operation is called, whatever its parameters are called. */
function nameOf({ method, path }: Operation): string {
  return `${method} ${path.replaceAll(/:\w+|\{\w+\}/g, ':')}`
}

export function tierOf(operation: Operation): Tier {
  const name = nameOf(operation)
  const other = OTHERS.find(([operations]) => operations.test(name))
  return other?.[1] ?? (operation.method === 'GET' ? '4' : '3')
}

/** How often one caller may make a call in a second; null: as often as it likes. */
export type Rates = (operation: Operation) => number | null

interface RateTable {
  readonly tiers?: Readonly<Record<string, number | null>>
  readonly operations?: Readonly<Record<string, number | null>>
}

const rate = { type: ['integer', 'null'], minimum: 1, maximum: 1_000_000 } as const
const checkTable = new Ajv2020({ allErrors: true, verbose: true, allowUnionTypes: true }).compile({
  type: 'object',
  additionalProperties: false,
  properties: {
    tiers: {
      type: 'object',
      additionalProperties: false,
      properties: Object.fromEntries(Object.keys(TIERS).map((tier) => [tier, rate])),
    },
    operations: { type: 'object', additionalProperties: rate },
  },
})

/**
 * What the setting `BELFRY_RATE_LIMITS` says: the contract's tiers, or a file that changes some of them; undefined
 * where nothing is limited. Throws a `ConfigError` that says where the file is wrong.
 */
export async function readRates(
  setting: string | undefined,
  routes: readonly Operation[],
): Promise<Rates | undefined> {
  if (setting === undefined || setting === 'off') return undefined
  const table = setting === 'on' ? {} : await readTable(setting, routes)
  const tiers: Readonly<Record<string, number | null>> = { ...TIERS, ...table.tiers }
  const own = new Map(Object.entries(table.operations ?? {}).map(([name, n]) => [plain(name), n]))
  return (operation) => {
    const said = own.get(nameOf(operation))
    return said === undefined ? (tiers[tierOf(operation)] ?? null) : said
  }
}

/** The name of an operation as people write it. */
function plain(name: string): string {
  const [method = '', path = ''] = name.trim().split(/ +/)
  return nameOf({ method: method as 'GET', path })
}

async function readTable(path: string, routes: readonly Operation[]): Promise<RateTable> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw refusal(`expected on, off or the path of a file; ${messageOf(error)}`)
  })
  const parsed = parseYaml(path, bytes)
  if (parsed.kind === 'invalid') throw refusalOf(parsed.diagnostics)
  const { file } = parsed
  if (!checkTable(file.value)) throw refusalOf(explainViolations(file, checkTable.errors ?? []))
  const table = file.value as RateTable
  const known = new Set(routes.map(nameOf))
  const unknown = Object.keys(table.operations ?? {}).find((name) => !known.has(plain(name)))
  if (unknown === undefined) return table
  const at = file.locateKey(['operations', unknown])
  throw refusalOf([{ path, ...at, message: `"${unknown}" is no operation of the API` }])
}

type Found = Pick<Diagnostic, 'path' | 'line' | 'column' | 'message'>

function refusalOf(found: readonly Found[]): ConfigError {
  const lines = found.map(
    ({ path, line, column, message }) => `${path}:${line}:${column} ${message}`,
  )
  return refusal(lines.join('\n'))
}

function refusal(message: string): ConfigError {
  return new ConfigError(`BELFRY_RATE_LIMITS: ${message}`)
}

/** What a caller is told of its calls in this second. */
export interface Counted {
  readonly limit: number
  readonly remaining: number
  /** When the next second begins. */
  readonly resetMs: number
}

/** Counts a call and says how many are left; undefined for who is not limited. */
export type CountCall = (caller: Caller, now: Date) => Counted | undefined

/**
 * Counts the calls of one route, by key and, of a public key, by user. A process counts in memory what it serves, as a
 * count that all of them share would cost a call as much as its transaction: with n processes behind a balancer a
 * key may call up to n times as often. What is kept is what one second has seen.
 */
export function callCounter(limit: number): CountCall {
  let second = 0
  let calls = new Map<string, number>()
  return ({ name, environment, client }, now) => {
    // The operator.
    if (environment === null) return undefined
    const ms = now.getTime()
    if (Math.floor(ms / 1000) !== second) {
      second = Math.floor(ms / 1000)
      calls = new Map()
    }
    const who = `${name}/${client?.user ?? ''}`
    const count = (calls.get(who) ?? 0) + 1
    calls.set(who, count)
    return { limit, remaining: limit - count, resetMs: (second + 1) * 1000 - ms }
  }
}

/** Tells a caller what is left to it. Throws a 429 `RequestError` where there was nothing left. */
export function holdToRate(
  { method, path }: Operation,
  { limit, remaining, resetMs }: Counted,
  tell: (headers: Readonly<Record<string, string>>) => void,
): void {
  tell({
    'ratelimit-limit': String(limit),
    'ratelimit-remaining': String(Math.max(0, remaining)),
    'ratelimit-reset': '1',
  })
  if (remaining >= 0) return
  // Some clients look for milliseconds first; most know whole seconds only.
  tell({ 'retry-after': '1', 'retry-after-ms': String(resetMs) })
  const calls = limit === 1 ? 'one call' : `${limit} calls`
  const message = `more than ${calls} of ${method} ${path} in a second; try again in ${resetMs} ms`
  throw new RequestError(429, 'rate_limit_exceeded', message)
}
