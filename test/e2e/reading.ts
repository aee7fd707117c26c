import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import type { Database } from '../../src/db/database.ts'
import { KEYS, OPERATOR, type SentMessage, type TestApp } from './app-support.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const shell = promisify(execFile)

/** Every call of the API that only reads, for all that there is. */
export async function readApi(
  app: TestApp,
  named: Readonly<Record<string, readonly string[]>>,
): Promise<string> {
  const read = async (path: string, key: string) => {
    const query = queries[path.split('/').at(-1) ?? ''] ?? '?environment=production'
    const { status, text } = await app.call('GET', `${path}${query}`, { key })
    // An environment without an in-app channel has no feeds.
    // One that is written badly on purpose follows a branch that is not there.
    // A link that nobody has made leads nowhere, and says so.
    const isExpected =
      status === 200 ||
      /^\/(unsubscribe|[los])\//.test(path) ||
      path.includes('/feeds/') ||
      (path.endsWith('/plan') && status === 404)
    if (!isExpected) throw new Error(`${path} was answered ${status}: ${text}`)
    return text
  }
  const items = async (path: string) =>
    (await app.call<{ items: { id: string; workflow_run_id: string }[] }>('GET', path)).body.items
  const runs = await items('/v1/workflow_recipient_runs')
  const messages = await items('/v1/messages')
  // A plan is about two ends, and contents are asked for by name.
  const queries: Readonly<Record<string, string>> = {
    plan: '?head=main',
    content: `?${messages.map(({ id }) => `message_ids[]=${id}`).join('&')}`,
  }
  const done = await app.call<{ id: string }>('POST', '/v1/users/bulk/preferences', {
    body: { user_ids: ['ada'], preferences: { categories: { news: true } } },
  })
  await app.call('POST', '/v1/audiences/beta/members', { body: { members: [{ user: 'ada' }] } })
  const values: Readonly<Record<string, readonly string[]>> = {
    messages: messages.map(({ id }) => id),
    workflow_recipient_runs: runs.map(({ id }) => id),
    workflow_runs: runs.map((run) => run.workflow_run_id),
    objects: ['teams/core'],
    tenants: ['acme'],
    unsubscribe: ['made-by-nobody'],
    l: ['made-by-nobody'],
    o: ['made-by-nobody'],
    s: ['made-by-nobody'],
    channels: ['feed'],
    bulk_operations: [done.body.id],
    audiences: ['beta'],
    sources: ['segment'],
    ...named,
  }
  expect(messages.length).toBeGreaterThan(8)
  const texts: string[] = []
  for (const { path } of routes.filter(({ method }) => method === 'GET')) {
    const [, resource = ''] = /^(?:\/v1)?\/([^/]+)\/:/.exec(path) ?? []
    const ids = path.includes(':') ? values[resource] : ['']
    if (ids === undefined) throw new Error(`${path} is not read by this test`)
    for (const id of ids) {
      // What follows a slash is for the next parameter of the path.
      const parts = id.split('/')
      const filled = path.replaceAll(/:[a-z]+/g, () => parts.shift() ?? 'feed')
      texts.push(
        await read(
          filled,
          /^\/v1\/(environments|installation)/.test(path) ? OPERATOR : KEYS.production,
        ),
      )
    }
  }
  return texts.join('\n')
}

/** Every row of every table, as Postgres writes it. */
export async function readTables(database: Database): Promise<string> {
  const { rows } = await database.execute(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('belfry', 'belfry_queue')`,
  )
  const texts: string[] = []
  for (const { name } of rows as { name: string }[]) {
    const table = await database.execute(`select t::text as row from ${name} t`)
    for (const { row } of table.rows as { row: string }[]) texts.push(row.replaceAll('""', '"'))
  }
  expect(texts.length).toBeGreaterThan(50)
  return texts.join('\n')
}

/** What the command line shows of all this. */
export async function readCommandLine(app: TestApp): Promise<string> {
  const ids = (await app.call<{ items: readonly SentMessage[] }>('GET', '/v1/messages')).body.items
  const commands = [
    ['status', '-e', 'production'],
    ['status', '-e', 'wanting'],
    ['messages', '-e', 'production'],
    ['runs', '-e', 'production'],
    ...ids.slice(-5).flatMap(({ id }) => [['messages', id, '-e', 'production']]),
    ['run', ids[0]!.source.workflow_recipient_run_id, '-e', 'production'],
    ['run', ids.at(-1)!.source.workflow_recipient_run_id, '-e', 'production', '--output', 'json'],
    ['messages', ids[0]!.id, '-e', 'production', '--output', 'json'],
    ['doctor', '--output', 'json'],
  ]
  const env = {
    PATH: process.env['PATH'],
    BELFRY_URL: app.url,
    BELFRY_OPERATOR_TOKEN: OPERATOR,
    NO_COLOR: '1',
  }
  const texts: string[] = []
  for (const words of commands) {
    // A stalled environment is "found something", which is an exit code and not a failure here.
    const run = shell(process.execPath, ['src/main.ts', ...words], { cwd: ROOT, env })
    const { stdout, stderr } = await run.catch((error: { stdout: string; stderr: string }) => error)
    expect(stdout).not.toBe('')
    texts.push(stdout, stderr)
  }
  return texts.join('\n')
}
