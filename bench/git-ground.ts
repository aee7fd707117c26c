import { fork, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { openDatabase } from '../src/db/database.ts'
import type { Database } from '../src/db/database.ts'
import { startEmbedded } from '../src/db/embedded.ts'
import { sql } from '../src/db/sql.ts'
import { git } from '../test/support/repository.ts'
import type { Question, Told } from './git-process.ts'

/** A bare repository with many workflows, a clone of it, and a Postgres with its usual, durable settings. */
export interface GitGround extends AsyncDisposable {
  readonly database: Database
  readonly bare: string
  /** A clone with a work tree, whose `origin` is the bare repository. */
  readonly clone: string
  /** Starts a process of Belfry that follows a repository. */
  follow(repository: string, options?: { readonly dev?: boolean }): Follower
}

/** A process of Belfry. */
export interface Follower extends AsyncDisposable {
  /** Resolves when it has looked at Git once, with the milliseconds that it took since the program was loaded. */
  readonly looked: Promise<number>
  /** Its resident memory, in bytes. */
  memory(): Promise<number>
}

export async function openGitGround(workflows: number): Promise<GitGround> {
  await using stack = new AsyncDisposableStack()
  const directory = await mkdtemp(path.join(tmpdir(), 'belfry-bench-'))
  stack.defer(() => rm(directory, { recursive: true, force: true }))
  // Open to the account of the server, so that its files stay in here and go with it.
  await chmod(directory, 0o711)
  const embedded = await startEmbedded(directory)
  stack.defer(async () => void (await embedded.stop()))
  const database = stack.use(openDatabase(embedded.url))
  const bare = path.join(directory, 'bare.git')
  const clone = path.join(directory, 'clone')
  await makeRepository(bare, workflows)
  await git(directory, 'clone', '--quiet', bare, clone)
  const kept = stack.move()
  return {
    database,
    bare,
    clone,
    follow: (repository, { dev = false } = {}) =>
      startFollower(repository, {
        ...process.env,
        DATABASE_URL: embedded.url,
        BELFRY_DATA_DIR: directory,
        BELFRY_LOG_LEVEL: 'error',
        PORT: '0',
        ...(dev ? { BELFRY_DEV: 'true' } : {}),
      }),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

/** Starts a process of Belfry with these settings. */
export function startFollower(repository: string, env: NodeJS.ProcessEnv): Follower {
  // As `bin/belfry.cjs` starts it.
  const execArgv = ['--max-semi-space-size=16']
  const program = path.join(import.meta.dirname, 'git-process.ts')
  const child = fork(program, [repository], { env, execArgv })
  const exited = once(child, 'exit')
  return {
    looked: told(child, 'looked').then(({ ms }) => ms),
    async memory() {
      child.send('memory' satisfies Question)
      return (await told(child, 'memory')).bytes
    },
    async [Symbol.asyncDispose]() {
      if (child.connected) child.send('end' satisfies Question)
      await exited
    },
  }
}

async function told<Kind extends Told['kind']>(
  child: ChildProcess,
  kind: Kind,
): Promise<Extract<Told, { kind: Kind }>> {
  const patience = new AbortController()
  const ended = once(child, 'exit', { signal: patience.signal }).then(() => undefined)
  // The abort is how the wait for the exit ends.
  ended.catch(() => {})
  try {
    for (;;) {
      const next = once(child, 'message', { signal: patience.signal }) as Promise<[Told]>
      const message = await Promise.race([next, ended])
      if (message === undefined) throw new Error('a process of Belfry ended')
      if (message[0].kind === kind) return message[0] as Extract<Told, { kind: Kind }>
    }
  } finally {
    patience.abort()
  }
}

/** Waits until what an environment has applied satisfies `holds`. */
export async function untilApplied(
  database: Database,
  environment: string,
  holds: (revision: string) => boolean,
): Promise<void> {
  for (;;) {
    const [row] = await database
      .query<{ observed_revision: string | null }>(
        sql`select observed_revision from environments where name = ${environment}`,
      )
      // The first process to start makes the tables.
      .catch(() => [])
    if (holds(row?.observed_revision ?? '')) return
    await new Promise((done) => setTimeout(done, 1))
  }
}

export const CHANNELS = 'channels:\n  feed: { type: in_app, provider: in_app }\n'

/** A workflow of three steps, and its two templates. */
export function workflowFiles(key: string, text: string): Readonly<Record<string, string>> {
  return {
    [`workflows/${key}/workflow.yaml`]: [
      `name: ${key}`,
      `description: ${text}`,
      'categories: [collaboration]',
      'steps:',
      '  - ref: feed',
      '    type: in_app',
      '    body: { file: feed.md.hbs }',
      '  - ref: wait',
      '    type: delay',
      '    for: 5m',
      '  - ref: again',
      '    type: in_app',
      '    conditions: { all: [{ variable: refs.feed.engagement_status, operator: not_contains, argument: $message.seen }] }',
      '    body: { file: again.md.hbs }',
      '',
    ].join('\n'),
    [`workflows/${key}/feed.md.hbs`]: `**{{actor.name}}** changed {{data.page}} (${key})\n`,
    [`workflows/${key}/again.md.hbs`]:
      `Still unseen by {{recipient.name}}: {{data.page}} (${key})\n`.repeat(10),
  }
}

function data(text: string): string {
  return `data ${Buffer.byteLength(text)}\n${text}\n`
}

async function makeRepository(bare: string, workflows: number): Promise<void> {
  await mkdir(bare)
  await git(bare, 'init', '--quiet', '--bare', '--initial-branch=main')
  const file = ([name, text]: readonly [string, string]) => `M 100644 inline ${name}\n${data(text)}`
  const head = 'commit refs/heads/main\ncommitter Ada Example <ada@example.com> 1767225600 +0000\n'
  const importing = spawn('git', ['-C', bare, 'fast-import', '--quiet'], {
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  const exited = once(importing, 'exit')
  importing.stdin.write(head + data('Begin\n'))
  importing.stdin.write(file(['environments/production.yaml', `ref: main\n${CHANNELS}`]))
  for (let index = 0; index < workflows; index += 1) {
    const files = Object.entries(workflowFiles(`workflow-${index}`, 'The first text.'))
    if (!importing.stdin.write(files.map(file).join(''))) await once(importing.stdin, 'drain')
  }
  importing.stdin.end()
  const [code] = (await exited) as [number]
  if (code !== 0) throw new Error(`git fast-import ended with ${code}`)
  await git(bare, 'repack', '-adq')
}
