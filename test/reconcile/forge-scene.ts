import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { ForgeName } from '../../src/forge-settings.ts'
import { openForge } from '../../src/forges/index.ts'
import { newId } from '../../src/ids.ts'
import type { EnvironmentName, ProcessId } from '../../src/ids.ts'
import { openLog } from '../../src/log.ts'
import { sendNextStatus } from '../../src/reconcile/outbox-send.ts'
import type { Outbox } from '../../src/reconcile/outbox-send.ts'
import { saveStatuses } from '../../src/reconcile/outbox-store.ts'
import type { TestClock } from '../support/clock.ts'
import { startForge } from '../support/fake-forge.ts'
import type { FakeForge } from '../support/fake-forge.ts'

export const SHA = 'a'.repeat(40)
export const CONTEXT = 'belfry/production/applied'
export const START = '2026-03-01T12:00:00Z'

/** A fake forge and processes that tell it. */
export interface ForgeScene extends AsyncDisposable {
  readonly fake: FakeForge
  readonly outbox: Outbox
  /** Another process on the same database. */
  readonly other: Outbox
  /** What all of them logged. */
  readonly lines: readonly string[]
  /** Tells the forge all that is due. */
  drain(): Promise<void>
  /** `state description` of each post, oldest first. */
  posts(sha: string, context: string): readonly string[]
}

export async function forgeScene(
  database: Database,
  clock: TestClock,
  name: ForgeName = 'github',
): Promise<ForgeScene> {
  await using stack = new AsyncDisposableStack()
  const fake = stack.use(await startForge(name))
  const lines: string[] = []
  const write = (line: string) => void lines.push(line)
  const log = openLog({ level: 'debug', write, human: false, mask: (text) => text, clock })
  const open = (): Outbox => {
    const { forge } = stack.use(openForge(fake.settings, { clock }))
    const place = `${fake.settings.url}/${fake.settings.repository}`
    const process = newId<ProcessId>()
    return { database, clock, forge, process, place, log, random: () => 0.5 }
  }
  const outbox = open()
  const other = open()
  const opened = stack.move()
  return {
    fake,
    outbox,
    other,
    lines,
    async drain() {
      while ((await sendNextStatus(outbox)) > 0) continue
    },
    posts: (sha, context) =>
      fake.posts(sha, context).map(({ state, description }) => `${state} ${description}`),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

export interface StatusRow {
  readonly context: string
  readonly state: string
  readonly description: string
  readonly posts: number
  readonly attempts: number
  readonly due: Date | null
  readonly problem: string | null
  readonly givenUp: boolean
}

/** The rows of a commit, by context. */
export async function statusRows(database: Database, sha: string): Promise<readonly StatusRow[]> {
  return database.query<StatusRow>(sql`
    select context, state, description, posts, attempts, due_at as due, problem,
      given_up_at is not null as "givenUp"
    from commit_statuses
    where sha = ${sha}
    order by context`)
}

export async function clearForge(database: Database): Promise<void> {
  await database.query(sql`truncate commit_statuses, pull_requests, forge_pauses`)
}

export interface Saying {
  readonly sha?: string
  readonly context?: string
  readonly restarts?: boolean
}

/** Notes a status, `<state> <description>`, as a reconciler would. */
export async function say(database: Database, word: string, saying: Saying = {}): Promise<void> {
  const { sha = SHA, context = CONTEXT, restarts = false } = saying
  const [state = '', ...rest] = word.split(' ')
  const subject = {
    environment: 'production' as EnvironmentName,
    sha,
    gitRef: 'production',
    now: new Date(START),
  }
  const said = { context, state: state as 'success', description: rest.join(' '), restarts }
  await database.transaction((tx) => saveStatuses(tx, subject, [said]))
}
