import type { Database } from '../../src/db/database.ts'
import { cloneBlank } from '../support/database.ts'
import { OPERATOR, openApp, type TestApp } from './app-support.ts'

const channels = 'channels:\n  feed: { type: in_app, provider: in_app }\n'
const files = {
  'environments/production.yaml': `ref: main\n${channels}`,
  'environments/development.yaml': channels,
  'workflows/welcome/workflow.yaml':
    'name: Welcome\nsteps:\n  - { ref: feed, type: in_app, body: "Hello {{recipient.name}}, {{data.constructor}} {{data.toString}} {{json data}}" }\n',
  'workflows/strict/workflow.yaml':
    'name: Strict\ntrigger: { data_schema: { type: object, required: [n], properties: { n: { type: integer } } } }\nsteps:\n  - { ref: feed, type: in_app, body: Hello }\n',
  'workflows/gone/workflow.yaml':
    'name: Gone\nsteps:\n  - { ref: feed, type: in_app, body: Hello }\n',
  'workflows/off/workflow.yaml':
    'name: Off\nsteps:\n  - { ref: feed, type: in_app, body: Hello }\n',
}

export const TRIGGER = '/v1/workflows/welcome/trigger'
export const BODY_BYTES_MAX = 10 * 1024 * 1024
export const bo = { id: 'bo', name: 'Bo' }
export const body = { recipients: [bo] }
/** A body of exactly so many bytes. */
export function sized(bytes: number): string {
  const start = '{"recipients":[{"id":"bo","name":"Bo"}],"data":{"x":"'
  return `${start}${'x'.repeat(bytes - start.length - 3)}"}}`
}

/** How many rows there are of all that a call can leave behind. */
export async function countRows(database: Database): Promise<Readonly<Record<string, unknown>>> {
  const { rows } = await database.execute(`
    select (select count(*) from workflow_runs) as workflow_runs, (select count(*) from runs) as runs,
      (select count(*) from messages) as messages, (select count(*) from recipients) as recipients,
      (select count(*) from idempotency_keys) as keys, (select count(*) from cancellations) as cancellations,
      (select count(*) from switch_events) as switches, (select count(*) from reconcile_requests) as requests,
      (select count(*) from belfry_queue.job) as jobs`)
  return rows[0] as Readonly<Record<string, unknown>>
}

/** The app with workflows in each state, on a database of its own. */
export interface Scene extends AsyncDisposable {
  readonly app: TestApp
  readonly database: Database
}

export async function openScene(): Promise<Scene> {
  const store = await cloneBlank()
  const { database } = store
  const app = await openApp(database, { files })
  await app.commit({ 'workflows/gone': null })
  const off = await app.call('PUT', '/v1/workflows/off/activate?environment=production', {
    key: OPERATOR,
    body: { status: false, reason: 'test' },
  })
  if (off.status !== 200) throw new Error(off.text)
  return {
    app,
    database,
    async [Symbol.asyncDispose]() {
      await app[Symbol.asyncDispose]()
      await store.drop()
    },
  }
}
