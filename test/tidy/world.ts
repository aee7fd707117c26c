import { at, importsOf, memberOf, nameOf, visit, type Problem, type Source } from './source.ts'

/** A file, or a folder that ends in `/`, that may do what others may not. */
export interface Allowed {
  readonly where: string
  readonly why: string
}

/** Who may read the present time beside `src/clock.ts`, and why a clock would not do. */
export const CLOCK: readonly Allowed[] = [
  { where: 'src/clock.ts', why: 'it is the clock' },
  { where: 'src/app/metrics.ts', why: 'measures how long something took' },
  { where: 'src/cli/wait.ts', why: 'measures how long it has waited for a server' },
]

/** Who may look at the surroundings of the process. */
export const ENVIRONMENT: readonly Allowed[] = [
  { where: 'src/config.ts', why: 'reads all settings' },
]

/** Who may speak to the network, and to whom. */
export const NETWORK: readonly Allowed[] = [
  { where: 'src/channels/door.ts', why: 'the guarded door for everything that goes out' },
  { where: 'src/channels/target.ts', why: 'looks names up for the door' },
  { where: 'src/channels/smtp-session.ts', why: 'speaks SMTP on a connection of the door' },
  { where: 'src/channels/http2.ts', why: 'speaks HTTP/2 on a connection of the door' },
  { where: 'src/channels/mail.ts', why: 'writes a mail; opens nothing' },
  { where: 'src/api/server.ts', why: 'listens' },
  { where: 'src/cli/preview-server.ts', why: 'listens, on the loopback address' },
  { where: 'src/cli/client.ts', why: 'asks our own server' },
  { where: 'src/git/', why: 'fetches from the configured repository' },
  { where: 'src/db/', why: 'Postgres' },
]

const NETWORK_MODULES = new Set([
  'dgram',
  'dns',
  'dns/promises',
  'http',
  'http2',
  'https',
  'net',
  'tls',
  'undici',
  'nodemailer',
  'pg',
  'isomorphic-git/http/node',
])
/** Of those modules, what only reads text. */
const PURE_NAMES = new Set(['isIP', 'isIPv4', 'isIPv6', 'BlockList', 'STATUS_CODES'])
const NETWORK_GLOBALS = new Set(['fetch', 'WebSocket', 'EventSource', 'XMLHttpRequest'])

/** Reading the present time, by any of its names. */
export function clockReads(source: Source, allowed: readonly Allowed[] = CLOCK): Problem[] {
  if (isAllowed(source, allowed)) return []
  const problems: Problem[] = []
  const report = (node: { readonly start: number }, what: string) =>
    problems.push(at(source, node, `${what}: take the time from a clock`))
  visit(source, {
    NewExpression(node) {
      if (nameOf(node.callee) === 'Date' && node.arguments.length === 0) report(node, 'new Date()')
    },
    CallExpression(node) {
      if (nameOf(node.callee) === 'Date') report(node, 'Date()')
    },
    MemberExpression(node) {
      const [object, property] = memberOf(node) ?? []
      const name = `${object}.${property}`
      if (['Date.now', 'performance.now', 'process.hrtime', 'Temporal.Now'].includes(name)) {
        report(node, name)
      }
    },
  })
  return problems
}

/** Reading variables of the process. */
export function environmentReads(
  source: Source,
  allowed: readonly Allowed[] = ENVIRONMENT,
): Problem[] {
  if (isAllowed(source, allowed)) return []
  const problems = importsOf(source)
    .filter(({ module, names }) => /^(node:)?process$/.test(module) && names?.includes('env'))
    .map((one) => at(source, one, 'env of process: settings come from config.ts'))
  visit(source, {
    MemberExpression(node) {
      if (memberOf(node)?.join('.') !== 'process.env') return
      problems.push(at(source, node, 'process.env: settings come from config.ts'))
    },
  })
  return problems
}

/** Opening connections, or being able to. */
export function networkUses(source: Source, allowed: readonly Allowed[] = NETWORK): Problem[] {
  if (isAllowed(source, allowed)) return []
  const problems = importsOf(source)
    .filter(({ module }) => NETWORK_MODULES.has(module.replace(/^node:/, '')))
    .filter(({ isType, names }) => !isType && !names?.every((name) => PURE_NAMES.has(name)))
    .map((one) => at(source, one, `${one.module}: connections go through channels/door.ts`))
  const report = (node: {
    readonly callee: Parameters<typeof nameOf>[0]
    readonly start: number
  }) => {
    const [object, property] = (node.callee && memberOf(node.callee)) ?? []
    const name = object === 'globalThis' ? (property ?? '') : nameOf(node.callee)
    if (!NETWORK_GLOBALS.has(name)) return
    problems.push(at(source, node, `${name}: connections go through channels/door.ts`))
  }
  visit(source, { CallExpression: report, NewExpression: report })
  return problems
}

/** The queue library, outside the one file that knows it. */
export function queueImports(source: Source): Problem[] {
  if (source.path === 'src/db/queue.ts') return []
  return importsOf(source)
    .filter(({ module }) => module === 'pg-boss' || module.startsWith('pg-boss/'))
    .map((one) => at(source, one, 'pg-boss is known to src/db/queue.ts alone'))
}

function isAllowed(source: Source, allowed: readonly Allowed[]): boolean {
  return allowed.some(({ where }) =>
    where.endsWith('/') ? source.path.startsWith(where) : source.path === where,
  )
}
