import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { readConfig } from '../src/config.ts'
import { openDatabase, type Database } from '../src/db/database.ts'
import { startEmbedded } from '../src/db/embedded.ts'
import { startApp, type App } from '../src/app.ts'
import { sql } from '../src/db/sql.ts'
import { startFollower, type Follower } from './git-ground.ts'
import { openService, type Service } from './service.ts'
import { bareClone, testRepository, type TestRepository } from '../test/support/repository.ts'

export const KEY = 'sk_production_bench'
export const ENVIRONMENT = 'production'

/** This process as one of Belfry, on a Postgres with its usual, durable settings, following a bare repository. */
export interface Ground extends AsyncDisposable {
  readonly database: Database
  readonly app: App
  /** The clone that pushes to the repository which is followed. */
  readonly clone: TestRepository
  /** What the workflow `call` hands its messages to, under the ids of their recipients. */
  readonly service: Service
  /** Starts another process, for work alone. */
  another(): Follower
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
  const service = stack.use(await openService())
  await clone.commit(files(workflows, service))
  const bare = stack.use(await bareClone(clone))
  await clone.git('remote', 'add', 'origin', bare.path)
  const env = {
    DATABASE_URL: embedded.url,
    BELFRY_DATA_DIR: directory,
    PORT: '0',
    BELFRY_API_KEYS: `${ENVIRONMENT}=${KEY}`,
    BELFRY_LOG_LEVEL: 'error',
    BELFRY_ALLOWED_TARGETS: '127.0.0.1/32',
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
    service,
    another: () => startFollower(bare.path, { ...process.env, ...env, BELFRY_ROLES: 'work' }),
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

function files(count: number, { url }: Service): Record<string, string> {
  const environment = `ref: main
channels:
  feed: { type: in_app, provider: in_app }
  hook: { type: webhook, provider: webhook }
`
  const numbered = Array.from({ length: count - 1 }, (_, index) => [
    `workflows/workflow-${index}/workflow.yaml`,
    workflow(`Text ${index}`),
  ])
  return {
    [`environments/${ENVIRONMENT}.yaml`]: environment,
    'workflows/hello/workflow.yaml': workflow('Hello {{recipient.name}}, {{data.word}}'),
    'workflows/call/workflow.yaml': `name: Bench
steps:
  - { ref: call, type: webhook, url: "${url}/{{recipient.id}}" }
`,
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
