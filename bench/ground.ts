import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { readConfig } from '../src/config.ts'
import { openDatabase, type Database } from '../src/db/database.ts'
import { startEmbedded } from '../src/db/embedded.ts'
import { startApp, type App } from '../src/app.ts'
import { sql } from '../src/db/sql.ts'
import { bareClone, testRepository, type TestRepository } from '../test/support/repository.ts'

const KEY = 'sk_production_bench'
export const ENVIRONMENT = 'production'

/** One process of Belfry on a Postgres with its usual, durable settings, following a bare repository. */
export interface Ground extends AsyncDisposable {
  readonly database: Database
  readonly app: App
  /** The clone that pushes to the repository which is followed. */
  readonly clone: TestRepository
  /** Calls the API as an SDK does, with an idempotency key on every mutation. */
  post(path: string, body: object): Promise<unknown>
}

export async function openGround(workflows: number): Promise<Ground> {
  await using stack = new AsyncDisposableStack()
  const directory = await mkdtemp(path.join(tmpdir(), 'belfry-bench-'))
  stack.defer(() => rm(directory, { recursive: true, force: true }))
  // Open to the account of the server, so that its files stay in here and go with it.
  await chmod(directory, 0o711)
  const embedded = await startEmbedded(directory)
  stack.defer(async () => void (await embedded.stop()))
  const database = stack.use(openDatabase(embedded.url))
  const clone = stack.use(await testRepository())
  await clone.commit(files(workflows))
  const bare = stack.use(await bareClone(clone))
  await clone.git('remote', 'add', 'origin', bare.path)
  const env = {
    DATABASE_URL: embedded.url,
    BELFRY_DATA_DIR: directory,
    PORT: '0',
    BELFRY_API_KEYS: `${ENVIRONMENT}=${KEY}`,
    BELFRY_LOG_LEVEL: 'error',
  }
  const app = stack.use(
    await startApp(readConfig(env, { repo: bare.path }), {
      write: (line) => process.stderr.write(line),
      human: true,
    }),
  )
  await app.firstLook
  const { url } = app
  const kept = stack.move()
  return {
    database,
    app,
    clone,
    async post(route, body) {
      const reply = await fetch(`${url}${route}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${KEY}`,
          'content-type': 'application/json',
          'idempotency-key': crypto.randomUUID(),
        },
        body: JSON.stringify(body),
      })
      if (!reply.ok) throw new Error(`${route}: ${reply.status} ${await reply.text()}`)
      return reply.json()
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

function files(count: number): Record<string, string> {
  const environment = `ref: main\nchannels:\n  feed: { type: in_app, provider: in_app }\n`
  const numbered = Array.from({ length: count - 1 }, (_, index) => [
    `workflows/workflow-${index}/workflow.yaml`,
    workflow(`Text ${index}`),
  ])
  return {
    [`environments/${ENVIRONMENT}.yaml`]: environment,
    'workflows/hello/workflow.yaml': workflow('Hello {{recipient.name}}, {{data.word}}'),
    ...Object.fromEntries(numbered),
  }
}

export function workflow(text: string): string {
  return `name: Bench\nsteps:\n  - { ref: feed, type: in_app, body: ${JSON.stringify(text)} }\n`
}

/** Whether no job is left that gives triggers their runs, or works on runs. */
export async function isIdle(database: Database): Promise<boolean> {
  const rows = await database.query(sql`
    select from belfry_queue.job
    where name in ('run', 'run_bulk') and state in ('created', 'retry', 'active')
    limit 1
  `)
  return rows.length === 0
}
